"""What the gate stopped stays with its reasons until a newer run of the same library lets it go."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.postgres import fresh_database

import jinbao
from jinbao.journal.ledger import Ledger
from jinbao.journal.segments import SegmentShelf
from jinbao.model import acts
from jinbao.model.finding import Verdict
from jinbao.quarantine.room import FINDING_COLUMNS, ROW_COLUMNS, Quarantine, QuarantineProjection
from jinbao.store.engine import Store
from jinbao.store.files import Files
from jinbao.store.migrations import upgrade

pytestmark = pytest.mark.database

Stopped = Mapping[str, Sequence[str]]
"""The rules each stopped key broke."""

_numbers = itertools.count(1)


@dataclass
class Gate:
    """A quarantine room with its ledger; `run` records what a run of a library stopped."""

    shelf: SegmentShelf
    ledger: Ledger
    room: Quarantine
    store: Store

    def run(self, library: str, stopped: Stopped, *, table: str = "person", verdict: str = "passed") -> str:
        """Record one run; returns its name."""
        name = f"run-{next(_numbers):06d}"
        rows = [(table, key, 0, json.dumps({"AAC001": key})) for key in stopped]
        broken = [
            (table, key, "AAC003", rule, "error", None) for key, rules in stopped.items() for rule in rules
        ]
        findings = [(n, *finding) for n, finding in enumerate(broken)]
        self.record(library, name, rows, findings, verdict)
        return name

    def record(
        self, library: str, run: str, rows: Sequence[object], findings: Sequence[object], verdict: str
    ) -> None:
        """Record the act of a run over these lines."""
        texts = dict.fromkeys({*ROW_COLUMNS, *FINDING_COLUMNS}, pl.String()) | {"n": pl.Int64()}
        act = acts.converted(
            library=library,
            standard=f"{library}@1.0",
            period="202410",
            run=run,
            verdict=verdict,
            tables=[],
            quarantine=self._segment(ROW_COLUMNS, rows, texts),
            findings=self._segment(FINDING_COLUMNS, findings, texts),
        )
        self.ledger.record(act)

    def _segment(self, columns: Sequence[str], lines: Sequence[object], types: Mapping[str, object]) -> str:
        schema = {column: types[column] for column in columns}
        return self.shelf.write(pl.DataFrame(lines, schema=schema, orient="row"))[0] if lines else ""  # type: ignore[arg-type]

    def keys(self, library: str) -> list[str]:
        """Keys in quarantine."""
        return [row["key"] for row in self.room.rows(library, limit=100)]


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def gate(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gate]:
    """One room per database; every test uses libraries of its own."""
    directory = tmp_path_factory.mktemp("quarantine")
    url = f"sqlite:///{directory / 'zone.db'}" if request.param == "sqlite" else fresh_database()
    store = Store(url, directory / "stage")
    rooms = Path(jinbao.__file__).parent
    upgrade(store.writer, [rooms / room / "migrations" for room in ("journal", "quarantine")])
    shelf = SegmentShelf(directory / "segments", Files())
    ticks = itertools.count()
    ledger = Ledger(store, (QuarantineProjection(shelf),), lambda: f"2024-11-05T00:{next(ticks):08d}Z")
    yield Gate(shelf, ledger, Quarantine(store), store)
    store.close()


def test_a_stopped_row_is_kept_with_its_findings(gate: Gate) -> None:
    """A stopped row is there with its content, its run, and each rule it broke in the order of the gate."""
    run = gate.run("kept", {"2": ["Q-01"], "1": ["Q-02", "Q-01"]})

    first, second = gate.room.rows("kept", limit=10)

    assert (first["key"], first["run"], first["period"]) == ("1", run, "202410")
    assert json.loads(first["row"]) == {"AAC001": "1"}
    assert [finding["rule"] for finding in first["findings"]] == ["Q-02", "Q-01"]
    assert [finding["rule"] for finding in second["findings"]] == ["Q-01"]


def test_findings_are_counted_most_first(gate: Gate) -> None:
    """The summary counts findings per library, table, rule, item and severity, the most first."""
    gate.run("counted", {"1": ["Q-01"], "2": ["Q-02"], "3": ["Q-02"]})

    lines = [line for line in gate.room.summary() if line["library"] == "counted"]

    assert [(line["rule"], line["item"], line["severity"], line["rows"]) for line in lines] == [
        ("Q-02", "AAC003", "error", 2),
        ("Q-01", "AAC003", "error", 1),
    ]


def test_all_findings_leave_in_the_order_of_the_gate(gate: Gate) -> None:
    """What is exported is every finding of the newest run, warnings on rows that passed included."""
    lines = [(n, "person", str(9 - n), "AAC003", "Q-11", "warning", "长") for n in range(5)]

    gate.record("exported", "run-x", [], lines, "passed")

    assert [finding["n"] for finding in gate.room.findings("exported")] == [0, 1, 2, 3, 4]
    assert {finding["value"] for finding in gate.room.findings("exported")} == {"长"}
    assert gate.room.rows("exported", limit=10) == []


def test_rows_of_one_key_are_all_kept(gate: Gate) -> None:
    """Two stopped rows of one key are both kept, and leave as one release."""
    rows = [("person", "1", n, json.dumps({"n": n})) for n in range(2)]
    gate.record("doubled", "run-a", rows, [], "passed")
    kept = [json.loads(row["row"])["n"] for row in gate.room.rows("doubled", limit=10)]

    gate.run("doubled", {})

    assert sorted(kept) == [0, 1]
    assert [release["key"] for release in gate.room.releases("doubled")] == ["1"]


def test_the_next_run_replaces_its_library_alone(gate: Gate) -> None:
    """A newer run replaces the rows and findings of its library, and no other library's."""
    gate.run("mine", {"1": ["Q-01"], "2": ["Q-01"]})
    gate.run("theirs", {"1": ["Q-01"]})

    newest = gate.run("mine", {"2": ["Q-02"], "3": ["Q-01"]})

    assert gate.keys("mine") == ["2", "3"]
    assert {finding["run"] for finding in gate.room.findings("mine")} == {newest}
    assert gate.keys("theirs") == ["1"]
    assert gate.room.releases("theirs") == []


