"""Conversion and gate beside a row-by-row validator, as a ratio; prints, judges nothing.

Both get the same business rows of a sample city in memory. Ours converts and judges every table of
`pension_macro` by all rules of its standard. The peer, pydantic, only checks types, lengths and one
check digit of the persons' rows: less work, and still a Python object per record.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import polars as pl
from pydantic import AfterValidator, BaseModel, Field, ValidationError

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.whole import convert, judge_whole

from jinbao.model.places import tiers_directory
from jinbao.registry.mappings import load_mappings
from jinbao.registry.standards import load_standards
from jinbao.sample.generate import generate
from jinbao.source.decode import UNDECODABLE
from jinbao.source.reader import Source

PERSONS, PERIOD, RUNS = 100_000, 202410, 3
LIBRARY = "pension_macro"
_WEIGHTS = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)


def _checked(number: str) -> str:
    """An id number whose check character is right (GB 11643), or a ValueError."""
    total = sum(int(digit) * weight for digit, weight in zip(number[:17], _WEIGHTS, strict=True))
    if "10X98765432"[total % 11] != number[17]:
        raise ValueError(number)
    return number


class Person(BaseModel):
    """A person as the peer checks one."""

    AAC001: Annotated[str, Field(max_length=20)]
    AAC002: Annotated[str, Field(pattern=r"^[0-9]{17}[0-9X]$"), AfterValidator(_checked)]
    AAC003: Annotated[str, Field(max_length=50)]
    AAC004: Annotated[str, Field(max_length=1)]
    AAC006: Annotated[int, Field(ge=18500101, le=20991231)]


def city(directory: Path) -> dict[str, pl.DataFrame]:
    """The business tables of a sample city, every column as text."""
    url = f"sqlite:///{directory / 'city.db'}"
    generate([url], region="140100", persons=PERSONS, seed=1, period=PERIOD)
    with Source("city", url).snapshot() as snapshot:
        return {name: pl.concat(snapshot.batches(shape)) for name, shape in snapshot.tables().items()}


def ours(tables: dict[str, pl.DataFrame]) -> int:
    """Convert and judge a library; the rows that were judged."""
    standards = load_standards(tiers_directory() / "standards")
    mapping = load_mappings(tiers_directory() / "mappings", standards)[LIBRARY]
    none = pl.lit(None, pl.String).alias(UNDECODABLE)
    sources = {name: frame.with_columns(none) for name, frame in tables.items()}
    frames, findings = convert(mapping, standards[LIBRARY], PERIOD, sources)
    judge_whole(standards[LIBRARY], PERIOD, frames, findings)
    return sum(frame.height for frame in frames.values())


def peer(tables: dict[str, pl.DataFrame]) -> int:
    """Validate the persons one by one; the rows that were looked at."""
    people = tables["AC01"]
    for row in people.iter_rows(named=True):
        try:
            Person.model_validate(row)
        except (ValidationError, ValueError):
            continue
    return people.height


def rate(work: Callable[[dict[str, pl.DataFrame]], int], tables: dict[str, pl.DataFrame]) -> float:
    """Rows per second, the best of some runs."""
    best = 0.0
    for _ in range(RUNS):
        began = time.perf_counter()
        rows = work(tables)
        best = max(best, rows / (time.perf_counter() - began))
    return best


def main() -> None:
    """Both rates and their ratio."""
    with tempfile.TemporaryDirectory() as directory:
        tables = city(Path(directory))
    gate, validator = rate(ours, tables), rate(peer, tables)
    print(
        f"convert and judge {gate:>12,.0f} rows/s   pydantic {validator:>12,.0f} rows/s   {gate / validator:.1f} x"
    )


if __name__ == "__main__":
    main()
