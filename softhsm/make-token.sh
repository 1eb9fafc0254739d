#!/bin/sh
# Makes a SoftHSM token for tests and trials.
#   softhsm/make-token.sh DIR LABEL PIN-FILE
# DIR/softhsm2.conf is what SOFTHSM2_CONF must name before kmsd is started; DIR/tokens holds the token. The PIN is read from
# PIN-FILE; the security officer's PIN is made at random and kept in DIR/so-pin (0600). A second token in DIR is another call.
set -eu

if [ "$#" -ne 3 ] || [ "$1" = --help ]; then
    echo "usage: make-token.sh DIR LABEL PIN-FILE" >&2
    exit 64
fi
command -v softhsm2-util >/dev/null || { echo "softhsm2-util is missing: apt-get install softhsm2" >&2; exit 69; }
command -v script >/dev/null || { echo "script is missing: apt-get install bsdutils" >&2; exit 69; }

umask 077
mkdir -p "$1/tokens"
dir=$(cd "$1" && pwd)
label=$2
pin_file=$3
[ -r "$pin_file" ] || { echo "the PIN file $pin_file can't be read" >&2; exit 66; }
pin=$(cat "$pin_file")
case ${#pin} in
    [0-3]) echo "the PIN in $pin_file must have 4 to 255 characters" >&2; exit 65 ;;
esac
case $label in
    '' | *[!A-Za-z0-9._-]*) echo "a label is of letters, digits, '.', '_' and '-'" >&2; exit 64 ;;
esac

if [ ! -e "$dir/softhsm2.conf" ]; then
    cat > "$dir/softhsm2.conf" <<CONF
directories.tokendir = $dir/tokens
objectstore.backend = file
log.level = ERROR
slots.removable = false
CONF
fi
[ -s "$dir/so-pin" ] || od -An -N16 -tx1 /dev/urandom | tr -d ' \n' > "$dir/so-pin"
so_pin=$(cat "$dir/so-pin")

# softhsm2-util takes a PIN from a terminal or as an argument, which every user could read: so it gets a terminal.
SOFTHSM2_CONF="$dir/softhsm2.conf"
export SOFTHSM2_CONF
before=$(find "$dir/tokens" -mindepth 1 -maxdepth 1 | wc -l)
printf '%s\n%s\n%s\n%s\n' "$so_pin" "$so_pin" "$pin" "$pin" |
    script -qec "softhsm2-util --init-token --free --label '$label'" /dev/null > "$dir/make-token.log" 2>&1 ||
    { grep -v PIN "$dir/make-token.log" >&2; rm -f "$dir/make-token.log"; echo "the token was not made" >&2; exit 70; }
rm -f "$dir/make-token.log"
after=$(find "$dir/tokens" -mindepth 1 -maxdepth 1 | wc -l)
[ "$after" -eq $((before + 1)) ] || { echo "the token was not made" >&2; exit 70; }
echo "Token '$label' made; start kmsd with SOFTHSM2_CONF=$dir/softhsm2.conf"
