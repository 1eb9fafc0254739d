#!/bin/bash
# From nothing to a sealed file: builds kmsd, makes a SoftHSM token and a state folder under .run/, starts the daemon, makes a
# key, seals a password, a private key and a file of 64 MiB with it, and keeps serving until Ctrl-C (--once: ends instead).
# A second run starts from what is there. For trials: the root key of a SoftHSM token lies in files of this host.
set -euo pipefail
cd "$(dirname "$0")/.."

once=false
case "${1-}" in
    '') ;;
    --once) once=true ;;
    *) echo "usage: softhsm/quickstart.sh [--once]" >&2; exit 64 ;;
esac

step() { printf '\n\033[1m%s\033[0m\n' "$*"; }
if [ ! -t 1 ]; then step() { printf '\n%s\n' "$*"; }; fi

step "1. What is needed"
softhsm/prerequisites.sh softhsm2-util=softhsm2 gcc=gcc ld=binutils /usr/include/zlib.h=zlib1g-dev \
    /usr/include/stdio.h=libc6-dev openssl=openssl script=bsdutils
echo "Everything is here."

step "2. Build (native binaries)"
packaging/publish.sh

run=$(pwd)/.run
umask 077
mkdir -p "$run/state"
export SOFTHSM2_CONF=$run/softhsm2.conf KMSD_SOCKET=$run/kmsd.sock
PATH=$(pwd)/artifacts/native:$PATH
if [ "${#KMSD_SOCKET}" -gt 100 ]; then
    echo "The path of this folder is too long for a socket in it ($KMSD_SOCKET); clone to a shorter one." >&2
    exit 73
fi

step "3. A token and its root key"
if [ ! -s "$run/token-pin" ]; then
    od -An -N16 -tx1 /dev/urandom | tr -d ' \n' > "$run/token-pin"
fi
if [ -z "$(find "$run/tokens" -mindepth 1 -maxdepth 1 2>/dev/null)" ]; then
    softhsm/make-token.sh "$run" kmsd-trial "$run/token-pin"
fi
cat > "$run/kmsd.conf" <<CONF
[daemon]
socket = $KMSD_SOCKET
socket_group = $(id -gn)
state_dir = $run/state

[token]
module = /usr/lib/softhsm/libsofthsm2.so
label = kmsd-trial
pin_file = $run/token-pin

[access]
operators = uid:$(id -u)
CONF
softhsm/token-copy.sh restore "$run"
if [ -e "$run/state/kms.db" ]; then
    echo "They are there from an earlier run."
else
    kmsd init --root token --config "$run/kmsd.conf"
fi

step "4. The daemon"
kmsd --config "$run/kmsd.conf" 2> "$run/kmsd.log" &
daemon=$!
work=$(mktemp -d "$run/work.XXXXXX")
stop() {
    trap - EXIT
    rm -rf "$work"
    kill "$daemon" 2>/dev/null || true
    wait "$daemon" 2>/dev/null || true
}
trap stop EXIT
trap 'exit 130' INT TERM
for _ in $(seq 100); do
    kmsctl status >/dev/null 2>&1 && break
    kill -0 "$daemon" 2>/dev/null || { cat "$run/kmsd.log" >&2; exit 70; }
    sleep 0.1
done
kmsctl status
softhsm/token-copy.sh save "$run"

step "5. A key, and who may use it"
kmsctl member add default "uid:$(id -u)" manager
kmsctl key show trial >/dev/null 2>&1 || kmsctl key create trial
kmsctl grant add trial "uid:$(id -u)" encryptorDecryptor

step "6. A password and a private key, sealed"
(od -An -N12 -tx1 /dev/urandom | tr -d ' \n') > "$work/password"
kmsctl encrypt trial "$work/password" | tee "$run/password.sealed"
kmsctl decrypt trial "$run/password.sealed" | cmp - "$work/password" && echo "The password opens again."
openssl genpkey -quiet -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$work/tls.key" 2>/dev/null ||
    openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$work/tls.key" 2>/dev/null
kmsctl encrypt trial "$work/tls.key" > "$run/tls.key.sealed"
kmsctl decrypt trial "$run/tls.key.sealed" | cmp - "$work/tls.key" && echo "The private key opens again ($run/tls.key.sealed)."

step "7. A file of 64 MiB"
head -c 67108864 /dev/urandom > "$work/archive"
kmsctl file encrypt trial "$work/archive" "$work/archive.sealed"
kmsctl file decrypt "$work/archive.sealed" "$work/archive.opened"
before=$(sha256sum < "$work/archive" | cut -d' ' -f1)
after=$(sha256sum < "$work/archive.opened" | cut -d' ' -f1)
echo "SHA-256 before: $before"
echo "SHA-256 after:  $after"
[ "$before" = "$after" ] || { echo "They differ." >&2; exit 70; }

step "8. The key, and its uses"
kmsctl key show trial

cat <<NEXT

What to try next, in another shell:
  export KMSD_SOCKET=$KMSD_SOCKET PATH=$(pwd)/artifacts/native:\$PATH
  kmsctl key list
  kmsctl grant add trial group:backup encryptor      # give another group a right
  printf 'a secret' | kmsctl encrypt trial -
  kmsctl --help
NEXT
if [ "$once" = false ]; then
    echo
    echo "Serving at $KMSD_SOCKET until Ctrl-C; the journal of the daemon is $run/kmsd.log."
    wait "$daemon"
fi
