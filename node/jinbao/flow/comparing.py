"""Comparing: what passed now against what was sealed last, row by row, without the rows of then.

What was sealed last is kept as lines: a row's key, a cheap digest of its content, its
bucket and its canonical leaf. Rows whose cheap digest is the same keep their leaf, so the
canonical digest of a table costs as much as what changed in it. Reads and writes no file.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import polars as pl

from jinbao.model.standard import Table
from jinbao.trust.digest import leaves

OP = "op"
UPSERT, DELETE = "U", "D"
BUCKET, LEAF = "bucket", "leaf"

CHEAP = f"__row_polars-{pl.__version__}"
"""The cheap digest, private to this zone; by another release's none is compared, and leaves are made anew."""

_SEED = 1
_BEFORE, _CHEAP_BEFORE = "__before", "__cheap_before"


@dataclass(frozen=True)
class Compared:
    """One table: `lines` of all rows that passed, and what is to be sent, each in order of the key.

    `sent` has the standard's columns, `op`, and the bucket and leaf of each row; a row that
    is gone has its key alone.
    """

    lines: pl.DataFrame
    sent: pl.DataFrame

    def slices(
        self, table: Table, rows_max: int, *, keep_empty: bool
    ) -> Iterator[tuple[pl.DataFrame, pl.DataFrame]]:
        """The rows to send in parts of at most `rows_max`, each with its leaves; no part of no rows unless kept."""
        if self.sent.height or keep_empty:
            for part in self.sent.iter_slices(rows_max) if self.sent.height else [self.sent]:
                yield part.select(*table.columns, OP), part.select(BUCKET, LEAF)


def compare(table: Table, passed: pl.DataFrame, before: pl.DataFrame | None) -> Compared:
    """Compare rows (columns of the standard, sorted by key) with the lines of `before`; all are new without them."""
    cheap = passed.hash_rows(_SEED).alias(CHEAP)
    if before is None:
        made = leaves(passed, table.columns, table.key)
        return Compared(_lines(table, passed, cheap, made), _upserts(passed, made))
    then = before.select(*table.key, pl.col(LEAF).alias(_BEFORE), BUCKET, _cheap_of(before))
    met = (
        passed.select(table.key)
        .with_columns(cheap)
        .join(then, on=table.key, how="left", nulls_equal=True, maintain_order="left")
    )
    same = met.select((pl.col(CHEAP) == pl.col(_CHEAP_BEFORE)).fill_null(value=False)).to_series()
    odd = passed.filter(~same)
    fresh = leaves(odd, table.columns, table.key)
    made = _placed(met.select(BUCKET, pl.col(_BEFORE).alias(LEAF)), ~same, fresh)
    is_new = (met.get_column(_BEFORE) != made.get_column(LEAF)).fill_null(value=True)
    gone = then.select(table.key).join(passed, on=table.key, how="anti", nulls_equal=True)
    sent = pl.concat([_upserts(passed.filter(is_new), made.filter(is_new)), _deletes(table, passed, gone)])
    return Compared(_lines(table, passed, cheap, made), sent.sort(table.key))


def lines_of(table: Table, rows: pl.DataFrame) -> pl.DataFrame:
    """The lines of whole rows, as earlier releases kept them; lines are given back as they are."""
    if LEAF in rows.columns and LEAF not in table.columns:
        return rows
    return _lines(table, rows, rows.hash_rows(_SEED).alias(CHEAP), leaves(rows, table.columns, table.key))


def _lines(table: Table, rows: pl.DataFrame, cheap: pl.Series, made: pl.DataFrame) -> pl.DataFrame:
    return rows.select(table.key).hstack([cheap, *made.select(BUCKET, LEAF).get_columns()])


def _cheap_of(before: pl.DataFrame) -> pl.Expr:
    known = pl.col(CHEAP) if CHEAP in before.columns else pl.lit(None, pl.UInt64)
    return known.alias(_CHEAP_BEFORE)


def _placed(made: pl.DataFrame, at: pl.Series, fresh: pl.DataFrame) -> pl.DataFrame:
    """`made` with the rows of `at` replaced by `fresh`, in order."""
    if fresh.is_empty():
        return made
    places = at.arg_true()
    return pl.DataFrame(
        {name: made.get_column(name).scatter(places, fresh.get_column(name)) for name in (BUCKET, LEAF)}
    )


def _upserts(rows: pl.DataFrame, made: pl.DataFrame) -> pl.DataFrame:
    return rows.with_columns(pl.lit(UPSERT).alias(OP)).hstack(made.select(BUCKET, LEAF))


def _deletes(table: Table, passed: pl.DataFrame, gone: pl.DataFrame) -> pl.DataFrame:
    """Rows of nothing but their key."""
    columns: Sequence[pl.Expr] = [
        pl.col(c) if c in table.key else pl.lit(None, passed.schema[c]).alias(c) for c in table.columns
    ]
    rows = gone.select(columns)
    return rows.with_columns(pl.lit(DELETE).alias(OP)).hstack(leaves(rows, table.columns, table.key))
