#!/bin/sh
# Holds a bundle's signature and sums against a public key, in a directory of its own that is removed; prints BUNDLE.
# Uses nothing of the bundle: docs/how-to/install-offline.md, step 3.
set -eu
bundle=$1 key=$2
fail() {
  printf '%s\n' "$1" >&2
  exit 1
}
[ -f "$bundle" ] || fail "expected a file on the controller, got none"
[ -f "$key" ] || fail "expected the public release key $key on the controller, got none"
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
tar --zstd -xf "$bundle" -C "$place" || fail "expected tar and zstd to unpack it, got an error"
cd "$place"/jinbao-*/ || fail "expected one folder jinbao-*, got none"
openssl pkeyutl -verify -pubin -inkey "$key" -rawin -in SHA256SUMS -sigfile SHA256SUMS.sig >/dev/null 2>&1 ||
  fail "expected the signature of the key in $key, got another or none"
sha256sum --check --strict --quiet SHA256SUMS >/dev/null 2>&1 || fail "expected the bytes that were signed, got others"
cat BUNDLE
