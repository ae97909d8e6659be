"""A sample city generated once per test process, and the way its rows go: read, convert, judge."""

from __future__ import annotations

import atexit
import hashlib
import shutil
import tempfile
from collections.abc import Mapping
from functools import cache
from pathlib import Path

import polars as pl
from tests.whole import convert, judge_whole

from jinbao.registry.mappings import load_mappings
from jinbao.registry.standards import load_standards
from jinbao.sample.generate import Ledger, generate
from jinbao.source.decode import UNDECODABLE
from jinbao.source.reader import Source

REGION, PERSONS, SEED, PERIOD = "140100", 5_000, 1, 202410
TIERS = Path(__file__).parents[2] / "tiers"

Tables = Mapping[str, pl.DataFrame]


def made(*urls: str, seed: int = SEED) -> Ledger:
    """Write the city into empty databases."""
    return generate(urls, region=REGION, persons=PERSONS, seed=seed, period=PERIOD)


def tables_of(*urls: str) -> dict[str, pl.DataFrame]:
    """All business tables as the source room reads them, the databases one below the other."""
    parts: dict[str, list[pl.DataFrame]] = {}
    for url in urls:
        with Source("city", url).snapshot() as snapshot:
            for name, shape in snapshot.tables().items():
                parts.setdefault(name, []).extend(snapshot.batches(shape))
    return {name: pl.concat(frames) for name, frames in parts.items()}


@cache
def _directory() -> Path:
    directory = Path(tempfile.mkdtemp(prefix="jb-city-"))
    atexit.register(shutil.rmtree, directory, ignore_errors=True)
    return directory


@cache
def sample_city(seed: int = SEED) -> tuple[Ledger, Tables]:
    """The city of a seed in one SQLite file: its ledger and its tables."""
    url = f"sqlite:///{_directory() / f'city-{seed}.db'}"
    return made(url, seed=seed), tables_of(url)


@cache
def findings() -> pl.DataFrame:
    """What conversion and gate say of the city: library, table, key, item, rule, one line per finding."""
    standards = load_standards(TIERS / "standards")
    sources = {
        name: frame.with_columns(pl.lit(None, pl.String).alias(UNDECODABLE))
        for name, frame in sample_city()[1].items()
    }
    found = []
    for library, mapping in load_mappings(TIERS / "mappings", standards).items():
        judged = judge_whole(
            standards[library], PERIOD, *convert(mapping, standards[library], PERIOD, sources)
        )
        found += [one.findings.with_columns(pl.lit(library).alias("library")) for one in judged.values()]
    return pl.concat(found).select("library", "table", "key", "item", "rule")


def hash_of(tables: Tables) -> str:
    """SHA-256 over all rows of all tables, whatever order they come in."""
    total = hashlib.sha256()
    for name in sorted(tables):
        rows = sorted(repr((name, row)) for row in tables[name].iter_rows())
        total.update("\n".join(rows).encode())
    return total.hexdigest()
