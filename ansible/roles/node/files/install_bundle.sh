#!/bin/sh
# Installs a release from its BUNDLE: that file, which is removed with all that was unpacked, then what its installer is told.
# Below /opt, where there was room for the release.
set -eu
bundle=$1
shift
place=$(mktemp -d /opt/.jinbao-XXXXXX)
trap 'rm -rf "$place" "$bundle"' EXIT
trap 'exit 1' HUP INT TERM
tar --zstd -xf "$bundle" -C "$place"
sh "$place"/*/install.sh "$@"
