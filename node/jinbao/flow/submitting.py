"""Submitting: the parts of a table that passed the gate become segments, lines and totals, as they come.

Holds what is not yet a full segment; the lines of the table grow in a file. Writes to the shelf,
seals nothing and records nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial

import polars as pl

from jinbao.flow.comparing import BUCKET, LEAF, OP, Comparer, leaves_of, lines_of
from jinbao.flow.ports import Beside, Growing, JudgedPart, Shelf
from jinbao.model.acts import ConvertedTable
from jinbao.model.batch import SegmentRef, TableTotals
from jinbao.model.finding import Verdict
from jinbao.model.standard import Table
from jinbao.quality.gate import key_text
from jinbao.trust.digest import BUCKETS, digest_of_leaves, digest_of_shares

LINES_ROWS = 262_144
"""Lines of before that are read at once."""

SHARE_ROWS = 1 << 20
"""Lines whose leaves are held and sorted at once, about 100 MB."""


@dataclass(frozen=True)
class Before:
    """A table as it was sealed last: the segment of its lines, and the digest of its rows."""

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
        *,
        lines: Growing,
        beside: Beside,
        affected: pl.Series | None = None,
    ) -> None:
        self.table = table
        self._written: dict[int, SegmentRef] = {}
        self._stopped = self._begun = 0
        self._before, self._shelf, self._rows_max = before, shelf, rows_max
        self._is_same = before is not None and affected is not None and affected.is_empty()
        self._lines, self._beside = lines, beside
        self._totals, self._passed = Counter[str](), 0
        self._comparer = Comparer(table, self._affected_of(affected))
        self._waiting: list[pl.DataFrame] = []

    @property
    def segments(self) -> list[SegmentRef]:
        """What is to be sent, in order; after the works beside are done."""
        return [self._written[at] for at in range(self._begun)]

    @property
    def passed(self) -> int:
        """Rows that passed the gate, now or when they were judged last."""
        return self._passed

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
        self._take(compared.lines)
        self._send(compared.sent)

    def end(self) -> None:
        """After the last part: rows that are gone, and what is left, are written."""
        is_whole = self._before is None
        if not is_whole:
            self._send(self._comparer.gone())
        rest = self._together()
        if rest.height or (is_whole and not self._begun):
            self._write(rest)

    def kept(self) -> ConvertedTable:
        """Store the lines, which the next run compares with, and digest all rows by them."""
        rows, stopped = self.passed, self._stopped
        if self._before is not None and self._is_same:
            sha256, root = self._before.segment, self._before.digest
        else:
            sha256, _ = self._lines.keep()
            root = digest_of_shares(self._shares(sha256)).root
        return ConvertedTable(self.table.id, sha256, rows, root, rows + stopped, stopped)

    def totals(self, kept: ConvertedTable) -> TableTotals:
        """The manifest's line of this table."""
        totals = {code: self._totals[code] for code in self.table.totals}
        return TableTotals(kept.table, kept.rows, kept.digest, totals)

    def _affected_of(self, affected: pl.Series | None) -> pl.DataFrame | None:
        """The lines affected rows are compared with; those that still hold are taken over."""
        if self._before is None:
            return None
        parts = (lines_of(self.table, rows) for rows in self._shelf.slices(self._before.segment, LINES_ROWS))
        if affected is None:
            return pl.concat(parts)
        mine = []
        for part in parts:
            if self._is_same:
                mine.append(part.clear())
                self._take(part)
                continue
            is_affected = part.select(key_text(self.table).is_in(pl.lit(affected).implode())).to_series()
            mine.append(part.filter(is_affected).with_columns(pl.col(pl.String) + ""))
            self._take(part.filter(~is_affected))
        return pl.concat(mine)

    def _take(self, lines: pl.DataFrame) -> None:
        """Count lines, and let those that are not kept yet grow."""
        self._passed += lines.height
        self._totals.update(control_totals(self.table, lines))
        if not self._is_same:
            self._lines.add(lines)

    def _shares(self, sha256: str) -> Iterator[pl.DataFrame]:
        """Bucket and leaf of all lines, a share of the buckets at a time."""
        of = min(BUCKETS, 1 + self._passed // SHARE_ROWS)
        for at in range(of):
            where = pl.lit(value=True) if of == 1 else pl.col(BUCKET).str.to_integer(base=16) % of == at
            yield self._shelf.picked(sha256, (BUCKET, LEAF), where)

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
        """Begin the next segment."""
        self._beside.begin(partial(self._shelve, self._begun, sent))
        self._begun += 1

    def _shelve(self, at: int, sent: pl.DataFrame) -> None:
        rows = sent.select(*self.table.columns, OP)
        sha256, size = self._shelf.write(rows)
        root = digest_of_leaves([leaves_of(sent.select(BUCKET, LEAF))]).root
        totals = control_totals(self.table, rows)
        self._written[at] = SegmentRef(self.table.id, sha256, size, rows.height, root, totals)


def control_totals(table: Table, frame: pl.DataFrame) -> Mapping[str, int]:
    """Sums of the table's control columns, scaled integers; NULL counts as nothing."""
    if not table.totals:
        return {}
    sums = frame.select(pl.col(code).sum() for code in table.totals).row(0)
    return dict(zip(table.totals, (int(value or 0) for value in sums), strict=True))
