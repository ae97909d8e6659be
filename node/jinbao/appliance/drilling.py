"""Drill 演练: a protected node is built again from its copy where it can reach nobody, opened, asked, and measured.

It runs the code that a real loss would run. The zones get an identity of one hour from an authority that
exists in this process alone, at the epoch DRILL: whatever a drilled zone sealed or called, no peer would
believe it. Python's sockets are shut meanwhile. Nothing of the drill stays but its report.
"""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

from jinbao.appliance.assembly import OpenZone, Ports, open_zone
from jinbao.appliance.observers import where_failed
from jinbao.appliance.questions import Asked, dispatch
from jinbao.appliance.restoring import Place, rebuild
from jinbao.appliance.settings import Settings
from jinbao.appliance.zone_lock import Purpose
from jinbao.authority.demo import DemoAuthorities
from jinbao.authority.identity_files import load_identity
from jinbao.journal.verify import verify_journal
from jinbao.model.errors import JinbaoError, LocalError
from jinbao.model.topology import NodeRow, Topology
from jinbao.model.zone import Border, Endpoint, Tier, Zone
from jinbao.standby.rebuilding import Copy
from jinbao.trust.documents import MINISTRY, seal_topology
from jinbao.trust.encoding import envelope_message

DRILL = 999_999_999
"""Epoch of a drilled zone, the highest a name may carry: no authority of a network grants it."""

TRUST_DOMAIN = "drill.jinbao"
_LIFE = timedelta(hours=1)
_WRONG_MAX = 20
"""Things that are told of one zone; a copy that is broken is broken in many places."""

Tell = Callable[[str], None]
"""Told which zone is worked on."""


@dataclass
class ZoneDrill:
    """What came of one zone: how far it was built and how long it took, what its own tables say, what is wrong."""

    zone: str
    acts: int = 0
    hash: str = ""
    restored_to: str = ""
    captured_at: str = ""
    bytes: int = 0
    rows: int = 0
    rebuild_s: float = 0.0
    open_s: float = 0.0
    libraries: int = 0
    answer: Mapping[str, Any] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)


@dataclass
class Report:
    """What came of a drill; `ok` only if nothing at all is wrong. `seconds` from the first file to the last answer."""

    node: str
    ok: bool
    seconds: float
    zones: list[ZoneDrill]
    not_yet: list[str] = field(default_factory=list)
    """Zones that had recorded nothing at the moment that was asked for."""

    def body(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self)


def drill(copies: Sequence[Copy], settings: Settings, directory: Path, tell: Tell) -> Report:
    """Build, open and question every zone of one node in `directory`, which is empty before and gone afterwards.

    What is wrong with a copy is in the report and raises nothing. Raises LocalError if the directory holds anything.
    """
    if directory.is_dir() and any(directory.iterdir()):
        raise LocalError(f"directory {directory}", expected="an empty one for a drill", got="files in it")
    began = time.monotonic()
    node = copies[0].stream.origin.node
    zones: list[ZoneDrill] = []
    try:
        with isolated():
            mine = _drilled_settings(copies, settings, directory)
            for copy in copies:
                tell(str(copy.stream.origin))
                zones.append(_drill_zone(copy, settings, mine, directory))
    finally:
        shutil.rmtree(directory, ignore_errors=True)
    return Report(node, not any(zone.wrong for zone in zones), round(time.monotonic() - began, 2), zones)


def _drill_zone(copy: Copy, backup: Settings, mine: Settings, directory: Path) -> ZoneDrill:
    endpoint = copy.stream.origin
    found = ZoneDrill(str(endpoint))
    place = Place(mine.directory(endpoint.zone))
    try:
        for entry in copy.entries():
            found.restored_to = entry.at
            found.captured_at = entry.at if entry.kind == "captured" else found.captured_at
        built = rebuild(copy, backup, place, lambda _done, _total: None)
        found.acts, found.hash, found.bytes = built.acts, built.hash, built.bytes
        found.rebuild_s, found.rows = built.seconds, sum(built.tables.values())
        shutil.copytree(_identity(directory, endpoint), place.directory / "identity", symlinks=True)
        began = time.monotonic()
        zone = open_zone(mine, endpoint.zone, Ports(), Purpose.QUESTION)
        try:
            _question(zone, found)
        finally:
            zone.close()
        found.open_s = round(time.monotonic() - began, 2)
    except JinbaoError as exc:
        found.wrong.append(str(exc))
    except Exception as exc:  # noqa: BLE001  # a copy on which our own code breaks is a red drill, not none
        found.wrong.append(where_failed(exc))
    more = len(found.wrong) - _WRONG_MAX
    found.wrong[_WRONG_MAX:] = [f"and {more} more"] if more > 0 else []
    return found


