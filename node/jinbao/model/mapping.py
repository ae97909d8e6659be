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


@dataclass(frozen=True, slots=True)
class LibraryMapping:
    """All tables of one library."""

    library: str
    tables: tuple[TableMapping, ...]

    def source_tables(self) -> dict[str, set[str]]:
        """Business tables needed, with the columns needed of each."""
        needed: dict[str, set[str]] = {}
        for table in self.tables:
            for part in table.parts:
                needed.setdefault(part.table, set()).update(part.on, part.where)
            for column in table.columns:
                for name in (column.source, column.count, column.total):
                    if name:
                        head, _, tail = name.partition(".")
                        needed.setdefault(head, set()).update(filter(None, (tail, *column.where)))
                        if column.by and not column.source:
                            needed[head].add(column.by)
        return needed
