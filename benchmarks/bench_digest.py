"""Rows per second through the canonical digest and through a Parquet segment; prints, judges nothing."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl

from jinbao.trust.digest import digest

ROWS = 1_000_000
SEED = 1


def people(rows: int) -> pl.DataFrame:
    """Rows shaped like a library table: a number, a name, a date, a sex and an amount in fen."""
    chance = np.random.default_rng(SEED)
    return pl.DataFrame(
        {
            "AAC001": pl.Series(np.arange(rows)).cast(pl.String).str.zfill(18),
            "AAC003": chance.choice(["王伟", "李娜", "张敏", "刘洋"], rows),
            "AAC006": chance.integers(19400101, 20080101, rows),
            "AAC004": chance.choice(["1", "2"], rows),
            "AAE201": chance.integers(0, 900_000, rows),
        }
    )


def measure(name: str, work: Callable[[], object]) -> None:
    """Print rows per second of one piece of work."""
    begun = time.perf_counter()
    work()
    print(f"{name:<16}{ROWS / (time.perf_counter() - begun):>12,.0f} rows/s")


def main() -> None:
    """All measures, one line each."""
    frame = people(ROWS)
    measure("digest", lambda: digest([frame], frame.columns, ["AAC001"]))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "segment.parquet"
        measure("segment out", lambda: frame.write_parquet(path, compression="zstd", compression_level=1))
        measure("segment in", lambda: pl.read_parquet(path))


if __name__ == "__main__":
    main()
