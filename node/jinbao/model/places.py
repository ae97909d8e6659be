"""Where the files that ship with the product lie: `tiers/` beside the package, or in the checkout."""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).parent.parent


def tiers_directory() -> Path:
    """The installed `tiers` directory; in a checkout, the repository's own."""
    installed = _PACKAGE / "tiers"
    return installed if installed.is_dir() else _PACKAGE.parent.parent / "tiers"
