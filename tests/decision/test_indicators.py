"""Indicators against values worked out by hand from the rows of `example.py`."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path

import polars as pl
import pytest
from tests.decision import example

from jinbao.decision.indicators import INDICATORS
from jinbao.decision.publish import evaluate

Values = Mapping[str, str]


def line(taiyuan: str, datong: str, total: str) -> dict[str, Values]:
    """One figure per region; an empty text where there must be none."""
    values = {"140100": taiyuan, "140200": datong, "total": total}
    return {region: {"": value} for region, value in values.items() if value}


def groups(taiyuan: Values, datong: Values, total: Values) -> dict[str, Values]:
    """Figures by group per region."""
    values = {"140100": taiyuan, "140200": datong, "total": total}
    return {region: value for region, value in values.items() if value}


def apart(taiyuan: Values, datong: Values) -> dict[str, Values]:
    """Figures by group where no group is in both cities: the total lists both."""
    assert not taiyuan.keys() & datong.keys()
    return groups(taiyuan, datong, {**taiyuan, **datong})


EXPECTED: Mapping[str, Mapping[str, Values]] = {
    "PEN-001": line("2", "0", "2"),
    "PEN-002": apart({"10": "1", "30": "1"}, {}),
    "PEN-003": apart({"110": "2"}, {}),
    "PEN-004": apart({"10": "1", "20": "1"}, {}),
    "PEN-006": apart({"1-9": "1", "10-49": "1"}, {}),
    "PEN-007": line("1", "0", "1"),
    "PEN-009": line("4", "2", "6"),  # A1 A2 A3 R1; A5 R4
    "PEN-010": line("3", "1", "4"),
    "PEN-011": line("2", "1", "3"),  # R3's pension has ended
    "PEN-012": apart({"10": "2", "30": "1"}, {"unknown": "1"}),  # A5's employer was not reported
    "PEN-013": apart({"110": "3"}, {"unknown": "1"}),
    "PEN-014": apart({"1": "2", "2": "1"}, {"4": "1"}),
    "PEN-015": apart({"60+,1": "1", "20-24,2": "1", "16-19,1": "1"}, {"35-39,1": "1"}),
    "PEN-016": groups({"10,0": "2", "20,1": "1"}, {"10,0": "1"}, {"10,0": "3", "20,1": "1"}),
    "PEN-017": apart({"20": "2", "unknown": "1"}, {"10": "1"}),
    "PEN-018": line("1", "1", "2"),
    "PEN-021": line("34.7", "36.0", "35.0"),  # (65+20+19)/3; 36; 140/4
    "PEN-022": line("2", "1", "3"),
    "PEN-023": line("66.67", "100.00", "75.00"),
    "PEN-024": line("1", "1", "2"),
    "PEN-025": apart({"16-19,1": "1"}, {"45-49,2": "1"}),
    "PEN-026": apart({"1-3": "1", "4-12": "1"}, {"37+": "1"}),
    "PEN-027": line("510.06", "40.00", "550.06"),  # 100.00+200.05 + 80.00+80.01+50.00
    "PEN-028": line("450.06", "30.00", "480.06"),  # 90.00+200.05 + 80.00+80.01
    "PEN-029": line("88.24", "75.00", "87.27"),  # 450.06/510.06 = 0.88236…; 480.06/550.06 = 0.87274…
    "PEN-030": line("1", "1", "2"),
    "PEN-031": line("10.00", "0.01", "10.01"),
    "PEN-032": line("1", "0", "1"),  # 13 months; 12 are not over 12
    "PEN-034": line("1000.01", "500.00", "833.34"),  # 1000.005 is rounded up; 2500.01/3
    "PEN-039": line("200.00", "1.50", "120.60"),
    "PEN-040": line("600.00", "3.00", "603.00"),
    "PEN-041": apart({"10": "1", "30": "1"}, {"unknown": "1"}),
    "PEN-042": apart({"110": "2"}, {"unknown": "1"}),
    "PEN-043": groups({"1": "1", "2": "1"}, {"1": "1"}, {"1": "2", "2": "1"}),
    "PEN-044": apart({"75-79,1": "1", "55-59,2": "1"}, {"85-89,2": "1"}),
    "PEN-045": apart({"2": "1", "3": "1"}, {"1": "1"}),
    "PEN-046": line("2", "0", "2"),
    "PEN-047": line("1", "0", "1"),
    "PEN-048": line("50.00", "", "50.00"),
    "PEN-049": apart({"1": "59.0", "2": "55.0"}, {}),  # a month short of 60; 55
    "PEN-054": line("2000.01", "2000.00", "4000.01"),
    "PEN-055": line("1000.01", "2000.00", "1333.34"),  # 1000.005; 4000.01/3
    "PEN-056": apart({"1,2010": "1500.00", "2,2026": "500.01"}, {"1,1995": "2000.00"}),
    "PEN-058": groups(
        {"AIC240": "70.00", "BIC201": "10.00", "AIC242": "20.00", "BIC202": "0.00"},
        {"AIC240": "100.00", "BIC201": "0.00", "AIC242": "0.00", "BIC202": "0.00"},
        {"AIC240": "85.00", "BIC201": "5.00", "AIC242": "10.00", "BIC202": "0.00"},
    ),
    "PEN-062": line("2", "0", "2"),
    "PEN-063": line("100.00", "0.00", "66.67"),
    "PEN-064": line("1", "0", "1"),
    "PEN-065": line("50.00", "", "50.00"),
    "PEN-066": line("80.00", "100.00", "90.00"),  # 1600.00/2000.01; 3600.00/4000.01
    "PEN-067": line("20.00", "0.00", "10.00"),
    "PEN-082": line("1.00", "1.00", "1.00"),
    "PEN-083": line("100.00", "100.00", "100.00"),
    "PEN-104": line("18.38", "", "18.38"),  # (201 + 240) / 12 / 2 = 18.375
    "UNE-001": line("3", "1", "4"),
    "UNE-006": apart({"16-24,1": "1", "25-34,2": "1", "46+,2": "1"}, {"35-45,1": "1"}),
    "UNE-007": apart({"20": "2", "unknown": "1"}, {"30": "1"}),
    "UNE-008": apart({"1": "1", "2": "2"}, {"9": "1"}),
    "UNE-010": groups({"10": "2", "20": "1"}, {"20": "1"}, {"10": "2", "20": "2"}),
    "UNE-011": line("1", "1", "2"),  # since 202509; since 202510 is twelve months, not more
    "UNE-012": line("33.33", "100.00", "50.00"),
    "UNE-014": line("1", "1", "2"),
    "UNE-020": line("2", "1", "3"),
    "UNE-021": line("1", "0", "1"),
    "UNE-022": line("1", "2", "3"),
    "UNE-023": line("3", "", "3"),
    "UNE-024": line("1", "", "1"),
    "UNE-026": line("1", "", "1"),
    "UNE-027": line("1500.01", "", "1500.01"),  # 4500.02 / 3
    "UNE-030": line("100.00", "0.00", "75.00"),
    "UNE-031": line("60.00", "0.00", "50.00"),  # 3/(2+3); 0/1; 3/(3+3)
    "UNE-033": apart({"0": "1", "7-12": "1", "13-24": "1"}, {}),
}


def figures(frame: pl.DataFrame, indicator: str) -> dict[str, dict[str, str]]:
    """Value by region and group."""
    found: dict[str, dict[str, str]] = defaultdict(dict)
    for row in frame.filter(pl.col("indicator") == indicator).to_dicts():
        found[row["region"]][row["group"]] = row["value"]
    return dict(found)


@pytest.fixture(scope="module")
def frame(tmp_path_factory: pytest.TempPathFactory) -> pl.DataFrame:
    """Every indicator of the example."""
    shelf = example.example(tmp_path_factory.mktemp("segments"))
    return evaluate(shelf.segments, example.standards(), path=shelf.path)


@pytest.mark.parametrize("indicator", sorted(INDICATORS))
def test_an_indicator_says_what_a_hand_would(frame: pl.DataFrame, indicator: str) -> None:
    """Every indicator has, in every region and group, the value worked out by hand."""
    found = figures(frame, indicator)

    assert found == EXPECTED[indicator]


def test_support_and_dependency_are_each_others_inverse(tmp_path: Path) -> None:
    """Three contributors and two retirees are 1.50 contributors a retiree, and 66.67 % the other way."""
    payers = [row for row in example.ACTIVE if row["AAC001"] in {"A1", "A2", "A5"}]
    pensioners = [row for row in example.RETIREES if row["AAC001"] in {"R1", "R2"}]
    shelf = example.example(
        tmp_path,
        {("pension_macro", "active_person"): payers, ("pension_macro", "retiree"): pensioners},
    )

    found = evaluate(shelf.segments, example.standards(), path=shelf.path)

    assert figures(found, "PEN-082")["total"] == {"": "1.50"}
    assert figures(found, "PEN-083")["total"] == {"": "66.67"}


def test_money_is_exact_where_a_float_is_not(tmp_path: Path) -> None:
    """Sums beyond 2**53 and ratios of them keep their last fen."""
    huge = 9_007_199_254_740_993  # 2**53 + 1: no double holds it
    rows = [{**row, "AAE240": huge, "AAC031": "1", "BIC103": 1, "AAE180": huge} for row in example.ACTIVE[:3]]
    shelf = example.example(tmp_path, {("pension_macro", "active_person"): rows})

    found = evaluate(shelf.segments, example.standards(), path=shelf.path)

    assert figures(found, "PEN-040")["total"] == {"": "270215977642229.79"}
    assert figures(found, "PEN-039")["total"] == {"": "90071992547409.93"}


def test_cities_add_up_to_the_province(tmp_path: Path) -> None:
    """Of every count and sum, the cities' figures add up to the total, group by group."""
    rng = random.Random(7)
    regions = ["140105", "140121", "140221", "140300", "140402"]
    tables = {
        name: [
            {**rng.choice(rows), "AAB301": rng.choice(regions), "AAC001": f"P{n}", "AAB001": f"E{n % 9}"}
            for n in range(200)
        ]
        for name, rows in example.TABLES.items()
        if name[1] != "employer"
    }
    tables["pension_macro", "employer"] = [
        {**rng.choice(example.EMPLOYERS), "AAB301": rng.choice(regions), "AAB001": f"E{n}"} for n in range(9)
    ]
    additive = [i.id for i in INDICATORS.values() if "/" not in i.definition and "mean" not in i.name_en]
    shelf = example.example(tmp_path, tables)

    frame = evaluate(shelf.segments, example.standards(), path=shelf.path)

    assert len(additive) > 40
    sums: dict[tuple[str, str], Decimal] = defaultdict(Decimal)
    totals: dict[tuple[str, str], Decimal] = {}
    for row in frame.filter(pl.col("indicator").is_in(additive)).to_dicts():
        key = (row["indicator"], row["group"])
        if row["region"] == "total":
            totals[key] = Decimal(row["value"])
        else:
            sums[key] += Decimal(row["value"])
    assert sums == totals
