"""A running backup site drills when it is asked, as its calendar would, and whoever asked is told what came of it."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.audit.parts import told
from tests.audit.test_who import apart_as
from tests.cli.conftest import Say
from tests.cli.harness import Net
from tests.link.zones import serving
from tests.servers import await_
from tests.sim.world import Plan
from tests.standby.following import BACKUP, CITY, PROVINCE
from tests.standby.network import standby_net
from tests.standby.test_drill import Told

from jinbao.appliance.assembly import open_zone
from jinbao.appliance.drill_process import EVERY, Drilling
from jinbao.appliance.network import COPY_KEYS, write_settings
from jinbao.appliance.questions import Asked, dispatch
from jinbao.appliance.serve import ZoneService
from jinbao.appliance.settings import Settings, load
from jinbao.model.audit import Role
from jinbao.model.errors import JinbaoError
from jinbao.model.zone import Zone


@pytest.fixture
def net(guarded_plan: Plan, tmp_path: Path) -> Net:
    """A network with a backup site at rest, its zones stopped."""
    return standby_net(guarded_plan, tmp_path / "net")


@contextmanager
def running(net: Net, role: Role, **copies: object) -> Iterator[ZoneService]:
    """The backup's exchange zone, running, roles apart, this account in one of them."""
    config = Path(net.config(BACKUP.node))
    body = load(config).model_dump(exclude_unset=True)
    settings = Settings(**(body | apart_as(net.directory, role)))
    settings = settings.model_copy(update={"copies": settings.copies.model_copy(update=copies)})
    write_settings(config.parent, settings)
    with serving(open_zone(settings, Zone.EXCHANGE)) as service:
        yield service


def by_zone(net: Net, say: Say, *arguments: str) -> Any:
    """What the command says that asks the zone."""
    return say("standby", "drill", "--by-zone", *arguments, "--config", net.config(BACKUP.node))


def status(net: Net, say: Say) -> dict[str, Any]:
    """The standing of the backup."""
    found: dict[str, Any] = json.loads(
        say("standby", "status", "--json", "--config", net.config(BACKUP.node)).out
    )
    return found


def test_one_run_at_most_is_owed(net: Net) -> None:
    """Asked twice for a node one run of it is owed, asked for another one run of every node; each is told its number."""
    drilling = Drilling(load(Path(net.config(BACKUP.node))), Zone.EXCHANGE, Told())

    assert [drilling.ask(CITY), drilling.ask(CITY), drilling.doing.owed] == [1, 1, CITY]
    assert [drilling.ask(PROVINCE), drilling.doing.owed] == [1, EVERY]
    assert [drilling.ask(CITY), drilling.doing.owed] == [1, EVERY]
    drilling.stop()
    assert (drilling.doing.owed, drilling.step()) == ("", False)


@pytest.mark.processes
def test_the_zone_drills_for_an_account_that_opens_nothing_itself(net: Net, say: Say) -> None:
    """In the role system, and without the key, the node that was asked for is drilled by the zone, and shown."""
    with running(net, Role.SYSTEM) as service:
        said = by_zone(net, say, "--node", CITY)
        found = status(net, say)
        trail = [(one["action"], one["way"]) for one in told(service.zone) if one["outcome"] == "done"]

    assert said.code == 0, said.err
    assert CITY in said.out
    assert [one["node"] for one in found["drills"]] == [CITY]
    idle = {"running": "", "owed": "", "ended": 1, "failed_run": 0, "failed": ""}
    assert found["drilling"] == idle
    assert ("standby.drill", "admin.sock") in trail
    assert ("standby.drilled", "zone") in trail


@pytest.mark.processes
def test_a_red_drill_by_the_zone_is_an_exit_code(net: Net, say: Say) -> None:
    """Where the copy of one node is harmed, a drill of all ends with 3 and shows which went well."""
    shelf = net.directory / BACKUP.node / "exchange" / "segments"
    victim = max(shelf.glob("*/*.parquet"), key=lambda path: path.stat().st_size)
    with running(net, Role.SYSTEM):
        victim.write_bytes(b"rotten")
        said = by_zone(net, say, "--all", "--json")

    body = json.loads(said.out)
    assert said.code == 3
    assert not body["ok"]
    assert {one["node"]: one["ok"] for one in body["drills"]}.keys() == {CITY, PROVINCE}
    assert [one["ok"] for one in body["drills"]].count(False) == 1


