"""Who asks is the kernel's word: real sockets, and callers in processes of their own."""

from __future__ import annotations

import json
import os
import pwd
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.audit.parts import ACCOUNTS, CLEAR, caller, hold_one_person, settings_of, told
from tests.link.zones import serving

from jinbao.appliance import admin_server
from jinbao.appliance.admin_client import AskedError, _ask_socket, ask
from jinbao.appliance.admin_frames import FRAME_BYTES_MAX, receive, send
from jinbao.appliance.admin_server import CALLS_MAX
from jinbao.appliance.admin_sockets import ADMIN, READ
from jinbao.appliance.assembly import OpenZone, open_zone
from jinbao.appliance.auditing import verify_trail
from jinbao.appliance.questions import Asked, dispatch
from jinbao.appliance.settings import Settings
from jinbao.model.audit import Role
from jinbao.model.errors import LinkError
from jinbao.model.zone import Zone

ME = pwd.getpwuid(os.geteuid()).pw_name
OTHERS = [name for name in [*ACCOUNTS, "nobody"] if name != ME]


def roles_with_me_as(role: Role) -> dict[str, list[str]]:
    """Roles apart, in one of which this test's own account is."""
    others = iter(OTHERS)
    return {each: [ME if each is role else next(others)] for each in Role}


@contextmanager
def running(directory: Path, **more: Any) -> Iterator[tuple[OpenZone, Settings]]:
    """A province that serves and holds one person's row."""
    settings = settings_of(directory, **more)
    zone = open_zone(settings, Zone.EXCHANGE)
    hold_one_person(zone)
    with serving(zone):
        yield zone, settings


def apart_as(directory: Path, role: Role) -> dict[str, Any]:
    """Settings of a node with roles apart, this account in one of them."""
    return {"roles": roles_with_me_as(role), "sockets_directory": directory / "sockets"}


def test_the_caller_is_who_connected(tmp_path: Path) -> None:
    """An entry names the account and uid of the process that connected, by which socket, in which role."""
    with running(tmp_path) as (zone, settings):
        ask(settings, Zone.EXCHANGE, "library.show", CLEAR)
        (line,) = told(zone)

    who = {name: line[name] for name in ("account", "uid", "way", "outcome")}
    assert who == {"account": ME, "uid": os.geteuid(), "way": "admin.sock", "outcome": "done"}
    assert line["persons"] == ["1*************", "140105********1234"]


def test_a_claim_is_recorded_and_not_believed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever says it acts for the security administrator is still who connected, and is refused."""
    monkeypatch.setenv("SUDO_USER", roles_with_me_as(Role.SYSTEM)[Role.SECURITY][0])
    with running(tmp_path, **apart_as(tmp_path, Role.SYSTEM)) as (zone, settings):
        ask(settings, Zone.EXCHANGE, "line.pause", {"peer": "100000"})

        with pytest.raises(
            AskedError, match=f"unmask: expected an account in the role security .*got {ME}"
        ) as got:
            ask(settings, Zone.EXCHANGE, "library.show", CLEAR)
        lines = [(line["account"], line["claimed"], line["outcome"]) for line in told(zone)]

    claimed = os.environ["SUDO_USER"]
    assert (got.value.code, got.value.exit_code) == ("role", 2)
    assert lines == [(ME, claimed, "done"), (ME, claimed, "refused")]


@pytest.mark.parametrize("role", list(Role), ids=[str(role) for role in Role])
def test_a_real_account_has_its_role_and_no_other(tmp_path: Path, role: Role) -> None:
    """Over a real socket this account is answered in the role it is listed in, and refused in both others."""
    asked = {
        Role.SYSTEM: ("line.resume", {"peer": "100000"}),
        Role.SECURITY: ("library.show", CLEAR),
        Role.AUDIT: ("audit.verify", {}),
    }
    refused = []
    with running(tmp_path, **apart_as(tmp_path, role)) as (_, settings):
        for each, (question, arguments) in asked.items():
            try:
                ask(settings, Zone.EXCHANGE, question, arguments)
            except AskedError as exc:
                refused.append((each, exc.code))

    assert refused == [(each, "role") for each in Role if each is not role]


@pytest.mark.parametrize("apart", [False, True], ids=["together", "apart"])
def test_sockets_are_open_to_whom_they_are_for(tmp_path: Path, apart: bool) -> None:
    """admin.sock is its owner's alone, and the group's once roles tell its members apart; nobody else's ever."""
    with running(tmp_path, **(apart_as(tmp_path, Role.SYSTEM) if apart else {})) as (_, settings):
        run = settings.run_directory(Zone.EXCHANGE)
        modes = [stat.S_IMODE(path.stat().st_mode) for path in (run, run / ADMIN, run / READ)]

    assert modes == [0o750, 0o660 if apart else 0o600, 0o660]


