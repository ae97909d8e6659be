"""A schema is expanded, data moved, and what nobody reads contracted; an older release knows where it may go on."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from alembic.script import ScriptDirectory
from tests.newer import CONTRACT, EXPAND, MOVE, folder_of, release, upgraded
from tests.postgres import fresh_database

from jinbao.appliance.assembly import MIGRATIONS
from jinbao.model.errors import LocalError
from jinbao.store import migrations
from jinbao.store.migrations import revisions, upgrade
from jinbao.store.steps import RECORDED_SINCE, STEP, Kind, declared, minor

ADDS = (
    r"CREATE TABLE (?P<made>\w+)",
    r"CREATE (UNIQUE )?INDEX \w+ ON (?P<of>\w+)",
    r"CREATE TRIGGER \w+ (BEFORE|AFTER) .*? ON (?P<on>\w+)",
    r"CREATE FUNCTION ",
    r"ALTER TABLE \w+ ADD COLUMN \S+ (?!.*NOT NULL)",
    r"ALTER TABLE \w+ ADD COLUMN \S+ .*DEFAULT .*NOT NULL",
    r"ALTER TABLE \w+ ADD COLUMN \S+ .*NOT NULL.*DEFAULT",
)


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.database)])
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[sa.Engine]:
    """An empty database of each kind."""
    url = f"sqlite:///{tmp_path / 'zone.db'}" if request.param == "sqlite" else fresh_database()
    made = sa.create_engine(url)
    yield made
    made.dispose()


def modules() -> dict[str, Any]:
    """Every revision of this release by name, oldest first in its room."""
    found = ScriptDirectory.from_config(migrations._config(MIGRATIONS)).walk_revisions()
    return {revision.revision: revision.module for revision in reversed(list(found))}


def violations(statements: list[str]) -> list[str]:
    """Statements that do more than add to what the release before reads and writes."""
    fresh: set[str] = set()
    wrong = []
    for text in (" ".join(statement.split()) for statement in statements):
        found = next((m for m in (re.match(pattern, text, re.DOTALL) for pattern in ADDS) if m), None)
        groups = found.groupdict() if found else {}
        fresh |= {groups["made"]} if groups.get("made") else set()
        binds = groups.get("on") or (groups.get("of") if text.startswith("CREATE UNIQUE") else None)
        if found is None or (binds and binds not in fresh):
            wrong.append(text)
    return wrong


def statements_of(engine: sa.Engine, folders: list[Path]) -> dict[str, list[str]]:
    """What each revision writes to an empty database, by its name."""
    said: dict[str, list[str]] = {}
    running: list[str] = []

    def note(_connection: object, _cursor: object, statement: str, row: Any, *_: object) -> None:
        if statement.startswith(f"INSERT INTO {STEP.name}"):
            said[row["revision"] if isinstance(row, dict) else row[0]] = running[:]
            running.clear()
        elif statement.split(maxsplit=1)[0] not in {"SELECT", "PRAGMA", "WITH"} and not _is_book(statement):
            running.append(statement)

    sa.event.listen(engine, "before_cursor_execute", note)
    upgrade(engine, folders)
    sa.event.remove(engine, "before_cursor_execute", note)
    return said


def _is_book(statement: str) -> bool:
    return any(book in statement for book in ("alembic_version", STEP.name))


def test_every_revision_says_what_step_it_is() -> None:
    """Each revision declares its kind, its release and the oldest release that can run on what it leaves."""
    for name, module in modules().items():
        step = declared(module)
        release = minor(module.release)

        assert step.revision == name
        assert minor(step.runs_on) <= release
        if step.kind != Kind.CONTRACT and release > RECORDED_SINCE:
            assert minor(step.runs_on) < release, f"{name}: the release before must run on it"


def too_early(found: dict[str, Any]) -> list[str]:
    """Contracts that name no step they end, or one of their own minor release, or let the release before run."""
    wrong = []
    for name, module in found.items():
        if module.step == Kind.CONTRACT:
            ends = [minor(found[one].release) for one in module.ends]
            release = minor(module.release)
            if not ends or max(ends) >= release or minor(module.runs_on) != release:
                wrong.append(name)
    return wrong


def test_a_contract_comes_a_minor_release_later() -> None:
    """What a release stops reading is taken away by the next minor release at the earliest."""

    class Old:
        step, release, runs_on = "expand", "0.3", "0.2"

    class Early:
        step, release, runs_on, ends = "contract", "0.3", "0.3", ("old",)

    class Late(Early):
        release, runs_on = "0.4", "0.4"

    assert too_early(modules()) == []
    assert too_early({"old": Old, "early": Early, "late": Late}) == ["early"]


def test_an_expansion_only_adds(engine: sa.Engine) -> None:
    """Whatever a revision declared as an expansion, or besides moving data, writes to a database only adds to it."""
    found = statements_of(engine, MIGRATIONS)

    assert set(found) == set(modules())
    wrong = {
        name: violations(lines) for name, lines in found.items() if modules()[name].step != Kind.CONTRACT
    }
    moved = [line for line in wrong.pop("source_0002") if not line.startswith("UPDATE source_captured")]
    assert {name for name, lines in wrong.items() if lines} | set(moved) == set()


@pytest.mark.parametrize(
    "statement",
    [
        "DROP TABLE journal_mark",
        "ALTER TABLE journal_mark RENAME TO journal_place",
        "ALTER TABLE journal_mark ADD COLUMN note TEXT NOT NULL",
        "ALTER TABLE journal_mark DROP COLUMN head",
        "CREATE UNIQUE INDEX one ON journal_mark (head)",
        "CREATE TRIGGER no BEFORE INSERT ON journal_mark BEGIN SELECT 1; END",
        "UPDATE journal_mark SET head = ''",
    ],
    ids=["drop", "rename", "needed", "drop-column", "unique", "trigger", "data"],
)
def test_what_is_no_addition_is_found(statement: str) -> None:
    """Each way in which a step could break the release before is told from an addition."""
    assert violations([statement]) == [statement]


@pytest.mark.fault_row(7)
def test_an_older_release_runs_on_an_expanded_schema(engine: sa.Engine, tmp_path: Path) -> None:
    """A release that meets steps it does not know, all of them expansions it may run on, leaves them and goes on."""
    folder_of(tmp_path / "newer", step="expand", body=EXPAND)
    newer = folder_of(
        tmp_path / "newer", step="expand", body="def upgrade() -> None: ...", follows="journal_9001"
    )
    upgraded(engine, newer)

    upgrade(engine, MIGRATIONS)

    with engine.connect() as connection:
        found, columns = revisions(connection, MIGRATIONS), sa.inspect(connection).get_columns("journal_mark")
        again = revisions(connection, newer)
    assert (found.pending, found.refused, found.is_borne) == ((), (), True)
    assert set(found.ahead) == {"journal_9001", "journal_9002"}
    assert "note" in {column["name"] for column in columns}
    assert (again.pending, again.unknown) == ((), ())


@pytest.mark.fault_row(7)
@pytest.mark.parametrize(
    ("step", "body", "runs_on"),
    [("contract", CONTRACT, "0.1"), ("expand", EXPAND, "9.1"), ("shrink", EXPAND, "0.1")],
    ids=["contracted", "expanded-for-others", "of-a-kind-to-come"],
)
def test_an_older_release_refuses_what_it_cannot_run_on(
    engine: sa.Engine, tmp_path: Path, step: str, body: str, runs_on: str
) -> None:
    """A step that is no expansion this release may run on is refused, with the release and the copy to go back to."""
    newer = folder_of(
        tmp_path / "newer", step="expand" if step == "shrink" else step, body=body, runs_on=runs_on
    )
    upgraded(engine, newer, "20991231T000000Z-before-9.1.0-journal_9001")
    if step == "shrink":
        with engine.begin() as connection:
            connection.execute(STEP.update().where(STEP.c.revision == "journal_9001").values(kind=step))

    with pytest.raises(LocalError) as refused:
        upgrade(engine, MIGRATIONS)

    assert refused.value.got == "journal_9001"
    assert "start release 9.1.0 again" in refused.value.next_step
    assert "20991231T000000Z-before-9.1.0-journal_9001" in refused.value.next_step


@pytest.mark.fault_row(7)
def test_a_step_nobody_recorded_is_refused(engine: sa.Engine) -> None:
    """A revision that is neither known nor on record is refused by its name."""
    upgrade(engine, MIGRATIONS)
    with engine.begin() as connection:
        connection.exec_driver_sql("INSERT INTO alembic_version VALUES ('journal_9999')")

    with pytest.raises(LocalError, match="got journal_9999"):
        upgrade(engine, MIGRATIONS)


@pytest.mark.fault_row(7)
def test_data_that_an_older_release_wrote_is_moved_when_the_newer_comes_back(
    engine: sa.Engine, tmp_path: Path
) -> None:
    """Rows written by a release that does not know where they are moved to are moved at the newer one's next start."""
    newer = folder_of(tmp_path / "newer", step="migrate", body=MOVE)
    insert = "INSERT INTO journal_pause (peer, reason, at) VALUES ('{0}', '{0}', '')"

    def said() -> list[str]:
        with engine.connect() as connection:
            return list(connection.exec_driver_sql("SELECT said FROM journal_pause ORDER BY peer").scalars())

    upgrade(engine, MIGRATIONS)
    with engine.begin() as connection:
        connection.exec_driver_sql(insert.format("a"))
    upgraded(engine, newer)
    first = said()
    upgrade(engine, MIGRATIONS)
    with engine.begin() as connection:
        connection.exec_driver_sql(insert.format("b"))
    between = said()
    upgraded(engine, newer)

    assert (first, between, said()) == (["A"], ["A", ""], ["A", "B"])


