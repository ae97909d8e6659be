"""Where the files that ship with the product lie: `tiers/` and `monitoring/` beside the package, or in the checkout."""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).parent.parent


def tiers_directory() -> Path:
    """The installed `tiers` directory; in a checkout, the repository's own."""
    return _shipped("tiers")


def monitoring_directory() -> Path:
    """The installed `monitoring` directory; in a checkout, the repository's own."""
    return _shipped("monitoring")


def _shipped(name: str) -> Path:
    installed = _PACKAGE / name
    return installed if installed.is_dir() else _PACKAGE.parent.parent / name
