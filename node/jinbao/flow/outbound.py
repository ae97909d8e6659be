"""Outbound: business rows become sealed standard records, in the production zone 生产区.

    source ─capture→ resource ─convert→ records ─judge→ passed ─compare with last sealed→ batches ─seal→ journal

Capture compares content under one snapshot; what is sealed is the difference between
what passed now and what was sealed last. Files are durable before the one transaction
that records batches, quarantine and the new last-sealed state together.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial

import polars as pl

from jinbao.flow.ports import (
    Beside,
    Capture,
    Captured,
    Index,
    Judge,
    Judging,
    Ledger,
    Now,
    Observer,
    SealedLibrary,
    SealedState,
    SealHeader,
    Shelf,
)
from jinbao.flow.sealing import StreamSealer
from jinbao.flow.submitting import Before, TableSubmission
from jinbao.model import acts
from jinbao.model.acts import Act, ConvertedTable
from jinbao.model.batch import Kind, Manifest, SealedBatch
from jinbao.model.failpoint import declare, hit
from jinbao.model.finding import Verdict
from jinbao.model.standard import Standard, Table
from jinbao.model.stream import RESOURCE_PREFIX, StreamId

CAPTURE_BEFORE = declare(
    "outbound.before_capture", "the files of a capture run are durable, the run is not recorded"
)
CAPTURED = declare("outbound.after_capture", "a capture run is recorded, nothing of it is converted")
WRITTEN = declare("outbound.after_write", "all segments of a submission are durable, none is sealed")
SEALED = declare("outbound.after_seal", "a submission is sealed in the journal, nobody fetched it")


_Stopped = tuple[pl.DataFrame, pl.DataFrame]
"""Quarantine and findings of some rows."""


class Outbound:
    """Captures, converts, judges and seals; one instance per production zone."""

    def __init__(
        self,
        *,
        capture: Capture,
        judge: Judge,
        index: Index,
        state: SealedState,
        ledger: Ledger,
        shelf: Shelf,
        standards: Sequence[Standard],
        seal: SealHeader,
        epoch: Callable[[], int],
        backup: str,
        observer: Observer,
        now: Now,
        segment_rows_max: int,
        beside: Callable[[], Beside],
    ) -> None:
        self._capture, self._judge = capture, judge
        self._index, self._state = index, state
        self._ledger, self._shelf = ledger, shelf
        self._standards = tuple(standards)
        self._seal, self._epoch, self._backup = seal, epoch, backup
        self._observer, self._now = observer, now
        self._segment_rows_max, self._beside = segment_rows_max, beside

    def step(self, period: str) -> int:
        """One run for a period: capture, then each library; returns how many submissions were sealed.

        Raises SourceError or SpaceError; what was recorded before stays, the next run goes on.
        """
        number = self._state.last_run() + 1
        run = f"run-{number:06d}"
        self._record_capture(run, self._capture.run(number))
        return sum(self._submit(standard, period, run) for standard in self._standards)

    def _record_capture(self, run: str, captured: Captured) -> None:
        """Record the run and seal what changed for the backup site, in one transaction."""
        resources: list[Act] = []
        whole = {table.current for table in captured.tables}
        for (source, table), ref in captured.changes.items():
            kind = Kind.SNAPSHOT if ref.sha256 in whole else Kind.CHANGE
            stream = StreamId(self._index.me, f"{RESOURCE_PREFIX}{source}.{table.lower()}", self._backup)
            resources.append(acts.sealed(self._sealer(stream).next(kind, segments=[ref], run=run)))
        hit(CAPTURE_BEFORE)
        self._ledger.record(acts.captured(run, captured.tables), *resources)
        hit(CAPTURED)
        for (source, table), lied in captured.lied.items():
            self._observer.event("token_lied", source=source, table=table, rows=lied)
        changed = sum(t.upserts + t.deletes for t in captured.tables)
        rows = sum(t.rows for t in captured.tables)
        self._observer.event(
            "capture_finished", run=run, tables=len(captured.tables), rows=rows, changed=changed
        )

    def _submit(self, standard: Standard, period: str, run: str) -> int:
        """Convert, judge and seal one library; 1 if a submission was sealed, 0 if nothing changed or it was refused."""
        last = self._state.last_sealed(standard.library)
        is_whole = last is None or (last.standard, last.period) != (standard.id, period)
        judged = None if last is None or is_whole else last.judged
        judging = self._judge.judging(standard, period, self._state.captured_tables(), judged)
        with ExitStack() as works:
            tables, stopped = self._judged(standard, judging, None if is_whole else last, works)
            return self._conclude(standard, period, run, judging, tables, stopped, is_whole=is_whole)

    def _judged(
        self, standard: Standard, judging: Judging, last: SealedLibrary | None, works: ExitStack
    ) -> tuple[list[TableSubmission], list[_Stopped]]:
        """All tables before the gate, their segments durable; and of each part what the gate stopped and found."""
        beside = works.enter_context(self._beside())
        tables, stopped = [], list[_Stopped]()
        for table in standard.tables:
            submission = TableSubmission(
                table,
                None if last is None else self._before(table, last),
                self._shelf,
                self._segment_rows_max,
                lines=works.enter_context(self._shelf.growing()),
                beside=beside,
                affected=judging.affected(table),
            )
            carried = judging.carried(table)
            submission.carry(carried[0].height)
            stopped.append(carried)
            for part in judging.parts(table):
                submission.add(part)
                stopped.append((part.quarantine, part.findings))
            submission.end()
            tables.append(submission)
        beside.settle()
        return tables, stopped

    def _conclude(
        self,
        standard: Standard,
        period: str,
        run: str,
        judging: Judging,
        tables: Sequence[TableSubmission],
        stopped: Sequence[_Stopped],
        *,
        is_whole: bool,
    ) -> int:
        """Keep, seal and record what was judged; 1 if a submission was sealed."""
        verdict = Verdict.worst(table.verdict for table in tables)
        kept = [] if verdict is Verdict.REFUSED else [table.kept() for table in tables]
        batches = self._batches(standard, period, run, tables, kept, is_whole=is_whole) if kept else []
        quarantine, findings = map(self._write, judging.report(stopped))
        hit(WRITTEN)
        converted = acts.converted(
            library=standard.library,
            standard=standard.id,
            period=period,
            run=run,
            verdict=verdict,
            tables=kept,
            quarantine=quarantine,
            findings=findings,
            way=judging.way,
        )
        self._ledger.record(*(acts.sealed(batch) for batch in batches), converted)
        hit(SEALED)
        self._observer.event(
            "library_judged",
            library=standard.library,
            period=period,
            verdict=verdict,
            passed=sum(table.passed for table in tables),
            quarantined=sum(table.stopped for table in tables),
            batches=len(batches),
        )
        return int(bool(batches))

    def _before(self, table: Table, last: SealedLibrary) -> Before:
        """What was sealed last of a table."""
        sealed = last.tables[table.id]
        return Before(sealed.segment, sealed.digest)

    def _batches(
        self,
        standard: Standard,
        period: str,
        run: str,
        tables: Sequence[TableSubmission],
        kept: Sequence[ConvertedTable],
        *,
        is_whole: bool,
    ) -> list[SealedBatch]:
        """The batches and manifest of a submission; none if nothing differs from what was sealed last."""
        kind = Kind.SNAPSHOT if is_whole else Kind.CHANGE
        segments = [segment for table in tables for segment in table.segments]
        if not segments:
            return []
        sealer = self._sealer(StreamId(self._index.me, standard.library))
        first = sealer.seq + 1
        seal = partial(sealer.next, run=run, period=period, standard=standard.id)
        batches = [
            seal(kind, segments=[segment], slice_index=at, slices=len(segments))
            for at, segment in enumerate(segments)
        ]
        totals = tuple(table.totals(line) for table, line in zip(tables, kept, strict=True))
        manifest = Manifest(first, totals, sum(table.stopped for table in tables))
        return [*batches, seal(Kind.MANIFEST, manifest=manifest)]

    def _write(self, frame: pl.DataFrame) -> str:
        """Store a frame as a local segment; an empty frame has no segment."""
        return self._shelf.write(frame)[0] if frame.height else ""

    def _sealer(self, stream: StreamId) -> StreamSealer:
        return StreamSealer(
            self._index.head(stream),
            incarnation=self._index.incarnation(),
            epoch=self._epoch(),
            seal=self._seal,
            now=self._now,
        )
