#!/bin/sh
# The root of a Debian 12 that boots under systemd-nspawn, for tests: artifacts/boot/root. Built once (as root; about 40 s and
# 250 MB from a mirror), and again when this script has changed. Nothing of kmsd is in it: tests install that themselves,
# in a layer above that is gone when they end.
#   tests/boot-root.sh     KMS_DEBIAN_MIRROR names another mirror
# Exit 69: it can't be built here; the reason is on standard error.
set -eu
cd "$(dirname "$0")/.."

refuse() { echo "no container root: $*" >&2; exit 69; }
[ "$(id -u)" -eq 0 ] || refuse "only root can make one"
command -v debootstrap >/dev/null || refuse "debootstrap is missing: apt-get install debootstrap"

folder=$(pwd)/artifacts/boot
mirror=${KMS_DEBIAN_MIRROR:-http://deb.debian.org/debian}
stamp=$(sha256sum < tests/boot-root.sh | cut -d' ' -f1)
[ "$(cat "$folder/stamp" 2>/dev/null)" != "$stamp" ] || exit 0

# One at a time: two test runs of one tree may come here together.
mkdir -p "$folder"
exec 9> "$folder/lock"
flock 9
[ "$(cat "$folder/stamp" 2>/dev/null)" != "$stamp" ] || exit 0
rm -rf "$folder/root" "$folder/new" "$folder/stamp"

# libpam-systemd puts logins into user.slice; cron is there for users' jobs; softhsm2 and script for the token.
debootstrap --variant=minbase --include=systemd,systemd-sysv,dbus,libpam-systemd,dbus-user-session,cron,softhsm2,bsdutils \
    bookworm "$folder/new" "$mirror" > "$folder/debootstrap.log" 2>&1 ||
    refuse "debootstrap failed: $(tail -n1 "$folder/debootstrap.log"); all of it is in $folder/debootstrap.log"
chroot "$folder/new" useradd --create-home --uid 1000 alice
chroot "$folder/new" useradd --create-home --uid 1001 bob
rm -rf "$folder/new/var/cache/apt/archives" "$folder/new/var/lib/apt/lists"
mv "$folder/new" "$folder/root"
echo "$stamp" > "$folder/stamp"
