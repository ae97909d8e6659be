"""`jinbao database`: what is wrong is found, what is behind is brought up, what is moved is proved or refused."""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg
import pytest
import sqlalchemy as sa
from tests.cli.conftest import Say
from tests.cli.harness import Net, spawn
from tests.conftest import Shaped
from tests.postgres import as_role, fresh_database

from jinbao import __version__
from jinbao.appliance.admin_server import AdminServer
from jinbao.appliance.assembly import open_zone
from jinbao.appliance.database.checking import judge
from jinbao.appliance.database.usable import Server
from jinbao.appliance.questions import Asked, dispatch
from jinbao.appliance.settings import load
from jinbao.appliance.zone_lock import Purpose, lock
from jinbao.model.failpoint import ENVIRONMENT
from jinbao.model.zone import Zone

ASCII = "ENCODING 'SQL_ASCII' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0"
ZONE = ("--zone", "exchange")
Findings = dict[str, tuple[str, str]]


@pytest.fixture
def home(net: Net, tmp_path: Path) -> Net:
    """A network of the test's own, its zones stopped."""
    shutil.copytree(net.directory, tmp_path / "net", symlinks=True)
    for config in (tmp_path / "net").glob("*/node.toml"):
        text = config.read_text(encoding="utf-8").replace(str(net.directory), str(tmp_path / "net"))
        config.write_text(text, encoding="utf-8")
    return Net(tmp_path / "net")


def at(home: Net, url: str) -> str:
    """Settings by which the city's exchange zone has its database at this URL."""
    config = Path(home.config())
    text = config.read_text(encoding="utf-8")
    assert text.count("[zones.exchange]") == 1
    text = text.replace("[zones.exchange]", f'[zones.exchange]\ndatabase = "{url}"')
    moved = config.with_name("moved.toml")
    moved.write_text(text, encoding="utf-8")
    return str(moved)


def findings(say: Say, config: str, *, code: int) -> Findings:
    """What `check` found of the exchange zone: level and value by what was looked at."""
    said = say("database", "check", *ZONE, "--json", "--config", config)
    assert said.code == code, said.err or said.out
    body = json.loads(said.out)
    assert body["ok"] == (code == 0)
    return {f["thing"]: (f["level"], f["got"]) for f in body["zones"][0]["findings"]}


def mirrored(home: Net, say: Say, url: str = "") -> tuple[str, str]:
    """The exchange zone's database converted to PostgreSQL; its URL, and settings that name it."""
    url = url or fresh_database()
    said = say("database", "convert", *ZONE, "--to", url, "--config", home.config())
    assert said.code == 0, said.err
    return url, at(home, url)


