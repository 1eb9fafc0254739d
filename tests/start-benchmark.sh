#!/bin/bash
# A start with 100,000 keys and 300,000 grants, every code and the set root checked. Goal, on two cores: 5 s and 250 MB.
#   tests/start-benchmark.sh [keys, default 100000]
# KMS_START_DIR=DIR keeps what was made there, and uses it again.
set -euo pipefail
cd "$(dirname "$0")/.."
keys=${1-100000}
. tests/bench-host.sh
dir=${KMS_START_DIR-$(mktemp -d /tmp/kms-start-XXXXXX)}
trap 'kill $(cat "$dir/pid" 2>/dev/null) 2>/dev/null || true; [ -n "${KMS_START_DIR-}" ] || rm -rf "$dir"' EXIT
rm -f "$dir/notify"
make_host "$dir" '[limits]' 'keys_per_store = 1000000'
python3 -I - "$dir" "$keys" <<'PY'
import json, os, socket, subprocess, sys, time
folder, keys = sys.argv[1], int(sys.argv[2])
manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM); manager.bind(folder + "/notify")
def start():
    began = time.perf_counter()
    process = subprocess.Popen(["kmsd", "--config", folder + "/kmsd.conf"], env={**os.environ, "NOTIFY_SOCKET": folder + "/notify"}, stderr=subprocess.DEVNULL)
    print(process.pid, file=open(folder + "/pid", "w"))
    while b"READY=1" not in manager.recv(4096): pass
    return process, time.perf_counter() - began
def stop(process):
    process.terminate(); process.wait()
    manager.setblocking(False)
    try:
        while True: manager.recv(4096)
    except BlockingIOError: manager.setblocking(True)
def memory(process, field):
    return next(int(line.split()[1]) for line in open(f"/proc/{process.pid}/status") if line.startswith(field)) / 1024
def processor(process):
    fields = open(f"/proc/{process.pid}/stat").read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
def connect():
    wire = socket.socket(socket.AF_UNIX); wire.connect(folder + "/kmsd.sock"); return wire.makefile("rwb")
def call(lines, method, **params):
    lines.write(json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).encode() + b"\n"); lines.flush()
    return json.loads(lines.readline())["result"]
process, _ = start()
lines = connect()
call(lines, "members.add", store="default", principal=f"uid:{os.getuid()}", role="manager")
there = call(lines, "keys.list", limit=1)["total"]
began, sent, done = time.perf_counter(), there, there
while done < keys:
    while sent < keys and sent - done < 120:
        grants = [{"principal": f"uid:{2000 + (sent * 3 + i) % 900}", "role": "encryptor"} for i in range(3)]
        lines.write(json.dumps({"jsonrpc": "2.0", "id": sent, "method": "keys.create", "params": {
            "name": f"key-{sent}", "type": "AES256-GCM96", "grants": grants}}).encode() + b"\n"); sent += 1
    lines.flush()
    answer = json.loads(lines.readline())
    if "error" in answer: sys.exit(str(answer))
    done += 1
print(f"{keys - there} keys with 3 grants each made in {time.perf_counter() - began:.0f} s ({os.path.getsize(folder + '/state/kms.db') >> 20} MiB)")
stop(process)
for _ in range(3):
    process, seconds = start()
    print(f"start: {seconds:.2f} s, {processor(process):.2f} s of processor time, {memory(process, 'VmRSS'):.0f} MB resident, {memory(process, 'VmHWM'):.0f} MB at most")
    stop(process)
process, _ = start()
lines = connect()
began = time.perf_counter(); made = call(lines, "backup.create"); took = time.perf_counter() - began
print(f"backup: {took:.2f} s, {os.path.getsize(folder + '/state/backups/' + made['path']) >> 20} MiB, {made['entries']} history entries")
call(lines, "members.add", store="default", principal="uid:4321", role="user")
stop(process)
began = time.perf_counter()
subprocess.run(["kmsd", "restore", f"{folder}/state/backups/{made['path']}", "--yes", "--config", folder + "/kmsd.conf"], check=True, stdout=subprocess.DEVNULL)
print(f"restore, every key rotated: {time.perf_counter() - began:.1f} s")
process, seconds = start()
print(f"start after it, two versions a key: {seconds:.2f} s, {memory(process, 'VmRSS'):.0f} MB resident")
PY
