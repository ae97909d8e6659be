"""The published table: golden, the same whatever the order, in every shape, without a socket."""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest
from tests.conftest import Golden
from tests.decision import example

from jinbao.decision.indicators import INDICATORS
from jinbao.decision.publish import evaluate, to_csv, to_json, to_table
from jinbao.model.errors import LocalError

RUN_WITHOUT_SOCKETS = """
import os, sys, tempfile
from pathlib import Path

seen = []
sys.addaudithook(lambda event, args: seen.append(event) if event.startswith("socket.") else None)

from jinbao.decision.publish import evaluate
from tests.decision import example

with tempfile.TemporaryDirectory() as directory:
    shelf = example.example(Path(directory))
    frame = evaluate(shelf.segments, example.standards(), path=shelf.path)
links = [os.readlink(f"/proc/self/fd/{fd}") for fd in os.listdir("/proc/self/fd") if os.path.exists(f"/proc/self/fd/{fd}")]
print(frame.height > 0, seen, [link for link in links if link.startswith("socket:")])
"""


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> example.Shelf:
    """The example as segments."""
    return example.example(tmp_path_factory.mktemp("segments"))


@pytest.fixture(scope="module")
def frame(shelf: example.Shelf) -> pl.DataFrame:
    """Every indicator of the example."""
    return evaluate(shelf.segments, example.standards(), path=shelf.path)


def test_the_table_is_the_golden_one(frame: pl.DataFrame, golden: Golden) -> None:
    """Ids, order, regions, groups, values and units are those of the golden file."""
    found = to_csv(frame)

    golden("indicators.csv", found)


def test_the_order_of_segments_changes_nothing(shelf: example.Shelf, frame: pl.DataFrame) -> None:
    """The same segments in another order give the same table."""
    found = evaluate(shelf.segments[::-1], example.standards(), path=shelf.path)

    assert found.equals(frame)


def test_every_shape_says_the_same(frame: pl.DataFrame) -> None:
    """CSV, JSON and the table for the terminal hold the same values; names are in the reader's language."""
    as_csv = list(csv.DictReader(io.StringIO(to_csv(frame))))
    as_json = json.loads(to_json(frame))
    chinese, english = to_table(frame, chinese=True), to_table(frame, chinese=False)

    assert [r["value"] for r in as_csv] == [r["value"] for r in as_json] == frame["value"].to_list()
    assert len(chinese.splitlines()) == len(english.splitlines()) == frame.height + 1
    assert "征缴率" in chinese
    assert "collection_rate" in english


def test_each_month_is_judged_by_what_was_known_for_it(tmp_path: Path) -> None:
    """A later month's submission leaves the earlier month's figures as they were; `period` picks one month."""
    shelf = example.Shelf(tmp_path)
    table = example.standards()["pension_macro"].table("active_person")
    september = [{**row, "AAE002": 202609} for row in example.ACTIVE[:2]]
    shelf.add("pension_macro", table, september, seq=1, period="202609")
    shelf.add("pension_macro", table, example.ACTIVE, seq=2, period="202610")

    both = evaluate(shelf.segments, example.standards(), path=shelf.path)
    one = evaluate(shelf.segments, example.standards(), path=shelf.path, period="202609")
    early = evaluate(shelf.segments, example.standards(), path=shelf.path, as_of=1)

    wanted = both.filter((pl.col("indicator") == "PEN-010") & (pl.col("region") == "total"))
    assert wanted.select("period", "value").rows() == [("202609", "2"), ("202610", "4")]
    assert one.equals(both.filter(pl.col("period") == "202609"))
    assert early.equals(one)


def test_a_library_without_a_standard_is_named(shelf: example.Shelf) -> None:
    """Segments of a library we hold no standard of are refused by name, not left out."""
    only = {"pension_macro": example.standards()["pension_macro"]}

    with pytest.raises(LocalError, match=r"library unemployment_monitor: expected a standard"):
        evaluate(shelf.segments, only, path=shelf.path)


def test_nothing_published_is_an_empty_table() -> None:
    """No segments give no rows, under the same columns."""
    found = evaluate([], example.standards(), path=Path)

    assert found.is_empty()
    assert found.columns[0] == "indicator"


def test_every_indicator_is_the_indicator_systems(frame: pl.DataFrame) -> None:
    """At least 24 indicators over both libraries, each with names in both languages, a unit and a formula."""
    both = {i.library for i in INDICATORS.values()}

    assert both == {"pension_macro", "unemployment_monitor"}
    assert len(INDICATORS) >= 24
    assert set(frame["indicator"]) == set(INDICATORS)
    assert all(i.name_zh and i.name_en and i.unit and i.definition for i in INDICATORS.values())


def test_the_reference_names_every_indicator() -> None:
    """The reference page lists each indicator with its names and formula."""
    page = (example.REPOSITORY / "docs" / "reference" / "indicators.md").read_text(encoding="utf-8")
    page = page.replace("&lt;", "<")

    missing = [
        i.id
        for i in INDICATORS.values()
        if f"| {i.id} | {i.name_zh} | {i.name_en} | {i.unit} | {i.dimension} | {i.decimals} | {i.definition} |"
        not in page
    ]
    assert missing == []


def test_the_decision_zone_opens_no_socket() -> None:
    """Importing and running decision opens no socket, by Python's audit and by the process's open files."""
    run = subprocess.run(
        [sys.executable, "-c", RUN_WITHOUT_SOCKETS],
        cwd=example.REPOSITORY,
        env={"PYTHONPATH": "node:."},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )

    assert (run.stdout, run.returncode) == ("True [] []\n", 0), run.stderr
