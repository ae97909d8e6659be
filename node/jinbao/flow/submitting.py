"""Submitting: the parts of a table that passed the gate become segments, lines and totals, as they come.

Holds what is not yet a full segment, and the lines of the table; writes to the shelf,
seals nothing and records nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import polars as pl

from jinbao.flow.comparing import BUCKET, LEAF, OP, Comparer, leaves_of
from jinbao.flow.ports import JudgedPart, Shelf
from jinbao.model.acts import ConvertedTable
from jinbao.model.batch import SegmentRef, TableTotals
from jinbao.model.finding import Verdict
from jinbao.model.standard import Table
from jinbao.quality.gate import key_text
from jinbao.trust.digest import digest_of_leaves


@dataclass(frozen=True)
class Before:
    """A table as it was sealed last: its lines, the segment they lie in, and the digest of its rows."""

    lines: pl.DataFrame
    segment: str
    digest: str


class TableSubmission:
    """One table of a submission; without what was sealed `before` it is sent whole.

    Of the rows whose key text is not among `affected` the lines of before still hold; None: all are affected.
    """

    def __init__(
        self,
        table: Table,
        before: Before | None,
        shelf: Shelf,
        rows_max: int,
        affected: pl.Series | None = None,
    ) -> None:
        self.table = table
        self.segments: list[SegmentRef] = []
        self._stopped = 0
        self._before = before
        self._is_same = before is not None and affected is not None and affected.is_empty()
        self._lines, mine = _divided(table, before, affected)
        self._comparer = Comparer(table, mine)
        self._shelf, self._rows_max = shelf, rows_max
        self._waiting: list[pl.DataFrame] = []

    @property
    def passed(self) -> int:
        """Rows that passed the gate, now or when they were judged last."""
        return sum(part.height for part in self._lines)

    @property
    def stopped(self) -> int:
        """Rows the gate stopped."""
        return self._stopped

    @property
    def verdict(self) -> Verdict:
        """The gate's word on all rows so far."""
        return self.table.limits.verdict(self.passed + self._stopped, self._stopped)

    def carry(self, stopped: int) -> None:
        """Take in rows that are not affected and were stopped when they were judged last."""
        self._stopped += stopped

    def add(self, part: JudgedPart) -> None:
        """Take in one part; full segments are written."""
        self._stopped += part.stopped
        compared = self._comparer.part(part.passed)
        self._lines.append(compared.lines)
        self._send(compared.sent)

    def end(self) -> None:
        """After the last part: rows that are gone, and what is left, are written."""
        is_whole = self._before is None
        if not is_whole:
            self._send(self._comparer.gone())
        rest = self._together()
        if rest.height or (is_whole and not self.segments):
            self._write(rest)

    def kept(self) -> ConvertedTable:
        """Store the lines, which the next run compares with, and digest all rows by them."""
        rows, stopped = self.passed, self._stopped
        if self._before is not None and self._is_same:
            sha256, root = self._before.segment, self._before.digest
        else:
            lines = pl.concat(self._lines)
            sha256, _ = self._shelf.write(lines)
            root = digest_of_leaves([leaves_of(lines)]).root
        return ConvertedTable(self.table.id, sha256, rows, root, rows + stopped, stopped)

    def totals(self, kept: ConvertedTable) -> TableTotals:
        """The manifest's line of this table."""
        return TableTotals(
            kept.table, kept.rows, kept.digest, control_totals(self.table, pl.concat(self._lines))
        )

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


def _divided(
    table: Table, before: Before | None, affected: pl.Series | None
) -> tuple[list[pl.DataFrame], pl.DataFrame | None]:
    """The lines of before that still hold, and those affected rows are compared with."""
    if before is None or affected is None:
        return [], None if before is None else before.lines
    is_affected = before.lines.select(key_text(table).is_in(affected.implode())).to_series()
    return [before.lines.filter(~is_affected)], before.lines.filter(is_affected)


def control_totals(table: Table, frame: pl.DataFrame) -> Mapping[str, int]:
    """Sums of the table's control columns, scaled integers; NULL counts as nothing."""
    if not table.totals:
        return {}
    sums = frame.select(pl.col(code).sum() for code in table.totals).row(0)
    return dict(zip(table.totals, (int(value or 0) for value in sums), strict=True))
