#!/bin/sh
# Makes a token and says it: TOPOLOGY (a file that may be absent), then the words of `jinbao ca token`. As the authority's
# account. Through a file of its own, for the release before this one writes no token into a pipe.
set -eu
umask 077
topology=$1
shift
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
if [ -e "$topology" ]; then set -- "$@" --topology "$topology"; fi
"$@" --out "$place/token" >&2
cat "$place/token"