@pytest.mark.processes
def test_a_drill_by_the_zone_that_gives_no_report_says_why(net: Net, say: Say) -> None:
    """Where its process ends without a report, the command ends with 1 and its words; status keeps them."""
    with running(net, Role.SYSTEM):
        (net.directory / COPY_KEYS / "drill.pem").unlink()
        said = by_zone(net, say, "--all")
        shown = say("standby", "status", "--config", net.config(BACKUP.node))
        found = status(net, say)["drilling"]

    assert said.code == 1
    assert "drill by zone 140000-backup/exchange: expected a report, got" in said.err
    assert "drill.pem" in said.err
    assert (found["ended"], found["failed_run"]) == (1, 1)
    assert "run 1 gave no report" in shown.out


@pytest.mark.processes
def test_whoever_waits_for_a_run_that_was_stopped_is_told(net: Net, say: Say) -> None:
    """A zone that ends its drill gives no run to wait for: the command ends with 4, and no older drill is shown."""
    with running(net, Role.SYSTEM) as service:

        def stop() -> None:
            await_(lambda: service.drilling.doing.running == EVERY, 60)
            service.drilling.stop()

        stopper = threading.Thread(target=stop)
        stopper.start()
        said = by_zone(net, say, "--all")
        stopper.join()

    assert said.code == 4
    assert "expected run 1 to end, got a zone that was stopped" in said.err
    assert said.out == ""


@pytest.mark.parametrize("role", [Role.SECURITY, Role.AUDIT], ids=str)
def test_another_role_is_refused_before_anything_is_done(net: Net, say: Say, role: Role) -> None:
    """With the roles apart the wrong account is refused either way at once: no copy was fetched, nothing is owed."""
    with running(net, role) as service:
        asked = by_zone(net, say, "--all")
        itself = say("standby", "drill", "--all", "--config", net.config(BACKUP.node))
        done = [one["action"] for one in told(service.zone) if one["outcome"] == "done"]

    assert (asked.code, itself.code) == (2, 2)
    assert "act standby.drill: expected an account in the role system" in asked.err
    assert "expected an account in the role system" in itself.err
    assert done == []
    assert service.drilling.doing.owed == ""
    assert service.drilling.doing.ended == 0


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ((), "expected --node NODE or --all, got neither"),
        (("--all", "--node", CITY), "expected --node NODE or --all, got both"),
        (("--all", "--at", "2024-11-05T00:10:00Z"), "got --at"),
        (("--all", "--key", __file__), "got --key"),
    ],
    ids=["nothing", "both", "a moment", "a key"],
)
def test_what_the_zone_would_not_do_is_refused(
    net: Net, say: Say, arguments: tuple[str, ...], text: str
) -> None:
    """The zone has a key of its own and builds what is newest: to ask for anything else is a usage error."""
    said = by_zone(net, say, *arguments)

    assert said.code == 2
    assert text in said.err


WANTING = {
    "a stopped zone": ({}, CITY, "a zone that runs"),
    "no key": ({"drill_key_file": None}, CITY, "copies.drill_key_file: expected the key of drills"),
    "another's node": ({}, "100000", f"--node: expected {PROVINCE} or {CITY}, got 100000"),
}


@pytest.mark.parametrize(("copies", "node", "text"), WANTING.values(), ids=WANTING)
def test_a_backup_that_cannot_drill_says_what_is_wanting(
    net: Net, copies: dict[str, object], node: str, text: str
) -> None:
    """A backup site that does not run, has no key, or does not protect that node refuses in words of what it needs."""
    settings = load(Path(net.config(BACKUP.node)))
    settings = settings.model_copy(update={"copies": settings.copies.model_copy(update=copies)})
    zone = open_zone(settings, Zone.EXCHANGE)
    try:
        with pytest.raises(JinbaoError, match=re.escape(text)):
            dispatch(Asked(zone), "standby.drill", {"node": node})
        found = dispatch(Asked(zone), "standby.status", {}).body
    finally:
        zone.close()

    assert found["drilling"] is None


def test_a_zone_that_is_no_backup_site_drills_nothing(net: Net, say: Say) -> None:
    """Asked of a node in no role of a backup, the drill is refused in those words."""
    said = say("standby", "drill", "--by-zone", "--all", "--config", net.config(PROVINCE))

    assert said.code == 2
    assert "expected the exchange zone of a backup site" in said.err
