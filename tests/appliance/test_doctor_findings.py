"""Every further finding of the doctor: planted on a small network, told by its code with its state and its command."""

from __future__ import annotations

import os
import re
import shutil
import sqlite3
import time
from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from scripts.reference.doctor import doctor_codes
from tests.appliance.hospital import HOLDS, City, process, well
from tests.appliance.test_doctor import FAULTS
from tests.link.zones import SETTINGS, seal, serving
from tests.newer import EXPAND, folder_of, upgraded
from tests.servers import await_

from jinbao.appliance.admin_client import ask
from jinbao.appliance.assembly import Ports, open_zone, utc_now
from jinbao.appliance.doctor.context import Room, Surroundings
from jinbao.appliance.doctor.examine import CHECKS, Line, examine
from jinbao.appliance.doctor.findings import State
from jinbao.appliance.ending import FILE as OPEN
from jinbao.appliance.network import AUTHORITIES, BACKUP, DEMO_NODES, PlannedNode, make_network
from jinbao.appliance.questions import Asked, dispatch
from jinbao.appliance.settings import Settings, SourceSettings, WatchSettings
from jinbao.appliance.zone_lock import FILE as LOCK
from jinbao.appliance.zone_lock import Purpose
from jinbao.authority.demo import DemoAuthorities
from jinbao.authority.trust_files import read_trust, write_trust
from jinbao.flow.sealing import StreamSealer
from jinbao.model import acts
from jinbao.model.batch import Kind
from jinbao.model.errors import UnprovableError
from jinbao.model.places import tiers_directory
from jinbao.model.stream import Mark, StreamId
from jinbao.model.topology import Topology
from jinbao.model.zone import Border, Endpoint, Tier, Zone
from jinbao.trust.revocation import read_list

MINISTRY, PROVINCE, CITY = (node.node for node in DEMO_NODES[:3])


@dataclass
class Ward:
    """A province whose exchange zone sealed something, its network, and how it is looked at."""

    settings: dict[str, Settings]
    topology: Topology
    stack: ExitStack
    changed: dict[str, Any] = field(default_factory=dict)
    around: Surroundings = field(default_factory=well)

    @property
    def home(self) -> Path:
        """The exchange zone's directory."""
        return self.settings[PROVINCE].directory(Zone.EXCHANGE)

    @property
    def config(self) -> Path:
        """The province's settings file."""
        return self.settings[PROVINCE].data_directory / "node.toml"

    def change(self, **values: Any) -> None:
        """Let the settings say something else."""
        self.changed |= values

    def change_zone(self, **values: Any) -> None:
        """Let the settings say something else of the exchange zone."""
        zones = dict(self.settings[PROVINCE].zones)
        zones[Zone.EXCHANGE] = zones[Zone.EXCHANGE].model_copy(update=values)
        self.change(zones=zones)

    def serve(self, node: str, shift: timedelta = timedelta()) -> Any:
        """Let a node's exchange zone answer, by a clock that is off."""
        ports = Ports(now=lambda: utc_now() + shift)
        return self.stack.enter_context(serving(open_zone(self.settings[node], Zone.EXCHANGE, ports)))

    def look(self, check: str) -> list[Line]:
        """Findings of one check of the exchange zone."""
        settings = self.settings[PROVINCE].model_copy(update=self.changed)
        return examine(settings, self.config, only=[check], zones=[Zone.EXCHANGE], around=self.around)


def ward_of(directory: Path, nodes: tuple[PlannedNode, ...], stack: ExitStack) -> Ward:
    """A new network in which the province sealed something; nothing runs."""
    topology, settings = make_network(directory, nodes, overrides=SETTINGS)
    with closing(open_zone(settings[PROVINCE], Zone.EXCHANGE)) as zone:
        seal(zone, 1)
    return Ward(settings, topology, stack)


@pytest.fixture
def ward(tmp_path: Path) -> Iterator[Ward]:
    """Ministry, province and two cities."""
    with ExitStack() as stack:
        yield ward_of(tmp_path / "net", DEMO_NODES, stack)


Plant = Callable[[Ward], None]


def _theirs(ward: Ward) -> None:
    ward.serve(MINISTRY, timedelta(minutes=10))
    for city in (CITY, DEMO_NODES[3].node):
        ward.serve(city)


