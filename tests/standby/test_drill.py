"""A drill builds a node again where it can reach nobody, and finds whatever is wrong with a copy (fault rows 54, 55)."""

from __future__ import annotations

import base64
import json
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from tests.audit.parts import told
from tests.audit.test_who import apart_as
from tests.cli.conftest import Say
from tests.cli.harness import Net
from tests.conftest import Shaped
from tests.link.zones import serving
from tests.servers import await_
from tests.sim.world import Plan, World, world
from tests.standby.following import (
    BACKUP,
    CITY,
    PROTECTED,
    PROVINCE,
    copy_of,
    journal_of,
    name_of,
    objects_of,
)
from tests.standby.lost import quick
from tests.standby.network import standby_net

from jinbao.appliance import drilling as drilling_module
from jinbao.appliance.admin_client import AskedError, ask
from jinbao.appliance.assembly import OpenZone, open_zone
from jinbao.appliance.drill_process import Drilling, sweep_drills
from jinbao.appliance.drilling import DRILL, ReachError, Report, drill, isolated
from jinbao.appliance.network import write_settings
from jinbao.appliance.questions import Asked, dispatch
from jinbao.appliance.questions.standby import signed_over
from jinbao.appliance.settings import Settings, load
from jinbao.authority.identity_files import load_identity
from jinbao.library.room import Library
from jinbao.model.acts import Act
from jinbao.model.audit import Role
from jinbao.model.errors import IdentityError, LocalError, UsageError
from jinbao.model.topology import Topology
from jinbao.model.zone import Endpoint, Zone
from jinbao.standby.rebuilding import Copy, as_of
from jinbao.trust.digest import Digest
from jinbao.trust.identity import check_row, parse_identity
from jinbao.trust.suites import check_signature, sealing_suite


@pytest.fixture(scope="module")
def settled_world(guarded_plan: Plan, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A network with a backup site at rest; every test leaves it as it was."""
    with world(guarded_plan, tmp_path_factory.mktemp("drill") / "network", seed=6) as made:
        yield made


def copies_of(made: World, node: str) -> list[Copy]:
    """The copies of every zone of a node."""
    return [copy_of(made.zones[BACKUP], e) for e in PROTECTED if e.node == node]


def drilled(made: World, copies: Sequence[Copy], directory: Path) -> Report:
    """A drill as the backup's settings say."""
    return drill(copies, made.settings[BACKUP.node], directory, lambda _zone: None)


@pytest.mark.fault_row(54)
@pytest.mark.parametrize("node", [CITY, PROVINCE])
def test_a_whole_copy_gives_a_green_drill(settled_world: World, tmp_path: Path, node: str) -> None:
    """Every zone of a node is built, opened and held against its own word; nothing of it stays."""
    report = drilled(settled_world, copies_of(settled_world, node), tmp_path / "place")

    assert report.ok
    assert [zone.zone for zone in report.zones] == [str(e) for e in PROTECTED if e.node == node]
    for zone in report.zones:
        cut = settled_world.zones[BACKUP].cuts.of(journal_of(Endpoint.parse(zone.zone)))
        assert (zone.acts, zone.hash, zone.restored_to) == (cut.lsn, cut.hash, cut.at)
        assert zone.captured_at == cut.captured_at
        assert zone.answer["zone"] == zone.zone
        assert zone.rebuild_s > 0
    exchange = next(zone for zone in report.zones if zone.zone.endswith("/exchange"))
    assert exchange.libraries == 2
    assert not (tmp_path / "place").exists()


@pytest.mark.fault_row(54)
@pytest.mark.parametrize("harm", ["altered", "missing", "truncated"])
@pytest.mark.parametrize("which", ["acts", "object"])
def test_a_harmed_copy_gives_a_red_drill(settled_world: World, tmp_path: Path, which: str, harm: str) -> None:
    """Whatever segment is harmed, acts or what they name, the drill is red and names it; the other zones are green."""
    victim = PROTECTED[0]
    copies = copies_of(settled_world, CITY)
    mine = next(copy for copy in copies if copy.stream.origin == victim)
    others = {sha256 for copy in copies if copy is not mine for sha256 in objects_of(copy)}
    ref = next(r for r in objects_of(mine).values() if r.table == which and r.sha256 not in others)
    path = mine.shelf.path(name_of(victim, ref.sha256))
    whole = path.read_bytes()
    try:
        match harm:
            case "altered":
                path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
            case "truncated":
                path.write_bytes(whole[:-9])
            case _:
                path.unlink()
        report = drilled(settled_world, copies, tmp_path / "place")
    finally:
        path.write_bytes(whole)

    assert not report.ok
    assert {zone.zone: bool(zone.wrong) for zone in report.zones} == {
        str(c.stream.origin): c is mine for c in copies
    }
    assert any(ref.sha256[:12] in line for zone in report.zones for line in zone.wrong)


@pytest.mark.fault_row(54)
def test_rows_that_are_not_what_was_promised_give_a_red_drill(
    settled_world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A library whose stored rows differ from the signed manifest is named with its table."""
    honest = Library.digests

    def other(self: Library, library: str, origin: str) -> dict[str, Digest]:
        found = honest(self, library, origin)
        first = min(found)
        return found | {first: replace(found[first], root="0" * 64)}

    monkeypatch.setattr(Library, "digests", other)

    report = drilled(settled_world, copies_of(settled_world, PROVINCE), tmp_path / "place")

    assert not report.ok
    assert any(f"of {CITY}: expected" in line for zone in report.zones for line in zone.wrong)


@pytest.mark.fault_row(55)
def test_a_drilled_zone_can_neither_reach_nor_be_believed(settled_world: World, tmp_path: Path) -> None:
    """Inside a drill no socket opens, and the drill's certificate is of an epoch and a root that no peer takes."""
    seen: list[str] = []

    free = socket.socket()

    def look(_zone: str) -> None:
        for act in (
            lambda: socket.create_connection(("127.0.0.1", 9)),
            lambda: free.bind(("127.0.0.1", 0)),
            lambda: socket.getaddrinfo("localhost", 9),
        ):
            with pytest.raises(ReachError):
                act()
        found = next((tmp_path / "place" / "identities").glob(f"{CITY}-exchange"))
        seen.append(str(found))
        identity = load_identity(found)
        leaf = parse_identity(identity.chain[0])
        assert leaf.epoch == DRILL
        with pytest.raises(IdentityError):
            check_row(leaf, topology)
        roots = settled_world.zones[BACKUP].trust.book().roots
        assert not set(identity.anchors) & set(roots)

    topology: Topology = settled_world.zones[BACKUP].topology
    drill(copies_of(settled_world, CITY), settled_world.settings[BACKUP.node], tmp_path / "place", look)

    assert seen
    with free:
        free.bind(("127.0.0.1", 0))


def test_sockets_open_again_after_an_error() -> None:
    """A drill that ends by an error leaves the process its sockets."""
    with pytest.raises(ValueError, match="x"), isolated():
        raise ValueError("x")

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))


