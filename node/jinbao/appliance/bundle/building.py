"""Building a bundle from a checkout: the locked wheels of one architecture, our own, and what is installed beside them.

Only here is the package index asked, by pip, and every wheel it brings is one whose hash the lock names. The
same checkout and lock give the same bytes. Does not sign; installs nothing.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from packaging.markers import Marker

from jinbao import __version__
from jinbao.appliance.bundle.compiling import compile_wheels
from jinbao.appliance.bundle.contents import (
    INFO,
    INSTALLER,
    REQUIREMENTS,
    SBOM,
    SIGNATURE,
    TOOLS,
    WHEELS,
    BundleInfo,
    write_sums,
)
from jinbao.appliance.bundle.packing import MADE_AT, SUFFIX, pack, unpack
from jinbao.appliance.bundle.sbom import Wheel, read_wheel, sbom
from jinbao.authority.release_keys import ReleaseKey
from jinbao.model.errors import LocalError, UsageError

LOCK, UV = Path("requirements") / "runtime.txt", Path("requirements") / "uv.txt"
SCRIPT, LINKER = Path("scripts") / INSTALLER, Path("scripts") / "link_unchanged.py"
COMPILER = Path("scripts") / "compile_wheel.py"
FOLDERS = ("units", "tiers", "docs", "monitoring", "ansible")
"""Of the checkout, as far as they are there."""

FILES = ("LICENSE", "CHANGELOG.md", "README.md", "README.zh.md")
_GLIBC_MINORS = range(28, 4, -1)
_OLD = ("manylinux2014", "manylinux2010", "manylinux1")
_LEFT_OUT = shutil.ignore_patterns("_build", "__pycache__", "*.pyc", ".*")
_SAID_CHARACTERS_MAX = 1500


def build(checkout: Path, arch: str, out: Path, key: ReleaseKey | None) -> Path:
    """Build the bundle of a checkout into the directory `out`; returns its file.

    Raises UsageError where there is no checkout, LocalError where pip, the build of our wheel or the compiling fails.
    """
    for needed in (LOCK, UV, SCRIPT, LINKER, COMPILER, Path("pyproject.toml")):
        if not (checkout / needed).is_file():
            raise UsageError("checkout", expected=f"a directory with {needed}", got=str(checkout))
    info = BundleInfo(__version__, arch, f"{sys.version_info.major}.{sys.version_info.minor}")
    out.mkdir(parents=True, exist_ok=True)
    with _scratch(out) as scratch:
        directory = scratch / info.name
        wheels, tools = directory / WHEELS, directory / TOOLS
        fetched = _fetch(checkout / LOCK, info, wheels, scratch)
        uv = _fetch(checkout / UV, info, tools, scratch)
        own = _own(checkout, wheels)
        compile_wheels(checkout / COMPILER, wheels, tools)
        (directory / REQUIREMENTS).write_text(_requirements([*fetched, own]), encoding="utf-8")
        (directory / SBOM).write_bytes(sbom(info, own, [*fetched, *uv]))
        _copy(checkout, directory)
        (directory / INFO).write_text(info.text(), encoding="utf-8")
        return _finished(directory, out / f"{info.name}{SUFFIX}", key)


def sign(bundle: Path, key: ReleaseKey) -> None:
    """Sign a bundle that was built elsewhere, in place; its sums are made anew from what is in it."""
    with _scratch(bundle.parent) as scratch:
        directory = unpack(bundle, scratch)
        _finished(directory, bundle, key)


def _finished(directory: Path, target: Path, key: ReleaseKey | None) -> Path:
    sums = write_sums(directory)
    if key is not None:
        (directory / SIGNATURE).write_bytes(key.sign(sums))
    pack(directory, target)
    return target


@contextmanager
def _scratch(beside: Path) -> Iterator[Path]:
    """A directory on the same disk, gone afterwards."""
    with tempfile.TemporaryDirectory(prefix=".bundle-", dir=beside) as made:
        yield Path(made)


def platforms(arch: str) -> list[str]:
    """Tags of wheels that run on a glibc of 2.28 or newer, best first."""
    return [*(f"manylinux_2_{minor}_{arch}" for minor in _GLIBC_MINORS), *(f"{old}_{arch}" for old in _OLD)]


def lock_for(lock: str, info: BundleInfo) -> str:
    """The entries of a lock that are for a machine; pip would ask their markers of the machine that builds."""
    machine = {
        "platform_machine": info.arch,
        "python_version": info.python,
        "python_full_version": f"{info.python}.0",
    }
    kept = []
    for entry in re.split(r"\n(?=\S)", lock.strip()):
        first, _, hashes = entry.partition(" \\\n")
        named, _, marker = first.partition(" ; ")
        if not marker or Marker(marker).evaluate(machine):
            kept.append(f"{named} \\\n{hashes}\n")
    return "".join(kept)


def _fetch(lock: Path, info: BundleInfo, wheels: Path, scratch: Path) -> list[Wheel]:
    """The locked wheels for a machine, each of a hash the lock names, into a new directory."""
    wheels.mkdir(parents=True)
    mine = scratch / lock.name
    mine.write_text(lock_for(lock.read_text(encoding="utf-8"), info), encoding="utf-8")
    tags = [part for tag in platforms(info.arch) for part in ("--platform", tag)]
    only = ["--no-deps", "--require-hashes", "--only-binary", ":all:", "--implementation", "cp"]
    what = ["--python-version", info.python, *tags, "--requirement", str(mine), "--dest", str(wheels)]
    _run("wheels of the lock", ["-m", "pip", "download", "--quiet", "--no-input", *only, *what], lock.parent)
    return [read_wheel(path) for path in sorted(wheels.iterdir())]


def _own(checkout: Path, wheels: Path) -> Wheel:
    """Our own wheel, built from the checkout."""
    before = set(wheels.iterdir())
    command = ["-m", "hatchling", "build", "--target", "wheel", "--directory", str(wheels)]
    _run("wheel of the checkout", command, checkout)
    [made] = set(wheels.iterdir()) - before
    return read_wheel(made)


def _run(thing: str, command: Sequence[str], directory: Path) -> None:
    environment = os.environ | {"SOURCE_DATE_EPOCH": str(MADE_AT)}
    try:
        ran = subprocess.run(  # noqa: S603  # our own interpreter and its modules
            [sys.executable, *command],
            cwd=directory,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
    except OSError as exc:
        raise LocalError(thing, expected="an interpreter that runs", got=exc.strerror) from exc
    if ran.returncode:
        got = ran.stdout.strip()[-_SAID_CHARACTERS_MAX:]
        raise LocalError(thing, expected="all of them", got=got, next_step="run it in the checkout's .venv")


def _requirements(wheels: Sequence[Wheel]) -> str:
    """What is installed, each by the one hash that lies in the bundle."""
    lines = [f"{w.name}=={w.version} --hash=sha256:{w.sha256}\n" for w in wheels]
    return "".join(sorted(lines))


def _copy(checkout: Path, directory: Path) -> None:
    """What is installed beside the wheels, modes left behind."""
    for name in FOLDERS:
        if (checkout / name).is_dir():
            shutil.copytree(checkout / name, directory / name, ignore=_LEFT_OUT)
    for name in FILES:
        shutil.copyfile(checkout / name, directory / name)
    shutil.copyfile(checkout / SCRIPT, directory / INSTALLER)
    shutil.copyfile(checkout / LINKER, directory / TOOLS / LINKER.name)
