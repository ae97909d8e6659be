"""A province small enough to judge by hand: two cities, one month, ten people and three employers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

import polars as pl

from jinbao.decision.room import PackagedSegment
from jinbao.model.standard import Standard, Table
from jinbao.registry.standards import load_standards

PERIOD = "202610"
REPOSITORY = Path(__file__).parents[2]

Rows = Sequence[Mapping[str, object]]


@cache
def standards() -> dict[str, Standard]:
    """The standards as delivered."""
    return load_standards(REPOSITORY / "tiers" / "standards")


def named(columns: str, *rows: tuple[object, ...]) -> Rows:
    """Rows of the named columns; every other item of the table stays empty."""
    return [dict(zip(columns.split(), row, strict=True)) | {"AAE002": int(PERIOD)} for row in rows]


EMPLOYERS = named(
    "AAB301 AAB001 AAB051 AAB019 AAB020 AAB021 AAB119 AAB050 AAB180 BAB102 BAB103 BAB104",
    ("140105", "E1", "1", "10", "110", "10", 9, 20261015, 10000, 9000, 1000, 13),
    ("140106", "E2", "1", "30", "110", "20", 10, 20200101, 20005, 20005, 0, 0),
    ("140221", "E3", "2", "10", "170", "10", 0, 20260930, 0, 0, 1, 12),
)

ACTIVE = named(
    "AAB301 AAB001 AAC001 AAC004 AAC006 AAC008 AAC031 BIC102 BIC103 AAE180 AAE240 AAC049 AAC012 AAC009 AAC028 "
    "AAC011 BIC101",
    (
        "140105",
        "E1",
        "A1",
        "1",
        19610101,
        "1",
        "1",
        8000,
        8000,
        100000,
        50000,
        202610,
        "1",
        "10",
        "0",
        "20",
        0,
    ),
    ("140105", "E1", "A2", "2", 20061031, "1", "1", 8001, 8001, 100001, 0, 202609, "2", "20", "1", "20", 3),
    ("140106", "E2", "A3", "1", 20061101, "1", "2", 5000, 0, 70000, 10000, 200801, "1", "10", "0", None, 4),
    ("140221", "E3", "A4", "2", 19800615, "2", "2", 0, 0, 0, 100, 201001, "2", "20", "0", "10", 37),
    ("140221", "E9", "A5", "1", 19900101, "1", "1", 4000, 3000, 50000, 200, 202610, "4", "10", "0", "10", 0),
)

RETIREES = named(
    "AAB301 AAB001 AAC001 AAC004 AAC006 AIC161 AIC162 AAE116 AAC012 AIC240 BIC201 AIC242 BIC202 AIC263 BIC203 "
    "BIC204 AAA071 BAC201 AAE200 AAE201",
    (
        *("140105", "E1", "R1", "1", 19500101, "2", 20100115, "1", "1"),
        *(100000, 20000, 30000, 0, 150000, 120000, 30000, "1", "1", 0, 180),
    ),
    (
        *("140106", "E2", "R2", "2", 19710930, "3", 20261020, "2", "2"),
        *(40000, 0, 10001, 0, 50001, 40000, 10001, "1", "0", 100, 101),
    ),
    (
        *("140106", "E2", "R3", "1", 19661101, "2", 20261001, "3", "1"),
        *(99900, 0, 0, 0, 99900, 99900, 0, "1", "1", 0, 240),
    ),
    (
        *("140221", None, "R4", "2", 19400229, "1", 19950301, "1", "1"),
        *(200000, 0, 0, 0, 200000, 200000, 0, "0", "0", 0, 400),
    ),
)

REGISTERED = named(
    "AAB301 AAC001 AAC004 AAC006 AAC011 AJC093 AAC009 AJC094 BJC101",
    ("140105", "G1", "1", 20020101, "20", "1", "10", 20250930, "1"),
    ("140106", "G2", "2", 20011031, None, "2", "20", 20251001, "0"),
    ("140106", "G3", "2", 19800101, "20", "2", "10", 20261020, "0"),
    ("140221", "G4", "1", 19810101, "30", "9", "20", 20200101, "1"),
)

INSURED = named(
    "AAB301 AAC001 AAC008 AAC031 AAC028",
    ("140105", "I1", "1", "1", "1"),
    ("140105", "I2", "1", "2", "0"),
    ("140221", "I3", "2", "1", "1"),
    ("140221", "I4", "1", "1", "0"),
)

DRAWING = named(
    "AAB301 AAC001 BJC103 AJC097 AJC098 AJC099 BJC102",
    ("140105", "D1", 202610, 12, 1, 11, 150000),
    ("140106", "D2", 202601, 10, 10, 0, 150002),
    ("140106", "D3", 202605, 24, 6, 18, 150000),
)

TABLES: Mapping[tuple[str, str], Rows] = {
    ("pension_macro", "employer"): EMPLOYERS,
    ("pension_macro", "active_person"): ACTIVE,
    ("pension_macro", "retiree"): RETIREES,
    ("unemployment_monitor", "registered"): REGISTERED,
    ("unemployment_monitor", "insured"): INSURED,
    ("unemployment_monitor", "drawing"): DRAWING,
}


class Shelf:
    """Segments as files of a directory, named by what stands for their hash."""

    def __init__(self, directory: Path) -> None:
        """Write into `directory`."""
        self.directory = directory
        self.segments: list[PackagedSegment] = []

    def path(self, sha256: str) -> Path:
        """The file of a segment."""
        return self.directory / f"{sha256}.parquet"

    def add(
        self,
        library: str,
        table: Table,
        rows: Rows,
        *,
        origin: str = "140000",
        seq: int = 1,
        kind: str = "snapshot",
        period: str = PERIOD,
    ) -> PackagedSegment:
        """Write rows as one segment; rows without `op` are upserts."""
        types = {i.code: pl.String if i.is_text else pl.Int64 for i in table.items} | {"op": pl.String}
        columns = {name: [({"op": "U"} | dict(row)).get(name) for row in rows] for name in types}
        name = f"s{len(self.segments)}"
        pl.DataFrame(columns, schema=types).write_parquet(self.path(name))
        segment = PackagedSegment(library, origin, table.id, seq, kind, period, name)
        self.segments.append(segment)
        return segment


def example(directory: Path, tables: Mapping[tuple[str, str], Rows] = TABLES) -> Shelf:
    """One snapshot of every table."""
    shelf = Shelf(directory)
    for (library, table), rows in tables.items():
        shelf.add(library, standards()[library].table(table), rows)
    return shelf
