#!/bin/sh
# Installs the Debian packages that are missing for the commands given: as root with apt, otherwise it prints the command.
#   softhsm/prerequisites.sh PROGRAM=PACKAGE|FILE=PACKAGE …
set -eu
missing=
for need in "$@"; do
    what=${need%%=*}
    case $what in
        /*) [ -e "$what" ] || missing="$missing ${need#*=}" ;;
        *) command -v "$what" >/dev/null || missing="$missing ${need#*=}" ;;
    esac
done
if [ -n "$missing" ]; then
    if [ "$(id -u)" -eq 0 ]; then
        echo "Installing:$missing"
        # shellcheck disable=SC2086 # A list of packages.
        { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing; } >/dev/null
    else
        echo "Missing packages. Run this as root, then try again:" >&2
        echo "  apt-get install --no-install-recommends$missing" >&2
        exit 69
    fi
fi
if ! command -v dotnet >/dev/null; then
    echo "The .NET SDK 10 is missing: see https://learn.microsoft.com/dotnet/core/install/linux-debian" >&2
    exit 69
fi
