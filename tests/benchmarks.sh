#!/bin/bash
# Numbers, not tests: start-up, memory, rates, against a bare echo, one caller beside a greedy one, files against openssl, and
# the work after a rotation. Ratios are of one run on one machine.
#   tests/benchmarks.sh [MiB of the file, default 2048]
#   tests/benchmarks.sh --ratios     only kmsd against the echo, and the fairness
# Goals: at 4 x 16 at least 60 % of the echo's throughput, at 1 x 1 at most 1.8 times its median latency; beside a greedy uid
# at most 3 times the median latency of the idle daemon. On two cores: 10,000 lines a second by 'kmsctl reencrypt', 100 ms for
# 'kmsctl file reencrypt' of 1 GiB.
set -euo pipefail
cd "$(dirname "$0")/.."
ratios=false
[ "${1-}" != --ratios ] || { ratios=true; shift; }
mebibytes=${1-2048}
. tests/bench-host.sh
build_load
dir=$(mktemp -d /tmp/kms-bench-XXXXXX)
trap 'for process in $daemon $echo $greedy; do kill "$process" 2>/dev/null || true; done; rm -rf "$dir"' EXIT
daemon='' echo='' greedy=''
make_host "$dir"
ls -l "$native/kmsd" "$native/kmsctl" | awk '{ print $NF ": " $5 " bytes" }'

cat > "$dir/drive.py" <<'PY'
import base64, json, os, socket, statistics, subprocess, sys, time
conf, path = sys.argv[1], os.environ["KMSD_SOCKET"]
notify = os.path.dirname(path) + "/notify"
manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM); manager.bind(notify)
def start():
    began = time.perf_counter()
    process = subprocess.Popen(["kmsd", "--config", conf], stderr=subprocess.DEVNULL, env={**os.environ, "NOTIFY_SOCKET": notify})
    while b"READY=1" not in manager.recv(4096): pass
    return process, (time.perf_counter() - began) * 1000
times = []
for _ in range(10):
    process, ms = start(); times.append(ms); process.terminate(); process.wait()
    manager.setblocking(False)
    try:
        while True: manager.recv(4096)
    except BlockingIOError: manager.setblocking(True)
print(f"start to READY=1: median {statistics.median(times):.0f} ms, worst {max(times):.0f} ms of 10")
process, _ = start()
print("pid", process.pid, flush=True, file=open(os.path.dirname(path) + "/pid", "w"))
wire = socket.socket(socket.AF_UNIX); wire.connect(path); lines = wire.makefile("rwb")
def call(method, **params):
    lines.write(json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).encode() + b"\n"); lines.flush()
    answer = json.loads(lines.readline())
    return answer["result"] if "result" in answer else sys.exit(str(answer))
uid = f"uid:{os.getuid()}"
call("members.add", store="default", principal=uid, role="manager")
call("keys.create", name="bench", type="AES256-GCM96", grants=[{"principal": uid, "role": "encryptorDecryptor"}])
status = lambda field: next(line for line in open(f"/proc/{process.pid}/status") if line.startswith(field)).split()[1]
text = base64.b64encode(b"x" * 32).decode()
print(f"resident when ready: {status('VmRSS')} KiB")
for name, count, action in (("system.status", 5000, lambda: call("system.status")),
                            ("crypto.encrypt of 32 bytes", 10000, lambda: call("crypto.encrypt", key="bench", plaintext=text))):
    began = time.perf_counter()
    for _ in range(count): action()
    print(f"{name}, one connection, one at a time (Python client): {count / (time.perf_counter() - began):.0f}/s")
print(f"resident after 10,000 encryptions: {status('VmRSS')} KiB")
PY
python3 "$dir/drive.py" "$dir/kmsd.conf" || { daemon=$(cut -d' ' -f2 "$dir/pid" 2>/dev/null); exit 1; }
daemon=$(cut -d' ' -f2 "$dir/pid")

# crypto.encrypt of 32 bytes, with history, counters and access checks, against a server that does nothing.
"$bench" echo "$dir/echo.sock" &
echo=$!
while [ ! -S "$dir/echo.sock" ]; do sleep 0.1; done
"$bench" compare "$KMSD_SOCKET" "$dir/echo.sock" bench 3
kill "$echo"; echo=''

