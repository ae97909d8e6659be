"""Bundles of two releases: of this checkout, and of the one before it, from the sources that were kept of it.

Each is built by its own code, as whoever released it did.
"""

from __future__ import annotations

import platform
from dataclasses import dataclass
from pathlib import Path

from tests.house.tree import ROOT
from tests.ops.machines import run
from tests.released.sources import ARCHIVE, HERE, kept, unpack

from jinbao import __version__

PYTHON = str(ROOT / ".venv" / "bin" / "python")


@dataclass(frozen=True, slots=True)
class Release:
    """A release by its sources; `bundle` is there once it is built."""

    version: str
    sources: Path
    out: Path

    @property
    def bundle(self) -> Path:
        """The file that is carried."""
        return self.out / f"jinbao-{self.version}-linux-{platform.machine()}.tar.zst"

    @property
    def collection(self) -> Path:
        """What the controller installs of it."""
        return self.sources / "ansible"

    def build(self, key: Path, passphrase: Path) -> None:
        """Write its signed bundle."""
        words = f"bundle build --checkout {self.sources} --out {self.out} --key {key} --passphrase-file {passphrase}"
        run([PYTHON, "-m", "jinbao.cli.main", *words.split()], PYTHONPATH=str(self.sources / "node"))


def of_checkout(out: Path) -> Release:
    """The release this checkout would be."""
    return Release(__version__, ROOT, out)


def former(out: Path) -> Release:
    """The newest release that was kept, unpacked beside its bundle."""
    version = kept()[-1]
    return Release(version, unpack(HERE / version / ARCHIVE, out / f"sources-{version}"), out)
