"""Mappings 对照表 as values: how a standard table follows from business tables."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Part:
    """A business table that takes part: rows where columns have these values, joined on `on`.

    An empty `how` is the first table; `inner` keeps rows that meet, `left` keeps all.
    """

    table: str
    on: tuple[str, ...] = ()
    how: str = ""
    where: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Column:
    """Where an item comes from: exactly one of `source`, `count`, `total`, `constant` or `period`.

    `source` is TABLE.COLUMN. `count` and `total` name TABLE or TABLE.COLUMN, counted or
    summed by `by` where columns have the values of `where`. `codes` translates local codes.
    """

    item: str
    source: str = ""
    count: str = ""
    total: str = ""
    by: str = ""
    where: Mapping[str, str] = field(default_factory=dict)
    constant: str = ""
    period: bool = False
    codes: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class TableMapping:
    """One standard table: the business tables it joins, in order, and one column per item."""

    table: str
    parts: tuple[Part, ...]
    columns: tuple[Column, ...]

    def joined_tables(self) -> dict[str, set[str]]:
        """Business tables that are joined, with the columns needed of each; the first is `parts[0]`."""
        needed = {part.table: {*part.on, *part.where} for part in self.parts}
        for part in self.parts[1:]:  # by name, or by the same name of the first
            needed[self.parts[0].table] |= set(part.on)
        for column in self.columns:
            if column.source:
                head, _, tail = column.source.partition(".")
                needed.setdefault(head, set()).add(tail)
            elif column.by:
                needed[self._of_joined(column.by)].add(column.by)
        return needed

    def _of_joined(self, by: str) -> str:
        """The joined table whose column an aggregate is by: the first that names it, else the first of all."""
        for part in self.parts:
            if by in part.on or any(c.source == f"{part.table}.{by}" for c in self.columns):
                return part.table
        return self.parts[0].table

    def counted_tables(self) -> dict[str, set[str]]:
        """Business tables whose rows are counted or summed, with the columns needed of each."""
        needed: dict[str, set[str]] = {}
        for column in self.columns:
            name = column.count or column.total
            if name:
                head, _, tail = name.partition(".")
                needed.setdefault(head, set()).update(filter(None, (tail, column.by, *column.where)))
        return needed


@dataclass(frozen=True, slots=True)
class LibraryMapping:
    """All tables of one library."""

    library: str
    tables: tuple[TableMapping, ...]

    def source_tables(self) -> dict[str, set[str]]:
        """Business tables needed, with the columns needed of each."""
        needed: dict[str, set[str]] = {}
        for table in self.tables:
            for found in (table.joined_tables(), table.counted_tables()):
                for name, columns in found.items():
                    needed.setdefault(name, set()).update(columns)
        return needed
