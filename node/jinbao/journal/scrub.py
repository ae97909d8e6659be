"""Scrubbing 巡检: every segment that is named here is read again within so many days, and mended from a peer if it rotted.

Goes through the shelf in the order of hashes, a little at each step, and goes on where it was after a
restart. What is not what was written is laid aside, never deleted, and asked for anew. Says nothing of the
database: `verify` does.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

import sqlalchemy as sa

from jinbao.journal.retention import is_kept
from jinbao.journal.segments import SegmentShelf
from jinbao.journal.tables import SEGMENT
from jinbao.model.stream import StreamId
from jinbao.model.zone import Endpoint
from jinbao.store.engine import Store
from jinbao.store.files import Files, seal

STEP_BYTES_MAX = 256 << 20
"""Most that is read in one step, whatever is due: a fifth of a second of the disk."""

PAUSE_MAX = timedelta(hours=1)
"""A zone that was stopped for longer does not catch up at once."""

_PAGE = 200

Use = tuple[StreamId, int]
"""A batch that names a segment: its stream and seq."""

Mend = Callable[[str, int, Sequence[Use]], bool]
"""Brings a segment of this hash and so many bytes from whoever has it; whether it did."""


Told = Callable[..., None]
"""Told what was found: the name of a fact, and its values by name."""


@dataclass
class Progress:
    """Where the pass under way is, by hash, and what the last whole one found. Moments are UTC, RFC 3339, or empty.

    `bad` are segments known to be damaged and not mended, with their kind of damage; `found` those of this pass.
    """

    begun_at: str = ""
    looked_at: str = ""
    after: str = ""
    objects: int = 0
    bytes: int = 0
    bad: dict[str, str] = field(default_factory=dict)
    done_at: str = ""
    done_begun_at: str = ""
    done_objects: int = 0
    done_bytes: int = 0
    found: dict[str, str] = field(default_factory=dict)

    def forget(self, sha256: str) -> None:
        """A segment is as it should be."""
        self.bad.pop(sha256, None)
        self.found.pop(sha256, None)

    def require(self) -> None:
        """Raise ValueError or TypeError unless every field is what it says."""
        for moment in (self.begun_at, self.looked_at, self.done_at, self.done_begun_at):
            if moment and datetime.fromisoformat(moment).tzinfo is None:
                msg = f"expected a time in UTC, got {moment}"
                raise ValueError(msg)
        numbers = self.objects, self.bytes, self.done_objects, self.done_bytes
        texts = self.after, *self.bad, *self.bad.values(), *self.found, *self.found.values()
        if not all(type(n) is int for n in numbers) or not all(type(text) is str for text in texts):
            msg = "expected numbers and texts"
            raise TypeError(msg)


@dataclass
class _Named:
    """A segment as batches name it; `is_kept` if one of them needs it here."""

    bytes: int
    uses: list[Use] = field(default_factory=list)
    is_kept: bool = False


class Scrub:
    """The scrubbing of one zone's shelf; `place` is the file that says how far it is."""

    def __init__(
        self,
        me: Endpoint,
        store: Store,
        shelf: SegmentShelf,
        place: Path,
        *,
        files: Files,
        now: Callable[[], datetime],
        within: timedelta,
        told: Told,
    ) -> None:
        self._me, self._store, self._shelf, self._place = me, store, shelf, place
        self._files, self._now, self._within, self._told = files, now, within, told
        self._noted: dict[str, str] = {}
        self._lock = threading.Lock()
        self._going = threading.Lock()

    def note_absent(self, hashes: Sequence[str]) -> None:
        """Segments that should be here and did not come: damaged until one is brought, as if a pass had found them."""
        with self._lock:
            self._noted |= dict.fromkeys(hashes, "missing")

    def progress(self) -> Progress:
        """How far it is, with what was noted since; at the beginning where the file is not there or says nothing."""
        found = self._written()
        with self._lock:
            found.bad |= {sha256: kind for sha256, kind in self._noted.items() if not self._shelf.has(sha256)}
        return found

    def _written(self) -> Progress:
        try:
            found = Progress(**json.loads(self._place.read_text(encoding="utf-8")))
            found.require()
        except (OSError, ValueError, TypeError):
            return Progress()
        return found

    def mend_known(self, mend: Mend) -> tuple[list[str], list[str]]:
        """Bring again, out of turn, what is missing or known to be damaged; what came, and what nobody has.

        Reads no segment that is there and was not found damaged.
        """
        mended, left = list[str](), list[str]()
        with self._going:
            progress = self.progress()
            for sha256, size, uses in self._named(""):
                if self._shelf.has(sha256) and sha256 not in progress.bad:
                    continue
                self._hold(progress, sha256, size, uses, mend)
                (left if sha256 in progress.bad else mended).append(sha256)
            if mended or left:
                self._write(progress)
        return mended, left

    def step(self, mend: Mend) -> bool:
        """Read what is due since the last step; whether a pass ended. Damage is told, laid aside, mended if it can be."""
        with self._going:
            return self._step(mend)

    def _step(self, mend: Mend) -> bool:
        progress, now = self._written(), self._now()
        with self._lock:
            noted, self._noted = self._noted, {}
        for sha256, kind in noted.items():
            if not self._shelf.has(sha256):
                progress.bad[sha256] = progress.found[sha256] = kind
        if not progress.begun_at:
            progress.begun_at = _text(now)
        left = self._due(progress, now)
        ended = False
        for sha256, size, uses in self._named(progress.after):
            if left <= 0:
                break
            self._look(progress, sha256, size, uses, mend)
            left -= max(size, 1)
        else:
            ended = True
        progress.looked_at = _text(now)
        self._write(self._ended(progress, now) if ended else progress)
        return ended

    def _due(self, progress: Progress, now: datetime) -> int:
        """Bytes to be read now, so that all of them are within the time; one segment's at least."""
        if not progress.looked_at:
            return 1
        since = min(max(now - datetime.fromisoformat(progress.looked_at), timedelta()), PAUSE_MAX)
        stored = sa.select(SEGMENT.c.sha256, SEGMENT.c.bytes).distinct().subquery()
        with self._store.read() as connection:
            total = int(connection.scalar(sa.select(sa.func.sum(stored.c.bytes))) or 0)
        # A pass that takes three quarters of the time leaves room for a day that the zone is stopped.
        return min(max(1, int(total * (since / (self._within * 0.75)))), STEP_BYTES_MAX)

    def _named(self, after: str) -> Iterator[tuple[str, int, list[Use]]]:
        """Segments by hash with the batches that name them, but for those that need not be here and are not."""
        while page := self._page(after):
            for sha256, named in page.items():
                after = sha256
                if named.is_kept or self._shelf.has(sha256):
                    yield sha256, named.bytes, named.uses

    def _page(self, after: str) -> dict[str, _Named]:
        hashes = (
            sa.select(SEGMENT.c.sha256)
            .where(SEGMENT.c.sha256 > after)
            .distinct()
            .order_by(SEGMENT.c.sha256)
            .limit(_PAGE)
        )
        columns = SEGMENT.c.sha256, SEGMENT.c.bytes, SEGMENT.c.stream, SEGMENT.c.seq, SEGMENT.c.table
        query = sa.select(*columns).where(SEGMENT.c.sha256.in_(hashes))
        found: dict[str, _Named] = {}
        with self._store.read() as connection:
            for row in connection.execute(query.order_by(SEGMENT.c.sha256, SEGMENT.c.stream, SEGMENT.c.seq)):
                named = found.setdefault(row.sha256, _Named(row.bytes))
                stream = StreamId.parse(row.stream)
                named.uses.append((stream, row.seq))
                named.is_kept |= is_kept(self._me, stream, row.table)
        return found

    def _look(self, progress: Progress, sha256: str, size: int, uses: Sequence[Use], mend: Mend) -> None:
        self._hold(progress, sha256, size, uses, mend)
        progress.after = sha256
        progress.objects += 1
        progress.bytes += size

    def _hold(self, progress: Progress, sha256: str, size: int, uses: Sequence[Use], mend: Mend) -> None:
        """Hold one segment against its hash."""
        damage = self._shelf.examine(sha256, size)
        if damage is None:
            progress.forget(sha256)
            return
        self._shelf.lay_aside(sha256)
        is_mended = mend(sha256, size, uses)
        self._told(
            "segment_damaged", segment=sha256, kind=damage.kind, detail=damage.detail, mended=is_mended
        )
        if is_mended:
            progress.forget(sha256)
            self._told("segment_mended", segment=sha256)
        else:
            progress.bad[sha256] = progress.found[sha256] = damage.kind

    def _ended(self, progress: Progress, now: datetime) -> Progress:
        self._told(
            "shelf_scrubbed", segments=progress.objects, bytes=progress.bytes, damaged=len(progress.found)
        )
        return Progress(
            looked_at=progress.looked_at,
            bad=progress.found,  # what was damaged before and is named no more is no damage
            done_at=_text(now),
            done_begun_at=progress.begun_at,
            done_objects=progress.objects,
            done_bytes=progress.bytes,
        )

    def _write(self, progress: Progress) -> None:
        temporary = self._place.with_suffix(".tmp")
        temporary.write_text(json.dumps(asdict(progress), indent=1) + "\n", encoding="utf-8")
        seal(self._files, temporary, self._place)


def _text(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds")
