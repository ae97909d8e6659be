"""The benchmark measures what it says: its table fits its standard, and its goals judge as they are written."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
from benchmarks.line.goals import GOALS, Goal, Round, Run, faster
from benchmarks.line.people import BLOCK_ROWS, COLUMNS, PERIOD, blocks
from benchmarks.line.sources import Business, a_day, load_sqlite, many
from tests.house.tree import ROOT
from tests.whole import convert, judge_whole

from jinbao.conversion.convert import UNDECODABLE
from jinbao.registry.mappings import load_mappings
from jinbao.registry.standards import load_standards

TIERS = ROOT / "benchmarks" / "tiers"
ROWS = 20_000


def test_the_table_passes_its_gate_but_for_few() -> None:
    """Of the made persons some, and fewer than one in a hundred, break a rule of the benchmark's standard."""
    standards = load_standards(TIERS / "standards")
    mapping = load_mappings(TIERS / "mappings", standards)["person_register"]
    source = pl.concat(blocks(ROWS)).with_columns(pl.lit(None, dtype=pl.String).alias(UNDECODABLE))

    standard = standards["person_register"]
    judged = judge_whole(standard, PERIOD, *convert(mapping, standard, PERIOD, {"PERSON": source}))["person"]

    assert standards["person_register"].tables[0].columns == COLUMNS
    assert judged.passed.height + judged.quarantined.height == ROWS
    assert 0 < judged.quarantined.height < ROWS / 100


def test_the_table_is_the_same_each_time() -> None:
    """The same number of rows makes the same table, block by block."""
    rows = BLOCK_ROWS + 10

    made, again = list(blocks(rows)), list(blocks(rows))

    assert [block.height for block in made] == [BLOCK_ROWS, 10]
    assert all(one.equals(other) for one, other in zip(made, again, strict=True))


def test_a_day_changes_what_it_says(tmp_path: Path) -> None:
    """A day updates 1 %, inserts 0.1 % and deletes 0.05 % of the source, and a large change what is asked."""
    kept = load_sqlite(tmp_path / "source.db", ROWS)
    business = Business(ROWS, path=tmp_path / "business.db")
    business.renew(kept)
    query = "SELECT count(*) AS rows, count(*) FILTER (WHERE aae180 = '{}') AS changed FROM person"

    def counted(value: str) -> tuple[int, ...]:
        return pl.read_database_uri(query.format(value), business.url, engine="adbc").row(0)

    business.run(*a_day())
    day = counted("8001.07")
    business.run(*many(ROWS, 2_000))

    inserted, deleted = ROWS // 1000, ROWS // 2000
    assert day == (ROWS + inserted - deleted, ROWS // 100 + inserted)
    assert counted("7777.07")[1] == pytest.approx(2_000, abs=inserted + deleted)


def _run(*rounds: dict[str, float]) -> Run:
    made = [
        Round(at, {name: {"seconds": seconds, "cpu_s": {}, "peak_mb": {}} for name, seconds in one.items()})
        for at, one in enumerate(rounds, 1)
    ]
    return Run(1, 1, made, ())


@pytest.mark.parametrize(
    ("ours", "most", "verdict"),
    [
        (1.0, False, "reached"),
        (3.0, False, "not reached"),
        (1.0, True, "not reached"),
        (3.0, True, "reached"),
    ],
    ids=["fast enough", "too slow", "too much", "little enough"],
)
def test_a_goal_is_judged_by_its_bound(ours: float, most: bool, verdict: str) -> None:
    """A ratio at least, or at most, its bound reaches the goal; nothing else does."""
    goal = Goal("", faster("ours", "peer"), 1.0, most=most)

    assert goal.verdict(_run({"ours": ours, "peer": 2.0})) == verdict


def test_what_was_not_measured_reaches_nothing() -> None:
    """Without a single stretch no goal counts as reached."""
    assert {goal.verdict(_run({})) for goal in GOALS} == {"not measured"}


def test_ratios_are_taken_within_a_round() -> None:
    """A round in which the whole machine was slow changes no ratio."""
    run = _run({"ours": 1.0, "peer": 2.0}, {"ours": 10.0, "peer": 20.0}, {"ours": 1.0})

    assert faster("ours", "peer")(run) == 2.0
