"""The doctor against a real node: each fault planted, found alone, and gone after the command that was printed for it."""

from __future__ import annotations

import logging
import os
import re
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import pytest
import structlog
from tests.appliance.hospital import (
    CHINA,
    CITY,
    HOLDS,
    LISTENS,
    OPENS,
    City,
    bad,
    brought_by,
    city,
    empty,
    enrolling,
    held_bytes,
    issue_ended,
    lay_file,
    make_older,
    name_in_an_act,
    process,
    well,
)
from tests.link.zones import TOPICS, serving

from jinbao.appliance.doctor.context import Room, Surroundings
from jinbao.appliance.doctor.examine import CHECKS, Line, worst
from jinbao.appliance.doctor.findings import State
from jinbao.appliance.zone_lock import FILE as LOCK
from jinbao.appliance.zone_lock import Purpose
from jinbao.model.zone import Zone

Undo = Callable[[], None]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[City]:
    """A city that is well; every test leaves it so."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    with city(tmp_path_factory.mktemp("doctor")) as made:
        yield made
    structlog.reset_defaults()


@dataclass
class Planted:
    """A fault that is there: how the machine is then, and what a person does whose command is the machine's own."""

    around: Surroundings | None = None
    undo: Undo | None = None
    fills: dict[str, str] = field(default_factory=dict)
    """What a person types for the words in capitals of a printed command."""


Plant = Callable[[City, Path, ExitStack, pytest.MonkeyPatch], Planted]


def _ahead(*_: object) -> Planted:
    planted = Planted(well(timedelta(days=365)))
    planted.undo = lambda: setattr(planted, "around", None)
    return planted


def _behind(*_: object) -> Planted:
    planted = Planted(well(timedelta(days=-365)))
    planted.undo = lambda: setattr(planted, "around", None)
    return planted


def _differs(place: City, *_: object) -> Planted:
    place.above_s = 600.0
    return Planted(undo=lambda: setattr(place, "above_s", 0.0))


def _certificate(place: City, tmp: Path, stack: ExitStack, _patch: object) -> Planted:
    issue_ended(place, Zone.EXCHANGE)
    stack.enter_context(enrolling(place, tmp / "token"))
    return Planted(fills={"FILE": str(tmp / "token")})


def _topology(place: City, tmp: Path, *_: object) -> Planted:
    file, kept = place.settings.topology_file, tmp / "newest"
    shutil.copy(file, kept)
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    return Planted(undo=lambda: shutil.copy(kept, file))


def _peers(place: City, *_: object) -> Planted:
    place.rest_above()
    return Planted(undo=place.serve_above)


def _engine(place: City, _tmp: Path, stack: ExitStack, _patch: object) -> Planted:
    stack.enter_context(process(OPENS, str(place.zone(Zone.EXCHANGE) / "zone.db")))
    return Planted()


def _schema(place: City, *_: object) -> Planted:
    make_older(place.zone(Zone.EXCHANGE) / "zone.db")
    return Planted()


def _disk(place: City, _tmp: Path, _stack: ExitStack, patch: pytest.MonkeyPatch) -> Planted:
    """A disk that what is there fills up to twice the reserve, and one more file to less than it."""
    patch.setenv("JINBAO_LIMITS__DISK_RESERVE_BYTES", "1000000")
    home = place.directory / CITY
    size = held_bytes(home) + 3_000_000

    def room(_path: Path) -> Room:
        return Room(size, size - held_bytes(home), 1.0)

    name_in_an_act(place, Zone.EXCHANGE, lay_file(place, Zone.EXCHANGE, rows=120_000))
    return Planted(well(room=room))


def _permissions(place: City, *_: object) -> Planted:
    (place.zone(Zone.PRODUCTION) / "identity" / "current" / "key.pem").chmod(0o644)
    return Planted()


def _missing(place: City, _tmp: Path, stack: ExitStack, _patch: object) -> Planted:
    stack.enter_context(serving(place.opened(Zone.PRODUCTION)))
    place.shelf(Zone.EXCHANGE).path(brought_by(place.zone(Zone.EXCHANGE) / "zone.db", TOPICS[0])).unlink()
    return Planted()


def _orphan(place: City, *_: object) -> Planted:
    lay_file(place, Zone.DECISION)
    return Planted()


def _rules(place: City, *_: object) -> Planted:
    standard = place.directory / CITY / "tiers" / "standards" / "pension_macro.toml"
    text = standard.read_text()
    assert 'check = "between"' in text
    standard.write_text(text.replace('check = "between"', 'check = "amid"', 1))
    return Planted()


def _backup(place: City, tmp: Path, *_: object) -> Planted:
    empty(place, Zone.DECISION)
    return Planted(fills={"DIRECTORY": str(tmp / "backups")})


def _lock(place: City, _tmp: Path, stack: ExitStack, _patch: object) -> Planted:
    directory, old = place.zone(Zone.PRODUCTION), time.time() - 60
    stack.enter_context(process(HOLDS, str(directory), Purpose.QUESTION))
    os.utime(directory / LOCK, (old, old))
    return Planted()


def _port(place: City, _tmp: Path, stack: ExitStack, _patch: object) -> Planted:
    stack.enter_context(process(LISTENS, place.settings.zones[Zone.DECISION].http))
    return Planted()


