"""A protected zone built again from its copy: its segments laid down, its acts replayed, the chain compared.

The copy is the zone's own sealed batches of acts and what they name, as they lie on the backup's
shelf: ciphertext, opened with a key that is handed in. Every file is hashed on its way and every act is
chained, so that what comes out is what the zone signed, or nothing. Opens no database: where rows go
is said by the store that is handed in.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Protocol

import polars as pl

from jinbao.flow.following import ACTS_ROWS_MAX, COLUMNS, NO_CUT, of_frame
from jinbao.journal.ledger import Ledger
from jinbao.journal.segments import SegmentShelf
from jinbao.model.acts import Act, Entry
from jinbao.model.batch import JournalCut, SegmentRef
from jinbao.model.errors import CorruptionError, UnacceptableError, UnprovableError, UsageError
from jinbao.model.failpoint import declare, hit
from jinbao.model.quoting import quoted
from jinbao.model.stream import ACTS_TABLE, SPARE_TABLE, StreamId
from jinbao.standby.following import chained
from jinbao.standby.objects import PLAIN, Opener
from jinbao.store.projection import Recorded
from jinbao.trust.objects import kept_as
from jinbao.trust.parquet import ParquetLimits, Shape, check_parquet

LAID = declare("rebuild.after_segment", "some segments of a copy are laid down, no act is replayed")

ACTS_SEGMENT_BYTES_MAX = 64 << 20
"""Bytes of one segment of acts: sixteen times what a batch of ours holds before it is compressed."""

_UNREADABLE = (ValueError, KeyError, TypeError, AttributeError, RecursionError)
"""What reading an act may raise that its zone chained, and that is none."""

Tell = Callable[[int, int], None]
"""Told what is done, and how much there is in all."""


class Part(Protocol):
    """What a rebuild asks of the header of a batch of acts, or of a part of a backup."""

    @property
    def seq(self) -> int:
        """Its place among the others."""
        ...

    @property
    def segments(self) -> tuple[SegmentRef, ...]:
        """One of acts at most, and what those name."""
        ...

    @property
    def cut(self) -> JournalCut | None:
        """How far its acts go."""
        ...


class Batch(Protocol):
    """A batch of acts that was proved."""

    @property
    def header(self) -> Part:
        """What it names."""
        ...


@dataclass(frozen=True)
class Copy:
    """One zone's copy: its batches of acts in order, which may be read again and again, on a shelf.

    The batches hold acts up to `held`; `at` is the last one to build, 0 for all. `opener` reads what is encrypted.
    """

    stream: StreamId
    batches: Iterable[Batch]
    shelf: SegmentShelf
    held: int
    at: int = 0
    opener: Opener = PLAIN
    keeper: str = ""
    """The node on whose shelf it lies, where that is a backup site's."""

    @property
    def acts(self) -> int:
        """How many acts there are to build."""
        if self.at > self.held:
            raise UsageError(
                f"copy of {self.stream.origin}",
                expected=f"an act up to {self.held}",
                got=self.at,
                next_step="jinbao standby status",
            )
        return self.at or self.held

    def until(self, moment: str) -> Copy | None:
        """The same copy up to the last act recorded at a moment or before it, by the zone's clock: UTC, RFC 3339.

        None where the zone had recorded nothing by then. Raises UsageError for what is no moment.
        """
        last, until = 0, _utc(moment)
        for entry in self.entries():
            if datetime.fromisoformat(entry.at) > until:
                break
            last = entry.lsn
        return replace(self, at=last) if last else None

    def objects(self) -> Iterator[SegmentRef]:
        """Every segment the batches name, acts and all, of later acts too: once each, but for purged spares.

        One that is a spare to one act and built from by another comes as the latter too.
        """
        seen: set[tuple[bytes, bool]] = set()
        for batch in self.batches:
            for ref in batch.header.segments:
                is_spare = ref.table == SPARE_TABLE
                name = bytes.fromhex(ref.sha256), is_spare
                if name not in seen and not (is_spare and not self.shelf.has(self._kept_as(ref))):
                    seen.add(name)
                    yield ref

    def size(self) -> tuple[int, int]:
        """How many segments there are, and their bytes."""
        count = total = 0
        for ref in self.objects():
            count, total = count + 1, total + ref.bytes
        return count, total

    def entries(self) -> Iterator[Entry]:
        """The acts up to the last one wanted, chained from the first and held against each batch's cut.

        Raises UnprovableError for an act that does not follow, CorruptionError for a segment that is
        not what its batch names, and what the opener raises.
        """
        lsn, digest = 0, ""
        for batch in self.batches:
            for ref in batch.header.segments:
                if ref.table != ACTS_TABLE:
                    continue
                for entry in self._acts(ref):
                    if lsn == self.acts:
                        return
                    lsn, digest = chained(lsn, digest, entry, batch.header.seq)
                    yield entry
            said = batch.header.cut or NO_CUT
            if (said.lsn, said.hash) != (lsn, digest):
                raise UnprovableError(
                    f"{self.stream}#{batch.header.seq}: cut",
                    expected=f"act {said.lsn} with hash {said.hash[:12]}",
                    got=f"act {lsn} with hash {digest[:12]}",
                    seq=batch.header.seq,
                )

    def blocks(self, ref: SegmentRef) -> Iterator[bytes]:
        """A segment in clear, piece by piece; raises CorruptionError at its end if it is not what its name says."""
        got = hashlib.sha256()
        try:
            for block in self.opener.blocks(self.shelf.open_path(self._kept_as(ref))):
                got.update(block)
                yield block
        except (UnprovableError, CorruptionError) as exc:
            raise self._corrupt(ref, str(exc)) from exc
        if got.hexdigest() != ref.sha256:
            raise self._corrupt(ref, f"others, with SHA-256 {got.hexdigest()[:12]}")

    def _kept_as(self, ref: SegmentRef) -> str:
        return kept_as(self.keeper, self.stream, ref.sha256)

    def _corrupt(self, ref: SegmentRef, got: str) -> CorruptionError:
        return CorruptionError(
            f"segment {ref.sha256[:12]}, which lies as {self._kept_as(ref)[:12]}",
            expected="the bytes its zone sealed",
            got=got,
            next_step="jinbao journal verify at the backup site",
        )

    def _acts(self, ref: SegmentRef) -> list[Entry]:
        """The acts of one segment. Raises UnprovableError for one that no zone of ours would write."""
        require_bounded(ref)
        return acts_of(b"".join(self.blocks(ref)), ref)


