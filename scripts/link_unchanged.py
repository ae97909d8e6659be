#!/usr/bin/env python3
"""Takes over from the former release, as links, what the wheels of a bundle would install again; for install.sh alone.

usage: link_unchanged.py WHEELS FORMER NEW: a directory of wheels, two releases, NEW with an empty venv of the same Python.

A file is linked only once it holds the sum which the bundle's own wheel names for it; a compiled module only where it
is the one that lies in the bundle for this Python, or where none does once it holds the sum which the former release
wrote down when it was made (COMPILED): damage does not spread. A wheel that makes commands, lays files elsewhere, or
of which one file is missing or differs, is left to uv. Needs the standard library alone.
"""

from __future__ import annotations

import csv
import hashlib
import importlib.util
import os
import sys
import tarfile
import zipfile
from base64 import urlsafe_b64encode
from collections.abc import Iterator
from pathlib import Path, PurePosixPath


def main() -> None:
    """Link every wheel that can be; raises OSError where the disk does not link, with nothing half done left to uv."""
    wheels, former, new = map(Path, sys.argv[1:])
    site = Path("lib") / f"python{sys.version_info.major}.{sys.version_info.minor}" / "site-packages"
    signed = Path(__file__).with_name(f"compiled-{importlib.util.MAGIC_NUMBER.hex()}.tar")
    compiled = dict(_signed(signed, site) if signed.is_file() else _compiled(former / "COMPILED"))
    for wheel in sorted(wheels.glob("*.whl")):
        with zipfile.ZipFile(wheel) as archive:
            _take(archive, former / "venv" / site, new / "venv" / site, compiled)


def _signed(path: Path, site: Path) -> Iterator[tuple[str, str]]:
    """Path within `venv`, and SHA-256, of each compiled module of the bundle."""
    with tarfile.open(path) as tar:
        for member in tar:
            file = tar.extractfile(member)
            if file is not None:
                yield (site / member.name).as_posix(), hashlib.sha256(file.read()).hexdigest()


def _compiled(path: Path) -> Iterator[tuple[str, str]]:
    """Path within `venv`, and SHA-256, of each compiled module; nothing for a release that wrote none down."""
    if path.is_file():
        for line in path.read_text(encoding="utf-8").splitlines():
            found, _, name = line.partition("  ")
            yield name.removeprefix("./"), found


def _take(archive: zipfile.ZipFile, old: Path, new: Path, compiled: dict[str, str]) -> None:
    """One wheel, whole or not at all."""
    [record] = [name for name in archive.namelist() if name.endswith(".dist-info/RECORD")]
    info = record.rpartition("/")[0]
    listed = archive.read(record)
    sums = {name: found for name, found, _ in csv.reader(listed.decode().splitlines()) if found}
    if not all(_is_plain(name, info) for name in sums) or _has_commands(archive, info):
        return
    if not all(_holds(old / name, found) for name, found in sums.items()):
        return
    for name in [*sums, *_modules(sums, old, compiled)]:
        (new / name).parent.mkdir(parents=True, exist_ok=True)
        os.link(old / name, new / name)
    (new / record).write_bytes(listed)
    (new / info / "INSTALLER").write_text("uv\n", encoding="ascii")


def _is_plain(name: str, info: str) -> bool:
    """Whether a file goes where it is named, below site-packages."""
    path = PurePosixPath(name)
    is_inside = not path.is_absolute() and ".." not in path.parts
    return is_inside and path.parts[0] != f"{info.removesuffix('.dist-info')}.data"


def _has_commands(archive: zipfile.ZipFile, info: str) -> bool:
    """Whether programs are made of it, which name the Python of their own release."""
    name = f"{info}/entry_points.txt"
    return name in archive.namelist() and b"_scripts]" in archive.read(name)


def _holds(path: Path, found: str) -> bool:
    """Whether a plain file is there with this sum, as RECORD writes it."""
    if not path.is_file() or path.is_symlink():
        return False
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").digest()
    return found == f"sha256={urlsafe_b64encode(digest).rstrip(b'=').decode()}"


def _modules(sums: dict[str, str], old: Path, compiled: dict[str, str]) -> Iterator[str]:
    """Compiled modules of these sources that are still as they were made."""
    below = old.relative_to(old.parents[2])
    for name in sums:
        if name.endswith(".py"):
            made = PurePosixPath(importlib.util.cache_from_source(name)).as_posix()
            wanted = compiled.get((below / made).as_posix())
            if wanted and (old / made).is_file():
                with (old / made).open("rb") as file:
                    if hashlib.file_digest(file, "sha256").hexdigest() == wanted:
                        yield made


main()
