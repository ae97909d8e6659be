"""What a zone's database says of its health, as one object: the running zone answers with it, of a stopped one it is read.

Reads a few small tables and the names of files, no row of a person and no segment; within seconds, because a
zone that starts waits meanwhile. What an older schema has no table for is None.
"""

from __future__ import annotations

import base64
import json
import re
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, fields
from datetime import datetime
from itertools import groupby
from pathlib import Path
from typing import Any, Self, TypeVar

import sqlalchemy as sa

from jinbao.appliance.assembly import MIGRATIONS
from jinbao.appliance.housekeeping import BEING_WRITTEN_S
from jinbao.audit.lookup import Wanted, lines
from jinbao.journal.index import JournalIndex
from jinbao.journal.retention import is_kept
from jinbao.journal.segments import SegmentShelf
from jinbao.journal.tables import ACT, HEADER, SEGMENT
from jinbao.model.audit import Outcome
from jinbao.model.errors import LocalError
from jinbao.model.stream import StreamId
from jinbao.model.trust import DocumentKind, TrustDocument
from jinbao.model.zone import Endpoint
from jinbao.registry.documents import Documents, HeldDocument
from jinbao.store.engine import Store
from jinbao.store.files import Files
from jinbao.store.migrations import revisions

T = TypeVar("T")
Other = TypeVar("Other")

NAMED_MAX = 20
"""Things named one by one; the rest is counted."""

SCAN_S = 10.0
"""Longest that acts are read for files nobody names: a third of what a zone that starts waits."""

_PAGE = 500
_SHA256 = re.compile(r"\b[0-9a-f]{64}\b")


@dataclass(frozen=True)
class Facts:
    """See the module.

    `orphans` and `strays` are None where looking took too long, all else where it could not be read. `is_borne`: whether
    this release can run on the schema it found, which was `made_by` another, after a `copy`.
    """

    present: tuple[str, ...]
    pending: tuple[str, ...]
    unknown: tuple[str, ...]
    ahead: tuple[str, ...] = ()
    moving: tuple[str, ...] = ()
    is_borne: bool = True
    made_by: str = ""
    copy: str = ""
    acts: int | None = None
    act_hash: str = ""
    act_at: str = ""
    incarnation: str = ""
    documents: tuple[tuple[str, str, int, str], ...] | None = None
    segments: int | None = None
    missing: tuple[str, ...] = ()
    missing_count: int = 0
    damaged: int = 0
    orphans: int | None = None
    orphan_bytes: int = 0
    strays: tuple[str, ...] = ()
    stray_count: int = 0
    backup_at: str | None = None
    standards: tuple[str, ...] | None = None
    held: tuple[tuple[str, int, str], ...] | None = None

    def as_json(self) -> dict[str, Any]:
        """For the admin contract."""
        return asdict(self)

    @classmethod
    def from_json(cls, body: dict[str, Any]) -> Self:
        """Read an answer; what a newer zone says beside it is passed over."""
        names = {field.name for field in fields(cls)}
        return cls(**{key: _tuples(value) for key, value in body.items() if key in names})

    def held_documents(self) -> list[HeldDocument]:
        """The trust documents recorded here, none where they could not be read."""
        return [
            HeldDocument(TrustDocument(DocumentKind(kind), name, number, base64.b64decode(body)), "", "")
            for kind, name, number, body in self.documents or ()
        ]


def _tuples(value: Any) -> Any:  # JSON has lists alone
    return tuple(map(_tuples, value)) if isinstance(value, list) else value


def gather(store: Store, me: Endpoint, directory: Path, now: datetime) -> Facts:
    """Read an open database and the names on its shelf; raises LocalError for one that does not answer."""
    names = _Names.of(directory / "segments", now)
    with store.read() as connection:
        found = revisions(connection, MIGRATIONS)
    facts: dict[str, Any] = {"present": found.present, "pending": found.pending, "unknown": found.unknown}
    facts |= {"ahead": tuple(sorted(found.ahead)), "moving": found.moving}
    facts |= {"is_borne": found.is_borne, "made_by": found.made_by, "copy": found.copy}
    if not found.present:
        return Facts(**facts)
    facts |= _read(lambda: _journal(store), {})
    facts |= _read(lambda: names.compared(store, me), {})
    facts["damaged"] = _damaged(directory / "scrub.json")
    facts["documents"] = _read(lambda: _documents(store), None)
    facts["standards"] = _read(lambda: _standards(store), None)
    facts["backup_at"] = _read(lambda: _backup_at(store), None)
    facts["held"] = _read(lambda: _held(store, me, names.shelf), None)
    return Facts(**facts)


def _read(read: Callable[[], T], otherwise: Other) -> T | Other:
    """What is read, or `otherwise` of a schema that has not all tables."""
    try:
        return read()
    except LocalError:
        return otherwise


def _journal(store: Store) -> dict[str, Any]:
    query = sa.select(ACT.c.lsn, ACT.c.hash, ACT.c.at).order_by(ACT.c.lsn.desc()).limit(1)
    with store.read() as connection:
        last = connection.execute(query).first()
        named = connection.scalar(sa.select(sa.func.count(SEGMENT.c.sha256.distinct())))
        created = connection.scalar(sa.select(ACT.c.body).where(ACT.c.lsn == 1))
    acts, digest, at = last or (0, "", "")
    incarnation = str(json.loads(created).get("incarnation", "")) if created else ""
    return {
        "acts": acts,
        "act_hash": digest,
        "act_at": at,
        "segments": int(named or 0),
        "incarnation": incarnation,
    }


