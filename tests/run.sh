#!/bin/bash
# Set-up and every test: README's second command, and what CI runs. The last line is "N passed, N failed[, N skipped]".
# Counts are reduced; tests/long.sh runs the same tests at full counts.
set -uo pipefail
cd "$(dirname "$0")/.."
export DOTNET_CLI_TELEMETRY_OPTOUT=1 DOTNET_NOLOGO=1 CI=${CI-}
started=$(date +%s)

fail() { echo "$*" >&2; echo "0 passed, 1 failed"; exit 1; }
step() { printf '\n== %s (%s s)\n' "$*" "$(($(date +%s) - started))"; }

step "What is needed"
softhsm/prerequisites.sh softhsm2-util=softhsm2 gcc=gcc ld=binutils /usr/include/zlib.h=zlib1g-dev /usr/include/stdio.h=libc6-dev \
    script=bsdutils setpriv=util-linux sqlite3=sqlite3 strace=strace openssl=openssl python3=python3 \
    systemd-socket-activate=systemd || fail "set-up failed"

# Tests in a booted systemd need root anyway; where they can't run they are skipped, with the reason.
[ "$(id -u)" -ne 0 ] || softhsm/prerequisites.sh systemd-nspawn=systemd-container debootstrap=debootstrap ||
    echo "Tests in a booted systemd will be skipped."

step "Restore, format, build"
dotnet restore Kms.sln --locked-mode --verbosity quiet || fail "restore failed"
dotnet format Kms.sln --no-restore --verify-no-changes --severity error || fail "format: run 'dotnet format Kms.sln'"
dotnet build Kms.sln --no-restore --verbosity quiet -nologo || fail "build failed"

step "Native binaries, and the root of a system to boot"
tests/boot-root.sh &
boot_root=$!
packaging/publish.sh || fail "publish failed"
packaging/publish.sh --test-hooks || fail "publish failed"
wait "$boot_root" || echo "Tests in a booted systemd will be skipped."

# Printed here, since nothing shows it of a test that passed.
KMS_WALK_RANDOM_SEED=$(od -An -N8 -tu8 /dev/urandom | tr -d ' ')
export KMS_WALK_RANDOM_SEED
step "Tests; the random walk has the seed $KMS_WALK_RANDOM_SEED (walked again with KMS_WALK_SEED)"

# Each project prints its failures, its skips with their reasons, and its counts, which are added up here. One in which nothing
# ends for so long is ended: what still runs is named, and its memory is left under TestResults.
hang=${KMS_TEST_HANG:-5m}
rm -f TestResults/*_hang.*
passed=0 failed=0 skipped=0
report=$(mktemp -d)
trap 'rm -rf "$report"' EXIT
for project in tests/*.Tests; do
    name=$(basename "$project")
    step "$name"
    dotnet test --no-build --project "$project" --hangdump --hangdump-type Mini --hangdump-timeout "$hang" 2>&1 | tee "$report/$name.log"
    code=${PIPESTATUS[0]}
    cat TestResults/"$name"_*_hang.log 2> /dev/null # What hung, if something did.
    count() { sed -n "s/^  $1: \([0-9]*\)$/\1/p" "$report/$name.log" | tail -1; }
    if [ -z "$(count total)" ] || [ "$(count total)" -eq 0 ]; then
        echo "$name ended with $code and no result."
        failed=$((failed + 1))
        continue
    fi
    bad=$(count failed)
    [ "$code" -eq 0 ] || [ "$bad" -gt 0 ] || bad=1
    passed=$((passed + $(count succeeded)))
    failed=$((failed + bad))
    skipped=$((skipped + $(count skipped)))
done

step "Done"
if [ "$skipped" -gt 0 ]; then echo "$passed passed, $failed failed, $skipped skipped"; else echo "$passed passed, $failed failed"; fi
[ "$failed" -eq 0 ]