def _standard(place: City, *_: object) -> Planted:
    standard = place.directory / CITY / "tiers" / "standards" / "pension_macro.toml"
    text = standard.read_text()
    older = re.sub(r'^version = ".*"$', 'version = "0.1"', text, count=1, flags=re.MULTILINE)
    assert older != text
    standard.write_text(older)
    return Planted()


def _timezone(*_: object) -> Planted:
    planted = Planted(well(offset=CHINA - timedelta(hours=8)))
    planted.undo = lambda: setattr(planted, "around", None)
    return planted


def _source(place: City, *_: object) -> Planted:
    business = place.directory / CITY / "business.db"
    aside = business.rename(business.with_suffix(".aside"))
    return Planted(undo=lambda: aside.rename(business) and None)


@dataclass(frozen=True)
class Fault:
    """A fault by the check that must find it, as what, and by a pattern of the command that must be printed."""

    check: str
    code: str
    fix: str
    plant: Plant
    state: State = State.RED


ZONE = r"--zone exchange --config \S+/node.toml"
OTHER = ZONE.replace("exchange", "production")
FAULTS: dict[str, Fault] = {
    "a clock a year ahead": Fault("clock", "clock.ahead", "timedatectl set-ntp true", _ahead),
    "a clock a year behind": Fault("clock", "clock.behind", "timedatectl set-ntp true", _behind),
    "a clock that differs": Fault("clock", "clock.differs", "timedatectl set-ntp true", _differs),
    "a certificate that ended": Fault(
        "certificate", "certificate.ended", f"jinbao enrol --token FILE {ZONE}", _certificate
    ),
    "a topology nobody signed": Fault(
        "topology", "topology.unproved", r"scp 140000:(\S+/topology.sealed) \1", _topology
    ),
    "a silent neighbour": Fault("peers", "peers.silent", "systemctl start jinbao-exchange", _peers),
    "a second reader": Fault("engine", "engine.opened", r"kill \d+", _engine),
    "an older schema": Fault("schema", "schema.older", f"jinbao database migrate {ZONE}", _schema),
    "a full disk": Fault(
        "disk",
        "disk.full",
        f"jinbao journal retention --apply {ZONE.replace('exchange', 'production')}",
        _disk,
    ),
    "an open key": Fault("permissions", "permissions.open", r"chmod 600 \S+/key.pem", _permissions),
    "a missing segment": Fault("segments", "segments.missing", f"jinbao journal mend {ZONE}", _missing),
    "an orphan": Fault(
        "segments",
        "segments.orphans",
        f"jinbao journal retention --apply {ZONE.replace('exchange', 'decision')}",
        _orphan,
        State.WARNING,
    ),
    "a rule of no kind": Fault(
        "rules", "rules.unknown", r"cp -a \S+/standards \S+/mappings \S+/tiers", _rules
    ),
    "no backup": Fault(
        "backup",
        "backup.none",
        f"jinbao backup create DIRECTORY {ZONE.replace('exchange', 'decision')}",
        _backup,
    ),
    "a lock that is kept": Fault("lock", "lock.kept", r"kill \d+", _lock),
    "a port that is taken": Fault("port", "port.taken", r"kill \d+", _port),
    "an outdated standard": Fault(
        "standard", "standard.outdated", r"cp -a \S+/standards \S+/mappings \S+/tiers", _standard
    ),
    "another time zone": Fault(
        "timezone",
        "timezone.other",
        "timedatectl set-timezone Asia/Shanghai",
        _timezone,
        State.WARNING,
    ),
    "a source that is away": Fault("source", "source.silent", "mount -a", _source),
}


def test_every_check_has_a_fault() -> None:
    """Each of the sixteen checks is tried by at least one planted fault."""
    assert len(CHECKS) == 16
    assert {fault.check for fault in FAULTS.values()} == {check.name for check in CHECKS}


def test_a_healthy_node_is_well(place: City) -> None:
    """Of a node that is well every check of every zone says ok, and the worst of it is ok."""
    lines = place.look()

    assert [line for line in lines if line.finding.state is not State.OK] == []
    assert worst(lines) is State.OK
    assert {line.check for line in lines} == {check.name for check in CHECKS}


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_found_alone_and_its_fix_works(
    place: City, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A planted fault makes its own check red and no other; the printed command, run, makes it well again."""
    fault = FAULTS[name]
    with ExitStack() as stack:
        stack.push(lambda kind, *_: place.bring_back() if kind else None)
        planted = fault.plant(place, tmp_path, stack, monkeypatch)

        found = place.look(planted.around)
        mend(place, fault, found, planted)
        again = place.look(planted.around)

        assert bad(found) == {fault.check}
        assert [(line.check, line.finding) for line in again if line.finding.state is not State.OK] == []


def mend(place: City, fault: Fault, found: list[Line], planted: Planted) -> None:
    """Do what was printed: as a command, or where it is the machine's own, as it says."""
    wrong = [line.finding for line in found if line.finding.code == fault.code]
    if planted.undo is not None:
        planted.undo()
    assert wrong
    assert wrong[0].state is fault.state
    assert re.fullmatch(fault.fix, wrong[0].fix), wrong[0].fix
    if planted.undo is None:
        for line in dict.fromkeys(finding.fix for finding in wrong):
            for word, value in planted.fills.items():
                line = line.replace(word, value)  # noqa: PLW2901  # as a person fills it in
            assert place.run(line) == 0