def _foreign_identity(ward: Ward) -> None:
    shutil.rmtree(ward.home / "identity")
    shutil.copytree(ward.home.parent / "decision" / "identity", ward.home / "identity", symlinks=True)


def _without_lists(ward: Ward) -> None:
    path = ward.home / "identity" / "current" / "trust.pem"
    documents = read_trust(path.read_bytes())
    path.write_bytes(write_trust([one for one in documents if not is_list(one)]))


def is_list(document: bytes) -> bool:
    """Whether a document is a revocation list."""
    try:
        read_list(document)
    except UnprovableError:
        return False
    return True


def _strangers_anchors(ward: Ward) -> None:
    other = make_network(ward.home.parent / "other", DEMO_NODES[:1])[1][MINISTRY]
    theirs = other.directory(Zone.EXCHANGE) / "identity" / "current"
    for name in ("anchors.pem", "trust.pem"):
        shutil.copy(theirs / name, ward.home / "identity" / "current" / name)


def _own_source(ward: Ward) -> None:
    ward.change(sources=(SourceSettings(name="mine", url=f"sqlite:///{ward.home / 'zone.db'}"),))


def _password(ward: Ward) -> None:
    ward.config.chmod(0o644)
    ward.change(sources=(SourceSettings(name="hr", url="postgresql+psycopg://hr:secret@h/db"),))


def _foreign_file(ward: Ward) -> None:
    os.chown(ward.home / "zone.db", 54321, -1)


def _keeps(purpose: Purpose, seconds: float) -> Plant:
    def plant(ward: Ward) -> None:
        ward.stack.enter_context(process(HOLDS, str(ward.home), purpose))
        os.utime(ward.home / LOCK, (time.time() - seconds,) * 2)

    return plant


def _room(free: int, names: float) -> Plant:
    def plant(ward: Ward) -> None:
        ward.around = well(room=lambda _: Room(1 << 40, free, names))

    return plant


def _standards(ward: Ward, text: str) -> None:
    tiers = ward.home.parent / "tiers"
    for name in ("standards", "mappings"):
        shutil.copytree(tiers_directory() / name, tiers / name)
    (tiers / "standards" / "pension_macro.toml").write_text(text)
    ward.change(standards_directory=tiers)


def _newer_batch(ward: Ward) -> None:
    with closing(open_zone(ward.settings[PROVINCE], Zone.EXCHANGE)) as zone:
        sealer = StreamSealer(
            Mark(StreamId(zone.me, "medical_monitor")),
            incarnation=zone.index.incarnation(),
            epoch=1,
            seal=zone.seal,
            now=zone.ports.now_text,
        )
        zone.ledger.record(acts.sealed(sealer.next(Kind.CHANGE, standard="pension_macro@17.1")))


def _one_zone(ward: Ward) -> None:
    ward.change(zones={Zone.EXCHANGE: ward.settings[PROVINCE].zones[Zone.EXCHANGE]})


def _newer_schema(ward: Ward) -> None:
    base = sqlite3.connect(ward.home / "zone.db")
    base.execute("INSERT INTO alembic_version VALUES ('journal_9999')")
    base.commit()
    base.close()


def _upgraded(ward: Ward) -> None:
    """A release to come was here, and was gone back from."""
    engine = sa.create_engine(f"sqlite:///{ward.home / 'zone.db'}")
    upgraded(engine, folder_of(ward.home.parent / "newer", step="expand", body=EXPAND))
    engine.dispose()


def _before_a_move(ward: Ward) -> None:
    base = sqlite3.connect(ward.home / "zone.db")
    base.execute("UPDATE alembic_version SET version_num = 'source_0001' WHERE version_num = 'source_0002'")
    base.commit()
    base.close()


def _strays(ward: Ward) -> None:
    for name in ("notes.txt", "a b"):
        (ward.home / "segments" / name).write_text("")


def _held(ward: Ward) -> None:
    with closing(open_zone(ward.settings[PROVINCE], Zone.EXCHANGE)) as zone:
        stream = StreamId(Endpoint(CITY, Zone.EXCHANGE), "pension_macro")
        zone.ledger.record(acts.held(stream, 3, "equivocation", "two heads", []))