def test_what_ran_before_there_was_a_record_is_put_on_it(engine: sa.Engine) -> None:
    """A database whose steps nobody recorded has all of them on record after its next start."""
    upgrade(engine, MIGRATIONS)
    with engine.begin() as connection:
        STEP.drop(connection)

    upgrade(engine, MIGRATIONS)

    with engine.connect() as connection:
        names = set(connection.execute(sa.select(STEP.c.revision)).scalars())
    assert names == set(modules())


@pytest.mark.fault_row(7)
@pytest.mark.parametrize(
    ("step", "body", "runs_on", "bears"),
    [
        ("expand", EXPAND, "0.2", {"0.1.0": False, "0.2.1": True, "9.0.0": True, "9.1.0": True}),
        ("expand", EXPAND, "9.0", {"0.2.1": False, "9.0.0": True, "9.1.3": True}),
        ("contract", CONTRACT, "0.1", {"0.2.1": False, "9.0.0": False, "9.1.0": True, "10.0": True}),
    ],
    ids=["expanded", "expanded-for-others", "contracted"],
)
def test_it_is_known_beforehand_which_release_can_run_on_it(
    engine: sa.Engine, tmp_path: Path, step: str, body: str, runs_on: str, bears: dict[str, bool]
) -> None:
    """Whether it knows the newest step or its record alone, a release says of another what that would find itself."""
    newer = folder_of(tmp_path / "newer", step=step, body=body, runs_on=runs_on)
    upgraded(engine, newer, "20991231T000000Z-before-9.1.0-journal_9001")

    for name, can in bears.items():
        with release(name), engine.connect() as connection:
            own = newer if minor(name) >= (9, 1) else MIGRATIONS
            itself = revisions(connection, own)
            said = [revisions(connection, folders, name) for folders in (newer, MIGRATIONS)]
        assert [itself.is_borne, *(one.is_borne for one in said)] == [can] * 3
        for one in () if can else said:
            assert "journal_9001" in one.refused
            assert one.copy == "20991231T000000Z-before-9.1.0-journal_9001"