def _question(zone: OpenZone, found: ZoneDrill) -> None:
    """Hold the zone against its own signed word, and ask it what an operator would."""
    damage = verify_journal(zone.store, zone.shelf)
    found.wrong += [f"{one.thing}: {one.kind}: {one.detail}" for one in damage]
    for library in zone.standards:
        newest: dict[str, dict[str, Any]] = {}
        for row in zone.library.submissions(library):
            if row["status"] == "applied":
                newest.setdefault(row["origin"], row)
        for origin, row in newest.items():
            found.libraries += 1
            promised = {line["table"]: (line["rows"], line["digest"]) for line in row["tables"]}
            stored = {name: (d.rows, d.root) for name, d in zone.library.digests(library, origin).items()}
            found.wrong += [
                f"{library}.{name} of {origin}: expected {promised[name]}, got {stored.get(name)}"
                for name in promised
                if stored.get(name) != promised[name]
            ]
    answer = dispatch(Asked(zone), "status", {}).body
    found.answer = {"zone": answer["zone"], "journal": answer["journal"]}


def _drilled_settings(copies: Sequence[Copy], settings: Settings, directory: Path) -> Settings:
    """Settings of the drilled node in the directory, its identities from an authority that nobody knows."""
    node = copies[0].stream.origin.node
    zones = tuple(sorted({copy.stream.origin.zone for copy in copies}))
    root, parent = Endpoint(MINISTRY, Zone.EXCHANGE), "" if node == MINISTRY else MINISTRY
    rows = [_row(node, Tier.MINISTRY if node == MINISTRY else Tier.PROVINCE, parent, zones)]
    if parent:
        rows.append(_row(MINISTRY, Tier.MINISTRY, "", (Zone.EXCHANGE,)))
    authorities = DemoAuthorities(life=_LIFE)
    topology = Topology(TRUST_DOMAIN, 1, tuple(rows), f"{authorities.now:%Y-%m-%dT%H:%M:%SZ}")
    for endpoint in {root, *(Endpoint(node, zone) for zone in zones)}:
        authorities.issue(endpoint, topology, _identity(directory, endpoint))
    signer = load_identity(_identity(directory, root))
    file = directory / "topology.sealed"
    file.write_bytes(envelope_message(seal_topology(topology, signer)).SerializeToString())
    return Settings(
        node=node,
        tier=rows[0].tier,
        data_directory=directory / "node",
        topology_file=file,
        standards_directory=settings.standards_directory,
        zones={zone: {"border": Border.CARRIER, "http": "127.0.0.1:1"} for zone in {*zones, Zone.EXCHANGE}},
    )


def _row(node: str, tier: Tier, parent: str, zones: tuple[Zone, ...]) -> NodeRow:
    return NodeRow(node, node, node, tier, node[:6], parent, zones, (), (), epoch=DRILL)


def _identity(directory: Path, endpoint: Endpoint) -> Path:
    return directory / "identities" / f"{endpoint.node}-{endpoint.zone}"


class ReachError(RuntimeError):
    """Something in a drill asked for a socket."""


_SHUT = [False]
_HOOKED = [False]
_REACHING = frozenset({"socket.connect", "socket.bind", "socket.sendto", "socket.getaddrinfo"})


def _audit(
    event: str,
    arguments: tuple[Any, ...],
    shut: list[bool] = _SHUT,
    reaching: frozenset[str] = _REACHING,
) -> None:
    # The hook outlives this module's own names when the interpreter ends, so it holds what it asks.
    del arguments
    if shut[0] and event in reaching:
        raise ReachError(f"drill: expected no {event}, got one")


@contextmanager
def isolated() -> Iterator[None]:
    """Shut this process's sockets: to connect, bind or resolve raises ReachError until the context is left."""
    if not _HOOKED[0]:
        sys.addaudithook(_audit)  # stays for the process's life, and does nothing while open
        _HOOKED[0] = True
    _SHUT[0] = True
    try:
        yield
    finally:
        _SHUT[0] = False