def _revoked(ward: Ward) -> None:
    """The ministry takes our certificates back, and its zone knows."""
    zone = ward.serve(MINISTRY).zone
    authorities = DemoAuthorities(directory=zone.settings.data_directory.parent / AUTHORITIES)
    for folder in sorted((zone.settings.data_directory.parent / AUTHORITIES).iterdir()):
        authorities.authority(folder.name, ward.topology.trust_domain)
    authorities.revoke(Endpoint(PROVINCE, Zone.EXCHANGE), ward.topology, "key-compromise")
    content = b64encode(write_trust(authorities.documents())).decode()
    dispatch(Asked(zone), "trust.import", {"name": "l.pem", "content": content, "reason": "a test"})


def _old_backup(ward: Ward) -> None:
    place = City(ward.home.parent.parent, ward.topology)
    repository = ward.home.parent.parent / "backups"
    line = f"jinbao backup create {repository} --zone exchange --config {ward.config}"
    assert place.run(line) == 0
    ward.around = well(timedelta(days=3))


def _cut(name: str) -> Plant:
    def plant(ward: Ward) -> None:
        (ward.home / "identity" / "current" / name).unlink()

    return plant


@dataclass(frozen=True)
class Told:
    """A finding by its state and a pattern of its command."""

    plant: Plant
    fix: str
    state: State = State.RED
    runs: bool = False
    """Whether the command mends it as it stands; others need the machine, a file or a person."""


EDIT = r"sudoedit \S+/node.toml"
ENROL = r"jinbao enrol --token FILE --zone exchange --config \S+"
START = "systemctl start jinbao-exchange"
ROUTE = "203.0.113.7:8080"
FINDINGS: Mapping[str, Told] = {
    "clock.theirs": Told(_theirs, "", State.WARNING),
    "certificate.broken": Told(_cut("chain.pem"), ENROL),
    "certificate.foreign": Told(_foreign_identity, ENROL),
    "certificate.list": Told(_without_lists, r"jinbao trust import FILE --reason 'newer list' --zone exchange .*"),
    "certificate.unproved": Told(_strangers_anchors, ENROL),
    "certificate.late": Told(
        lambda ward: setattr(ward, "around", well(timedelta(days=10))),
        r"jinbao enrol --renew --reason 'certificate late' --zone exchange --config \S+",
        State.WARNING,
    ),
    "topology.tier": Told(lambda ward: ward.change(tier=Tier.CITY), EDIT),
    "topology.role": Told(lambda ward: ward.change(role="backup"), EDIT),
    "topology.zones": Told(_one_zone, EDIT),
    "topology.border": Told(lambda ward: ward.change_zone(border=Border.CARRIER), EDIT),
    "peers.refused": Told(_revoked, ENROL),
    "peers.held": Told(_held, rf"jinbao line proof {CITY}/exchange/pension_macro/line --zone exchange .*"),
    "engine.network": Told(
        lambda ward: setattr(ward, "around", well(file_system="nfs4")),
        r"jinbao database convert --to sqlite:////var/lib/jinbao/exchange.db --zone exchange .*",
    ),
    "engine.source": Told(_own_source, EDIT),
    "permissions.password": Told(_password, r"chmod 640 \S+/node.toml", runs=True),
    "permissions.foreign": Told(_foreign_file, r"chown -R root: \S+/exchange", runs=True),
    "lock.killed": Told(lambda ward: (ward.home / OPEN).touch(), START, State.WARNING),
    "lock.starting": Told(_keeps(Purpose.SERVE, 5), "", State.WARNING),
    "lock.silent": Told(_keeps(Purpose.SERVE, 500), "systemctl restart jinbao-exchange"),
    "port.address": Told(lambda ward: ward.change_zone(http=ROUTE), EDIT),
    "disk.low": Told(_room(300 << 20, 1.0), r"jinbao journal retention --apply .*", State.WARNING),
    "disk.names": Told(_room(1 << 39, 0.001), r"jinbao journal retention --apply .*"),
    "segments.strays": Told(
        _strays, r"mkdir -p (\S+/segments/damaged) && mv -t \1 '\S+/a b' \S+/notes.txt", State.WARNING, runs=True
    ),
    "schema.newer": Told(_newer_schema, r"ls -d /opt/jinbao\*"),
    "schema.ahead": Told(_upgraded, "", State.WARNING),
    "schema.moving": Told(_before_a_move, r"jinbao database migrate --zone exchange .*"),
    "rules.unreadable": Told(lambda ward: _standards(ward, "no = toml = at all"), r"cp -a .*/tiers"),
    "standard.outdated": Told(_newer_batch, r"python3 -m pip install --force-reinstall --no-deps jinbao==\S+"),
    "backup.old": Told(_old_backup, r"jinbao backup create DIRECTORY --zone exchange --config \S+"),
}  # fmt: skip


