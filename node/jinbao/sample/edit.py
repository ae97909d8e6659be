"""Edits of single rows in a sample city, and the choice of rows that were not touched yet."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import polars as pl

from jinbao.sample.people import City


class Editor:
    """Hands out untouched rows by group and rewrites their cells; deterministic."""

    def __init__(self, city: City) -> None:
        self.city = city
        self._groups = {name: iter(keys) for name, keys in _groups(city).items()}

    def take(self, group: str) -> str:
        """The key of the next untouched row of a group; StopIteration when the sample is too small."""
        return next(self._groups[group])

    def row(self, table: str, key: str, **where: Any) -> dict[str, Any]:
        """One row as a dictionary."""
        return self.city.tables[table].filter(_at(table, key, where)).row(0, named=True)

    def set(self, table: str, key: str, values: Mapping[str, Any], **where: Any) -> None:
        """Rewrite cells of the rows of one key."""
        frame = self.city.tables[table]
        at = _at(table, key, where)
        self.city.tables[table] = frame.with_columns(
            pl.when(at).then(pl.lit(value)).otherwise(pl.col(name)).cast(frame.schema[name]).alias(name)
            for name, value in values.items()
        )

    def add(self, table: str, row: Mapping[str, Any]) -> None:
        """Append a row."""
        frame = self.city.tables[table]
        self.city.tables[table] = pl.concat([frame, pl.DataFrame([row], schema=frame.schema)])

    def remove(self, table: str, key: str) -> None:
        """Remove the rows of one key."""
        self.city.tables[table] = self.city.tables[table].filter(~_at(table, key, {}))


def _at(table: str, key: str, where: Mapping[str, Any]) -> pl.Expr:
    first = "AAB001" if table == "AB01" else "AAC001"
    at = pl.col(first) == key
    for name, value in where.items():
        at &= pl.col(name) == value
    return at


def _groups(city: City) -> dict[str, Iterator[str] | list[str]]:
    """Keys by what may be done to them: a change of a person of one group shows in one library table."""
    pension = city.tables["AC02"].filter(pl.col("AAE140") == "110")
    unemployment = city.tables["AC02"].filter(pl.col("AAE140") == "210")
    registered = city.tables["JC01"].get_column("AAC001")
    drawing = city.tables["JC10"].get_column("AAC001")
    elsewhere = pl.concat([unemployment.get_column("AAC001"), registered])
    only_pension = pension.filter(~pl.col("AAC001").is_in(elsewhere.implode()))
    both = unemployment.filter(~pl.col("AAC001").is_in(registered.implode()))
    paying, idle = pl.col("AAC031") == "1", pl.col("AAC031") == "2"
    young = city.tables["AC01"].filter(pl.col("AAC006") // 10_000 > city.period // 100 - 70)
    retirees = city.tables["IC10"].get_column("AAC001")
    return {
        "paying": only_pension.filter(paying).get_column("AAC001").to_list(),
        "idle": only_pension.filter(idle).get_column("AAC001").to_list(),
        "insured": both.filter(paying).get_column("AAC001").to_list(),
        "registered": registered.filter(~registered.is_in(drawing.implode())).to_list(),
        "drawing": drawing.to_list(),
        "retiree": young.filter(pl.col("AAC001").is_in(retirees.implode())).get_column("AAC001").to_list(),
        "employer": city.tables["AB01"].get_column("AAB001").to_list(),
    }
