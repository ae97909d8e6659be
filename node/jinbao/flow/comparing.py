"""Comparing: what passed now against what was sealed last, part by part, without the rows of then.

What was sealed last is kept as lines: a row's key, its control columns, a quick digest of its
content, its bucket and its canonical leaf. Rows whose quick digest is the same keep their leaf, so the
canonical digest of a table costs as much as what changed in it. Reads and writes no file.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from jinbao.conversion.keyed import Keyed
from jinbao.model.standard import Table
from jinbao.trust.digest import QUICK, leaves, quick

OP = "op"
UPSERT, DELETE = "U", "D"
BUCKET, LEAF = "bucket", "leaf"

_AT, _BEFORE, _QUICK_BEFORE = "__at", "__before", "__quick_before"


@dataclass(frozen=True)
class Compared:
    """A part of a table: `lines` of all its rows, and the rows to be sent, each in order of the key.

    `sent` has the standard's columns, `op`, and the bucket and leaf of each row.
    """

    lines: pl.DataFrame
    sent: pl.DataFrame


class Comparer:
    """One table against the lines of `before`; without them every row is new."""

    def __init__(self, table: Table, before: pl.DataFrame | None) -> None:
        self._table = table
        self._before: Keyed | None = None
        if before is not None:
            columns = [*table.key, pl.col(LEAF).alias(_BEFORE), BUCKET, _quick_of(before)]
            self._before = Keyed(before.select(columns).with_row_index(_AT), table.key[0])
            self._met = np.zeros(before.height, dtype=bool)

    def part(self, passed: pl.DataFrame) -> Compared:
        """Compare some rows (columns of the standard, sorted by key); no key may come in two parts."""
        table, digests = self._table, quick(passed)
        if self._before is None:
            made = _leaves(table, passed)
            return Compared(_lines(table, passed, digests, made), _upserts(passed, made))
        keys = passed.select(table.key).with_columns(digests)
        near = self._before.near(keys.get_column(table.key[0]))
        met = keys.join(near, on=table.key, how="left", nulls_equal=True, maintain_order="left")
        self._met[met.get_column(_AT).drop_nulls().to_numpy()] = True
        same = met.select((pl.col(QUICK) == pl.col(_QUICK_BEFORE)).fill_null(value=False)).to_series()
        made = met.select(BUCKET, pl.col(_BEFORE).alias(LEAF))
        if not same.all():
            made = _placed(made, ~same, _leaves(table, passed.filter(~same)))
        is_new = (met.get_column(_BEFORE) != made.get_column(LEAF)).fill_null(value=True)
        sent = _upserts(passed.filter(is_new), made.filter(is_new))
        return Compared(_lines(table, passed, digests, made), sent)

    def gone(self) -> pl.DataFrame:
        """The rows no part had, to be sent as deletes: nothing but their key. After the last part."""
        table = self._table
        nothing = {item.code: pl.String() if item.is_text else pl.Int64() for item in table.items}
        columns = [
            pl.col(c) if c in table.key else pl.lit(None, dtype).alias(c) for c, dtype in nothing.items()
        ]
        if self._before is None:
            rows = pl.DataFrame(schema=nothing)
        else:
            rows = self._before.rows.filter(pl.Series(~self._met)).select(columns)
        return rows.with_columns(pl.lit(DELETE).alias(OP)).hstack(_leaves(table, rows))


def lines_of(table: Table, rows: pl.DataFrame) -> pl.DataFrame:
    """The lines of whole rows, as release 0.1 kept them; lines are given back as they are.

    Lines of another column engine carry quick digests under another name: none is compared, leaves are made anew.
    """
    if LEAF in rows.columns and LEAF not in table.columns:
        return rows
    return _lines(table, rows, quick(rows), _leaves(table, rows))


def leaves_of(lines: pl.DataFrame) -> pl.DataFrame:
    """Bucket and leaf of each line or row to be sent, as the canonical digest takes them."""
    return lines.select(BUCKET, pl.col(LEAF).bin.encode("hex"))


def _leaves(table: Table, rows: pl.DataFrame) -> pl.DataFrame:
    """Bucket, and leaf as its 32 bytes."""
    return leaves(rows, table.columns, table.key).with_columns(pl.col(LEAF).str.decode("hex"))


def _lines(table: Table, rows: pl.DataFrame, digests: pl.Series, made: pl.DataFrame) -> pl.DataFrame:
    return rows.select(*table.key, *_totals(table)).hstack(
        [digests, *made.select(BUCKET, LEAF).get_columns()]
    )


def _totals(table: Table) -> list[str]:
    """The control columns: with them in the lines, sums over all rows need no row of then."""
    return [code for code in table.totals if code not in table.key]


def _quick_of(before: pl.DataFrame) -> pl.Expr:
    known = pl.col(QUICK) if QUICK in before.columns else pl.lit(None, pl.UInt64)
    return known.alias(_QUICK_BEFORE)


def _placed(made: pl.DataFrame, at: pl.Series, fresh: pl.DataFrame) -> pl.DataFrame:
    """`made` with the rows of `at` replaced by `fresh`, in order."""
    places = pl.DataFrame({_AT: at.arg_true()}).hstack(fresh)
    return (
        made.with_row_index(_AT)
        .update(places, on=_AT, how="left", maintain_order="left")
        .select(BUCKET, LEAF)
    )


def _upserts(rows: pl.DataFrame, made: pl.DataFrame) -> pl.DataFrame:
    return rows.with_columns(pl.lit(UPSERT).alias(OP)).hstack(made.select(BUCKET, LEAF))
