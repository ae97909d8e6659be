"""Generated from proto/; see scripts/make_wire.sh."""
