"""Kept: a business table as it was captured last, as one base file and the changes found since.

Every row has the digest of its key and a quick digest of its content; where the source gives
a token, that too. A change replaces all rows of its key. Reads files, writes none.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import polars as pl

from jinbao.model.acts import CapturedTable
from jinbao.trust.digest import QUICK

KEY, ROW, OP = "__key", QUICK, "op"
"""Columns of digests, and of what a change does; under another release's ROW every row counts as changed, no more."""

UPSERT, DELETE = "U", "D"

CHANGES_MAX = 32
"""Change files of one table; then they and the base become one file: what a reader opens stays bounded."""

CHANGED_SHARE, CHANGED_ROWS = 4, 32_768
"""Likewise when the changes have a quarter of the base's rows, and so many: what is replaced is read for nothing."""


WIDE_ROWS = 65_536
"""Rows of which all columns are read to pick some: those of a row group."""


@dataclass(frozen=True)
class Look:
    """Which rows are wanted, told by some columns: one truth value for each row of a frame that has them."""

    columns: Sequence[str]
    wanted: Callable[[pl.DataFrame], pl.Series]


def picked(rows: pl.DataFrame, wanted: pl.Series | pl.Expr) -> pl.DataFrame:
    """Some rows; where they are few, with texts of their own: those of a filter hold the memory of all rows."""
    found = rows.filter(wanted)
    return found if found.height * 2 > rows.height else _own(found)


def _own(rows: pl.DataFrame) -> pl.DataFrame:
    return rows.with_columns(pl.col(pl.String) + "")


@dataclass(frozen=True)
class Kept:
    """A business table of one source: `base` holds every row of its day, `changes` what followed, oldest first."""

    base: Path
    changes: Sequence[Path] = field(default=())

    @cached_property
    def schema(self) -> dict[str, pl.DataType]:
        """Columns of the base, private ones among them."""
        return dict(pl.read_parquet_schema(self.base))

    @cached_property
    def base_rows(self) -> int:
        """Rows of the base."""
        return int(pl.scan_parquet(self.base).select(pl.len()).collect().item())

    @cached_property
    def rows_max(self) -> int:
        """Rows of the base and of all changes: at least as many as there are now."""
        changed = (pl.scan_parquet(file).select(pl.len()).collect().item() for file in self.changes)
        return self.base_rows + sum(map(int, changed))

    @cached_property
    def is_long(self) -> bool:
        """Whether the changes are so many that they are better put together with the base."""
        if len(self.changes) >= CHANGES_MAX:
            return True
        rows = self.rows_max - self.base_rows
        return rows > CHANGED_ROWS and rows * CHANGED_SHARE > self.base_rows

    def moved(self, columns: Collection[str] = ()) -> pl.DataFrame:
        """The newest word on every key that changed: KEY, OP and `columns`, in order of time."""
        others = [c for c in columns if c != KEY]
        if not self.changes:
            return pl.DataFrame(
                schema={KEY: pl.UInt128(), OP: pl.String()} | {c: self.schema[c] for c in others}
            )
        parts = [
            pl.scan_parquet(file, glob=False).select(KEY, OP, *others, pl.lit(at).alias(_AT))
            for at, file in enumerate(self.changes)
        ]
        # A change may hold several rows of one key; those of an earlier file count no more.
        newest = pl.col(_AT) == pl.col(_AT).max().over(KEY)
        return pl.concat(parts).filter(newest).drop(_AT).collect()

    def slices(self, columns: Sequence[str], rows: int, look: Look | None = None) -> Iterator[pl.DataFrame]:
        """All rows now, at most `rows` of `columns` at once: the base's in its order, then what changed; one at least.

        With `look` the rows it wants alone, of slices that have one.
        """
        moved = self.moved(dict.fromkeys([*columns, *(look.columns if look else ())]))
        lazy, still = pl.scan_parquet(self.base), _not_among(moved)
        private = [] if moved.is_empty() else [KEY]
        for first in range(0, max(self.base_rows, 1), rows):
            if look is not None:
                seen = lazy.select(*private, *look.columns).slice(first, rows).collect()
                wanted = look.wanted(seen)
                if private:
                    wanted &= seen.select(still).to_series()
                yield from _wanted(lazy.select(columns), first, wanted)
                continue
            some = lazy.select(*dict.fromkeys([*private, *columns])).slice(first, rows)
            yield (some.filter(still) if private else some).select(columns).collect()
        changed = moved.filter(pl.col(OP) == UPSERT) if private else moved
        for part in changed.iter_slices(rows):
            yield part.select(columns) if look is None else part.filter(look.wanted(part)).select(columns)

    def lazy(self, columns: Sequence[str]) -> pl.LazyFrame:
        """All rows now, in the order of `slices`."""
        base = pl.scan_parquet(self.base)
        if not self.changes:
            return base.select(columns)
        moved = self.moved(columns)
        rest = base.filter(_not_among(moved)).select(columns)
        return pl.concat([rest, moved.filter(pl.col(OP) == UPSERT).select(columns).lazy()])

    def of_keys(self, keys: pl.Series, columns: Sequence[str]) -> pl.DataFrame:
        """The rows now of some keys, given as their digests."""
        among = pl.col(KEY).is_in(pl.lit(keys).implode())
        if not self.changes:
            return _own(pl.scan_parquet(self.base).filter(among).select(columns).collect())
        moved = self.moved(columns)
        old = among & _not_among(moved)
        rest = _own(pl.scan_parquet(self.base).filter(old).select(columns).collect())
        return pl.concat([rest, moved.filter(among & (pl.col(OP) == UPSERT)).select(columns)])


_AT = "__at"


def _not_among(moved: pl.DataFrame) -> pl.Expr:
    """Rows whose key did not change."""
    return ~pl.col(KEY).is_in(pl.lit(moved.get_column(KEY)).implode())


def _wanted(rows: pl.LazyFrame, first: int, wanted: pl.Series) -> Iterator[pl.DataFrame]:
    """The wanted rows from `first` on, few read at once: many columns of them are large."""
    for at in range(0, len(wanted), WIDE_ROWS):
        some = wanted.slice(at, WIDE_ROWS)
        if some.any():
            yield picked(rows.slice(first + at, len(some)).collect(), some)


def kept(table: CapturedTable, open_path: Callable[[str], Path], until: int | None = None) -> Kept:
    """The files of a captured table, as it is now or as it was after run `until`."""
    changes = [open_path(sha256) for run, sha256 in table.changes if until is None or run <= until]
    return Kept(open_path(table.current), changes)


def keys_since(table: CapturedTable, open_path: Callable[[str], Path], run: int) -> pl.Series:
    """The digests of the keys that changed after a run, each once."""
    parts = [pl.read_parquet(open_path(sha256), columns=[KEY]) for at, sha256 in table.changes if at > run]
    return pl.concat([pl.DataFrame(schema={KEY: pl.UInt128()}), *parts]).get_column(KEY).unique()
