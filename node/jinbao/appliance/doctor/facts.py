"""What a zone's database says of its health, as one object: the running zone answers with it, of a stopped one it is read.

Reads a few small tables and the names of files, no row of a person and no segment; within seconds, because a
zone that starts waits meanwhile. What an older schema has no table for is None.
"""

from __future__ import annotations

import base64
import json
import re
import time
from collections.abc import Callable, Collection
from dataclasses import asdict, dataclass, fields
from datetime import datetime
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

_SHA256 = re.compile(r"\b[0-9a-f]{64}\b")


@dataclass(frozen=True)
class Facts:
    """See the module. `orphans` and `strays` are None where looking took too long, all else where it could not be read."""

    present: tuple[str, ...]
    pending: tuple[str, ...]
    unknown: tuple[str, ...]
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
    """What lies on a shelf, by name, before the database is asked what should."""

    shelf: SegmentShelf | None
    stored: frozenset[str]
    settled: frozenset[str]
    bytes: dict[str, int]
    strays: tuple[str, ...]

    @classmethod
    def of(cls, root: Path, now: datetime) -> _Names:
        if not root.is_dir():
            return cls(None, frozenset(), frozenset(), {}, ())
        shelf, before = SegmentShelf(root, Files()), now.timestamp() - BEING_WRITTEN_S
        sizes, settled = dict[str, int](), set[str]()
        for sha256 in shelf.stored():
            try:
                found = shelf.path(sha256).stat()
            except FileNotFoundError:  # laid aside or swept meanwhile
                continue
            sizes[sha256] = found.st_size
            if found.st_mtime < before:
                settled.add(sha256)
        strays = tuple(str(path.relative_to(root)) for path in shelf.strays())
        return cls(shelf, frozenset(sizes), frozenset(settled), sizes, strays)

    def compared(self, store: Store, me: Endpoint) -> dict[str, Any]:
        """What is named and not there, and what is there and nobody ever named."""
        kept, named = _wanted(store, me)
        missing = sorted(sha256 for sha256 in kept - self.stored if not self._has(sha256))
        orphans = _unnamed(store, self.settled - named)
        return {
            "missing": tuple(missing[:NAMED_MAX]),
            "missing_count": len(missing),
            "orphans": None if orphans is None else len(orphans),
            "orphan_bytes": sum(self.bytes[sha256] for sha256 in orphans or ()),
            "strays": self.strays[:NAMED_MAX],
            "stray_count": len(self.strays),
        }

    def _has(self, sha256: str) -> bool:
        """Whether it came while the database was read."""
        return self.shelf is not None and self.shelf.has(sha256)


def _wanted(store: Store, me: Endpoint) -> tuple[set[str], set[str]]:
    """Segments that must be here, and all that batches name."""
    columns = SEGMENT.c.sha256, SEGMENT.c.stream, SEGMENT.c.table
    with store.read() as connection:
        rows = connection.execute(sa.select(*columns).distinct()).all()
    places = {(row.stream, row.table) for row in rows}
    kept = {place for place in places if is_kept(me, StreamId.parse(place[0]), place[1])}
    return {r.sha256 for r in rows if (r.stream, r.table) in kept}, {r.sha256 for r in rows}


def _unnamed(store: Store, candidates: Collection[str]) -> set[str] | None:
    """Those that no act names either; None where that cannot be said in time."""
    left, deadline = set(candidates), time.monotonic() + SCAN_S
    if not left:
        return left
    query = sa.select(ACT.c.body).where(ACT.c.kind != "audited")
    with store.read() as connection:
        for body in connection.execute(query).yield_per(500).scalars():
            left.difference_update(_SHA256.findall(body))
            if time.monotonic() > deadline:
                return None
    return left
