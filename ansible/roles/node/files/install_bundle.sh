#!/bin/sh
# Installs a release from its BUNDLE: that file, which is removed with all that was unpacked beside it, then what its
# installer is told. What a run left that was killed is removed by the next.
set -eu
bundle=$1
shift
place=$bundle.unpacked
trap 'rm -rf "$place" "$bundle"' EXIT
trap 'exit 1' HUP INT TERM
rm -rf "$place"
mkdir -m 0700 "$place"
tar --zstd -xf "$bundle" -C "$place"
sh "$place"/*/install.sh "$@"
