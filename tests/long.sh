#!/bin/bash
# The same tests as tests/run.sh, at full counts. Run before an issue is closed, and quoted in its note.
export KMS_STRESS_OPERATIONS=100000 KMS_CRASH_CREATES=200 KMS_CRASH_ENCRYPTIONS=2000 KMS_FILE_MIB=2048
export KMS_DESTROYED_KEYS=1000 KMS_FORGERIES=3000 KMS_WALK_SEEDS=8 KMS_WALK_STEPS=2000
exec "$(dirname "$0")/run.sh"
