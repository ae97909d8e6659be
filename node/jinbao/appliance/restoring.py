"""A protected zone built again in an empty place: directory, segments and database.

The directory carries a mark from before its first file until the last act's hash was found equal, so
that no zone starts on half of it and the same call, made again, goes on. Nothing of a peer is
asked and nothing is served: the place becomes a zone when somebody gives it an identity.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from jinbao.appliance.assembly import projections_of, stored_batch
from jinbao.appliance.database.dumping import tables_of
from jinbao.appliance.database.filling import Rooms, filling, now_text
from jinbao.appliance.database.urls import database_url, shown
from jinbao.appliance.restored import note_restored
from jinbao.appliance.settings import Settings
from jinbao.authority.copy_keys import Opens, load_copy_key, zone_opens
from jinbao.authority.private_files import read_secret
from jinbao.journal.index import JournalIndex
from jinbao.journal.ledger import Ledger
from jinbao.journal.segments import SegmentShelf, require_space
from jinbao.model.acts import envelope_of
from jinbao.model.batch import VerifiedBatch
from jinbao.model.errors import LocalError, UsageError
from jinbao.model.places import tiers_directory
from jinbao.model.stream import StreamId
from jinbao.registry.standards import load_standards
from jinbao.standby.objects import Opener
from jinbao.standby.rebuilding import Copy, Tell, lay, replay
from jinbao.store.engine import Store
from jinbao.store.files import Files, seal
from jinbao.trust.objects import WrappedKey

MARK, DONE = "rebuilding", "rebuilt.json"
"""Names of the files that say what a directory is becoming, and what it became."""


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """What came out: acts with the chain's `hash` at the last, rows by table, bytes of segments, seconds it took."""

    zone: str
    directory: str
    database: str
    acts: int
    hash: str
    tables: Mapping[str, int]
    bytes: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Place:
    """Where to: a directory of the zone alone, and its database, a URL or empty for a file in the directory."""

    directory: Path
    database: str = ""

    @property
    def url(self) -> sa.URL:
        """The database's URL; raises UsageError for one no zone can use."""
        return database_url(
            self.database or f"sqlite:///{self.directory / 'zone.db'}", "--database", UsageError
        )


class _Lines:
    """Batches as lines of a file, read anew by whoever goes through them."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __iter__(self) -> Iterator[VerifiedBatch]:
        with self._path.open(encoding="utf-8") as file:
            for line in file:
                yield stored_batch(envelope_of(json.loads(line)))


def read_copy(lines: Path, said: Mapping[str, Any], opens: Opens | None, at: int = 0) -> Copy:
    """A copy from the answer of `standby.copy` and the lines that came with it; the backup verified each batch.

    `opens` gives the keys of whose segments are encrypted; without it none of those can be read.
    """
    shelf = SegmentShelf(Path(said["shelf"]), Files())
    stream, opener = StreamId.parse(said["stream"]), Opener(opens, Path(said["rings"]))
    return Copy(stream, _Lines(lines), shelf, said["acts"], at, opener, keeper=stream.audience)


def opens_of(keys: Sequence[Path], passphrases: Sequence[Path], purposes: Sequence[str]) -> Opens | None:
    """What key files or directories of zones' own keys open together; None without any.

    `purposes` are what the keys may be used for now. Raises as `load_copy_key` and `read_secret` do.
    """
    several = [
        zone_opens(key)
        if key.is_dir()
        else load_copy_key(key, [read_secret(path) for path in passphrases], purposes).key
        for key in keys
    ]

    def opens(name: str, wraps: Sequence[WrappedKey]) -> bytes:
        refused: list[UsageError] = []
        for one in several:
            try:
                return one(name, wraps)
            except UsageError as exc:
                refused.append(exc)
        raise refused[0]

    return opens if several else None


def rebuild(copy: Copy, settings: Settings, place: Place, tell: Tell) -> Rebuilt:
    """Build one zone from its copy in an empty place, and prove the chain; what is built is not built again.

    Raises LocalError for a place that is not empty, SpaceError before anything is written where there is no
    room, CorruptionError or UnprovableError for a copy that is not what the zone signed.
    """
    began = time.monotonic()
    acts, url, files = copy.acts, place.url, Files()
    standards = load_standards((settings.standards_directory or tiers_directory()) / "standards")
    reserve_bytes = settings.limits.disk_reserve_bytes
    if not acts:
        raise LocalError(
            f"copy of {copy.stream.origin}",
            expected="at least one batch of acts",
            got="none",
            next_step="jinbao standby status",
        )
    if built := _built(copy, place):
        return built
    _begin(copy, place, files)
    require_space(place.directory, reserve_bytes, copy.size()[1])
    shelf = SegmentShelf(place.directory / "segments", files)
    size = lay(copy, shelf, tell)
    libraries, projections = projections_of(standards, shelf)
    rooms = Rooms(libraries, projections, shelf)
    with filling(url, rooms, place.directory / "stage", copy.stream.origin, reserve_bytes) as store:
        digest = replay(copy, Ledger(store, projections, now_text), tell)
        tables = _rows(store, tables_of(projections))
        epoch = JournalIndex(copy.stream.origin, store, shelf).epoch()
    note_restored(files, place.directory, epoch)
    seconds = round(time.monotonic() - began, 2)
    built = Rebuilt(
        str(copy.stream.origin), str(place.directory), shown(url), acts, digest, tables, size, seconds
    )
    _write(files, place.directory / DONE, json.dumps(asdict(built) | {"stream": str(copy.stream)}))
    (place.directory / MARK).unlink()
    files.sync_directory(place.directory)
    return built


def _built(copy: Copy, place: Place) -> Rebuilt | None:
    """What an earlier call built of the same copy in this place; None where none ended."""
    try:
        found = json.loads((place.directory / DONE).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    is_same = (found.pop("stream"), found["acts"]) == (str(copy.stream), copy.acts)
    return Rebuilt(**found) if is_same and not (place.directory / MARK).exists() else None


def _write(files: Files, path: Path, text: str) -> None:
    """Make a small file durable, or leave none."""
    temporary = path.with_suffix(".tmp")
    temporary.write_text(text, encoding="utf-8")
    seal(files, temporary, path)


def _rows(store: Store, tables: Sequence[sa.Table]) -> dict[str, int]:
    """Rows by table, as the database counts them."""
    with store.read() as connection:
        return {
            table.name: connection.scalar(sa.select(sa.func.count()).select_from(table)) or 0
            for table in tables
        }


def require_buildable(copy: Copy, place: Place) -> None:
    """Raise LocalError for a directory that has anything in it but what was built of this copy, whole or in part."""
    directory, mark = place.directory, place.directory / MARK
    if not directory.is_dir() or _built(copy, place) is not None:
        return
    found = sorted(path.name for path in directory.iterdir() if path.suffix != ".tmp")
    if found and not (mark.is_file() and mark.read_text(encoding="utf-8") == _marked(copy)):
        raise LocalError(
            f"directory {directory}",
            expected="an empty one, or a rebuild of the same zone that did not end",
            got=f"{found[0]} and perhaps more",
            next_step="name another directory: nothing is ever written over",
        )


def _marked(copy: Copy) -> str:
    return f"{copy.stream}\n"


def _begin(copy: Copy, place: Place, files: Files) -> None:
    """Mark an empty directory, or go on in one that has the mark of the same zone."""
    require_buildable(copy, place)
    directory, mark = place.directory, place.directory / MARK
    if mark.exists():
        if not place.database:
            for path in directory.glob("zone.db*"):
                path.unlink()
        return
    files.make_directory(directory)
    _write(files, mark, _marked(copy))
