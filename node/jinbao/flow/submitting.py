"""Submitting: the parts of a table that passed the gate become segments, lines and totals, as they come.

Holds what is not yet a full segment, and the lines of the table; writes to the shelf,
seals nothing and records nothing.
"""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

from jinbao.flow.comparing import BUCKET, LEAF, OP, Comparer, leaves_of
from jinbao.flow.ports import JudgedPart, Shelf
from jinbao.model.acts import ConvertedTable
from jinbao.model.batch import SegmentRef, TableTotals
from jinbao.model.finding import Verdict
from jinbao.model.standard import Table
from jinbao.trust.digest import digest_of_leaves


class TableSubmission:
    """One table of a submission; without lines of `before` it is sent whole."""

    def __init__(self, table: Table, before: pl.DataFrame | None, shelf: Shelf, rows_max: int) -> None:
        self.table = table
        self.segments: list[SegmentRef] = []
        self.passed = self._source_rows = self._stopped = 0
        self._is_whole = before is None
        self._comparer = Comparer(table, before)
        self._shelf, self._rows_max = shelf, rows_max
        self._lines: list[pl.DataFrame] = []
        self._waiting: list[pl.DataFrame] = []
        self._totals: dict[str, int] = {}

    @property
    def stopped(self) -> int:
        """Rows the gate stopped."""
        return self._stopped

    @property
    def verdict(self) -> Verdict:
        """The gate's word on all parts so far."""
        return self.table.limits.verdict(self._source_rows, self._stopped)

    def add(self, part: JudgedPart) -> None:
        """Take in one part; full segments are written."""
        self._source_rows += part.rows
        self._stopped += part.stopped
        self.passed += part.passed.height
        for code, value in control_totals(self.table, part.passed).items():
            self._totals[code] = self._totals.get(code, 0) + value
        compared = self._comparer.part(part.passed)
        self._lines.append(compared.lines)
        self._send(compared.sent)

    def end(self) -> None:
        """After the last part: rows that are gone, and what is left, are written."""
        if not self._is_whole:
            self._send(self._comparer.gone())
        rest = self._together()
        if rest.height or (self._is_whole and not self.segments):
            self._write(rest)

    def kept(self) -> ConvertedTable:
        """Store the lines, which the next run compares with, and digest all rows by them."""
        lines = pl.concat(self._lines)
        sha256, _ = self._shelf.write(lines)
        root = digest_of_leaves([leaves_of(lines)]).root
        return ConvertedTable(self.table.id, sha256, lines.height, root, self._source_rows, self._stopped)

    def totals(self, kept: ConvertedTable) -> TableTotals:
        """The manifest's line of this table."""
        return TableTotals(kept.table, kept.rows, kept.digest, dict(self._totals))

    def _send(self, rows: pl.DataFrame) -> None:
        """Let rows wait until they fill a segment."""
        self._waiting.append(rows)
        if sum(part.height for part in self._waiting) >= self._rows_max:
            together = self._together()
            full = together.height - together.height % self._rows_max
            for segment in together.head(full).iter_slices(self._rows_max):
                self._write(segment)
            self._waiting = [together.slice(full)]

    def _together(self) -> pl.DataFrame:
        """What waits, by key."""
        return pl.concat(self._waiting).sort(self.table.key)

    def _write(self, sent: pl.DataFrame) -> None:
        rows = sent.select(*self.table.columns, OP)
        sha256, size = self._shelf.write(rows)
        root = digest_of_leaves([leaves_of(sent.select(BUCKET, LEAF))]).root
        totals = control_totals(self.table, rows)
        self.segments.append(SegmentRef(self.table.id, sha256, size, rows.height, root, totals))


def control_totals(table: Table, frame: pl.DataFrame) -> Mapping[str, int]:
    """Sums of the table's control columns, scaled integers; NULL counts as nothing."""
    if not table.totals:
        return {}
    sums = frame.select(pl.col(code).sum() for code in table.totals).row(0)
    return dict(zip(table.totals, (int(value or 0) for value in sums), strict=True))
