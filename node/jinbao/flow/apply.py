"""Applying 入库: accepted batches become library rows, kept receipts or a decision package.

The unit is the submission: nothing of it is visible before its manifest closes it, and
then all of it is. A submission that is proved but not acceptable is refused by a signed
receipt, and what follows it is not blocked. Each topic has one handler; a batch no
handler wants is passed by. A batch on which the process ends again and again is read no
more, so that its stream waits for a person and the others go on.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from typing import Protocol

from jinbao.flow.passage import BarredError, Passage
from jinbao.flow.ports import (
    Ahead,
    Attempts,
    Attestation,
    Index,
    Inspector,
    Judge,
    Ledger,
    LibraryRoom,
    Now,
    Observer,
    ReadHeader,
    Room,
    Submitted,
)
from jinbao.model import acts
from jinbao.model.acts import Act, SegmentUse
from jinbao.model.batch import Kind, VerifiedBatch
from jinbao.model.errors import (
    LASTING,
    JinbaoError,
    LocalError,
    PeerError,
    PoisonError,
    SpaceError,
    UnacceptableError,
    UnavailableError,
)
from jinbao.model.failpoint import declare, hit
from jinbao.model.quoting import quoted
from jinbao.model.receipt import REASON_CHARACTERS_MAX, Receipt, Stage
from jinbao.model.standard import Standard
from jinbao.model.stream import StreamId
from jinbao.trust.digest import digest_of_tables

APPLY_BEFORE = declare(
    "apply.before_record",
    "a submission is closed and its headers are right, nothing of it is judged or applied",
)
APPLIED = declare("apply.after_record", "a submission is applied, its receipt is not yet due")
ATTEST_BEFORE = declare("apply.before_attest", "stored rows are read back and right, no receipt says so")
ATTESTED = declare("apply.after_attest", "the receipt of an applied submission is due, not sealed")


class Handler(Protocol):
    """What one topic's batches mean here."""

    def wants(self, stream: StreamId) -> bool:
        """Whether this handler reads the stream."""
        ...

    def apply(self, stream: StreamId, batches: Sequence[VerifiedBatch]) -> bool:
        """Apply what can be applied of `batches`, in order; whether anything was."""
        ...


class Applier:
    """Hands accepted batches to the handler of their topic, stream by stream."""

    def __init__(
        self,
        *,
        index: Index,
        ledger: Ledger,
        read: ReadHeader,
        handlers: Sequence[Handler],
        observer: Observer,
        batches_max: int,
        attempts: Attempts,
        ends_max: int,
        room: Room,
    ) -> None:
        """`ends_max`: processes that may end on one batch; `room` raises SpaceError where nothing may be written."""
        self._index, self._ledger, self._read = index, ledger, read
        self._handlers, self._observer = tuple(handlers), observer
        self._batches_max = batches_max
        self._attempts, self._ends_max, self._room = attempts, ends_max, room

    def step(self) -> bool:
        """One round over all streams, each by itself; whether anything was applied.

        Raises the first LocalError that one stream's rows met, after the others had their round;
        where there is no database and no room, nobody has one.
        """
        moved, failed = False, list[LocalError]()
        waiting = dict(self._index.waiting())
        if waiting:
            self._room(0)
            for stream, (_, code, _) in self._index.held().items():
                if code == PoisonError.code:
                    waiting.pop(stream, None)
        for stream, count in waiting.items():
            try:
                moved |= self._round(stream, count)
            except (SpaceError, UnavailableError):
                raise
            except LocalError as exc:
                failed.append(exc)
        if failed:
            raise failed[0]
        return moved

    def _round(self, stream: StreamId, count: int) -> bool:
        """One stream's round; what may not be read holds it, loudly, and no other."""
        batches = [self._read(sealed) for sealed in self._index.unapplied(stream, self._batches_max)]
        try:
            moved = self._attempt(stream, batches)
            if not moved and count > len(batches):
                raise UnacceptableError(
                    f"{stream}: batches",
                    expected=f"a submission closed within {len(batches)}",
                    got=f"{count} and no manifest",
                )
        except PeerError as exc:
            seq = exc.values.get("seq")
            return self._hold(stream, seq if isinstance(seq, int) else batches[0].header.seq, exc)
        return moved

    def forgive(self) -> None:
        """A process that is told to stop does not end of what it applies."""
        self._attempts.end()

    def _attempt(self, stream: StreamId, batches: Sequence[VerifiedBatch]) -> bool:
        """Apply; leave a trace of it only where the process ends of it, or is about to."""
        seq = batches[0].header.seq
        ends = self._attempts.begin(stream, seq)
        if ends >= self._ends_max:
            self._attempts.end()  # what a person lets go on begins to count anew
            raise PoisonError(
                f"{stream}#{seq}",
                expected="to be applied",
                got=f"{ends} processes that ended of it",
                next_step="report it with the log; then jinbao line release",
            )
        try:
            moved = self._apply(stream, batches)
        except JinbaoError:
            self._attempts.end()
            raise
        self._attempts.end()
        return moved

    def _hold(self, stream: StreamId, seq: int, exc: PeerError) -> bool:
        """Record once that the stream waits at `seq`."""
        held = self._index.held().get(stream)
        if held is not None and held[:2] == (seq, exc.code):
            return False
        reason = quoted(str(exc), REASON_CHARACTERS_MAX)
        self._ledger.record(acts.held(stream, seq, exc.code, reason, []))
        self._observer.event("stream_held", stream=str(stream), seq=seq, code=exc.code, reason=reason)
        return False

    def _apply(self, stream: StreamId, batches: Sequence[VerifiedBatch]) -> bool:
        for handler in self._handlers:
            if handler.wants(stream):
                return handler.apply(stream, batches)
        last = batches[-1]
        self._ledger.record(acts.skipped(stream, last.header.seq, last.head))
        return True


