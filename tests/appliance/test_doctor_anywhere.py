"""The doctor wherever it is called: of running zones, on PostgreSQL, beside a start, and over ruins of every kind."""

from __future__ import annotations

import json
import os
import shutil
import threading
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from tests.appliance.hospital import HOLDS, bad, process, well
from tests.link.zones import SETTINGS, seal, serving
from tests.postgres import fresh_database

from jinbao.appliance.admin_client import ask
from jinbao.appliance.assembly import open_zone
from jinbao.appliance.doctor.context import Room, Surroundings
from jinbao.appliance.doctor.examine import CHECKS, Line, examine
from jinbao.appliance.doctor.facts import Facts
from jinbao.appliance.doctor.findings import State
from jinbao.appliance.doctor.repair import repair
from jinbao.appliance.network import DEMO_NODES, make_network
from jinbao.appliance.settings import Settings
from jinbao.appliance.zone_lock import Purpose, holder, lock
from jinbao.model.zone import Zone

MINISTRY, PROVINCE = DEMO_NODES[0].node, DEMO_NODES[1].node


@pytest.fixture
def network(tmp_path: Path) -> dict[str, Settings]:
    """Ministry and one province whose exchange zone sealed something; nothing runs."""
    _, settings = make_network(tmp_path / "net", DEMO_NODES[:2], overrides=SETTINGS)
    with closing(open_zone(settings[PROVINCE], Zone.EXCHANGE)) as zone:
        seal(zone, 1)
    return settings


def look(settings: Settings, *only: str, around: Surroundings | None = None) -> list[Line]:
    """Findings of the exchange zone."""
    config = settings.data_directory / "node.toml"
    return examine(settings, config, only=only, zones=[Zone.EXCHANGE], around=around or well())


def states(lines: list[Line]) -> dict[str, State]:
    """The state of each check; of several findings the first."""
    return {line.check: line.finding.state for line in reversed(lines)}


def test_a_running_node_is_looked_at_undisturbed(network: dict[str, Settings]) -> None:
    """Of zones that run all checks are made, a neighbour's answer included; nothing of it is recorded."""
    with (
        serving(open_zone(network[MINISTRY], Zone.EXCHANGE)),
        serving(open_zone(network[PROVINCE], Zone.EXCHANGE)) as service,
    ):
        found = states(look(network[PROVINCE]))
        ministry = states(look(network[MINISTRY]))

        audited = ask(network[PROVINCE], Zone.EXCHANGE, "journal.list", {"kind": "audited"})["acts"]
        assert (audited, service.failure) == ([], None)
    unwell = {check: state for check, state in found.items() if state is not State.OK}
    assert unwell == {"backup": State.RED}
    assert {check for check, state in ministry.items() if state is not State.OK} == {"backup"}


def test_the_running_zone_says_what_the_stopped_one_showed(network: dict[str, Settings]) -> None:
    """Facts asked over the socket are those read of the stopped zone's database."""
    stopped = look(network[PROVINCE], "schema", "segments")

    with serving(open_zone(network[PROVINCE], Zone.EXCHANGE)):
        running = look(network[PROVINCE], "schema", "segments")
        answer = ask(network[PROVINCE], Zone.EXCHANGE, "doctor.look")

    assert running == stopped
    facts = Facts.from_json(json.loads(json.dumps(answer)) | {"of_a_later_release": 1})
    assert facts.as_json() == Facts.from_json(answer).as_json()
    assert facts.segments


@pytest.mark.database
def test_a_zone_on_a_server_is_looked_at_as_well(tmp_path: Path) -> None:
    """Of a zone whose database is PostgreSQL the same checks are made; a server that is away is unknown, and named."""
    nodes = [DEMO_NODES[0], replace(DEMO_NODES[1], databases={Zone.EXCHANGE: fresh_database()})]
    settings = make_network(tmp_path / "net", nodes, overrides=SETTINGS)[1][PROVINCE]
    with closing(open_zone(settings, Zone.EXCHANGE)) as zone:
        seal(zone, 1)
    checks = ("engine", "schema", "segments", "disk", "lock", "clock", "certificate", "topology")

    found = states(look(settings, *checks))

    assert found == dict.fromkeys(checks, State.OK)
    zones = dict(settings.zones)
    zones[Zone.EXCHANGE] = zones[Zone.EXCHANGE].model_copy(
        update={"database": "postgresql+psycopg://jinbao:secret@127.0.0.1:1/exchange"}
    )
    lines = look(settings.model_copy(update={"zones": zones}), *checks)
    away = states(lines)
    assert {check for check, state in away.items() if state is State.UNKNOWN} == {"schema", "segments"}
    assert bad(lines) == set()
    assert "secret" not in repr(lines)
    assert any("jinbao database check" in line.finding.fix for line in lines)