def run_sql(url: str, *statements: str) -> None:
    """What an administrator does in a database."""
    engine = sa.create_engine(url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        for statement in statements:
            connection.exec_driver_sql(statement)
    engine.dispose()


def test_a_sound_node_has_no_wrong_finding(home: Net, say: Say) -> None:
    """Every zone of a node on SQLite is looked at, and nothing is wrong."""
    said = say("database", "check", "--json", "--config", home.config())

    body = json.loads(said.out)
    assert (said.code, body["ok"]) == (0, True)
    assert [z["zone"] for z in body["zones"]] == [
        f"140100/{z}" for z in ("production", "exchange", "decision")
    ]
    assert all(
        f["level"] == "ok"
        for z in body["zones"]
        for f in z["findings"]
        if f["thing"] in {"reach", "schema", "encoding", "quick_check", "journal_mode", "conversion", "space"}
    )
    assert len(body["zones"][0]["findings"]) == 9


@pytest.mark.database
@pytest.mark.parametrize("lang", ["en", "zh"])
def test_the_table_speaks_both_languages(home: Net, say: Say, lang: str) -> None:
    """The findings of a PostgreSQL database are a table in the reader's language, with what to do."""
    _, config = mirrored(home, say)

    said = say("database", "check", *ZONE, "--config", config, lang=lang)

    title, value, word, advice = {
        "en": ("what to do", "this role", "nothing is wrong", "give the zone a role of its own"),
        "zh": ("处理", "本角色", "没有错误", "为分区建立专用角色"),
    }[lang]
    assert said.code == 0
    assert title in said.out
    assert value in said.out
    assert advice in said.out
    assert said.out.splitlines()[-1] == word


@pytest.mark.database
def test_a_converted_database_is_found_sound(home: Net, say: Say) -> None:
    """A role that owns its database, and nothing more, is all a zone on PostgreSQL needs."""
    url = as_role(fresh_database(), "ALTER DATABASE {database} OWNER TO {role}")

    _, config = mirrored(home, say, url)

    found = findings(say, config, code=0)
    assert found["superuser"] == ("ok", "no")
    assert {thing for thing, (level, _) in found.items() if level != "ok"} <= {"space"}
    assert found["version"][1].startswith("18: PostgreSQL 18")


SPOILED: dict[str, tuple[str, Callable[[str], Any]]] = {
    "a standby": ("read_only", lambda u: run_sql(u, f"ALTER DATABASE {_name(u)} SET default_transaction_read_only = on")),
    "commits that do not wait": (
        "synchronous_commit",
        lambda u: run_sql(u, f"ALTER DATABASE {_name(u)} SET synchronous_commit = off"),
    ),
    "a conversion cut off": (
        "conversion",
        lambda u: run_sql(u, "CREATE TABLE unfinished_conversion (endpoint text, begun_at text)"),
    ),
    "a newer release": ("schema", lambda u: run_sql(u, "INSERT INTO alembic_version VALUES ('journal_9999')")),
}  # fmt: skip


def _name(url: str) -> str:
    return str(sa.make_url(url).database)


@pytest.mark.database
@pytest.mark.parametrize("case", SPOILED)
def test_what_is_wrong_is_found(home: Net, say: Say, case: str) -> None:
    """What would lose rows or keep the zone from working is a wrong finding of its own, and exit code 1."""
    thing, spoil = SPOILED[case]
    url, config = mirrored(home, say)
    spoil(url)

    found = findings(say, config, code=1)

    assert {name for name, (level, _) in found.items() if level == "wrong"} == {thing}


@pytest.mark.database
def test_a_role_without_rights_is_found(home: Net, say: Say) -> None:
    """A role that owns nothing and may create nothing is told all of it, by name."""
    url, _ = mirrored(home, say)
    role = as_role(
        url,
        "GRANT SELECT ON ALL TABLES IN SCHEMA public TO {role}",
        "REVOKE TEMPORARY ON DATABASE {database} FROM PUBLIC",
    )

    found = findings(say, at(home, role), code=1)

    assert found["create_tables"] == ("wrong", "no")
    assert found["create_parts"] == ("wrong", "no")
    assert found["temporary_tables"] == ("wrong", "no")
    assert "journal_act" in found["owner"][1]


@pytest.mark.parametrize(
    ("number", "text", "levels"),
    [
        ("110022", "PostgreSQL 11.22 on x86_64", ["wrong"]),
        ("130011", "PostgreSQL 13.11 on x86_64", ["note"]),
        ("160004", "PostgreSQL 16.4 on x86_64", ["ok"]),
        ("140012", "EnterpriseDB 14.12, with parts of PostgreSQL 14.12", ["note", "note"]),
        ("120001", "KingbaseES V008R006C008 on x86_64", ["note", "wrong"]),
        ("90204", "(openGauss 5.0.0 build a07d57c3) compiled", ["wrong", "wrong"]),
    ],
    ids=["too old", "no more fixes", "supported", "derived", "unreadable", "derived of an old one"],
)
def test_versions_are_judged(number: str, text: str, levels: list[str]) -> None:
    """A server older than 12 or of no PostgreSQL is wrong, one without fixes or of another maker is a note."""
    found = list(judge(Server(int(number), text, "UTF8")))

    assert [finding.level for finding in found] == [*levels, "ok"]


def _overwrite(path: Path) -> None:
    """A page in the middle of the file is not what was written."""
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        root = connection.execute(
            "SELECT rootpage FROM sqlite_master WHERE name = 'pension_macro__retiree'"
        ).fetchone()[0]
        size = connection.execute("PRAGMA page_size").fetchone()[0]
    with path.open("r+b") as file:
        file.seek((root - 1) * size)
        file.write(b"\xff" * size)


@pytest.mark.database
@pytest.mark.parametrize(
    ("spoil", "got"),
    [
        (lambda u: as_role(u, password="right").replace("right", "wrong"), "password authentication failed"),
        (lambda u: u.replace(f"/{_name(u)}", "/nowhere"), 'database "nowhere" does not exist'),
        (lambda _u: "postgresql+psycopg://a@127.0.0.1:1/x", "Connection refused"),
        (lambda _u: "mysql://a@127.0.0.1/x", "mysql://a@127.0.0.1/x"),
    ],
    ids=["wrong password", "wrong database", "no server", "another product"],
)
def test_a_database_that_lets_nobody_in_is_said(
    home: Net, say: Say, spoil: Callable[[str], str], got: str
) -> None:
    """`check` finds it; `serve`, `migrate` and `convert` say it in one line, and never the password."""
    url = spoil(fresh_database())
    config = at(home, url)

    found = findings(say, config, code=1)
    told = [say(*line, *ZONE, "--config", config) for line in (("serve",), ("database", "migrate"))]
    told.append(say("database", "convert", *ZONE, "--to", url, "--config", home.config()))

    assert found["reach"][0] == "wrong"
    for err in (found["reach"][1], *(said.err for said in told[1:])):
        assert got in err
        assert ":wrong@" not in err
    assert all(said.code in {1, 2} and said.err.count("\n") == 1 for said in told)


@pytest.mark.parametrize(
    "spoil", [lambda p: p.write_bytes(b"x" * 8192), _overwrite], ids=["another file", "torn"]
)
def test_a_file_that_is_no_sound_database_is_said(home: Net, say: Say, spoil: Callable[[Path], Any]) -> None:
    """A SQLite file that is none, or that is damaged inside, is a wrong finding; nothing is a traceback."""
    path = home.database("140100", Zone.EXCHANGE)
    spoil(path)

    found = findings(say, home.config(), code=1)
    told = say("database", "migrate", "--plan", *ZONE, "--config", home.config())

    assert {name for name, (level, _) in found.items() if level == "wrong"} <= {"reach", "quick_check"}
    assert told.err.count("\n") <= 1


def test_a_running_zone_is_asked_and_not_opened(home: Net, say: Say) -> None:
    """While a zone runs, `check` has its answer, and `migrate` and `convert` refuse with who has it open."""
    config = home.config()
    settings = load(Path(config))
    zone = open_zone(settings, Zone.EXCHANGE)
    server = AdminServer(
        settings.run_directory(Zone.EXCHANGE),
        lambda name, arguments, caller: dispatch(Asked(zone, caller=caller), name, arguments),
    )
    server.start()
    try:
        body = json.loads(say("database", "check", *ZONE, "--json", "--config", config).out)
        told = [
            say("database", "migrate", *ZONE, "--config", config),
            say("database", "convert", *ZONE, "--to", f"sqlite:///{home.directory}/a.db", "--config", config),
        ]
    finally:
        server.stop()
        zone.close()

    assert (body["ok"], body["zones"][0]["running"]) == (True, True)
    assert {f["thing"]: f["got"] for f in body["zones"][0]["findings"]}["quick_check"] == "ok"
    assert all(said.code == 1 and "stop it first" in said.err for said in told)
    assert not (home.directory / "a.db").exists()


def test_a_zone_that_is_being_moved_does_not_start(home: Net, say: Say) -> None:
    """While a database is under work, the zone is refused with who holds it."""
    unlock = lock(load(Path(home.config())).directory(Zone.EXCHANGE), Purpose.DATABASE)
    try:
        said = say("database", "check", *ZONE, "--config", home.config())
    finally:
        unlock()

    assert said.code == 1
    assert "database" in said.out


def test_a_zone_that_never_started_has_no_database(home: Net, say: Say) -> None:
    """`check` says that there is none yet, and makes none."""
    config = at(home, f"sqlite:///{home.directory}/none.db")

    found = findings(say, config, code=1)

    assert found == {"reach": ("wrong", "none; jinbao serve makes it when the zone first starts")}
    assert not (home.directory / "none.db").exists()


UNDIVIDED = "unemployment_monitor__registered"
AS_IN_0_1 = (
    f"ALTER TABLE {UNDIVIDED} RENAME TO divided",
    f"CREATE TABLE {UNDIVIDED} (LIKE divided INCLUDING INDEXES)",
    f"INSERT INTO {UNDIVIDED} SELECT * FROM divided",
    "DROP TABLE divided",
)
"""Makes one library table whole, as release 0.1 had them all in PostgreSQL."""


@pytest.mark.database
@pytest.mark.parametrize("backend", ["sqlite", "postgresql"])
def test_a_schema_that_is_behind_is_brought_up(home: Net, say: Say, shaped: Shaped, backend: str) -> None:
    """`migrate --plan` shows what is lacking and does nothing; `migrate` does it; a second time there is nothing to do."""
    whole: set[tuple[str, str]] = set()
    if backend == "postgresql":
        url, config = mirrored(home, say)
        whole.add(("parts", UNDIVIDED))
        run_sql(url, *AS_IN_0_1)
    else:
        url, config = f"sqlite:///{home.database('140100', Zone.EXCHANGE)}", home.config()
    run_sql(
        url,
        "DROP TABLE quarantine_release",
        "DROP TABLE quarantine_finding",
        "DROP TABLE quarantine_row",
        "DELETE FROM alembic_version WHERE version_num = 'quarantine_0001'",
        "DROP TABLE unemployment_monitor__drawing",
        'ALTER TABLE pension_macro__employer DROP COLUMN "AAB065"',
    )
    tail = (*ZONE, "--json", "--config", config)

    note = findings(say, config, code=0)["schema"]
    asked = (("--plan",), ("--plan",), (), ())
    told = [say("database", "migrate", *words, *tail) for words in asked]
    plan, again, done, after = (json.loads(said.out) for said in told)

    assert note == ("note", "lacks quarantine_0001")
    assert plan == again
    assert (plan["done"], done["done"]) == (False, True)
    assert {(s["kind"], s["name"]) for s in plan["steps"]} == {
        ("revision", "quarantine_0001"),
        ("table", "unemployment_monitor__drawing"),
        ("column", "pension_macro__employer.AAB065"),
        *whole,
    }
    assert done["steps"] == plan["steps"]
    assert after == {"done": False, "steps": []}
    shaped("database migrate", *told)
    assert findings(say, config, code=0)["schema"] == ("ok", "newest")


@pytest.mark.database
@pytest.mark.parametrize("act", [("database", "migrate"), ("serve",), ("status",)], ids=" ".join)
def test_a_newer_releases_database_is_left_alone(home: Net, say: Say, act: tuple[str, ...]) -> None:
    """A database of a newer release is refused by name, and its revision stays."""
    url, config = mirrored(home, say)
    run_sql(url, "INSERT INTO alembic_version VALUES ('journal_9999')")

    said = say(*act, *ZONE, "--config", config)

    assert said.code == 1
    assert f"expected a schema that release {__version__} can run on, got journal_9999" in said.err


@pytest.mark.database
def test_there_and_back_is_the_same_zone(home: Net, say: Say) -> None:
    """A zone moved to PostgreSQL and back to SQLite answers every question as before, and says which setting to change."""
    asked = ("library", "digest", "pension_macro", *ZONE, "--json")
    before = say(*asked, "--config", home.config())
    url = fresh_database()

    there = say("database", "convert", *ZONE, "--to", url, "--config", home.config())
    config = at(home, url)
    between = say(*asked, "--config", config)
    file = home.directory / "back.db"
    back = say("database", "convert", *ZONE, "--to", f"sqlite:///{file}", "--config", config)
    after = say(*asked, "--config", at(home, f"sqlite:///{file}"))

    assert (there.code, back.code) == (0, 0)
    assert before.out == between.out == after.out
    assert 'set zones.exchange.database = "postgresql+psycopg://' in there.out
    assert file.stat().st_mode & 0o777 == 0o600


def _same(home: Net) -> str:
    return f"sqlite:///{home.directory}/140100/../140100/exchange/zone.db"


@pytest.mark.database
@pytest.mark.parametrize(
    ("target", "code", "message"),
    [
        (_same, 2, "expected another database than the zone's"),
        (lambda home: f"sqlite:///{home.database('140100', Zone.PRODUCTION)}", 1, "expected an empty database"),
        (lambda _home: _full(), 1, "expected an empty database, got 1 tables, among them others; name another one"),
        (lambda _home: fresh_database(ASCII), 1, "expected PostgreSQL with encoding UTF8"),
        (lambda _home: as_role(fresh_database()), 1, "create_tables yes"),
        (lambda _home: "sqlite://", 2, "got sqlite://"),
        (lambda _home: "nonsense", 2, "got another text"),
        (lambda home: f"sqlite:///{home.directory}/nowhere/a.db", 1, "expected a directory"),
    ],
    ids=["itself", "another zone's", "full", "another encoding", "no rights", "in memory", "no URL", "into nowhere"],
)  # fmt: skip
def test_a_target_that_will_not_do_is_refused(
    home: Net, say: Say, target: Callable[[Net], str], code: int, message: str
) -> None:
    """A conversion into a database that is not empty, not fit or none at all ends before it begins."""
    said = say("database", "convert", *ZONE, "--to", target(home), "--config", home.config())

    assert (said.code, said.out) == (code, "")
    assert message in said.err


def _full() -> str:
    url = fresh_database()
    run_sql(url, "CREATE TABLE others (a int)")
    return url


@pytest.mark.database
def test_a_segment_that_is_gone_is_explained(home: Net, say: Say) -> None:
    """A journal whose segments are not all there is not converted: how many, which first, and what to do."""
    shelf = load(Path(home.config())).directory(Zone.EXCHANGE) / "segments"
    with closing(sqlite3.connect(home.database("140100", Zone.EXCHANGE))) as connection:
        body = connection.execute(
            "SELECT body FROM journal_act WHERE kind = 'applied' ORDER BY lsn"
        ).fetchone()[0]
    sha256 = json.loads(body)["segments"][0]["sha256"]
    (shelf / sha256[:2] / f"{sha256}.parquet").unlink()
    url = fresh_database()

    said = say("database", "convert", *ZONE, "--to", url, "--config", home.config())

    assert said.code == 1
    assert f"1 missing, first {sha256[:12]} of act " in said.err
    assert "retention never removes these" in said.err
    assert _tables(url) == []


def _tables(url: str) -> list[str]:
    engine = sa.create_engine(url)
    names = sa.inspect(engine).get_table_names()
    engine.dispose()
    return names


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ('UPDATE pension_macro__retiree SET "AIC263" = 1 WHERE rowid = 1', "retiree (239 rows, rebuilt 239)"),
        ("DELETE FROM library_submission", "library_submission (0 rows, rebuilt "),
        ("UPDATE journal_act SET body = '{}' WHERE lsn = 2", "journal: act 2: expected the chain"),
    ],
    ids=["a row", "a table", "an act"],
)  # fmt: skip
def test_tables_that_do_not_follow_are_named(home: Net, say: Say, change: str, message: str) -> None:
    """A table altered behind the journal's back is found by the conversion, and the new database is not to be used."""
    with closing(sqlite3.connect(home.database("140100", Zone.EXCHANGE))) as connection:
        connection.execute(change)
        connection.commit()
    file = home.directory / "new.db"

    said = say("database", "convert", *ZONE, "--to", f"sqlite:///{file}", "--config", home.config())

    assert said.code == 1
    assert message in said.err
    if file.exists():  # not for a journal that does not hold: nothing was begun
        assert say("serve", *ZONE, "--config", at(home, f"sqlite:///{file}")).code == 1


