#!/bin/sh
# Publishes the native binaries: kmsd with libe_sqlite3.so beside it, and kmsctl.
#   packaging/publish.sh                artifacts/native/       what is installed
#   packaging/publish.sh --test-hooks   artifacts/native-test/  kmsd for tests alone: clock from a file, fault points,
#                                                               lowered limits, imported keys, row codes made anew
set -eu
cd "$(dirname "$0")/.."

case "${1-}" in
    '') name=native hooks=false build=artifacts ;;
    --test-hooks) name=native-test hooks=true build=artifacts/test-hooks ;;
    *) echo "usage: packaging/publish.sh [--test-hooks]" >&2; exit 64 ;;
esac
command -v dotnet >/dev/null || { echo "dotnet is missing: install the .NET SDK 10" >&2; exit 69; }
command -v gcc >/dev/null || { echo "the linker is missing: apt-get install gcc libc6-dev zlib1g-dev" >&2; exit 69; }

root=$(pwd)
out=$root/artifacts/$name
mkdir -p "$out"
publish() {
    rm -rf "$root/artifacts/publish/$name/$1"
    dotnet publish "src/$1" --configuration Release --runtime linux-x64 --output "$root/artifacts/publish/$name/$1" \
        --verbosity quiet -nologo -p:RestoreLockedMode=true -p:KmsTestHooks="$hooks" -p:ArtifactsPath="$root/$build/"
}
install_file() {
    # Renamed into place, so that a daemon that runs from there isn't disturbed.
    cp "$root/artifacts/publish/$name/$1/$2" "$out/.$2.new"
    chmod "$3" "$out/.$2.new"
    mv -f "$out/.$2.new" "$out/$2"
}

publish kmsd
install_file kmsd kmsd 0755
install_file kmsd libe_sqlite3.so 0644
if [ "$hooks" = false ]; then
    publish kmsctl
    install_file kmsctl kmsctl 0755
fi
echo "$out:"
(cd "$out" && du -h --apparent-size -- *)
