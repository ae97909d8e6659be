"""The segment shelf: Parquet files named by the SHA-256 of their bytes.

A file is on the shelf only after its contents, its name and its directory are durable,
and only then may an act refer to it. Names come from hashes computed here, never from
a peer.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from jinbao.journal.growing import GrowingSegment
from jinbao.model.batch import SegmentRef
from jinbao.model.errors import CorruptionError, LinkError, SpaceError
from jinbao.model.failpoint import declare, hit
from jinbao.store.files import Files, discard, seal

WRITTEN = declare("segments.after_write", "columns are in a temporary file, not on the shelf")
ARRIVED = declare("segments.after_fetch", "fetched bytes are in a partial file, neither checked nor synced")

_SHA256 = re.compile(r"[0-9a-f]{64}")
_BLOCK = 1 << 20


def hash_of(path: Path) -> tuple[str, int]:
    """SHA-256 in hex and size in bytes of a file, read in blocks."""
    total, size = hashlib.sha256(), 0
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            total.update(block)
            size += len(block)
    return total.hexdigest(), size


@dataclass(frozen=True, slots=True)
class Damage:
    """One thing that is not what was written; `kind` is missing, unreadable, truncated, altered, swapped or stray."""

    thing: str
    kind: str
    detail: str


@dataclass(frozen=True, slots=True)
class _Arrival:
    """A segment on its way in; the `first` of those that bring it has the name a later fetch goes on from."""

    sha256: str
    path: Path
    first: bool


class SegmentShelf:
    """Content-addressed files under one directory; `incoming` holds what is not durable yet."""

    def __init__(self, root: Path, files: Files) -> None:
        self.root = root
        self.incoming = root / "incoming"
        self.damaged = root / "damaged"
        self._files = files
        self._lock = threading.Lock()
        self._written = 0
        self._arriving: set[str] = set()
        files.make_directory(root)
        files.make_directory(self.incoming)

    def path(self, sha256: str) -> Path:
        """Where the segment of this hash lies, there or not; refuses anything but 64 hex digits."""
        assert _SHA256.fullmatch(sha256), "a segment is named by its hash"
        return self.root / sha256[:2] / f"{sha256}.parquet"

    def has(self, sha256: str) -> bool:
        """Whether the segment is on the shelf."""
        return self.path(sha256).is_file()

    def size(self, sha256: str) -> int | None:
        """Bytes of the segment as it lies on the shelf, None if it does not."""
        path = self.path(sha256)
        return path.stat().st_size if path.is_file() else None

    def temporary(self, name: str) -> Path:
        """A path for a file that is being written; `name` is ours, not a peer's."""
        return self.incoming / name

    def add(self, temporary: Path) -> tuple[str, int]:
        """Put a written file on the shelf; returns its hash and bytes, durable on return."""
        sha256, size = hash_of(temporary)
        final = self.path(sha256)
        if final.is_file():
            self._files.touch(final)
            discard(self._files, temporary)
        else:
            seal(self._files, temporary, final)
        return sha256, size

    def add_expected(self, temporary: Path, sha256: str, size: int) -> None:
        """Put a fetched file on the shelf if its bytes are those that were promised.

        Raises CorruptionError, and removes the file, if they are not.
        """
        got, got_size = hash_of(temporary)
        if (got, got_size) != (sha256, size):
            discard(self._files, temporary)
            raise CorruptionError(
                f"segment {sha256[:12]}",
                expected=f"{size} bytes with SHA-256 {sha256}",
                got=f"{got_size} bytes with {got}",
                next_step="it is fetched again; see jinbao line status",
            )
        if self.has(sha256):  # another neighbour was faster
            discard(self._files, temporary)
        else:
            seal(self._files, temporary, self.path(sha256))

    def write(self, frame: pl.DataFrame) -> tuple[str, int]:
        """Store columns as a Parquet segment (zstd); returns hash and bytes, durable on return."""
        temporary = self._numbered()
        # Statistics cost a quarter of a write, and nobody reads them.
        frame.write_parquet(temporary, compression="zstd", compression_level=1, statistics=False)
        hit(WRITTEN)
        return self.add(temporary)

    def growing(self) -> GrowingSegment:
        """A segment that is written part by part; a context, left with no file but those on the shelf."""
        return GrowingSegment(self._numbered(), self.add)

    def _numbered(self) -> Path:
        with self._lock:
            self._written += 1
            return self.temporary(f"write-{os.getpid()}-{self._written}.tmp")

    def read(self, sha256: str) -> pl.DataFrame:
        """A stored segment as columns."""
        return pl.read_parquet(self.open_path(sha256))

    def slices(self, sha256: str, rows: int) -> Iterator[pl.DataFrame]:
        """A stored segment, at most so many rows at once and in their order; one slice at least."""
        lazy = pl.scan_parquet(self.open_path(sha256))
        for first in range(0, max(lazy.select(pl.len()).collect().item(), 1), rows):
            yield lazy.slice(first, rows).collect()

    def picked(self, sha256: str, columns: Sequence[str], where: pl.Expr) -> pl.DataFrame:
        """Some columns of some rows of a stored segment, in any order."""
        lazy = pl.scan_parquet(self.open_path(sha256)).filter(where).select(columns)
        return lazy.collect(engine="streaming")

    def receive(self, ref: SegmentRef, chunks: Callable[[int], Iterator[bytes]]) -> None:
        """Bring a peer's segment and keep it."""
        self.bring(ref, chunks)()

    def bring(self, ref: SegmentRef, chunks: Callable[[int], Iterator[bytes]]) -> Callable[[], None]:
        """Write a peer's segment unless it is there; returns what checks it and makes it durable.

        That is to be called once, in any thread. Asks `chunks` from the offset it already has and never
        keeps more than the promised bytes. A broken link leaves what came, and the next call goes on from
        there. Bytes that are not those promised raise CorruptionError when they are checked, and are gone; a
        file that was there and was swept meanwhile raises LinkError.
        """
        if self.has(ref.sha256):
            return lambda: self._use(ref.sha256)
        arrival = self._arrive(ref.sha256)
        try:
            self._write_chunks(ref, chunks, arrival)
        except BaseException:
            self._left(arrival)
            raise
        return lambda: self._keep(ref, arrival)

    def _use(self, sha256: str) -> None:
        """Note that a segment that was here is used again; raises LinkError if a sweep was faster."""
        try:
            self._files.touch(self.path(sha256))
        except FileNotFoundError as exc:
            raise LinkError(
                f"segment {sha256[:12]}",
                expected="the file that was here a moment ago",
                got="none: nobody needed it until now",
                next_step="it is fetched by itself at the next round",
            ) from exc

    def most(self, ref: SegmentRef) -> int:
        """Most bytes that are taken of a segment on its way in."""
        return ref.bytes

    def _arrive(self, sha256: str) -> _Arrival:
        """Where a segment arrives. Of two neighbours that bring the same one, neither waits for the other."""
        with self._lock:
            first = sha256 not in self._arriving
            self._arriving.add(sha256)
            self._written += 1
            name = f"{self.path(sha256).stem}.part" if first else f"second-{os.getpid()}-{self._written}.tmp"
        return _Arrival(sha256, self.temporary(name), first)

    def _write_chunks(
        self, ref: SegmentRef, chunks: Callable[[int], Iterator[bytes]], arrival: _Arrival
    ) -> None:
        have = arrival.path.stat().st_size if arrival.path.is_file() else 0
        most = self.most(ref)
        with arrival.path.open("ab") as file:
            for chunk in chunks(have) if have < most else ():
                have += len(chunk)
                if have > most:
                    break
                file.write(chunk)
        hit(ARRIVED)

    def _keep(self, ref: SegmentRef, arrival: _Arrival) -> None:
        try:
            self.add_expected(arrival.path, ref.sha256, ref.bytes)
        finally:
            self._left(arrival)

    def _left(self, arrival: _Arrival) -> None:
        """The first's place is free again; what came of it stays there."""
        if arrival.first:
            with self._lock:
                self._arriving.discard(arrival.sha256)
        else:
            arrival.path.unlink(missing_ok=True)

    def open_path(self, sha256: str) -> Path:
        """The path of a segment that must be there; raises CorruptionError naming it if it is not."""
        path = self.path(sha256)
        if not path.is_file():
            raise CorruptionError(
                f"segment {sha256[:12]}",
                expected=f"a file at {path.name}",
                got="no file",
                next_step="jinbao journal verify",
            )
        return path

    def remove(self, sha256: str) -> None:
        """Forget a segment nothing refers to any more."""
        discard(self._files, self.path(sha256))

    def lay_aside(self, sha256: str) -> Path | None:
        """Take a file that is not what its name says off the shelf, and keep it for a person; where, if there is one."""
        path = self.path(sha256)
        if not path.is_file():
            return None
        self._files.make_directory(self.damaged)
        number = sum(1 for _ in self.damaged.glob(f"{sha256}*"))
        aside = self.damaged / f"{sha256}.{number}"
        self._files.rename(path, aside)
        self._files.sync_directory(self.damaged)
        self._files.sync_directory(path.parent)
        return aside

    def stored(self) -> Iterator[str]:
        """Hashes on the shelf, by name only."""
        for path in sorted(self.root.glob("[0-9a-f][0-9a-f]/*.parquet")):
            if self._is_place(path):
                yield path.stem

    def strays(self) -> Iterator[Path]:
        """Files that lie where no segment can: nothing here put them there or will read them."""
        for path in sorted(self.root.rglob("*")):
            apart = {self.incoming, self.damaged} & set(path.parents)
            if path.is_file() and not apart and not self._is_place(path):
                yield path

    def _is_place(self, path: Path) -> bool:
        return _SHA256.fullmatch(path.stem) is not None and path == self.path(path.stem)

    def sweep(self) -> int:
        """Remove what a killed process was writing; returns how many files. Partial fetches stay and go on.

        Also makes every name that is there durable: a process killed between rename and sync
        leaves a file that is seen, and may be referred to, but that a power loss would forget.
        """
        for directory in (self.root, *sorted(p for p in self.root.iterdir() if p != self.incoming)):
            self._files.sync_directory(directory)
        leftovers = [p for p in self.incoming.iterdir() if p.is_file() and p.suffix != ".part"]
        for path in leftovers:
            discard(self._files, path)
        return len(leftovers)

    def examine(self, sha256: str, size: int) -> Damage | None:
        """Read one segment and say what is wrong with it, if anything."""
        path = self.path(sha256)
        if not path.is_file():
            return Damage(
                f"segment {sha256}", "missing", f"expected {size} bytes at {path.name}, got no file"
            )
        try:
            got, got_size = hash_of(path)
        except OSError as exc:
            return Damage(
                f"segment {sha256}", "unreadable", f"expected {size} bytes, got {exc.strerror or exc}"
            )
        if got == sha256:
            return None
        if self.has(got):
            return Damage(f"segment {sha256}", "swapped", f"expected its own bytes, got those of {got}")
        if got_size < size:
            return Damage(f"segment {sha256}", "truncated", f"expected {size} bytes, got {got_size}")
        return Damage(f"segment {sha256}", "altered", f"expected SHA-256 {sha256}, got {got}")


def require_space(root: Path, reserve_bytes: int, needed_bytes: int = 0) -> None:
    """Raise `SpaceError` if writing `needed_bytes` under `root` would break the reserve."""
    free = shutil.disk_usage(root).free
    if free - needed_bytes < reserve_bytes:
        raise SpaceError(
            "disk reserve",
            expected=f"{reserve_bytes} bytes free after writing {needed_bytes}",
            got=f"{free} bytes free",
            next_step="free space or see jinbao journal retention; capture goes on by itself",
        )