ASKING = """
import json, os, sys
from pathlib import Path
from jinbao.appliance.admin_client import _ask_socket
from jinbao.model.errors import JinbaoError
uid = int(sys.argv[2])
if os.geteuid() != uid:
    os.setgroups([]); os.setgid(uid); os.setuid(uid)
try:
    _ask_socket(Path(sys.argv[1]), "line.pause", {"peer": "100000"}, None)
    print(json.dumps({"code": ""}))
except JinbaoError as exc:
    print(json.dumps({"code": exc.code, "got": str(exc.got)}))
"""


@pytest.mark.processes
def test_another_process_is_its_own_account(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """A process of another account is that account; where this test may not become one, its own process is itself."""
    other = pwd.getpwnam("nobody").pw_uid if os.geteuid() == 0 else os.geteuid()
    name = pwd.getpwuid(other).pw_name
    reachable = Path(tempfile.mkdtemp(prefix="jb-"))  # pytest's own directory lets no other account in
    request.addfinalizer(lambda: shutil.rmtree(reachable))
    more = apart_as(tmp_path, Role.AUDIT) | {"sockets_directory": reachable}
    with running(tmp_path, **more) as (zone, settings):
        run = settings.run_directory(Zone.EXCHANGE)
        for path, mode in ((reachable, 0o755), (run, 0o755), (run / ADMIN, 0o666)):
            path.chmod(mode)
        done = subprocess.run(
            [sys.executable, "-c", ASKING, str(run / ADMIN), str(other)],
            capture_output=True,
            timeout=60,
            check=True,
        )
        lines = [(line["account"], line["uid"], line["outcome"]) for line in told(zone)]

    said = json.loads(done.stdout)
    assert said["code"] == "role"
    assert said["got"].startswith(f"{name} in ")
    assert lines == [(name, other, "refused")]


@pytest.mark.processes
def test_a_zone_that_ends_seals_its_trail(tmp_path: Path) -> None:
    """A real zone that is told to stop seals what it recorded last, and its trail verifies afterwards."""
    settings = settings_of(tmp_path, audit={"seal_interval_s": 3600.0})
    config = settings.data_directory / "node.toml"
    text = config.read_text(encoding="utf-8") + "\n[audit]\nseal_interval_s = 3600.0\n"
    config.write_text(text, encoding="utf-8")
    command = [
        sys.executable,
        "-m",
        "jinbao.cli.main",
        "serve",
        "--zone",
        "exchange",
        "--config",
        str(config),
    ]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as served:
        deadline = time.monotonic() + 60
        while not (settings.run_directory(Zone.EXCHANGE) / ADMIN).exists():
            assert time.monotonic() < deadline
            assert served.poll() is None
            time.sleep(0.1)
        time.sleep(0.3)  # its first round of sealing is over
        ask(settings, Zone.EXCHANGE, "line.pause", {"peer": "100000", "reason": "a test"})
        served.send_signal(signal.SIGTERM)
        assert served.wait(60) == 0

    zone = open_zone(settings, Zone.EXCHANGE)
    faults, heads = verify_trail(zone)
    sealed, unsealed = zone.heads.sealed(), zone.heads.unsealed()
    zone.close()
    assert (faults, heads, sealed, unsealed) == ([], 1, 2, 0)


def test_a_stopped_zone_is_asked_by_this_process_itself(tmp_path: Path) -> None:
    """Whoever opens a stopped zone is recorded as the account of its own process."""
    settings = settings_of(tmp_path)
    ask(settings, Zone.EXCHANGE, "line.pause", {"peer": "100000", "reason": "a test"})

    zone = open_zone(settings, Zone.EXCHANGE)
    (line,) = told(zone)
    zone.close()

    assert (line["account"], line["uid"], line["way"]) == (ME, os.geteuid(), "process")


def test_a_stopped_zone_is_no_way_around_the_roles(tmp_path: Path) -> None:
    """With roles apart an account without the role is refused by a stopped zone as by a running one."""
    settings = settings_of(tmp_path, **apart_as(tmp_path, Role.AUDIT))

    with pytest.raises(
        Exception, match=f"act line.pause: expected an account in the role system .*got {ME} in audit"
    ):
        ask(settings, Zone.EXCHANGE, "line.pause", {"peer": "100000"})


# Callers that do not behave.


def connected(path: Path) -> socket.socket:
    """A caller that has connected and said nothing."""
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.settimeout(10)
    connection.connect(str(path))
    return connection


@pytest.mark.parametrize(
    "said",
    [b"", b"\x00", b"\x00\x00\x00\x05abc", b"\xff\xff\xff\xff", b"\x00\x00\x00\x03\xff\xff\xff"],
    ids=["nothing", "half a length", "half a frame", "too long a frame", "no message"],
)
def test_a_caller_that_breaks_off_disturbs_nobody(tmp_path: Path, said: bytes) -> None:
    """A caller that leaves in the middle or speaks something else gets no answer, and the next one does."""
    with running(tmp_path) as (zone, settings):
        path = settings.run_directory(Zone.EXCHANGE) / READ
        with connected(path) as connection:
            connection.sendall(said)
            connection.shutdown(socket.SHUT_WR)
            assert connection.recv(1) == b""

        assert _ask_socket(path, "status", {}, None)["zone"] == str(zone.me)


def test_callers_that_say_nothing_are_let_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As many silent callers as there are places hold them no longer than they may."""
    monkeypatch.setattr(admin_server, "REQUEST_S", 0.3)
    with running(tmp_path) as (_, settings):
        path = settings.run_directory(Zone.EXCHANGE) / READ
        silent = [connected(path) for _ in range(2 * CALLS_MAX)]

        found = _ask_socket(path, "status", {}, None)
        for connection in silent:
            connection.close()

    assert found["running"] is True


def test_a_zone_stops_while_callers_wait(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Silent callers keep no zone from stopping."""
    monkeypatch.setattr(admin_server, "REQUEST_S", 60.0)
    with running(tmp_path) as (_, settings):
        silent = [connected(settings.run_directory(Zone.EXCHANGE) / READ) for _ in range(2 * CALLS_MAX)]
        time.sleep(0.2)
        began = time.monotonic()
    took_s = time.monotonic() - began
    for connection in silent:
        connection.close()

    assert took_s < 15


def test_an_answer_that_is_cut_off_is_no_answer(tmp_path: Path) -> None:
    """Without the frame that ends it an answer is not believed, however whole it looks."""
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(str(path))
        listener.listen(1)

        def half() -> None:
            connection, _ = listener.accept()
            with connection:
                receive(connection)
                send(connection, admin_server.admin.AskResponse(answer=b"{}").SerializeToString())

        thread = threading.Thread(target=half)
        thread.start()
        with pytest.raises(LinkError, match="expected an answer, got admin frame: expected 4 bytes"):
            _ask_socket(path, "status", {}, None)
        thread.join()


def test_a_long_answer_comes_whole(tmp_path: Path) -> None:
    """An answer longer than a frame is the one the zone itself gives."""
    with running(tmp_path) as (zone, settings):
        for n in range(40):
            zone.trail.ask(caller(None), "status", arguments=f"{n}" + "x" * 60_000)
        wanted = dispatch(Asked(zone), "audit.list", {"limit": 40, "action": "status"}).body

        found = ask(settings, Zone.EXCHANGE, "audit.list", {"limit": 40, "action": "status"})

    assert len(json.dumps(found)) > FRAME_BYTES_MAX
    assert found == wanted
