"""Group-by over Parquet: DuckDB beside Polars and SQLite, as ratios; prints, judges nothing.

Rows are shaped like `active_person`: count and sum by city, sex and status. SQLite reads
the same rows from a table, which is loaded beforehand and not timed. Best of three runs.
"""

from __future__ import annotations

import sqlite3
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import duckdb
import numpy as np
import polars as pl

ROWS = 2_000_000
FILES = 4
SEED = 1
RUNS = 3

Result = list[tuple[object, ...]]


def people(rows: int, seed: int) -> pl.DataFrame:
    """Persons of eleven cities, with a number and a balance in fen."""
    chance = np.random.default_rng(seed)
    return pl.DataFrame(
        {
            "AAC001": pl.Series(np.arange(rows)).cast(pl.String).str.zfill(20),
            "AAB301": pl.Series(140100 + 100 * chance.integers(0, 11, rows)).cast(pl.String),
            "AAC004": chance.choice(["1", "2"], rows),
            "AAC031": chance.choice(["1", "2", "3"], rows),
            "AAE240": chance.integers(0, 10_000_000, rows),
        }
    )


def by_duckdb(files: list[str]) -> Result:
    """The groups by DuckDB, from Parquet."""
    listed = ", ".join(f"'{file}'" for file in files)
    query = (
        "SELECT AAB301, AAC004, AAC031, count(*), sum(AAE240)::BIGINT"
        f" FROM read_parquet([{listed}]) GROUP BY ALL ORDER BY ALL"
    )
    return duckdb.sql(query).fetchall()


def by_polars(files: list[str]) -> Result:
    """The groups by Polars, from Parquet."""
    keys = ("AAB301", "AAC004", "AAC031")
    grouped = pl.scan_parquet(files).group_by(keys).agg(pl.len(), pl.col("AAE240").sum())
    return grouped.sort(keys).collect().rows()


def by_sqlite(database: sqlite3.Connection) -> Result:
    """The groups by SQLite, from its own table."""
    query = (
        "SELECT AAB301, AAC004, AAC031, count(*), sum(AAE240) FROM person GROUP BY 1, 2, 3 ORDER BY 1, 2, 3"
    )
    return database.execute(query).fetchall()


def best(work: Callable[[], Result]) -> tuple[float, Result]:
    """Least seconds of a few runs, and what they found."""
    seconds, found = [], []
    for _ in range(RUNS):
        begun = time.perf_counter()
        found = work()
        seconds.append(time.perf_counter() - begun)
    return min(seconds), found


def main() -> None:
    """Measure, check that all three agree, print."""
    with tempfile.TemporaryDirectory() as directory:
        files, database = [], sqlite3.connect(Path(directory) / "person.db")
        database.execute("CREATE TABLE person (AAC001, AAB301, AAC004, AAC031, AAE240)")
        for n in range(FILES):
            frame = people(ROWS // FILES, SEED + n)
            files.append(f"{directory}/{n}.parquet")
            frame.write_parquet(files[-1], compression="zstd")
            database.executemany("INSERT INTO person VALUES (?, ?, ?, ?, ?)", frame.iter_rows())
        database.commit()
        measured = {
            "duckdb": best(lambda: by_duckdb(files)),
            "polars": best(lambda: by_polars(files)),
            "sqlite": best(lambda: by_sqlite(database)),
        }
        database.close()
    base, expected = measured["duckdb"]
    for name, (seconds, found) in measured.items():
        assert found == expected, name
        print(f"{name:<16}{ROWS / seconds:>12,.0f} rows/s{seconds / base:>8.1f} x duckdb's time")


if __name__ == "__main__":
    main()
