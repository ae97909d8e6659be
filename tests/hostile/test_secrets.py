"""No identity number, no name and no key in anything a node says: searched in all outputs of a real run."""

from __future__ import annotations

import sqlite3
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from tests.postgres import fresh_database

from jinbao.appliance.demo.processes import DemoNetwork
from jinbao.appliance.observers import masked, where_failed
from jinbao.model.errors import JinbaoError, LocalError
from jinbao.model.zone import Endpoint
from jinbao.store.engine import Store

PERSONS = 5000
CITY = "140100"

QUESTIONS: list[tuple[str, dict[str, Any]]] = [
    ("status", {}),
    ("line.status", {}),
    ("journal.list", {}),
    ("library.list", {}),
    ("library.show", {"library": "pension_macro", "table": "retiree", "limit": 50}),
    ("library.show", {"library": "no library", "table": "retiree"}),
    ("quarantine.list", {}),
    ("quarantine.show", {"library": "pension_macro", "limit": 500}),
    ("decision.show", {"library": "pension_macro"}),
]
"""What an operator asks without `--unmask`, one of them wrong."""


@dataclass(frozen=True)
class Run:
    """Everything a run said, by where it said it, and what must not be in it."""

    said: dict[str, str]
    ids: frozenset[str]
    names: frozenset[str]
    keys: frozenset[str]

    def found(self, secrets: frozenset[str]) -> list[str]:
        """Where one of the secrets is shown."""
        return [place for place, text in self.said.items() if any(secret in text for secret in secrets)]


def persons(database: Path, column: str) -> frozenset[str]:
    """Values of one personal column of a city's business database, those long enough to be told from a number."""
    with closing(sqlite3.connect(database)) as connection:
        query = f"SELECT DISTINCT {column} FROM AC01 WHERE length({column}) >= 2"
        return frozenset(row[0] for row in connection.execute(query))


def key_lines(directory: Path) -> frozenset[str]:
    """Each line of each private key."""
    lines = [line for path in directory.rglob("*key*.pem") for line in path.read_text("ascii").splitlines()]
    return frozenset(line for line in lines if line and not line.startswith("-"))


def answers(network: DemoNetwork) -> Iterator[tuple[str, str]]:
    """What every zone answers to questions and to pages, right and wrong ones."""
    for endpoint in network.endpoints():
        for number, (question, arguments) in enumerate(QUESTIONS):
            try:
                said = str(network.ask(endpoint, question, **arguments))
            except JinbaoError as exc:
                said = str(exc)
            yield f"{endpoint} {question} {number}", said
        address = network.settings[endpoint.node].zones[endpoint.zone].http
        for page in ("metrics", "readyz", "healthz", "nothing"):
            try:
                with urllib.request.urlopen(f"http://{address}/{page}", timeout=10) as answer:
                    yield f"{endpoint} /{page}", answer.read().decode()
            except urllib.error.HTTPError as exc:
                yield f"{endpoint} /{page}", exc.read().decode()


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Four nodes as processes from capture to decision, asked everything, with one zone that fails."""
    directory = tmp_path_factory.mktemp("secrets")
    said: dict[str, str] = {}

    network = DemoNetwork(
        directory, PERSONS, 1, lambda message, values: said.__setitem__(message, str(values))
    )
    try:
        network.make()
        network.start()
        network.run()
        said.update(answers(network))
    finally:
        network.stop()
    said |= {str(path): path.read_text("utf-8") for path in directory.rglob("log.jsonl")}
    [business] = [path for path in directory.rglob("*.db") if CITY in str(path) and is_business(path)][:1]
    return Run(said, persons(business, "AAC002"), persons(business, "AAC003"), key_lines(directory))


def is_business(path: Path) -> bool:
    """Whether a database is a city's own."""
    with closing(sqlite3.connect(path)) as connection:
        return bool(connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'AC01'").fetchall())


@pytest.mark.processes
@pytest.mark.fault_row(51)
def test_nothing_says_who_somebody_is(run: Run) -> None:
    """No log, metric, page, answer or error of the run has an identity number or a name of a person in it."""
    assert len(run.ids) > PERSONS // 2
    assert len([place for place in run.said if place.endswith("log.jsonl")]) >= 10
    assert run.found(frozenset(one for one in run.ids if len(one) >= 15)) == []
    assert run.found(frozenset(one for one in run.names if len(one.strip()) >= 3)) == []


@pytest.mark.processes
@pytest.mark.fault_row(51)
def test_nothing_says_a_key(run: Run) -> None:
    """No line of a private key is in anything the run said."""
    assert len(run.keys) >= 10
    assert run.found(run.keys) == []


@pytest.mark.processes
@pytest.mark.fault_row(51)
def test_what_is_searched_for_would_be_found(run: Run) -> None:
    """The masked answers are there and show persons, so that an unmasked one would have been found."""
    shown = [text for place, text in run.said.items() if "library.show 4" in place and "****" in text]
    one = next(iter(run.ids))

    assert shown
    assert Run({"log": f"x {one} y"}, run.ids, run.names, run.keys).found(run.ids) == ["log"]
    assert one not in masked(f"failed at {one}")


SECRET = "140105194912310021"


@pytest.mark.fault_row(51)
@pytest.mark.parametrize("kind", ["sqlite", pytest.param("postgresql", marks=pytest.mark.database)])
def test_an_error_of_the_database_shows_no_value(tmp_path: Path, kind: str) -> None:
    """What a database says of a statement that failed is told without the values that were in it."""
    url = f"sqlite:///{tmp_path / 'zone.db'}" if kind == "sqlite" else fresh_database()
    store = Store(url, tmp_path / "stage")
    table = sa.Table("t", sa.MetaData(), sa.Column("name", sa.Text, primary_key=True))
    with store.transaction() as tx:
        table.create(tx.connection)

    with pytest.raises((LocalError, sa.exc.IntegrityError)) as caught, store.transaction() as tx:
        tx.execute(table.insert(), [{"name": SECRET}, {"name": SECRET}])
    store.close()

    assert SECRET not in where_failed(caught.value)
    if isinstance(caught.value, LocalError):
        assert SECRET not in str(caught.value)
    else:
        assert "parameters hidden" in str(caught.value)


@pytest.mark.fault_row(51)
def test_a_bug_is_told_by_its_place() -> None:
    """An error that nobody foresaw is logged by its kind and place: its own text may quote a row."""
    with pytest.raises(ValueError, match=SECRET) as caught:
        Endpoint.parse(f"{SECRET}/exchange")

    assert where_failed(caught.value).startswith("ValueError at zone.py:")
    assert SECRET not in where_failed(caught.value)
