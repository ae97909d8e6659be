"""Before a newer release changes a database it is copied: whole, with room for it, and put back by one command."""

from __future__ import annotations

import json
import shutil
import signal
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from tests.appliance.hospital import make_older
from tests.cli.conftest import Say
from tests.cli.harness import Net, Said, spawn
from tests.newer import CONTRACT, EXPAND, folder_of, upgraded
from tests.postgres import fresh_database

from jinbao.appliance.assembly import open_zone
from jinbao.appliance.database import checking
from jinbao.appliance.settings import load
from jinbao.model.errors import LocalError, SpaceError
from jinbao.model.failpoint import ENVIRONMENT
from jinbao.model.zone import Zone

ZONE = ("--zone", "exchange")
OLDER, NEWEST = "journal_0002", "journal_0003"


@pytest.fixture
def home(net: Net, tmp_path: Path) -> Net:
    """A network of the test's own, its zones stopped; the city's exchange zone is of the release before."""
    shutil.copytree(net.directory, tmp_path / "net", symlinks=True)
    for config in (tmp_path / "net").glob("*/node.toml"):
        text = config.read_text(encoding="utf-8").replace(str(net.directory), str(tmp_path / "net"))
        config.write_text(text, encoding="utf-8")
    found = Net(tmp_path / "net")
    make_older(database(found))
    return found


def database(home: Net) -> Path:
    """The city's exchange database."""
    return home.database("140100", Zone.EXCHANGE)


def heads(file: Path) -> set[str]:
    """The revisions a database is at."""
    with closing(sqlite3.connect(file)) as connection:
        return {name for (name,) in connection.execute("SELECT version_num FROM alembic_version")}


def dumped(file: Path) -> str:
    """All of a database as text."""
    with closing(sqlite3.connect(file)) as connection:
        return "\n".join(connection.iterdump())


def copies(home: Net, say: Say) -> list[dict[str, Any]]:
    """What `backup list` says of the exchange zone's copies."""
    said = say("backup", "list", *ZONE, "--json", "--config", home.config())
    assert said.code == 0, said.err
    found: list[dict[str, Any]] = json.loads(said.out)["copies"]
    return found


def start(home: Net) -> None:
    """Open the zone as it is at its start, and close it."""
    open_zone(load(Path(home.config())), Zone.EXCHANGE).close()


def test_a_start_copies_before_it_migrates(home: Net, say: Say, tmp_path: Path) -> None:
    """A zone that starts on an older schema copies its database first, and the copy is put back as it was."""
    before = dumped(database(home))

    start(home)

    (copy,) = copies(home, say)
    said = say(
        "backup", "restore", copy["directory"], "140100/exchange", "--to", str(tmp_path / "back"), "--config", home.config()
    )  # fmt: skip
    assert said.code == 0, said.err
    assert NEWEST in heads(database(home))
    assert (copy["pending"], OLDER in copy["present"]) == ([NEWEST], True)
    assert NEWEST in copy["name"]
    assert dumped(tmp_path / "back" / "zone.db") == before
    with closing(sqlite3.connect(database(home))) as connection:
        row = connection.execute("SELECT backup FROM schema_step WHERE revision = ?", (NEWEST,)).fetchone()
    assert row == (copy["name"],)


def test_a_start_with_nothing_to_migrate_copies_nothing(home: Net, say: Say) -> None:
    """The start after the one that migrated makes no second copy."""
    start(home)
    start(home)

    assert len(copies(home, say)) == 1


