"""Affected: which rows of a library may be judged otherwise than last time, told by the rows that changed since.

A row of a standard table follows from the row of its first business table, from the rows that
are joined to it and from those counted for it. So whatever changed is traced to the keys of
standard rows, and every row of such a key is converted and judged anew; of all others what was
found last time still holds. Too many is never wrong, too few would be: where a mapping does not
let a key be told by the first business table alone, there is no answer and all rows are judged.
What rules across rows find is not traced here: `judging` compares it with what they found.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from operator import or_
from pathlib import Path

import polars as pl

from jinbao.conversion.convert import TableConversion
from jinbao.model.acts import CapturedTable
from jinbao.model.mapping import TableMapping
from jinbao.model.standard import Table
from jinbao.quality.gate import key_text
from jinbao.source.decode import UNDECODABLE
from jinbao.source.kept import Kept, Look, kept, keys_since

LOOK_ROWS = 262_144
"""Rows of a business table looked at at once by a few columns."""

Captures = Mapping[str, Sequence[CapturedTable]]
"""The newest capture of each business table, by upper-case name, one for every source."""


class Moved:
    """What of the business tables changed after a run."""

    def __init__(self, captures: Captures, open_path: Callable[[str], Path], run: int) -> None:
        self._captures, self._open_path, self._run = captures, open_path, run
        self._keys = {
            name: [keys_since(table, open_path, run) for table in tables] for name, tables in captures.items()
        }

    @property
    def can_tell(self) -> bool:
        """Whether every table is kept as it was then; one written whole since is not."""
        return all(table.since <= self._run for tables in self._captures.values() for table in tables)

    @property
    def count(self) -> int:
        """Keys that changed, of all tables."""
        return sum(len(keys) for found in self._keys.values() for keys in found)

    def rows(self, name: str, columns: Sequence[str]) -> pl.DataFrame:
        """The rows of a table that changed, as they were and as they are."""
        parts = [pl.DataFrame(schema=dict.fromkeys(columns, pl.String()))]
        for table, keys in zip(self._captures[name], self._keys[name], strict=True):
            if len(keys):
                then_and_now = (kept(table, self._open_path, until) for until in (self._run, None))
                parts += [one.of_keys(keys, columns) for one in then_and_now]
        return pl.concat(parts)


@dataclass(frozen=True)
class Meeting:
    """Values of some columns, by which rows of another business table are met."""

    columns: tuple[str, ...]
    values: pl.DataFrame

    def among(self, rows: pl.DataFrame) -> pl.Series:
        """Whether each row has one of the values; NULL meets nothing, as in a join."""
        if len(self.columns) == 1:
            column = self.columns[0]
            values = pl.lit(self.values.get_column(column)).drop_nulls().implode()
            return rows.select(pl.col(column).is_in(values).fill_null(value=False)).to_series()
        found = self.values.drop_nulls().unique().with_columns(pl.lit(value=True).alias(_MET))
        met = rows.join(found, on=self.columns, how="left", maintain_order="left")
        return met.get_column(_MET).fill_null(value=False)


_MET = "__met"


def any_of(meetings: Sequence[Meeting]) -> Look:
    """Rows that one of the meetings is with."""
    columns = tuple(dict.fromkeys(c for meeting in meetings for c in meeting.columns))
    return Look(columns, lambda rows: reduce(or_, (meeting.among(rows) for meeting in meetings)))


class TableTrace:
    """One standard table: how what changed in business tables leads to keys of its rows."""

    def __init__(self, one: TableMapping, table: Table, period: int) -> None:
        self._one, self._table = one, table
        self.root = one.parts[0].table
        by_item = {column.item: column for column in one.columns}
        keys = [by_item[code] for code in table.key if code in by_item]
        sources = [column.source.partition(".") for column in keys if column.source]
        self.can_tell = len(keys) == len(table.key) and all(
            (column.source.partition(".")[0] == self.root)
            if column.source
            else bool(column.period or column.constant)
            for column in keys
        )
        self.key_columns = tuple(dict.fromkeys(tail for _, _, tail in sources))
        first = replace(
            one.parts[0], where={}
        )  # rows its filter leaves out have no records, and may be named
        self._keys = TableConversion(TableMapping(one.table, (first,), tuple(keys)), table, period, {})

    def keys(self, rows: pl.DataFrame) -> pl.Series:
        """The key text of each row of the first business table, as findings and lines are told apart by."""
        records, _ = self._keys.records(rows, self._table.key)
        return records.select(key_text(self._table).alias("key")).to_series()

    def affected(self, moved: Moved, tables: Mapping[str, Sequence[Kept]]) -> pl.Series:
        """The keys of all rows that follow from something that changed, each once."""
        found = [self.keys(moved.rows(self.root, [*self.key_columns, UNDECODABLE]))]
        meetings = list(self._meetings(moved, tables))
        if meetings:
            columns, look = [*self.key_columns, UNDECODABLE], any_of(meetings)
            met = (rows for one in tables[self.root] for rows in one.slices(columns, LOOK_ROWS, look))
            found += map(self.keys, met)
        return pl.concat(found).unique()

    def _meetings(self, moved: Moved, tables: Mapping[str, Sequence[Kept]]) -> Iterator[Meeting]:
        """What of the first business table meets a change of another."""
        joined = self._one.joined_tables()
        for part in self._one.parts[1:]:
            values = moved.rows(part.table, part.on)
            if values.height:
                yield Meeting(part.on, values)
        for column in self._one.columns:
            name = (column.count or column.total).partition(".")[0]
            if not name:
                continue
            values = moved.rows(name, (column.by,))
            if values.is_empty():
                continue
            counted = Meeting((column.by,), values)
            if column.by in joined[self.root]:
                yield counted
            for part in self._one.parts[1:]:
                if column.by in joined[part.table]:
                    yield Meeting(part.on, _met(tables[part.table], part.on, counted))


def _met(tables: Sequence[Kept], columns: Sequence[str], meeting: Meeting) -> pl.DataFrame:
    """Some columns of the rows that meet."""
    parts = [rows for one in tables for rows in one.slices(list(columns), LOOK_ROWS, any_of([meeting]))]
    return pl.concat([pl.DataFrame(schema=dict.fromkeys(columns, pl.String())), *parts])
