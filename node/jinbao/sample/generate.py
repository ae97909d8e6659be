"""Write a sample city into one or more business databases, and its ledger of defects beside them."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
import sqlalchemy as sa

from jinbao.model.errors import SourceError
from jinbao.sample.defects import Planted, plant_defects
from jinbao.sample.edit import Editor
from jinbao.sample.odd import plant_odd_kinds
from jinbao.sample.people import City, make_city
from jinbao.sample.schema import KEYS, TABLES

PERSONS_MIN = 5_000
"""Fewer persons have not enough unemployed for every kind of defect."""


@dataclass(frozen=True, slots=True)
class Ledger:
    """What was written: rows by table, odd kinds, and every planted defect."""

    rows: dict[str, int]
    odd_kinds: list[str]
    planted: list[Planted]

    def frame(self) -> pl.DataFrame:
        """Planted defects as columns."""
        names = ("source_table", "library", "table", "key", "item", "rule")
        return pl.DataFrame(
            [{n: getattr(p, n) for n in names} for p in self.planted],
            schema=dict.fromkeys(names, pl.String()),
        )


def generate(
    urls: Sequence[str], *, region: str, persons: int, seed: int, period: int, defects_per_kind: int = 2
) -> Ledger:
    """Write a city of `persons` insured people, split by person over the databases at `urls`.

    Deterministic by seed. Raises SourceError for too few persons or a database that is not empty.
    """
    if persons < PERSONS_MIN:
        raise SourceError("sample city: persons", expected=f"at least {PERSONS_MIN}", got=persons)
    city = make_city(region, persons, seed, period)
    editor = Editor(city)
    odd = plant_odd_kinds(editor)
    planted = plant_defects(editor, defects_per_kind)
    for at, url in enumerate(urls):
        try:
            _write(url, _share(city, at, len(urls)))
        except sa.exc.SQLAlchemyError as exc:
            got = str(getattr(exc, "orig", None) or exc).splitlines()[0]
            raise SourceError(f"sample city: url {at + 1}", expected="a database to write", got=got) from exc
    return Ledger({name: frame.height for name, frame in city.tables.items()}, odd, planted)


def _share(city: City, at: int, of: int) -> dict[str, pl.DataFrame]:
    """The rows of one county database: persons by their number, employers all in the first."""
    if of == 1:
        return city.tables
    mine = pl.col("AAC001").str.slice(-6).cast(pl.Int64) % of == at
    return {
        name: frame.filter(mine) if name != "AB01" else frame.head(frame.height if at == 0 else 0)
        for name, frame in city.tables.items()
    }


def _write(url: str, tables: dict[str, pl.DataFrame]) -> None:
    parsed = sa.make_url(url)
    if parsed.get_backend_name() == "sqlite":
        Path(str(parsed.database)).parent.mkdir(parents=True, exist_ok=True)
    engine = sa.create_engine(parsed)
    try:
        with engine.begin() as connection:
            there = set(sa.inspect(connection).get_table_names()) & TABLES.keys()
            if there:
                raise SourceError(
                    f"sample city {parsed.render_as_string(hide_password=True)}",
                    expected="a database without these tables",
                    got=", ".join(sorted(there)),
                    next_step="name another database",
                )
            for name, columns in TABLES.items():
                body = ", ".join([*(f'"{c}" {t}' for c, t in columns.items()), _key(name)])
                connection.exec_driver_sql(f'CREATE TABLE "{name}" ({body})')
            if parsed.get_backend_name() == "postgresql":
                for name, frame in tables.items():
                    _copy(connection, name, frame.select(list(TABLES[name])))
    finally:
        engine.dispose()
    if parsed.get_backend_name() == "sqlite":
        _ingest(str(parsed.database), tables)


def _key(table: str) -> str:
    names = ", ".join(f'"{c}"' for c in KEYS[table])
    return f"PRIMARY KEY ({names})"


def _ingest(database: str, tables: dict[str, pl.DataFrame]) -> None:
    import adbc_driver_sqlite.dbapi as adbc  # noqa: PLC0415

    with adbc.connect(database) as connection:
        with connection.cursor() as cursor:
            for name, frame in tables.items():
                if frame.height:
                    cursor.adbc_ingest(name, frame.select(list(TABLES[name])).to_arrow(), mode="append")
        connection.commit()


def _copy(connection: sa.Connection, name: str, frame: pl.DataFrame) -> None:
    raw: Any = connection.connection.driver_connection
    with raw.cursor() as cursor, cursor.copy(f'COPY "{name}" FROM STDIN (FORMAT csv)') as copy:
        for block in frame.iter_slices(65_536):
            text = io.BytesIO()
            block.write_csv(text, include_header=False, quote_style="non_numeric", null_value="")
            copy.write(text.getvalue())