def require_bounded(ref: SegmentRef) -> None:
    """Raise UnprovableError for a segment of acts that is larger than any of ours."""
    if ref.rows > ACTS_ROWS_MAX or ref.bytes > ACTS_SEGMENT_BYTES_MAX:
        raise UnprovableError(
            f"segment {ref.sha256[:12]}",
            expected=f"acts, at most {ACTS_ROWS_MAX} pieces in {ACTS_SEGMENT_BYTES_MAX} bytes",
            got=f"{ref.rows} in {ref.bytes}",
        )


def acts_of(body: bytes, ref: SegmentRef) -> list[Entry]:
    """The acts in the bytes of a segment that was hashed; raises UnprovableError for bytes that are no acts."""
    try:
        check_parquet(body, Shape(ref.rows, COLUMNS), ParquetLimits())
        return of_frame(pl.read_parquet(io.BytesIO(body)))
    except (UnacceptableError, pl.exceptions.PolarsError) as exc:
        raise UnprovableError(f"segment {ref.sha256[:12]}", expected="acts", got=str(exc)) from exc


def as_of(copies: Sequence[Copy], moment: str) -> tuple[list[Copy], list[str]]:
    """The copies of a node as it was at a moment, and the zones that did not exist yet; UsageError if none did."""
    found = {str(copy.stream.origin): copy.until(moment) for copy in copies}
    then = [copy for copy in found.values() if copy is not None]
    if not then:
        raise UsageError(
            f"copies of {', '.join(found)}", expected="a moment after their first act", got=moment
        )
    return then, [zone for zone, copy in found.items() if copy is None]


def _utc(text: str) -> datetime:
    """A moment with its zone; raises UsageError for any other text."""
    with suppress(ValueError):
        found = datetime.fromisoformat(text)
        if found.tzinfo is not None:
            return found
    raise UsageError("--at", expected="a moment as 2024-11-05T00:10:00Z", got=text[:40])


def lay(copy: Copy, target: SegmentShelf, tell: Tell) -> int:
    """Put every segment of a copy onto another shelf, durable; returns the bytes. Those there already are hashed too.

    Raises CorruptionError for one that is missing or altered, unless it is a spare: a zone is built without those.
    What was laid stays, and a later call goes on.
    """
    count, total = copy.size()
    for done, ref in enumerate(copy.objects()):
        tell(done, count)
        if not target.has(ref.sha256) or target.examine(ref.sha256, ref.bytes) is not None:
            if target.has(ref.sha256):
                target.remove(ref.sha256)
            try:
                _lay_one(copy, ref, target)
            except CorruptionError:
                if ref.table != SPARE_TABLE:
                    raise
        hit(LAID)
    return total


def _lay_one(copy: Copy, ref: SegmentRef, target: SegmentShelf) -> None:
    temporary = target.temporary(f"lay-{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as out:
            for block in copy.blocks(ref):
                out.write(block)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    target.add_expected(temporary, ref.sha256, ref.bytes)


def replay(copy: Copy, ledger: Ledger, tell: Tell) -> str:
    """Record every act of a copy in an empty journal; the chain's hash at the last one.

    Raises as `Copy.entries` does, UnprovableError for an act that no zone records, and CorruptionError if
    fewer acts came than the copy promises.
    """
    last = [Entry(0, "", "", "", "")]
    coming = [0]

    def told() -> Iterator[Recorded]:
        for entry in copy.entries():
            tell(entry.lsn - 1, copy.acts)
            coming[0] = entry.lsn
            yield recorded(entry)
            last[0] = entry

    try:
        ledger.replay(told())
    except _UNREADABLE as exc:
        raise UnprovableError(
            f"copy of {copy.stream.origin}: act {coming[0]}",
            expected="one that a zone records",
            got=f"{type(exc).__name__} {quoted(str(exc))}",
        ) from exc
    if last[0].lsn != copy.acts:
        raise CorruptionError(f"copy of {copy.stream.origin}", expected=f"{copy.acts} acts", got=last[0].lsn)
    return last[0].hash


def recorded(entry: Entry) -> Recorded:
    """An act as a room reads it."""
    return Recorded(entry.lsn, Act(entry.kind, json.loads(entry.body)), entry.at)
