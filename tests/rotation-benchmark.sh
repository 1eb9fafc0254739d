#!/bin/bash
# Numbers, not tests: the root key is rotated while one connection encrypts. Versions carried over a second, and the 99th percentile of
# encrypt before and during, of one run on one machine.
#   tests/rotation-benchmark.sh [versions, default 100000]
# Goals: at least 3,000 versions a second on SoftHSM, and a 99th percentile of at most 5 times the one before.
set -euo pipefail
cd "$(dirname "$0")/.."
versions=${1-100000}
. tests/bench-host.sh
build_load
dir=$(mktemp -d /tmp/kms-rotation-XXXXXX)
daemon=''
trap 'kill $daemon 2>/dev/null || true; wait; rm -rf "$dir"' EXIT
make_host "$dir" '[limits]' 'keys_per_store = 1000000'
kmsd --config "$dir/kmsd.conf" 2> "$dir/journal" &
daemon=$!
while [ ! -S "$KMSD_SOCKET" ]; do sleep 0.1; done
kmsctl member add default "uid:$(id -u)" manager > /dev/null
kmsctl key create bench --grant "uid:$(id -u)=encryptorDecryptor" > /dev/null

# Keys with one version each, many requests in flight.
cat > "$dir/make.py" <<'PY'
import json, os, socket, sys, threading
count, threads = int(sys.argv[1]), 8
def make(first, last):
    wire = socket.socket(socket.AF_UNIX); wire.connect(os.environ["KMSD_SOCKET"]); answers = wire.makefile("rb")
    for start in range(first, last, 64):
        names = range(start, min(start + 64, last))
        wire.sendall(b"".join(json.dumps({"jsonrpc": "2.0", "id": i, "method": "keys.create", "params": {"name": f"key-{i}", "type": "AES256-GCM96"}}).encode() + b"\n" for i in names))
        for _ in names:
            answer = json.loads(answers.readline())
            if "error" in answer: print(answer, file=sys.stderr); os._exit(1)
workers = [threading.Thread(target=make, args=(count * i // threads, count * (i + 1) // threads)) for i in range(threads)]
[worker.start() for worker in workers]; [worker.join() for worker in workers]
PY
began=$(date +%s%N)
python3 "$dir/make.py" "$versions"
echo "$versions keys made in $((($(date +%s%N) - began) / 1000000)) ms"

p99() { sed -n 's/.*p99 \([0-9]*\) .*/\1/p' <<< "$1"; }
before=$("$bench" load "$KMSD_SOCKET" bench 1 1 10)
mkfifo "$dir/gate"
"$bench" load "$KMSD_SOCKET" bench 1 1 - < "$dir/gate" > "$dir/during" &
load=$!
exec 9> "$dir/gate"
sleep 0.5
began=$(date +%s%N)
kmsctl root rotate --reason benchmark > /dev/null 9>&-
ms=$((($(date +%s%N) - began) / 1000000))
exec 9>&-
wait "$load"
during=$(cat "$dir/during")
echo "carried over: $versions versions in $ms ms, $((versions * 1000 / ms)) versions/s, beside one connection that encrypts"
echo "encrypt before: $before"
echo "encrypt during: $during; p99 ratio $(awk "BEGIN { printf \"%.1f\", $(p99 "$during") / $(p99 "$before") }")"
kmsctl root status