class SubmissionHandler:
    """Applies libraries in an exchange zone; `onward` turns an applied submission into more acts."""

    def __init__(
        self,
        *,
        me: Index,
        ledger: Ledger,
        room: LibraryRoom,
        judge: Judge,
        inspector: Inspector,
        standards: Mapping[str, Standard],
        onward: Callable[[VerifiedBatch, Sequence[SegmentUse], Kind], Sequence[Act]],
        observer: Observer,
        now: Now,
        rows_max: int,
        ahead: Ahead,
    ) -> None:
        self._inspector, self._rows_max, self._ahead = inspector, rows_max, ahead
        self._index, self._ledger, self._room = me, ledger, room
        self._judge, self._standards, self._onward = judge, standards, onward
        self._observer, self._now = observer, now

    def wants(self, stream: StreamId) -> bool:
        """Every library of the standards held here."""
        return stream.topic in self._standards

    def apply(self, stream: StreamId, batches: Sequence[VerifiedBatch]) -> bool:
        """Apply or refuse each submission that is closed; an open one waits for its manifest."""
        moved, opened = False, 0
        for at, batch in enumerate(batches):
            if batch.header.kind in (Kind.MANIFEST, Kind.VOID):
                self._close(stream, batches[opened : at + 1])
                moved, opened = True, at + 1
        return moved

    def _close(self, stream: StreamId, submission: Sequence[VerifiedBatch]) -> None:
        last, standard = submission[-1], self._standards[stream.topic]
        if last.header.kind is Kind.VOID:
            self._ledger.record(acts.skipped(stream, last.header.seq, last.head))
            return
        reason = self._misdeclared(standard, submission) or self._apply(standard, submission)
        if reason:
            self._refuse(stream, submission, reason)
            return
        hit(APPLIED)
        rows = sum(ref.rows for batch in submission for ref in batch.header.segments)
        self._observer.event(
            "submission_applied", stream=str(stream), topic=stream.topic, seq=last.header.seq, rows=rows
        )

    def _apply(self, standard: Standard, submission: Sequence[VerifiedBatch]) -> str:
        """Apply a submission while it is judged; why it is not acceptable, and then nothing of it is stored."""
        last, header = submission[-1], submission[-1].header
        assert header.manifest is not None  # a manifest without totals was objected to
        uses = [
            SegmentUse(batch.header.seq, batch.header.kind, ref.table, ref.sha256, ref.rows, ref.bytes)
            for batch in submission
            for ref in batch.header.segments
        ]
        act = acts.applied(
            stream=header.stream,
            first=submission[0].header.seq,
            seq=header.seq,
            head=last.head,
            library=header.stream.topic,
            standard=header.standard,
            period=header.period,
            segments=uses,
            tables=header.manifest.tables,
        )
        kind = submission[0].header.kind if uses else Kind.CHANGE
        hit(APPLY_BEFORE)
        with closing(self._passage(standard, submission)) as passage:
            return self._recorded(passage, act, self._onward(last, uses, kind))

    def _recorded(self, passage: Passage, act: Act, onward: Sequence[Act]) -> str:
        """Record what passes; why it does not. What the database refuses, the gate may refuse in better words."""
        made = (replace(act, bulk=passage), *onward)
        passage.begin()
        try:
            self._ledger.record(*made)
        except (SpaceError, UnavailableError):
            raise
        except (BarredError, LocalError) as exc:
            reason = passage.objection()
            if reason:
                return reason
            if isinstance(exc, LocalError):
                raise
            self._ledger.record(*made)  # what took long to be decoded is decoded now
        return ""

    def _passage(self, standard: Standard, submission: Sequence[VerifiedBatch]) -> Passage:
        refs = [ref for batch in submission for ref in batch.header.segments]
        segments: dict[str, list[str]] = {}
        for ref in refs:
            segments.setdefault(ref.table, []).append(ref.sha256)
        received = self._judge.received(standard, submission[-1].header.period, segments)
        return Passage(standard, refs, inspector=self._inspector, received=received, ahead=self._ahead)

    def _refuse(self, stream: StreamId, submission: Sequence[VerifiedBatch], reason: str) -> None:
        last, reason = submission[-1], quoted(reason, REASON_CHARACTERS_MAX)
        first, seq, head = submission[0].header.seq, last.header.seq, last.head
        receipt = Receipt(self._index.me, stream, seq, head, Stage.REFUSED, 0, "", reason, self._now())
        self._ledger.record(acts.refused(stream, first, seq, head, reason), acts.receipt_due(receipt))
        self._observer.event(
            "submission_refused", stream=str(stream), topic=stream.topic, seq=seq, reason=reason
        )

    def _misdeclared(self, standard: Standard, submission: Sequence[VerifiedBatch]) -> str:
        """What the headers say that they may not; empty when nothing."""
        header = submission[-1].header
        if header.manifest is None:
            return "manifest: expected control totals, got none"
        if header.standard != standard.id:
            return f"standard: expected {standard.id}, got {header.standard or 'none'}"
        first = submission[0].header.seq
        if header.manifest.first_seq != first:
            return f"manifest: expected to close from #{first}, got #{header.manifest.first_seq}"
        kinds = {batch.header.kind for batch in submission[:-1]}
        if len(kinds) > 1:
            return f"submission: expected one kind, got {', '.join(sorted(kinds))}"
        known = {table.id for table in standard.tables}
        unknown = {ref.table for batch in submission for ref in batch.header.segments} - known
        if unknown:
            return f"tables: expected those of {standard.id}, got {', '.join(sorted(unknown))}"
        rows = sum(ref.rows for batch in submission for ref in batch.header.segments)
        return (
            f"submission: expected at most {self._rows_max} rows, got {rows}" if rows > self._rows_max else ""
        )

    def attest(self) -> bool:
        """Read back what is stored of every newly applied submission and say so; whether any was.

        A digest that is not the promised one holds the stream and names tables and buckets.
        """
        moved = False
        for submitted in self._room.unattested():
            moved |= self._attest(submitted)
        return moved

    def _attest(self, submitted: Submitted) -> bool:
        found = self._room.attest(submitted)
        wrong = [
            f"table {table}: expected {rows} rows with digest {root[:12]}, "
            f"got {found.rows[table]} with {found.roots[table][:12]}"
            for table, (rows, root) in sorted(submitted.promised.items())
            if (found.rows[table], found.roots[table]) != (rows, root)
        ]
        if wrong:
            reason = "; ".join(wrong)
            held = self._index.held().get(submitted.stream)
            if held is not None and (held[1] in LASTING or held[2] == reason):
                return False
            self._ledger.record(acts.held(submitted.stream, submitted.seq, "digest_mismatch", reason, []))
            self._observer.event(
                "stream_held",
                stream=str(submitted.stream),
                seq=submitted.seq,
                code="digest_mismatch",
                reason=reason,
            )
            return True
        hit(ATTEST_BEFORE)
        receipt = Receipt(
            self._index.me,
            submitted.stream,
            submitted.seq,
            submitted.head,
            Stage.APPLIED,
            sum(found.rows.values()),
            submission_digest(found),
            "",
            self._now(),
        )
        self._ledger.record(acts.receipt_due(receipt))
        hit(ATTESTED)
        self._observer.event(
            "submission_attested", stream=str(submitted.stream), seq=submitted.seq, rows=receipt.rows
        )
        return True


def submission_digest(found: Attestation) -> str:
    """SHA-256 over the lines `<table> <rows> <root>` in order of table: one word for a whole library."""
    return digest_of_tables((table, found.rows[table], root) for table, root in found.roots.items())