# One uid asks as much as 64 connections with 16 requests in flight can; what another, with one request, waits meanwhile.
if [ "$(id -u)" -eq 0 ]; then
    chmod 0711 "$dir"; chmod 0666 "$KMSD_SOCKET"
    as() { local uid=$1; shift; setpriv --reuid="$uid" --regid="$uid" --clear-groups "$@"; }
    cp "$bench" "$dir/load"; chmod 0755 "$dir/load"
    for uid in 4001 4002; do kmsctl grant add bench "uid:$uid" encryptor > /dev/null; done
    median() { sed -n 's/.*median \([0-9]*\) .*/\1/p' <<< "$1"; }
    for round in 1 2 3; do
        alone=$(as 4002 "$dir/load" load "$KMSD_SOCKET" bench 1 1 3)
        as 4001 "$dir/load" load "$KMSD_SOCKET" bench 64 16 6 > "$dir/greedy" &
        greedy=$!
        sleep 1
        beside=$(as 4002 "$dir/load" load "$KMSD_SOCKET" bench 1 1 3)
        wait "$greedy"; greedy=''
        echo "fairness, round $round: alone $alone; beside a greedy uid $beside; ratio $(awk "BEGIN { printf \"%.1f\", $(median "$beside") / $(median "$alone") }") (greedy: $(cat "$dir/greedy"))"
    done
else
    echo "fairness: needs root, to act as two accounts (setpriv)"
fi
[ "$ratios" = false ] || exit 0

head -c "$((mebibytes * 1048576))" /dev/zero | openssl enc -aes-128-ctr -K 00 -iv 00 2>/dev/null > "$dir/plain"
sync; cat "$dir/plain" > /dev/null
openssl rand -hex 32 > "$dir/key"
timed() { local began; began=$(date +%s%N); "$@"; echo $(($(date +%s%N) - began)); }
# Peak memory of a child, from the kernel's accounting.
peak() { python3 -c 'import resource, subprocess, sys; code = subprocess.call(sys.argv[1:]); print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss, file=open("'"$dir/peak"'", "w")); sys.exit(code)' "$@"; }
for round in 1 2; do
    rm -f "$dir/by-openssl" "$dir/sealed" "$dir/opened"
    openssl_ns=$(timed openssl enc -aes-256-ctr -K "$(cat "$dir/key")" -iv 00000000000000000000000000000000 -in "$dir/plain" -out "$dir/by-openssl")
    rm -f "$dir/by-openssl"
    encrypt_ns=$(timed peak kmsctl file encrypt bench "$dir/plain" "$dir/sealed"); encrypt_kib=$(cat "$dir/peak")
    decrypt_ns=$(timed peak kmsctl file decrypt "$dir/sealed" "$dir/opened"); decrypt_kib=$(cat "$dir/peak")
    cmp "$dir/plain" "$dir/opened"
    rm -f "$dir/opened"
    echo "$mebibytes MiB, round $round: openssl $((openssl_ns / 1000000)) ms; file encrypt $((encrypt_ns / 1000000)) ms ($((100 * openssl_ns / encrypt_ns)) % of openssl's speed, $encrypt_kib KiB resident); file decrypt $((decrypt_ns / 1000000)) ms ($((100 * openssl_ns / decrypt_ns)) %, $decrypt_kib KiB)"
done

# After a rotation: lines under the old version, of 32 bytes each as a data key has, and a sealed file of 1 GiB.
cat > "$dir/lines.py" <<'PY'
import base64, json, os, socket, sys
wire = socket.socket(socket.AF_UNIX); wire.connect(os.environ["KMSD_SOCKET"]); lines = wire.makefile("rwb")
def call(method, **params):
    lines.write(json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).encode() + b"\n"); lines.flush()
    answer = json.loads(lines.readline())
    return answer["result"] if "result" in answer else sys.exit(str(answer))
key, count, path = sys.argv[1], int(sys.argv[2]), sys.argv[3]
with open(path, "w") as file:
    while count > 0:
        batch = min(count, 1000); count -= batch
        items = [{"plaintext": base64.b64encode(os.urandom(32)).decode()} for _ in range(batch)]
        file.writelines(item["ciphertext"] + "\n" for item in call("crypto.encryptBatch", key=key, items=items)["items"])
PY
lines=100000
python3 "$dir/lines.py" bench "$lines" "$dir/lines"
head -c 1073741824 "$dir/plain" > "$dir/gibibyte" 2>/dev/null
[ "$(stat -c %s "$dir/gibibyte")" -eq 1073741824 ] || truncate -s 1073741824 "$dir/gibibyte"
rm -f "$dir/sealed"; kmsctl file encrypt bench "$dir/gibibyte" "$dir/sealed"
rm -f "$dir/gibibyte" "$dir/plain"
kmsctl key rotate bench > /dev/null
for round in 1 2 3; do
    rm -f "$dir/renewed"
    lines_ns=$(timed kmsctl reencrypt bench "$dir/lines" "$dir/renewed" --lines)
    [ "$(grep -c '^kms:v2:' "$dir/renewed")" -eq "$lines" ]
    echo "reencrypt of $lines lines, round $round: $((lines_ns / 1000000)) ms, $((lines * 1000000000 / lines_ns)) lines/s"
done
for round in 1 2 3; do
    file_ns=$(timed kmsctl file reencrypt "$dir/sealed")
    echo "file reencrypt of 1 GiB, round $round: $((file_ns / 1000000)) ms"
done
