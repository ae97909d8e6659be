"""Roles on a whole Debian with systemd of its own: `make test-ops`."""