def test_copies_are_kept_as_many_as_the_settings_say(
    home: Net, say: Say, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of more copies than are to be kept the oldest go, with both of their files."""
    names = []
    for at in range(4):
        monkeypatch.setenv("JINBAO_UPGRADE__COPIES_KEPT", "2")
        start(home)
        names += [copy["name"] for copy in copies(home, say)][-1:]
        go_back(home)
        date(home, names[-1], 2020, at)

    found = copies(home, say)
    files = sorted(path.name for path in Path(found[0]["directory"]).iterdir())
    assert len(found) == 2
    assert files == sorted(f"{copy['name']}{suffix}" for copy in found for suffix in (".db", ".json"))


def test_a_copy_that_was_just_made_stays_though_the_clock_went_back(
    home: Net, say: Say, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where copies of a later moment lie beside it, they go before the one a migration needs now."""
    start(home)
    date(home, copies(home, say)[0]["name"], 2999, 1)
    go_back(home)
    monkeypatch.setenv("JINBAO_UPGRADE__COPIES_KEPT", "1")

    start(home)

    (kept,) = copies(home, say)
    with closing(sqlite3.connect(database(home))) as connection:
        row = connection.execute("SELECT backup FROM schema_step WHERE revision = ?", (NEWEST,)).fetchone()
    assert row == (kept["name"],)


def go_back(home: Net) -> None:
    """Let the database be of the release before once more."""
    with closing(sqlite3.connect(database(home))) as connection, connection:
        connection.execute(
            f"UPDATE alembic_version SET version_num = '{OLDER}' WHERE version_num = '{NEWEST}'"
        )
        connection.execute("ALTER TABLE journal_zone DROP COLUMN epoch")


def date(home: Net, name: str, year: int, at: int) -> None:
    """Let a copy be of another year, and of another moment of the journal, as it would be by the next upgrade."""
    place = database(home).parent / "upgrades"
    older = f"{year}{at:04d}{name[8:]}"
    body = json.loads((place / f"{name}.json").read_text(encoding="utf-8"))
    (place / f"{name}.json").unlink()
    (place / f"{older}.json").write_text(json.dumps(body | {"name": older, "acts": 0}), encoding="utf-8")
    (place / f"{name}.db").rename(place / f"{older}.db")


def test_without_room_nothing_is_changed(home: Net, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a copy has no room beside the reserve the zone does not start, and its database stays as it was."""
    before = dumped(database(home))
    monkeypatch.setenv("JINBAO_LIMITS__DISK_RESERVE_BYTES", str(1 << 60))

    with pytest.raises(SpaceError, match=r"copy before a migration.*upgrade\.copies_directory"):
        start(home)

    assert dumped(database(home)) == before


def test_only_a_setting_leaves_the_copy_out(home: Net, say: Say, monkeypatch: pytest.MonkeyPatch) -> None:
    """With `upgrade.copy_database = false` the database is migrated without one."""
    monkeypatch.setenv("JINBAO_UPGRADE__COPY_DATABASE", "false")

    start(home)

    assert NEWEST in heads(database(home))
    assert copies(home, say) == []


def test_a_place_of_ones_own(home: Net, say: Say, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Copies lie where the settings say, a directory for each zone."""
    monkeypatch.setenv("JINBAO_UPGRADE__COPIES_DIRECTORY", str(tmp_path / "other"))

    start(home)

    assert len(list((tmp_path / "other" / "exchange").glob("*.db"))) == 1


@pytest.mark.parametrize("damage", ["altered", "gone"])
def test_a_damaged_copy_is_not_put_back(home: Net, say: Say, tmp_path: Path, damage: str) -> None:
    """A copy whose bytes are not those that were written is refused by its name."""
    start(home)
    (copy,) = copies(home, say)
    file = Path(copy["directory"]) / f"{copy['name']}.db"
    if damage == "gone":
        file.unlink()
    else:
        content = bytearray(file.read_bytes())
        content[5000] ^= 1
        file.write_bytes(content)

    said = say(
        "backup", "restore", copy["directory"], "140100/exchange", "--to", str(tmp_path / "back"), "--config", home.config()
    )  # fmt: skip

    assert said.code == 1
    assert copy["name"] in said.err
    assert not (tmp_path / "back" / "zone.db").exists()


@pytest.mark.processes
@pytest.mark.parametrize(
    "point",
    ["upgrading.before_copy", "upgrading.after_copy", "upgrading.after_manifest", "upgrading.after_migrate"],
)
def test_a_migration_that_was_killed_is_done_by_the_next(home: Net, say: Say, point: str) -> None:
    """Killed before, in the middle of or after copy and migration, the next call does the rest, with one whole copy."""
    command = ("database", "migrate", *ZONE, "--config", home.config())
    before = dumped(database(home))

    killed: Said = spawn(*command, **{ENVIRONMENT: point})
    between = dumped(database(home))
    again = spawn(*command)

    assert (killed.code, again.code) == (-signal.SIGKILL, 0)
    assert (between == before) == (point != "upgrading.after_migrate")
    assert NEWEST in heads(database(home))
    (copy,) = copies(home, say)
    assert {path.stem for path in Path(copy["directory"]).iterdir()} == {copy["name"]}


def back_before_a_move(url: str) -> None:
    """Take a database back to before source_0002, which moves data."""
    engine = sa.create_engine(url)
    with engine.begin() as connection:
        for column in ("since", "changes", "checked"):
            connection.exec_driver_sql(f"ALTER TABLE source_captured DROP COLUMN {column}")
        for column in ("quarantine", "findings", "way"):
            connection.exec_driver_sql(f"ALTER TABLE source_verdict DROP COLUMN {column}")
        connection.exec_driver_sql(
            "UPDATE alembic_version SET version_num = 'source_0001' WHERE version_num = 'source_0002'"
        )
    engine.dispose()


def test_the_doctor_leaves_a_step_that_moves_data(home: Net, say: Say) -> None:
    """What does more than add is not done by `doctor --fix`; the command that does it is printed."""
    back_before_a_move(f"sqlite:///{database(home)}")

    said = say("doctor", "--fix", "--only", "schema", *ZONE, "--config", home.config())

    assert "left to a person" in said.out
    assert "jinbao database migrate" in said.out
    assert "source_0001" in heads(database(home))


def test_the_doctor_does_a_step_that_adds_with_its_copy(home: Net, say: Say) -> None:
    """What only adds is done by `doctor --fix` on a stopped zone, and the database is copied before."""
    said = say("doctor", "--fix", "--only", "schema", *ZONE, "--config", home.config())

    assert said.code == 0, said.out
    assert NEWEST in heads(database(home))
    assert len(copies(home, say)) == 1


@pytest.mark.database
def test_a_server_is_moved_on_only_once_somebody_copied_it(
    home: Net, say: Say, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On PostgreSQL a step that moves data waits for the word that the server is copied; nothing is skipped silently."""
    start(home)
    url = fresh_database()
    said = say("database", "convert", *ZONE, "--to", url, "--config", home.config())
    assert said.code == 0, said.err
    monkeypatch.setenv("JINBAO_ZONES__EXCHANGE__DATABASE", url)
    back_before_a_move(url)

    with pytest.raises(LocalError, match=r"pending: source_0002.*upgrade\.server_copied"):
        start(home)
    monkeypatch.setenv("JINBAO_UPGRADE__SERVER_COPIED", "true")
    start(home)


@pytest.mark.fault_row(7)
def test_a_zone_of_an_older_release_starts_on_an_expanded_schema_and_says_so(
    home: Net, say: Say, tmp_path: Path
) -> None:
    """A zone that was upgraded and gone back from starts, serves, and its doctor warns of what is ahead."""
    engine = sa.create_engine(f"sqlite:///{database(home)}")
    upgraded(engine, folder_of(tmp_path / "newer", step="expand", body=EXPAND))
    engine.dispose()

    zone = open_zone(load(Path(home.config())), Zone.EXCHANGE)
    ahead = zone.brought.ahead
    zone.close()
    said = say("doctor", "--only", "schema", *ZONE, "--config", home.config())

    assert ahead == ("journal_9001",)
    assert said.code == 3
    assert "journal_9001" in said.out


@pytest.mark.fault_row(7)
@pytest.mark.parametrize("act", [("serve",), ("database", "migrate"), ("status",)], ids=" ".join)
def test_a_zone_of_an_older_release_refuses_a_contracted_schema(
    home: Net, say: Say, tmp_path: Path, act: tuple[str, ...]
) -> None:
    """A zone whose schema lost what its release reads is refused with the release and the copy to go back to."""
    engine = sa.create_engine(f"sqlite:///{database(home)}")
    upgraded(
        engine,
        folder_of(tmp_path / "newer", step="contract", body=CONTRACT),
        "20991231T000000Z-before-9.1.0-x",
    )
    engine.dispose()

    said = say(*act, *ZONE, "--config", home.config())

    assert said.code == 1
    assert "got journal_9001" in said.err
    assert "start release 9.1.0 again, or restore the copy 20991231T000000Z-before-9.1.0-x" in said.err


@pytest.mark.fault_row(7)
def test_what_a_newer_release_added_is_not_left_out_by_a_conversion(
    home: Net, say: Say, tmp_path: Path
) -> None:
    """A database with steps this release does not know is not converted: the newer tables would not come with it."""
    engine = sa.create_engine(f"sqlite:///{database(home)}")
    upgraded(engine, folder_of(tmp_path / "newer", step="expand", body=EXPAND))
    engine.dispose()

    said = say(
        "database", "convert", *ZONE, "--to", f"sqlite:///{tmp_path / 'x.db'}", "--config", home.config()
    )

    assert said.code == 1
    assert "convert it with the release that made it" in said.err
    assert not (tmp_path / "x.db").exists()


@pytest.mark.fault_row(7)
@pytest.mark.parametrize("is_known", [True, False], ids=["by the newer release", "by the record alone"])
def test_whether_the_former_release_can_run_is_said_before_going_back(
    home: Net, say: Say, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_known: bool
) -> None:
    """Asked for a release that cannot run on a contracted schema, the check is wrong and names revision and copy."""
    folders = folder_of(tmp_path / "newer", step="contract", body=CONTRACT)
    engine = sa.create_engine(f"sqlite:///{database(home)}")
    upgraded(engine, folders, "20991231T000000Z-before-9.1.0-x")
    engine.dispose()
    if is_known:
        monkeypatch.setattr(checking, "MIGRATIONS", folders)
    asked = ("database", "check", *ZONE, "--config", home.config(), "--for-release")

    said = say(*asked, "0.3.0", "--json")
    shown = say(*asked, "0.3.0")
    same = say(*asked, "9.1.0", "--json")

    assert (said.code, shown.code, same.code) == (1, 1, 0 if is_known else 1)
    things = findings(said)
    assert things["for_release"] == {"expected": "yes", "got": "no: journal_9001", "level": "wrong"}
    assert things["copy_before"]["got"] == "20991231T000000Z-before-9.1.0-x"
    assert "no: journal_9001" in shown.out
    assert findings(same)["for_release"]["got"] == "yes"


def test_an_expanded_schema_lets_the_former_release_run(home: Net, say: Say, tmp_path: Path) -> None:
    """Asked for a release that can run on what was added, nothing is wrong; what is no release is refused."""
    engine = sa.create_engine(f"sqlite:///{database(home)}")
    upgraded(engine, folder_of(tmp_path / "newer", step="expand", body=EXPAND))
    engine.dispose()
    asked = ("database", "check", *ZONE, "--json", "--config", home.config(), "--for-release")

    said = say(*asked, "0.3.0")
    wrong = say(*asked, "the last one")

    assert said.code == 0, said.out
    assert findings(said)["for_release"] == {"expected": "yes", "got": "yes", "level": "ok"}
    assert "copy_before" not in findings(said)
    assert wrong.code == 2
    assert "--for-release: expected a release, 1.2.0, got the last one" in wrong.err


def findings(said: Said) -> dict[str, dict[str, str]]:
    """What `database check --json` found of the one zone, by thing."""
    (body,) = json.loads(said.out)["zones"]
    return {found.pop("thing"): found for found in body["findings"]}
