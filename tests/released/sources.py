"""The runnable sources of a release as one archive, the same bytes whenever it is made, and a place where they run.

All that its bundle is built from and runs by, and neither its tests nor its documents.
"""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
HERE = Path(__file__).parent
ARCHIVE = "sources.tar.xz"

KEPT = (
    "node",
    "proto",
    "scripts",
    "units",
    "tiers",
    "monitoring",
    "ansible",
    "requirements/runtime.txt",
    "requirements/uv.txt",
    "pyproject.toml",
    "README.md",
    "README.zh.md",
    "LICENSE",
    "CHANGELOG.md",
)
"""Folders and files that are kept of a checkout."""

_LEFT_OUT = ("__pycache__", ".pyc", ".pyo")


def files_of(root: Path) -> Iterator[Path]:
    """Every file that is kept, in order; no symbolic link, nothing that an interpreter left."""
    for name in KEPT:
        place = root / name
        found = sorted(place.rglob("*")) if place.is_dir() else [place]
        for path in found:
            parts = path.relative_to(root).parts
            is_left = any(part.startswith(".") or part.endswith(_LEFT_OUT) for part in parts)
            if path.is_file() and not path.is_symlink() and not is_left:
                yield path


def pack(root: Path, target: Path, preset: int = 9) -> None:
    """Write the archive of a checkout: names in order, no owner, no time, two modes."""
    with tarfile.open(target, "w:xz", preset=preset, format=tarfile.USTAR_FORMAT) as archive:
        for path in files_of(root):
            content = path.read_bytes()
            member = tarfile.TarInfo(path.relative_to(root).as_posix())
            member.size, member.mode = len(content), 0o755 if os.access(path, os.X_OK) else 0o644
            archive.addfile(member, io.BytesIO(content))


def unpack(archive: Path, target: Path) -> Path:
    """Lay an archive into an empty directory, and prove that what is then imported is it."""
    with tarfile.open(archive, "r:xz") as members:
        members.extractall(target, filter="data")
    told = run(target, "import json, jinbao; print(json.dumps([jinbao.__file__, jinbao.__version__]))")
    file, _ = json.loads(told)
    assert Path(file).is_relative_to(target), f"expected sources below {target}, got {file}"
    return target


def environment(sources: Path) -> dict[str, str]:
    """What makes an interpreter take these sources and no others."""
    return {"PYTHONPATH": str(sources / "node")}


def run(sources: Path, program: str, content: bytes = b"") -> str:
    """What a program says that imports these sources."""
    ended = subprocess.run(
        [sys.executable, "-c", program],
        input=content,
        stdout=subprocess.PIPE,
        env=os.environ | environment(sources),
        cwd=sources,
        check=True,
    )
    return ended.stdout.decode("utf-8")


def kept() -> list[str]:
    """Releases whose sources are kept, oldest first."""
    found = (path.parent.name for path in HERE.glob(f"*/{ARCHIVE}"))
    return sorted(found, key=lambda name: tuple(map(int, name.split("."))))