@pytest.mark.parametrize("code", FINDINGS)
def test_a_finding_is_told_with_its_command(ward: Ward, code: str) -> None:
    """A planted fault is told by its code and state in both languages, with the command that mends it."""
    told = FINDINGS[code]
    if code == "permissions.foreign" and os.geteuid() != 0:
        pytest.skip("only root can give a file away")
    told.plant(ward)

    found = {line.finding.code: line.finding for line in ward.look(code.partition(".")[0])}

    assert code in found, found
    finding = found[code]
    assert finding.state is told.state
    assert re.fullmatch(told.fix, finding.fix), finding.fix
    assert all((*finding.expected, *finding.got))
    assert finding.fix or all(finding.advice)
    assert "secret" not in repr(found)
    if told.runs:
        assert City(ward.home.parent.parent, ward.topology).run(finding.fix) == 0
        assert code not in {line.finding.code for line in ward.look(code.partition(".")[0])}


def test_a_source_without_its_tables_is_told(tmp_path: Path) -> None:
    """A business database that answers and lacks what the mappings read is red, with what it lacks."""
    business = tmp_path / "business.db"
    sqlite3.connect(business).execute("CREATE TABLE other (a TEXT)").connection.close()
    nodes = (
        *DEMO_NODES[:2],
        replace(DEMO_NODES[2], sources=({"name": "city", "url": f"sqlite:///{business}"},)),
    )
    settings = make_network(tmp_path / "net", nodes, overrides=SETTINGS)[1][CITY]

    lines = examine(settings, settings.data_directory / "node.toml", only=["source"], around=well())

    assert [line.finding.code for line in lines] == ["source.ok", "source.lacks"]
    assert "without AB01, AC01" in lines[1].finding.got.en
    assert lines[1].finding.numbers["lacking"] > 1


def test_a_protected_zone_goes_by_its_backup_site(tmp_path: Path) -> None:
    """While the backup site follows all is well; once it lags too long it is red, and of a stopped zone unknown."""
    with ExitStack() as stack:
        backup = replace(BACKUP, protects=(PROVINCE,))
        ward = ward_of(tmp_path / "net", (*DEMO_NODES[:2], backup), stack)
        before = [line.finding.code for line in ward.look("backup")]
        province = ward.serve(PROVINCE)
        with ExitStack() as site:
            site.enter_context(serving(open_zone(ward.settings[BACKUP.node], Zone.EXCHANGE)))
            await_(lambda: ask(ward.settings[PROVINCE], Zone.EXCHANGE, "standby.status")["own"]["rpo_s"] == 0)
            well_then = [line.finding.code for line in ward.look("backup")]
        province.zone.ledger.record(acts.paused(Endpoint(MINISTRY, Zone.EXCHANGE), "a test"))
        ward.change(watch=WatchSettings(backup_s=0.05))
        await_(lambda: ask(ward.settings[PROVINCE], Zone.EXCHANGE, "standby.status")["own"]["rpo_s"] > 0.2)
        behind = ward.look("backup")

    assert (before, well_then) == (["backup.stopped"], ["backup.ok"])
    assert [line.finding.code for line in behind] == ["backup.behind"]
    assert behind[0].finding.fix == START
    assert BACKUP.node in behind[0].finding.advice.en


UNTRIED = {"timezone.data", "topology.absent"}
"""A machine without time zones does not get as far as a doctor, and a node without a row has no identity to prove it."""


def test_every_code_is_tried() -> None:
    """Each code that a check can say is planted by a test, but for those that say ok."""
    codes = {code for check in CHECKS for code in doctor_codes(check.name) if not code.endswith(".ok")}
    tried = {fault.code for fault in FAULTS.values()} | set(FINDINGS) | {"source.lacks", "backup.behind"}

    assert codes - tried - UNTRIED == set()
    assert tried - codes == set()