def _documents(store: Store) -> tuple[tuple[str, str, int, str], ...]:
    held = (one.document for one in Documents(store).held())
    return tuple((str(d.kind), d.name, d.number, base64.b64encode(d.body).decode()) for d in held)


def _standards(store: Store) -> tuple[str, ...]:
    """Ids of every standard a batch here is of."""
    query = sa.select(HEADER.c.standard).where(HEADER.c.standard != "").distinct()
    with store.read() as connection:
        return tuple(sorted(connection.execute(query).scalars()))


def _backup_at(store: Store) -> str:
    newest = lines(store, Wanted(action="backup.made", outcome=Outcome.DONE), 1)
    return str(newest[0]["at"]) if newest else ""


def _held(store: Store, me: Endpoint, shelf: SegmentShelf | None) -> tuple[tuple[str, int, str], ...]:
    if shelf is None:
        return ()
    held = JournalIndex(me, store, shelf).held()
    return tuple((str(stream), seq, code) for stream, (seq, code, _) in sorted(held.items()))[:NAMED_MAX]


def _damaged(place: Path) -> int:
    """Segments that scrubbing found damaged and nobody mended."""
    try:
        return len(json.loads(place.read_text(encoding="utf-8"))["bad"])
    except (OSError, ValueError, KeyError, TypeError):
        return 0  # nothing was scrubbed yet


@dataclass(frozen=True)
class _Names:
    """What lies on a shelf, by name (32 bytes a segment), before the database is asked what should."""

    shelf: SegmentShelf | None
    stored: frozenset[bytes]
    strays: tuple[str, ...]
    settled_before: float

    @classmethod
    def of(cls, root: Path, now: datetime) -> _Names:
        before = now.timestamp() - BEING_WRITTEN_S
        if not root.is_dir():
            return cls(None, frozenset(), (), before)
        shelf = SegmentShelf(root, Files())
        stored = frozenset(map(bytes.fromhex, shelf.stored()))
        return cls(shelf, stored, tuple(str(path.relative_to(root)) for path in shelf.strays()), before)

    def compared(self, store: Store, me: Endpoint) -> dict[str, Any]:
        """What is named and not there, and what is there and nobody ever named."""
        unnamed, missing, count = set(self.stored), list[str](), 0
        for sha256, is_needed in _named(store, me):
            key = bytes.fromhex(sha256)
            unnamed.discard(key)
            if is_needed and key not in self.stored and not self._has(sha256):
                count += 1
                missing += [sha256] if count <= NAMED_MAX else []
        sizes = self._settled(unnamed)
        orphans = _unnamed(store, sizes)
        return {
            "missing": tuple(missing),
            "missing_count": count,
            "orphans": None if orphans is None else len(orphans),
            "orphan_bytes": sum(sizes[sha256] for sha256 in orphans or ()),
            "strays": self.strays[:NAMED_MAX],
            "stray_count": len(self.strays),
        }

    def _has(self, sha256: str) -> bool:
        """Whether it came while the database was read."""
        return self.shelf is not None and self.shelf.has(sha256)

    def _settled(self, keys: Collection[bytes]) -> dict[str, int]:
        """Bytes of those files whose act would be recorded by now, by hash."""
        sizes = {}
        for sha256 in (key.hex() for key in keys) if self.shelf else ():
            with suppress(FileNotFoundError):  # laid aside or swept meanwhile
                found = self.shelf.path(sha256).stat()  # type: ignore[union-attr]
                if found.st_mtime < self.settled_before:
                    sizes[sha256] = found.st_size
        return sizes


def _named(store: Store, me: Endpoint) -> Iterator[tuple[str, bool]]:
    """Every segment that batches name, once, and whether one of them needs it here; in the order of hashes."""
    query = sa.select(SEGMENT.c.sha256, SEGMENT.c.stream, SEGMENT.c.table).order_by(SEGMENT.c.sha256)
    kept: dict[tuple[str, str], bool] = {}
    with store.read() as connection:
        rows = connection.execute(query).yield_per(_PAGE)
        for sha256, group in groupby(rows, key=lambda row: str(row.sha256)):
            is_needed = False
            for _, stream, table in group:
                if (stream, table) not in kept:
                    kept[stream, table] = is_kept(me, StreamId.parse(stream), table)
                is_needed |= kept[stream, table]
            yield sha256, is_needed


def _unnamed(store: Store, candidates: Collection[str]) -> set[str] | None:
    """Those that no act names either; None where that cannot be said in time."""
    left, deadline = set(candidates), time.monotonic() + SCAN_S
    if not left:
        return left
    query = sa.select(ACT.c.body).where(ACT.c.kind != "audited")
    with store.read() as connection:
        for body in connection.execute(query).yield_per(_PAGE).scalars():
            left.difference_update(_SHA256.findall(body))
            if time.monotonic() > deadline:
                return None
    return left
