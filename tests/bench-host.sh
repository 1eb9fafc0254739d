# Sourced by the benchmarks, in the project's folder and with 'set -euo pipefail': the native build on the path, and an instance of its own.
# shellcheck shell=bash
native=$(pwd)/artifacts/native
# shellcheck disable=SC2034 # For whoever sources this.
bench=$(pwd)/artifacts/benchmarks/Kms.Benchmarks
[ -x "$native/kmsd" ] || packaging/publish.sh
export PATH=$native:$PATH

# The programs that make load, and the echo.
build_load() {
    dotnet publish tests/Kms.Benchmarks --configuration Release --runtime linux-x64 --output "$(dirname "$bench")" \
        --verbosity quiet -nologo -p:RestoreLockedMode=true
}

# make_host DIR [LINE OF THE CONFIGURATION]...: a token, a configuration DIR/kmsd.conf and an empty database, unless they are there.
make_host() {
    local dir=$1
    shift
    umask 077
    export SOFTHSM2_CONF=$dir/softhsm2.conf KMSD_SOCKET=$dir/kmsd.sock
    mkdir -p "$dir/state"
    if [ ! -e "$dir/pin" ]; then
        printf 'benchmark-pin' > "$dir/pin"
        softhsm/make-token.sh "$dir" bench "$dir/pin" > /dev/null
    fi
    cat > "$dir/kmsd.conf" <<CONF
[daemon]
socket = $dir/kmsd.sock
socket_group = $(id -gn)
state_dir = $dir/state
[token]
module = /usr/lib/softhsm/libsofthsm2.so
label = bench
pin_file = $dir/pin
[access]
operators = uid:$(id -u)
CONF
    printf '%s\n' "$@" >> "$dir/kmsd.conf"
    [ -e "$dir/state/kms.db" ] || kmsd init --root token --config "$dir/kmsd.conf" > /dev/null
    uname -srm; nproc; git log -1 --format='commit %h' 2>/dev/null || true
}
