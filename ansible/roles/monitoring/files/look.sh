#!/bin/sh
# Says by --json what `jinbao monitoring write` would do to a directory, and does it to a copy that is removed.
set -eu
program=$1 directory=$2 webhook=$3 alertmanager=$4
copy=$(mktemp -d)
trap 'rm -rf "$copy"' EXIT
[ ! -d "$directory" ] || cp -a "$directory/." "$copy"
"$program" monitoring write "$copy" --webhook "$webhook" --alertmanager "$alertmanager" --json || [ $? = 3 ]
