"""Bundles of two releases: of this checkout, and of the one before it, from the sources that were kept of it.

Each is built by its own code, as whoever released it did. The one of the release before is kept beside the base system,
with what its installer makes of a machine, and with the key that signs both.
"""

from __future__ import annotations

import platform
import shutil
import tempfile
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from tests.house.tree import ROOT
from tests.ops.machines import CACHE, base, booted, run
from tests.released.sources import ARCHIVE, HERE, kept, unpack

from jinbao import __version__

LAID_KEY = "etc/jinbao/release.pub.pem"
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

    def build(self, key: Key) -> None:
        """Write its signed bundle, unless it is there."""
        if self.bundle.is_file():
            return
        with tempfile.TemporaryDirectory(dir=self.out) as scratch:
            words = f"bundle build --checkout {self.sources} --out {scratch} {key.words}"
            run([PYTHON, "-m", "jinbao.cli.main", *words.split()], PYTHONPATH=str(self.sources / "node"))
            (Path(scratch) / self.bundle.name).rename(self.bundle)

    def installed(self, key: Key) -> Path:
        """A layer over the base system: a machine on which its own installer was run, once, and nothing else."""
        place = self.out / f"installed-on-{base().name}"
        if not place.is_dir():
            self.build(key)
            with booted({"installs": "192.0.2.2"}, "") as network:
                machine = network.machines["installs"]
                shutil.copyfile(self.bundle, machine.root / "opt" / self.bundle.name)
                (machine.root / "etc" / "jinbao").mkdir(0o750)
                shutil.copyfile(key.public, machine.root / LAID_KEY)
                machine.run("tar", "--zstd", "-xf", f"/opt/{self.bundle.name}", "-C", "/opt")
                folder = f"/opt/{self.bundle.name.removesuffix('.tar.zst')}"
                machine.run(
                    "sh", f"{folder}/install.sh", "--key", f"/{LAID_KEY}", "--python", "/usr/bin/python3"
                )
                machine.run("rm", "-r", folder, f"/opt/{self.bundle.name}")
                machine.keep(place)
        return place


@dataclass(frozen=True, slots=True)
class Key:
    """The release key: its private file, and the one that holds its passphrase."""

    private: Path
    passphrase: Path

    @property
    def public(self) -> Path:
        """What every host is brought."""
        return self.private.with_suffix(".pub.pem")

    @property
    def words(self) -> str:
        """How a command is told to sign with it."""
        return f"--key {self.private} --passphrase-file {self.passphrase}"


def release_key() -> Key:
    """Made once on this machine; it signs nothing but what is tested here."""
    place = CACHE / "key"
    place.mkdir(mode=0o700, parents=True, exist_ok=True)
    key = Key(place / "release.pem", place / "passphrase")
    if not key.public.is_file():
        key.private.unlink(missing_ok=True)
        key.passphrase.touch(0o600)
        key.passphrase.write_text("a passphrase of words\n", encoding="utf-8")
        words = f"bundle key --to {key.private} --public {key.public} --passphrase-file {key.passphrase}"
        run([PYTHON, "-m", "jinbao.cli.main", *words.split()])
    return key


def of_checkout(out: Path) -> Release:
    """The release this checkout would be."""
    return Release(__version__, ROOT, out)


def former(out: Path, key: Key) -> Release:
    """The newest release that was kept, unpacked into `out`; its bundle lies where it is kept for the next run."""
    version = kept()[-1]
    archive = HERE / version / ARCHIVE
    what = sha256(archive.read_bytes() + key.public.read_bytes()).hexdigest()[:8]
    place = CACHE / f"bundle-{version}-{what}"
    place.mkdir(parents=True, exist_ok=True)
    return Release(version, unpack(archive, out / f"sources-{version}"), place)