@pytest.mark.database
@pytest.mark.parametrize("backend", ["sqlite", "postgresql"])
@pytest.mark.parametrize("place", ["first", "middle", "last"])
def test_a_conversion_that_was_killed_is_known(home: Net, say: Say, backend: str, place: str) -> None:
    """A target whose conversion was cut off is refused by serve, check and convert; the source is as it was."""
    config = home.config()
    with closing(sqlite3.connect(home.database("140100", Zone.EXCHANGE))) as connection:
        acts = connection.execute("SELECT max(lsn) FROM journal_act").fetchone()[0]
    hit = {
        "first": "store.after_commit:1",
        "middle": f"store.before_commit:{acts // 2}",
        "last": f"store.before_commit:{acts + 2}",
    }[place]
    url = fresh_database() if backend == "postgresql" else f"sqlite:///{home.directory}/cut.db"

    cut = spawn("database", "convert", *ZONE, "--to", url, "--config", config, **{ENVIRONMENT: hit})
    moved = at(home, url)
    found = findings(say, moved, code=1)
    served = say("serve", *ZONE, "--config", moved)
    again = say("database", "convert", *ZONE, "--to", url, "--config", config)

    assert (cut.code, cut.out) == (-9, "")
    assert found["conversion"][0] == "wrong"
    assert found["conversion"][1].startswith("unfinished since 20")
    assert served.code == 1
    assert "got a conversion begun at " in served.err
    assert "run jinbao database convert again" in served.err
    assert (again.code, "that did not end" in again.err) == (1, True)
    assert say("database", "check", *ZONE, "--config", config).code == 0


@pytest.mark.database
def test_no_password_is_shown(home: Net, say: Say) -> None:
    """A password in a URL is in no answer: not of check, and not in the setting a conversion ends with."""
    url = as_role(fresh_database(), "ALTER DATABASE {database} OWNER TO {role}", password="s3cret-s3cret")

    said = say("database", "convert", *ZONE, "--to", url, "--config", home.config())
    checked = say("database", "check", *ZONE, "--config", at(home, url))

    assert (said.code, checked.code) == (0, 0), said.err + checked.err
    for text in (said.out, said.err, checked.out, checked.err):
        assert "s3cret" not in text
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(url.replace("+psycopg", "").replace("s3cret-", "")).close()
