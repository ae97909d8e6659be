"""The command line, for tests of zones that run."""

from __future__ import annotations

from tests.cli.conftest import say  # noqa: F401  # a fixture of the command line