def test_a_drill_begins_in_an_empty_place(settled_world: World, tmp_path: Path) -> None:
    """A directory with anything in it is refused, and what is in it stays."""
    (tmp_path / "photo").write_text("mine")

    with pytest.raises(LocalError, match="an empty one"):
        drilled(settled_world, copies_of(settled_world, CITY), tmp_path)

    assert (tmp_path / "photo").read_text() == "mine"


def test_a_node_is_drilled_as_it_was_at_a_moment(settled_world: World, tmp_path: Path) -> None:
    """Asked for a moment, each zone is built up to its last act by then; one that did not exist yet is named."""
    copy = copy_of(settled_world.zones[BACKUP], PROTECTED[1])
    times = [entry.at for entry in copy.entries()]
    middle = times[len(times) // 2]

    then, not_yet = as_of([copy], middle)
    report = drilled(settled_world, then, tmp_path / "place")

    assert report.ok
    assert report.zones[0].restored_to == middle
    assert report.zones[0].acts == sum(at <= middle for at in times)
    assert not_yet == []
    assert copy.until("2000-01-01T00:00:00Z") is None
    with pytest.raises(UsageError, match="after their first act"):
        as_of([copy], "2000-01-01T00:00:00Z")


def test_a_report_is_signed_and_kept(settled_world: World) -> None:
    """What came of a drill is an act that carries the report as the backup signed it; the last good one is remembered."""
    zone = settled_world.zones[BACKUP]
    lines = [{"zone": f"{CITY}/exchange", "restored_to": "2024-11-05T00:00:00Z", "wrong": []}]
    good = {"node": CITY, "seconds": 2.25, "zones": lines}
    dispatch(Asked(zone), "standby.drilled", {"report": good})
    settled_world.now += timedelta(days=7)
    bad = good | {"zones": [lines[0] | {"wrong": ["act 3: altered"]}]}
    dispatch(Asked(zone), "standby.drilled", {"report": bad})

    first, second = [recorded.act for recorded in zone.ledger.acts(kind="drilled")][-2:]
    kept = next(drill for drill in zone.cuts.drills() if drill.node == CITY)
    assert (kept.ok, kept.seconds, kept.wrong) == (False, 2.25, 1)
    assert kept.good_at < kept.at
    assert json.loads(second.body["report"]) == bad
    for act in (first, second):
        assert is_signed_by(act, zone.identity.certificates)


def is_signed_by(act: Act, certificates: Sequence[bytes]) -> bool:
    """Whether the report of an act bears the signature of the chain's key."""
    key = x509.load_der_x509_certificate(certificates[0]).public_key()
    suite = sealing_suite(act.body["suite"], thing="report")
    signature = base64.b64decode(act.body["signature"])
    check_signature(suite, key, signature, signed_over(act.body["report"]), thing="report")
    return True


@pytest.mark.parametrize(
    "report",
    [{}, {"node": "100000", "zones": [{}]}, {"node": CITY, "zones": []}, {"node": CITY, "zones": ["x"]}],
)
def test_what_is_no_report_is_refused(settled_world: World, report: dict[str, object]) -> None:
    """A report of a node that is not protected here, or without zones, is neither signed nor recorded."""
    before = settled_world.zones[BACKUP].ledger.acts(kind="drilled")

    with pytest.raises(UsageError, match="report: expected"):
        dispatch(Asked(settled_world.zones[BACKUP]), "standby.drilled", {"report": report})

    assert settled_world.zones[BACKUP].ledger.acts(kind="drilled") == before


@pytest.fixture
def net(guarded_plan: Plan, tmp_path: Path) -> Net:
    """The same network, its zones stopped."""
    return standby_net(guarded_plan, tmp_path / "net")


def test_the_command_drills_whom_it_is_asked_or_who_waits_longest(net: Net, say: Say) -> None:
    """Without a name the node that was never drilled is taken, then the other; the report is signed and shown."""
    config = net.config(BACKUP.node)
    first = json.loads(say("standby", "drill", "--json", "--config", config).out)
    second = json.loads(say("standby", "drill", "--json", "--config", config).out)
    shown = say("standby", "drill", "--node", CITY, "--config", config)

    assert {first["reports"][0]["node"], second["reports"][0]["node"]} == {CITY, PROVINCE}
    assert shown.code == 0
    assert f"{CITY}: all well" in shown.out
    status = json.loads(say("standby", "status", "--json", "--config", config).out)
    assert {drill["node"]: drill["ok"] for drill in status["drills"]} == {CITY: True, PROVINCE: True}
    assert list((net.directory / BACKUP.node / "exchange").glob("drill-*")) == []


def rot(net: Net) -> Path:
    """The largest segment of the backup site, which nothing is built from any more."""
    shelf = net.directory / BACKUP.node / "exchange" / "segments"
    victim = max(shelf.glob("*/*.parquet"), key=lambda path: path.stat().st_size)
    victim.write_bytes(b"rotten")
    return victim


def test_a_red_drill_is_an_exit_code(net: Net, say: Say) -> None:
    """A harmed copy ends the command with 3 and the words of what is wrong; status ends with 3 from then on."""
    config, victim = net.config(BACKUP.node), rot(net)

    said = say("standby", "drill", "--all", "--config", config)

    assert said.code == 3
    assert "NOT well" in said.out
    assert victim.stem[:12] in said.out
    assert say("standby", "status", "--config", config).code == 3
    wrong = say("standby", "drill", "--node", "999999", "--config", config)
    assert wrong.code == 2
    assert f"{PROVINCE} or {CITY}" in wrong.err


def test_a_backup_site_keeps_its_shapes(net: Net, say: Say, shaped: Shaped, tmp_path: Path) -> None:
    """What drills, plans, the declaration and the distance tell programs is as it was: stopped, running, drilled or not."""
    quick(net, {})
    site, city = (("--json", "--config", net.config(node)) for node in (BACKUP.node, CITY))
    top = ("--json", "--config", net.config("100000"))
    rot(net)

    plans = [say("standby", "plan", CITY, *site)]
    drilled = say("standby", "drill", "--all", *site)
    told = [say("standby", "status", *words) for words in (site, top, (*city, "--zone", "production"))]
    with ExitStack() as stack:
        for words in (site, city):
            stack.enter_context(serving(open_zone(load(Path(words[-1])), Zone.EXCHANGE)))
        await_(lambda: is_near(*(json.loads(say("standby", "status", *words).out) for words in (site, city))))
        told += [say("standby", "status", *words) for words in (site, city)]
    given = ("--reason", "fire", "--without", f"{PROVINCE}/exchange", "--out", str(tmp_path / "declared"))
    declared = say("standby", "declare", CITY, *given, *site)
    plans += [say("standby", "plan", node, *site) for node in (CITY, PROVINCE)]

    shaped("standby drill", drilled)
    shaped("standby status", *told)
    shaped("standby declare", declared)
    shaped("standby plan", *plans)


def is_near(site: dict[str, Any], city: dict[str, Any]) -> bool:
    """Whether a backup heard of a zone, and the zone of it."""
    seen = [line["seen_s_ago"] for line in site["protected"] if line["zone"] == city["zone"]]
    return seen != [None] and city["own"]["rpo_s"] is not None


class Told:
    """An observer that keeps what it is told."""

    def __init__(self) -> None:
        self.events: list[tuple[str, dict[str, object]]] = []

    def event(self, name: str, **values: object) -> None:
        """Keep it."""
        self.events.append((name, values))


@pytest.mark.processes
def test_the_calendar_drills_in_a_process_of_its_own(net: Net, say: Say) -> None:
    """Asked for, every protected node is drilled once by a process with the zone's settings; nothing is owed afterwards."""
    told = Told()
    settings = load(Path(net.config(BACKUP.node)))
    drilling = Drilling(settings, Zone.EXCHANGE, told)
    assert not drilling.step()
    drilling.ask()
    assert not drilling.step()

    config = net.directory / BACKUP.node / "exchange" / "drill.toml"
    assert not config.exists()
    assert told.events == []
    status = json.loads(say("standby", "status", "--json", "--config", net.config(BACKUP.node)).out)
    assert {drill["node"] for drill in status["drills"]} == {CITY, PROVINCE}


@pytest.mark.processes
def test_the_calendar_drills_where_roles_are_apart(net: Net, tmp_path: Path) -> None:
    """A drill that the zone itself starts is in the role system by its process; the same command by its account is not."""
    config = Path(net.config(BACKUP.node))
    body = load(config).model_dump(exclude_unset=True)
    settings = Settings(**(body | apart_as(tmp_path, Role.AUDIT)))
    write_settings(config.parent, settings)
    with serving(open_zone(settings, Zone.EXCHANGE)) as service:
        with pytest.raises(AskedError, match="expected an account in the role system"):
            ask(settings, Zone.EXCHANGE, "standby.copy", {"protected": f"{CITY}/exchange"})
        service.drill_now()
        await_(lambda: [line["outcome"] for line in drills_in_trail(service.zone)].count("done") == 2, 60)
        trail = drills_in_trail(service.zone)

    assert {(line["way"], *line["roles"]) for line in trail} == {("zone", "system")}


def drills_in_trail(zone: OpenZone) -> list[dict[str, Any]]:
    """Lines of a zone's trail on reports of drills."""
    return [line for line in told(zone) if line["action"] == "standby.drilled"]


@pytest.mark.processes
def test_a_drill_that_gives_no_report_is_told(net: Net, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that ends otherwise than green or red is told with its exit code and its last words."""
    told = Told()
    drilling = Drilling(load(Path(net.config(BACKUP.node))), Zone.EXCHANGE, told)
    last_words = "import sys; print('no such place', file=sys.stderr); sys.exit(7)"
    start = subprocess.Popen

    def popen(_command: object, **keywords: Any) -> subprocess.Popen[str]:
        started: subprocess.Popen[str] = start([sys.executable, "-c", last_words], **keywords)
        return started

    monkeypatch.setattr(subprocess, "Popen", popen)
    drilling.ask()
    drilling.step()

    assert told.events == [("drill_failed", {"exit_code": 7, "said": "no such place"})]


def test_what_a_killed_drill_left_is_removed(tmp_path: Path) -> None:
    """A zone that starts removes what a drill that was killed left of a node, and its settings, and nothing else."""
    (tmp_path / "drill-x1" / "place").mkdir(parents=True)
    (tmp_path / "drill-x1" / "place" / "zone.db").write_text("rows")
    (tmp_path / "drill.toml").write_text("database = 'with a password'")
    (tmp_path / "zone.db").write_text("ours")

    sweep_drills(tmp_path)

    assert [path.name for path in tmp_path.iterdir()] == ["zone.db"]


def test_settings_that_are_all_defaults_are_handed_on(net: Net, say: Say) -> None:
    """A backup whose zone has no setting of its own drills by the calendar all the same."""
    config = Path(net.config(BACKUP.node))
    told = Told()
    settings = load(config)
    bare = settings.model_copy(update={"zones": {Zone.EXCHANGE: type(settings.zones[Zone.EXCHANGE])()}})
    drilling = Drilling(bare, Zone.EXCHANGE, told)
    drilling.ask()
    drilling.step()

    assert told.events == []
    assert json.loads(say("standby", "status", "--json", "--config", str(config)).out)["drills"]


def test_our_own_fault_in_a_drill_is_a_red_drill(
    settled_world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where our own code breaks on a copy, the drill says where, is red, and goes on with the next zone."""

    def broken(*_: object) -> None:
        raise KeyError("a library we lack")

    monkeypatch.setattr(drilling_module, "_question", broken)

    report = drilled(settled_world, copies_of(settled_world, CITY), tmp_path / "place")

    assert [bool(zone.wrong) for zone in report.zones] == [True, True, True]
    assert all("KeyError" in zone.wrong[0] and "a library" not in zone.wrong[0] for zone in report.zones)
