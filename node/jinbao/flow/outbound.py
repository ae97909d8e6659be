"""Outbound: business rows become sealed standard records, in the production zone 生产区.

    source ─capture→ resource ─convert→ records ─judge→ passed ─compare with last sealed→ batches ─seal→ journal

Capture compares content under one snapshot; what is sealed is the difference between
what passed now and what was sealed last. Files are durable before the one transaction
that records batches, quarantine and the new last-sealed state together.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial

import polars as pl

from jinbao.flow.comparing import BUCKET, LEAF, Compared, compare, lines_of
from jinbao.flow.ports import (
    Capture,
    Captured,
    Index,
    Judge,
    Judged,
    Ledger,
    Now,
    Observer,
    SealedLibrary,
    SealedState,
    SealHeader,
    Shelf,
)
from jinbao.flow.sealing import StreamSealer
from jinbao.model import acts
from jinbao.model.acts import Act, CapturedTable, ConvertedTable
from jinbao.model.batch import Kind, Manifest, SealedBatch, SegmentRef, TableTotals
from jinbao.model.failpoint import declare, hit
from jinbao.model.finding import Verdict
from jinbao.model.standard import Standard, Table
from jinbao.model.stream import RESOURCE_PREFIX, StreamId
from jinbao.trust.digest import digest_of_leaves

CAPTURE_BEFORE = declare(
    "outbound.before_capture", "the files of a capture run are durable, the run is not recorded"
)
CAPTURED = declare("outbound.after_capture", "a capture run is recorded, nothing of it is converted")
WRITTEN = declare("outbound.after_write", "all segments of a submission are durable, none is sealed")
SEALED = declare("outbound.after_seal", "a submission is sealed in the journal, nobody fetched it")


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
    ) -> None:
        self._capture, self._judge = capture, judge
        self._index, self._state = index, state
        self._ledger, self._shelf = ledger, shelf
        self._standards = tuple(standards)
        self._seal, self._epoch, self._backup = seal, epoch, backup
        self._observer, self._now = observer, now
        self._segment_rows_max = segment_rows_max

    def step(self, period: str) -> int:
        """One run for a period: capture, then each library; returns how many submissions were sealed.

        Raises SourceError or SpaceError; what was recorded before stays, the next run goes on.
        """
        run = f"run-{self._state.last_run() + 1:06d}"
        self._record_capture(run, self._capture.run(run))
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
        changed = sum(t.upserts + t.deletes for t in captured.tables)
        rows = sum(t.rows for t in captured.tables)
        self._observer.event(
            "capture_finished", run=run, tables=len(captured.tables), rows=rows, changed=changed
        )

    def _submit(self, standard: Standard, period: str, run: str) -> int:
        """Convert, judge and seal one library; 1 if a submission was sealed, 0 if nothing changed or it was refused."""
        tables: list[CapturedTable] = self._state.captured_tables()
        judged = self._judge.judge(standard, period, tables)
        last = self._state.last_sealed(standard.library)
        batches: list[SealedBatch] = []
        sealed_tables: list[ConvertedTable] = []
        if judged.verdict != Verdict.REFUSED:
            whole = last is None or (last.standard, last.period) != (standard.id, period)
            compared = self._compare(standard, judged, None if whole else last)
            sealed_tables = [self._keep(table, judged, compared[table.id]) for table in standard.tables]
            batches = self._batches(standard, period, run, judged, compared, sealed_tables, whole=whole)
        hit(WRITTEN)
        self._ledger.record(
            *(acts.sealed(batch) for batch in batches),
            acts.converted(
                library=standard.library,
                standard=standard.id,
                period=period,
                run=run,
                verdict=judged.verdict,
                tables=sealed_tables,
                quarantine=self._write(judged.quarantine),
                findings=self._write(judged.findings),
            ),
        )
        hit(SEALED)
        self._observer.event(
            "library_judged",
            library=standard.library,
            period=period,
            verdict=judged.verdict,
            passed=sum(f.height for f in judged.passed.values()),
            quarantined=sum(judged.quarantined.values()),
            batches=len(batches),
        )
        return int(bool(batches))

    def _compare(self, standard: Standard, judged: Judged, last: SealedLibrary | None) -> dict[str, Compared]:
        """What passed of each table, held against what was sealed last."""
        found = {}
        for table in standard.tables:
            before = lines_of(table, self._shelf.read(last.tables[table.id])) if last else None
            found[table.id] = compare(table, judged.passed[table.id], before)
        return found

    def _keep(self, table: Table, judged: Judged, compared: Compared) -> ConvertedTable:
        """Store the lines of a table, which the next run compares with, and digest all of its rows."""
        sha256, _ = self._shelf.write(compared.lines)
        root = digest_of_leaves([compared.lines.select(BUCKET, LEAF)]).root
        return ConvertedTable(
            table.id,
            sha256,
            compared.lines.height,
            root,
            judged.source_rows[table.id],
            judged.quarantined[table.id],
        )

    def _batches(
        self,
        standard: Standard,
        period: str,
        run: str,
        judged: Judged,
        compared: Mapping[str, Compared],
        kept: Sequence[ConvertedTable],
        *,
        whole: bool,
    ) -> list[SealedBatch]:
        """The batches and manifest of a submission; none if nothing differs from what was sealed last."""
        kind = Kind.SNAPSHOT if whole else Kind.CHANGE
        segments = [
            self._segment(table, rows, made)
            for table in standard.tables
            for rows, made in compared[table.id].slices(table, self._segment_rows_max, keep_empty=whole)
        ]
        if not segments:
            return []
        sealer = self._sealer(StreamId(self._index.me, standard.library))
        first = sealer.seq + 1
        seal = partial(sealer.next, run=run, period=period, standard=standard.id)
        batches = [
            seal(kind, segments=[segment], slice_index=at, slices=len(segments))
            for at, segment in enumerate(segments)
        ]
        totals = tuple(
            TableTotals(line.table, line.rows, line.digest, control_totals(table, judged.passed[table.id]))
            for table, line in zip(standard.tables, kept, strict=True)
        )
        manifest = Manifest(first, totals, sum(judged.quarantined.values()))
        return [*batches, seal(Kind.MANIFEST, manifest=manifest)]

    def _segment(self, table: Table, rows: pl.DataFrame, made: pl.DataFrame) -> SegmentRef:
        sha256, size = self._shelf.write(rows)
        root = digest_of_leaves([made]).root
        return SegmentRef(table.id, sha256, size, rows.height, root, control_totals(table, rows))

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


def control_totals(table: Table, frame: pl.DataFrame) -> Mapping[str, int]:
    """Sums of the table's control columns, scaled integers; NULL counts as nothing."""
    if not table.totals:
        return {}
    sums = frame.select(pl.col(code).sum() for code in table.totals).row(0)
    return dict(zip(table.totals, (int(value or 0) for value in sums), strict=True))