def test_a_zone_that_somebody_opens_is_not_waited_for(network: dict[str, Settings]) -> None:
    """While another process has the zone open, what its database knows is unknown, and its holder is named."""
    directory = network[PROVINCE].directory(Zone.EXCHANGE)
    with process(HOLDS, str(directory), Purpose.QUESTION) as other:
        lines = look(network[PROVINCE], "schema", "segments", "lock", "disk")
        held = holder(directory)

    assert held is not None
    assert (held.pid, held.purpose) == (other.pid, Purpose.QUESTION)
    assert states(lines) == {
        "lock": State.OK,
        "schema": State.UNKNOWN,
        "disk": State.OK,
        "segments": State.UNKNOWN,
    }
    assert any(str(other.pid) in line.finding.got.en for line in lines if line.check == "schema")


def test_nobody_holds_a_lock_that_was_let_go(tmp_path: Path) -> None:
    """A lock is held from its taking to its letting go, and looking at it takes it from nobody."""
    assert holder(tmp_path) is None
    unlock = lock(tmp_path, Purpose.SERVE)
    held = holder(tmp_path)
    unlock()

    assert held is not None
    assert (held.pid, held.purpose) == (os.getpid(), Purpose.SERVE)
    assert holder(tmp_path) is None


def test_a_start_beside_the_doctor_succeeds(network: dict[str, Settings]) -> None:
    """A zone that starts again and again while it is looked at all the time always starts."""
    ended, rounds = threading.Event(), list[int]()

    def looking() -> None:
        while not ended.is_set():
            rounds.append(len(look(network[PROVINCE], "lock", "schema", "segments", "port")))

    doctor = threading.Thread(target=looking)
    doctor.start()
    try:
        for _ in range(6):
            open_zone(network[PROVINCE], Zone.EXCHANGE).close()
    finally:
        ended.set()
        doctor.join(30)

    assert rounds


RUINS: dict[str, str] = {
    "no directory": "",
    "a database of noise": "zone.db",
    "no keys": "identity/current",
    "a key of noise": "identity/current/key.pem",
    "a chain of noise": "identity/current/chain.pem",
    "anchors of noise": "identity/current/anchors.pem",
    "lists of noise": "identity/current/trust.pem",
    "a lock of noise": "lock",
    "a scrub of noise": "scrub.json",
    "a topology of noise": "../../topology.sealed",
    "a shelf that is a file": "segments",
}


@pytest.fixture
def ruin(request: pytest.FixtureRequest, network: dict[str, Settings]) -> Settings:
    """A province of whose exchange zone one thing is gone or noise."""
    settings = network[PROVINCE]
    home = settings.directory(Zone.EXCHANGE)
    path = (home / request.param).resolve() if request.param != "identity/current" else home / request.param
    if path.is_symlink():
        path.unlink()
    elif path.is_dir():
        shutil.rmtree(path)
    if request.param not in {"", "identity/current"}:
        path.write_bytes(b"\x00\xffnoise of nobody\n" * 400)
    return settings


@pytest.mark.parametrize("ruin", RUINS.values(), ids=RUINS, indirect=True)
def test_over_ruins_every_check_says_something(ruin: Settings) -> None:
    """Whatever of a zone is gone or noise, every check gives a finding, none breaks off on a bug, no noise is repeated."""
    lines = look(ruin)

    assert {line.check for line in lines} >= {check.name for check in CHECKS} - {"source"}
    assert [line for line in lines if line.finding.code.endswith(".bug")] == []
    assert "noise of nobody" not in repr(lines)


def test_a_bug_is_a_finding_and_no_end(network: dict[str, Settings]) -> None:
    """A check that meets a bug says where it struck and nothing of what it read; all others are made."""

    def room(_path: Path) -> Room:
        raise ZeroDivisionError("row of 110101199003074518")

    lines = look(network[PROVINCE], around=well(room=room))

    [disk] = [line for line in lines if line.check == "disk"]
    assert (disk.finding.code, disk.finding.state) == ("disk.bug", State.UNKNOWN)
    assert disk.finding.got.en.startswith("ZeroDivisionError at ")
    assert "110101199003074518" not in repr(lines)
    assert states(lines)["segments"] is State.OK


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a directory away")
def test_of_another_accounts_zone_nothing_is_opened(network: dict[str, Settings]) -> None:
    """A stopped zone that is another account's is not opened, by root neither: the line says as whom to look."""
    settings = network[PROVINCE]
    home = settings.directory(Zone.EXCHANGE)
    for path in (home, *home.rglob("*")):
        os.chown(path, 54321, -1, follow_symlinks=False)
    (home / "lock").unlink()

    lines = look(settings)
    repairs = {one.line.finding.code: one for one in repair(settings, look(settings, "disk", around=_full()))}

    assert bad(lines) == set()
    schema = next(line.finding for line in lines if line.check == "schema")
    assert (schema.code, schema.state) == ("schema.account", State.UNKNOWN)
    assert schema.fix.startswith("sudo -u '#54321' jinbao doctor --zone exchange --config ")
    assert not repairs["disk.full"].is_done
    assert not (home / "lock").exists()
    assert {path.lstat().st_uid for path in home.rglob("*")} == {54321}


def _full() -> Surroundings:
    return well(room=lambda _: Room(1 << 40, 1 << 20, 1.0))