def test_a_refused_run_is_a_run(gate: Gate) -> None:
    """A run the gate refused whole shows its rows like any other."""
    gate.run("whole", {"1": ["Q-01"]})

    gate.run("whole", {"7": ["Q-01"]}, verdict=Verdict.REFUSED)

    assert gate.keys("whole") == ["7"]


def test_a_release_names_both_runs(gate: Gate) -> None:
    """A row that is gone is recorded with the run that stopped it and the run that let it go, newest first."""
    first = gate.run("let go", {"1": ["Q-01"], "2": ["Q-01"]})
    second = gate.run("let go", {"2": ["Q-01"]})

    third = gate.run("let go", {})

    assert [(r["key"], r["quarantined_in"], r["run"]) for r in gate.room.releases("let go")] == [
        ("2", second, third),
        ("1", first, second),
    ]


def test_a_row_of_another_table_is_another_row(gate: Gate) -> None:
    """The same key stopped in another table does not keep a row from being released."""
    gate.run("tables", {"1": ["Q-01"]}, table="person")

    gate.run("tables", {"1": ["Q-01"]}, table="employer")

    assert [(row["table"], row["key"]) for row in gate.room.rows("tables", limit=10)] == [("employer", "1")]
    assert [release["table"] for release in gate.room.releases("tables")] == ["person"]


def test_rows_are_limited_and_of_one_table(gate: Gate) -> None:
    """At most so many rows are read, of one table if it is named."""
    gate.run("many", {str(n): [] for n in range(5)})

    assert len(gate.room.rows("many", limit=3)) == 3
    assert gate.room.rows("many", "employer", limit=3) == []


RUNS = st.lists(st.frozensets(st.sampled_from(["1", "2", "张", "a|b"])), min_size=1, max_size=5)


@settings(max_examples=10, deadline=None)
@given(runs=RUNS)
def test_no_row_vanishes_without_a_record(gate: Gate, runs: list[frozenset[str]]) -> None:
    """Whatever was ever stopped is still stopped or was released, once for each time it left."""
    library = f"library {next(_numbers)}"

    for stopped in runs:
        gate.run(library, {key: ["Q-01"] for key in stopped})

    left = [key for before, after in itertools.pairwise(runs) for key in before - after]
    assert set(gate.keys(library)) == runs[-1]
    assert sorted(release["key"] for release in gate.room.releases(library)) == sorted(left)
