#!/bin/sh
# Keeps a verified copy of SoftHSM's token files, and puts a damaged one back. SoftHSM rewrites token.object at every login,
# without care: a kill or a power cut in that moment leaves it empty or cut off, and the token is gone.
#   softhsm/token-copy.sh save DIR      after kmsd became ready: DIR/tokens → DIR/tokens.copy, if every file is sound
#   softhsm/token-copy.sh restore DIR   before kmsd starts: puts back each file that is empty, missing or doesn't parse
# DIR is the folder that softhsm/make-token.sh made. Exit 0: all sound (now); 65: damaged, and no sound copy is there.
set -eu

usage() { echo "usage: token-copy.sh save|restore DIR" >&2; exit 64; }
[ "$#" -eq 2 ] || usage
[ -d "$2/tokens" ] || { echo "there is no folder $2/tokens" >&2; exit 66; }
umask 077
tokens=$2/tokens
copy=$2/tokens.copy

# Prints how many attributes an object file of SoftHSM holds; fails if it is cut off or no such file. Its form: a generation
# (8 bytes), then for each attribute its type (8 bytes, big-endian), its kind (8 bytes) and its value: 1 a boolean of one
# byte, 2 a number of 8 bytes, 3 bytes after their count, 4 a nested map after its length, 5 a list of numbers after its count.
attributes() {
    od -An -v -tu1 -w1 "$1" | awk '
        { byte[NR - 1] = $1 + 0 }
        function number(at,   i, value) {
            value = 0
            for (i = 0; i < 8; i++) value = value * 256 + byte[at + i]
            return value
        }
        END {
            at = 8
            while (at < NR) {
                if (at + 16 > NR) exit 1
                kind = number(at + 8)
                at += 16
                if (kind == 1) at += 1
                else if (kind == 2) at += 8
                else if (kind == 3 || kind == 4) { if (at + 8 > NR) exit 1; at += 8 + number(at) }
                else if (kind == 5) { if (at + 8 > NR) exit 1; at += 8 + 8 * number(at) }
                else exit 1
                count++
            }
            if (at != NR || count == 0) exit 1
            print count
        }'
}

# sound FILE [REFERENCE]: it parses, and lacks none of the attributes that the reference has.
sound() {
    [ -s "$1" ] || return 1
    case $1 in
        *.object)
            count=$(attributes "$1") || return 1
            [ -z "${2-}" ] || [ "$count" -ge "$(attributes "$2")" ]
            ;;
        *) return 0 ;;
    esac
}

save() {
    rm -rf "$copy.new"
    cp -a "$tokens" "$copy.new"
    for file in "$copy.new"/*/*.object; do
        sound "$file" || { rm -rf "$copy.new"; echo "$file is damaged; the older copy stays" >&2; exit 65; }
    done
    sync -f "$copy.new"
    rm -rf "$copy.old"
    [ ! -e "$copy" ] || mv "$copy" "$copy.old"
    mv "$copy.new" "$copy"
    sync -f "$copy"
    rm -rf "$copy.old"
}

restore() {
    # A save that was cut off between its two renames left the former copy under its other name.
    [ -e "$copy" ] || [ ! -e "$copy.old" ] || mv "$copy.old" "$copy"
    for file in "$copy"/*/*; do
        case $file in *.lock | */"*") continue ;; esac
        target=$tokens/${file#"$copy/"}
        [ -d "$(dirname "$target")" ] || continue # The token was removed on purpose.
        # An object that isn't there was destroyed on purpose; the token's own file never is.
        case $file in */token.object | */generation) ;; *) [ -e "$target" ] || continue ;; esac
        if ! sound "$target" "$file"; then
            cp -a "$file" "$target.new"
            sync "$target.new"
            mv "$target.new" "$target"
            sync -f "$target"
            echo "put back: $target"
        fi
    done
    for file in "$tokens"/*/*.object; do
        [ -e "$file" ] || continue
        sound "$file" || { echo "$file is damaged, and there is no copy of it" >&2; exit 65; }
    done
}

case $1 in
    save) save ;;
    restore) restore ;;
    *) usage ;;
esac
