"""A library judged part by part is judged as it would be whole."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
from tests.sample.city import PERIOD, TIERS, sample_city
from tests.whole import convert, judge_whole

from jinbao.appliance import judging
from jinbao.appliance.judging import ConvertAndJudge
from jinbao.journal.segments import SegmentShelf
from jinbao.model.acts import CapturedTable
from jinbao.model.finding import FINDING_COLUMNS
from jinbao.registry.mappings import load_mappings
from jinbao.registry.standards import load_standards
from jinbao.source.decode import UNDECODABLE
from jinbao.store.files import Files

STANDARDS = load_standards(TIERS / "standards")
MAPPINGS = load_mappings(TIERS / "mappings", STANDARDS)


@pytest.mark.parametrize("part_rows", [700, 100_000], ids=["many parts", "one part"])
@pytest.mark.parametrize("library", sorted(MAPPINGS))
def test_parts_are_judged_as_the_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, library: str, part_rows: int
) -> None:
    """Rows that pass, rows that are stopped and all findings of a city with planted defects are the same."""
    monkeypatch.setattr(judging, "PART_ROWS", part_rows)
    _, tables = sample_city()
    shelf, standard = SegmentShelf(tmp_path, Files()), STANDARDS[library]
    none = pl.lit(None, pl.String).alias(UNDECODABLE)
    sources = {name: frame.with_columns(none) for name, frame in tables.items()}
    captured = [
        CapturedTable("city", name, shelf.write(frame)[0], frame.height, 0, 0, ())
        for name, frame in sources.items()
    ]
    whole = judge_whole(standard, PERIOD, *convert(MAPPINGS[library], standard, PERIOD, sources))

    library_judged = ConvertAndJudge(MAPPINGS, shelf).judging(standard, str(PERIOD), captured, None)
    parts = {table.id: list(library_judged.parts(table)) for table in standard.tables}
    quarantine, findings = library_judged.report(
        [(part.quarantine, part.findings) for found in parts.values() for part in found]
    )

    for table in standard.tables:
        passed = pl.concat(part.passed for part in parts[table.id]).sort(table.key)
        assert passed.equals(whole[table.id].passed)
        assert sum(part.stopped for part in parts[table.id]) == whole[table.id].quarantined.height
    expected = pl.concat(judged.findings for judged in whole.values()).select(FINDING_COLUMNS)
    assert sorted(findings.select(FINDING_COLUMNS).rows(), key=repr) == sorted(expected.rows(), key=repr)
    assert quarantine.select("table", "key", "n").is_duplicated().sum() == 0
