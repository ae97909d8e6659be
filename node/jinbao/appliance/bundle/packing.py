"""A bundle as one file: a tar, compressed by zstd; the same files give the same bytes.

Owner, time and mode of a file are no part of it: who builds, when and under which mask does not show. Reading
believes nothing: plain files in one folder, each named once, bounded.
"""

from __future__ import annotations

import hashlib
import io
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, cast

import pyarrow as pa

from jinbao.appliance.bundle.contents import (
    INFO,
    INSTALLER,
    SIGNATURE,
    SUMS,
    SUMS_BYTES_MAX,
    BundleInfo,
    check_sums,
    files_of,
    read_info,
    read_sums,
)
from jinbao.authority.release_keys import verify_release
from jinbao.model.errors import UnprovableError

MADE_AT = 1_580_601_600
"""Of every file, as of those in our wheel: a bundle is dated by its version."""

MEMBERS_MAX = 20_000
SUFFIX = ".tar.zst"
_FIRST = (SUMS, SIGNATURE)
_BLOCK = 1 << 20


def pack(directory: Path, target: Path) -> None:
    """Write the folder of a bundle as one file, whole or not at all."""
    part = target.with_name(f"{target.name}.part")
    names = [path.relative_to(directory).as_posix() for path in files_of(directory)]
    ordered = [name for name in _FIRST if name in names] + [name for name in names if name not in _FIRST]
    try:
        with (
            pa.OSFile(str(part), "wb") as raw,
            pa.CompressedOutputStream(raw, "zstd") as packed,
            tarfile.open(fileobj=cast("IO[bytes]", packed), mode="w|", format=tarfile.GNU_FORMAT) as tar,
        ):
            for name in ordered:
                mode = 0o755 if name == INSTALLER else 0o644
                add(tar, directory / name, f"{directory.name}/{name}", mode)
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)


def add(tar: tarfile.TarFile, path: Path, name: str, mode: int = 0o644) -> None:
    """Add a file's bytes under a name, and nothing of whose it is or when it was made."""
    member = tarfile.TarInfo(name)
    member.size, member.mtime, member.mode = path.stat().st_size, MADE_AT, mode
    with path.open("rb") as file:
        tar.addfile(member, file)


def members(bundle: Path) -> Iterator[tuple[str, IO[bytes]]]:
    """Name within the folder, and contents, of every file; raises UnprovableError for what no bundle holds."""
    folder, seen = "", set[str]()
    with (
        _whole(bundle),
        pa.OSFile(str(bundle), "rb") as raw,
        pa.CompressedInputStream(raw, "zstd") as packed,
        tarfile.open(fileobj=cast("IO[bytes]", packed), mode="r|") as tar,
    ):
        for member in tar:
            folder = folder or member.name.partition("/")[0]
            name = member.name.removeprefix(f"{folder}/")
            is_odd = not member.isreg() or name == member.name or ".." in name.split("/")
            if is_odd or name in seen or len(seen) >= MEMBERS_MAX:
                raise UnprovableError(
                    f"bundle {bundle.name}", expected="plain files of one folder", got=member.name[:120]
                )
            seen.add(name)
            yield name, cast("IO[bytes]", tar.extractfile(member))


@contextmanager
def _whole(bundle: Path) -> Iterator[None]:
    """Within it whatever cannot be read of a bundle is its end; whoever reads a member's contents is outside `members`."""
    try:
        yield
    except (tarfile.TarError, OSError, EOFError, pa.ArrowException) as exc:
        raise UnprovableError(
            f"bundle {bundle.name}", expected="a whole tar in zstd", got=str(exc)[:120] or "its end"
        ) from exc


def verify(bundle: Path, public: Path) -> BundleInfo:
    """Hold a bundle's signature and every sum; returns what it is. Raises UnprovableError; writes nothing."""
    kept: dict[str, bytes] = {}
    sums: dict[str, str] = {}
    with _whole(bundle):
        for name, file in members(bundle):
            if name in {SUMS, SIGNATURE, INFO}:
                kept[name] = file.read(SUMS_BYTES_MAX)
                file = io.BytesIO(kept[name])  # noqa: PLW2901  # the same bytes again
            sums[name] = hashlib.file_digest(file, "sha256").hexdigest()  # type: ignore[arg-type]  # a tar's member reads as a file
    for name in (SUMS, SIGNATURE, INFO):
        if name not in kept:
            raise UnprovableError(f"bundle {bundle.name}", expected=f"a file {name}", got="none")
    verify_release(public, kept[SUMS], kept[SIGNATURE])
    check_sums(read_sums(kept[SUMS]), {n: s for n, s in sums.items() if n not in _FIRST})
    return read_info(kept[INFO].decode("ascii", "replace"))


def unpack(bundle: Path, into: Path) -> Path:
    """Write a bundle's files below `into`; returns their folder. Whoever uses them has verified it."""
    directory = into / bundle.name.removesuffix(SUFFIX)
    for name, file in members(bundle):
        target = directory / name
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("wb") as out:
            while block := _block(bundle, file):
                out.write(block)
    return directory


def _block(bundle: Path, file: IO[bytes]) -> bytes:
    with _whole(bundle):
        return file.read(_BLOCK)
