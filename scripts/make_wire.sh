#!/usr/bin/env bash
# Regenerate node/jinbao/wire/gen from proto/; the result is committed and checked by `make check`.
set -euo pipefail
cd "$(dirname "$0")/.."
out=node/jinbao/wire/gen
rm -rf "$out"; mkdir -p "$out"
.venv/bin/python -m grpc_tools.protoc -I proto --python_out="$out" --pyi_out="$out" $(find proto -name '*.proto' | sort)
# Generated modules import each other from the root of proto/; here they live under jinbao.wire.gen.
find "$out" -name '*.py*' -exec sed -i 's/^from jinbao\./from jinbao.wire.gen.jinbao./' {} +
find "$out" -type d -exec sh -c 'printf "\"\"\"Generated from proto/; see scripts/make_wire.sh.\"\"\"\n" > "$1/__init__.py"' _ {} \;
