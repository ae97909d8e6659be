"""A whole network in one process and one thread: steps called in seeded order, under seeded trouble.

Clock, files, wire and chance are ports; the databases are real SQLite, closed without
commit where a crash strikes and opened again. `trace` is what happened; the same seed
gives the same `trace_hash`.
"""

from __future__ import annotations

import hashlib
import random
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from tests.sim.business import Business, thin
from tests.sim.files import SimFiles
from tests.sim.order import OneByOne, in_turn
from tests.sim.peers import SimPeer, Weather

from jinbao.appliance.assembly import OpenZone, Ports, open_zone
from jinbao.appliance.carrying import Carrying, between
from jinbao.appliance.network import AUTHORITIES, BACKUP, DEMO_NODES, PlannedNode, make_network
from jinbao.appliance.settings import Settings
from jinbao.authority.demo import DemoAuthorities
from jinbao.authority.identity_files import load_identity
from jinbao.journal.inspector import InProcess
from jinbao.model import acts, failpoint
from jinbao.model.errors import JinbaoError
from jinbao.model.topology import Topology
from jinbao.model.trust import DocumentKind, TrustDocument
from jinbao.model.zone import Border, Endpoint, Tier, Zone
from jinbao.sample.generate import generate
from jinbao.trust.documents import seal_topology
from jinbao.trust.encoding import envelope_message

PERIOD = "202410"
START = datetime(2024, 11, 5, tzinfo=UTC)
"""When every simulated run begins, whatever the wall clock says."""

APART = ("rebuild.", "backup.", "diverge.", "heal.", "promote.", "upgrading.")
"""How failpoints begin that are no step of a zone: `tests/standby` strikes them, command by command."""

_LIFE = timedelta(days=3650)
_ROUNDS_MAX = 80
_ACTIONS = ("edit", "capture", "follow", "apply", "part", "clock", "announce")
_WEIGHTS = (2, 2, 24, 12, 2, 2, 1)


class Crash(BaseException):
    """The process is gone; nothing below may catch it."""


class StuckError(AssertionError):
    """In fair weather the network did not come to rest."""


@dataclass
class Armed:
    """Where the next crash strikes: a failpoint (empty: any), after how many hits, with or without power."""

    name: str
    hits: int
    power: bool
    zone: Endpoint | None = None


@dataclass(frozen=True)
class Plan:
    """A network laid down once and copied for every run."""

    directory: Path
    nodes: tuple[PlannedNode, ...]
    topology: Topology
    settings: dict[str, Settings]
    authorities: DemoAuthorities


def lay_down(directory: Path, cities: int, *, guarded: bool = False) -> Plan:
    """Business data, identities, topology and empty zones of a network with so many cities, and a backup site."""
    nodes = []
    chosen = DEMO_NODES[: 2 + cities]
    backup = replace(BACKUP, protects=tuple(node.node for node in chosen[1:]))
    for node in (*chosen, *([backup] if guarded else [])):
        if node.tier is Tier.CITY:
            database = directory / node.node / "business.db"
            url = f"sqlite:///{database}"
            generate([url], region=node.node, persons=5000, seed=1, period=int(PERIOD), defects_per_kind=1)
            thin(database)
            source = {"name": "city", "url": url}
            nodes.append(PlannedNode(*_names(node), sources=(source,)))
        else:
            nodes.append(node)
    beside = directory / AUTHORITIES if guarded else None  # for tests that steer them by the command line
    authorities = DemoAuthorities(now=START - timedelta(days=30), life=_LIFE, directory=beside)
    topology, settings = make_network(
        directory, nodes, overrides={"period": PERIOD}, authorities=authorities, made_at=START
    )
    plan = Plan(directory, tuple(nodes), topology, settings, authorities)
    for node in nodes:
        for zone in node.zones:
            ports = Ports(
                now=lambda: START,
                beside=OneByOne,
                ahead=in_turn,
                examiner=InProcess,
                incarnation=lambda n=node, z=zone: f"{n.node}-{z}"[:32].ljust(32, "0"),  # type: ignore[misc]
            )
            open_zone(settings[node.node], zone, ports).close()
    return plan


def settled(plan: Plan, directory: Path) -> Plan:
    """The plan after its first submissions are everywhere and at rest."""
    first = World(plan, directory, seed=0)
    try:
        first.capture_all()
        first.settle()
    finally:
        first.close()
    return replace(plan, directory=directory)


def _names(node: PlannedNode) -> tuple[str, str, str, Tier, str]:
    return node.node, node.name_zh, node.name_en, node.tier, node.parent


class World:
    """One run over a copy of a plan in `directory`; close it when done.

    `restarted` is told of every zone opened again, `stepped` of every one in which a step did anything; `answering`
    says whom a caller finds where it looks for a neighbour, or raises LinkError.
    """

    def __init__(self, plan: Plan, directory: Path, seed: int) -> None:
        self.plan, self.directory, self.seed = plan, directory, seed
        self.rng = random.Random(seed)
        self.weather = Weather(self.rng)
        self.trace: list[str] = []
        self.crashes: list[str] = []
        self.armed: Armed | None = None
        self.now = START
        self.topology, self.version = plan.topology, plan.topology.version
        self.restarted: Callable[[World, OpenZone], None] = lambda _world, _zone: None
        self.stepped: Callable[[OpenZone], None] = lambda _zone: None
        self.answering: Callable[[Endpoint, Endpoint], OpenZone] = lambda _caller, other: self.zones[other]
        shutil.copytree(plan.directory, directory, ignore=shutil.ignore_patterns("attic"), symlinks=True)
        self.settings = {name: self._moved(s) for name, s in plan.settings.items()}
        self.files = {e: self.files_of(e) for e in plan.topology.endpoints()}
        self.zones: dict[Endpoint, OpenZone] = {}
        self.carried: dict[tuple[Endpoint, Endpoint], Carrying] = {}
        self.peers: dict[tuple[Endpoint, Endpoint], SimPeer] = {}
        self.skew = dict.fromkeys(self.files, timedelta())
        self.business = {
            e: Business(directory / e.node / "business.db", self.rng)
            for e in self.files
            if e.zone is Zone.PRODUCTION
        }
        for endpoint in self.files:
            self.open(endpoint)
        failpoint.set_hook(self._hook)
        self._acting: Endpoint | None = None

    def _moved(self, settings: Settings) -> Settings:
        """The plan's settings over this run's directory."""
        home = self.directory / settings.node
        body = settings.model_dump(exclude_unset=True)
        body |= {"data_directory": home, "topology_file": self.directory / "topology.sealed"}
        if body.get("sources"):
            body["sources"] = [{"name": "city", "url": f"sqlite:///{home / 'business.db'}"}]
        return Settings(**body)

    def files_of(self, endpoint: Endpoint, attic: str = "attic") -> SimFiles:
        """The files of a zone, some of which a loss of power may take."""
        settings = self.settings[endpoint.node]
        roots = [settings.directory(endpoint.zone) / "segments"]
        roots += [
            settings.carrier_directory(endpoint.zone, other)
            for other in Zone
            if Zone.DECISION in {endpoint.zone, other}
        ]
        return SimFiles(roots, self.directory / attic / endpoint.node / endpoint.zone, self.rng)

    def ports(self, endpoint: Endpoint) -> Ports:
        """Clock, files and chance of a zone."""
        return Ports(
            now=lambda: self.now + self.skew[endpoint],
            files=self.files[endpoint],
            beside=OneByOne,
            ahead=in_turn,
            examiner=InProcess,
            rng=random.Random(self.seed),
            incarnation=lambda: f"{self.rng.getrandbits(128):032x}",
        )

    def forget_ways(self, node: str) -> None:
        """Every way from and to a node's zones is made anew."""
        self.peers = {edge: p for edge, p in self.peers.items() if node not in {e.node for e in edge}}
        self.carried = {edge: c for edge, c in self.carried.items() if node not in {e.node for e in edge}}

    def open(self, endpoint: Endpoint) -> None:
        """Open a zone as it lies in its directory now."""
        self.zones[endpoint] = open_zone(self.settings[endpoint.node], endpoint.zone, self.ports(endpoint))
        self.carried = {edge: c for edge, c in self.carried.items() if edge[0] != endpoint}

    def close(self) -> None:
        """Close every zone and take the hook away."""
        failpoint.set_hook(None)
        for zone in self.zones.values():
            zone.close()

    def note(self, text: str) -> None:
        """Write a line of the trace."""
        self.trace.append(f"{len(self.trace)} {text}")

    @property
    def trace_hash(self) -> str:
        """SHA-256 of what happened, and of every stream's head in every zone."""
        heads = [f"{e} {m}" for e, zone in sorted(self.zones.items()) for m in zone.index.streams()]
        return hashlib.sha256("\n".join(self.trace + heads).encode()).hexdigest()

    # Crashes.

    def arm(
        self, name: str = "", *, hits: int = 1, power: bool = False, zone: Endpoint | None = None
    ) -> None:
        """Let the process of whoever passes the failpoint for the n-th time be gone there."""
        self.armed = Armed(name, hits, power, zone)

    def _hook(self, name: str) -> None:
        armed = self.armed
        if armed is None or (armed.name and armed.name != name):
            return
        if armed.zone is not None and armed.zone != self._acting:
            return
        armed.hits -= 1
        if armed.hits <= 0:
            raise Crash(name)

    def restart(self, endpoint: Endpoint, *, power: bool = False) -> None:
        """End a zone where it stands, with or without its power, and open it again."""
        self.zones[endpoint].close()
        if power:
            self.files[endpoint].lose_power()
        self.open(endpoint)
        self.restarted(self, self.zones[endpoint])

    # Steps; each returns whether anything moved.

    def step(self, what: str, endpoint: Endpoint, act: Callable[[OpenZone], object]) -> bool:
        """Call one step of one zone of the network; see `attempt`."""
        lines = len(self.trace)
        moved = self.attempt(
            f"{what} {endpoint}",
            endpoint,
            lambda: act(self.zones[endpoint]),
            lambda power: self.restart(endpoint, power=power),
        )
        if len(self.trace) > lines:
            self.stepped(self.zones[endpoint])
        return moved

    def attempt(
        self, what: str, acting: Endpoint, act: Callable[[], object], restart: Callable[[bool], None]
    ) -> bool:
        """Call something a zone does; a crash in it restarts what did it, an error a person could act on is noted."""
        self.now += timedelta(milliseconds=self.rng.randint(1, 5000))
        self._acting = acting
        try:
            outcome = act()
        except JinbaoError as exc:
            self.note(f"{what}: {exc.code}")
            return False
        except Crash as exc:
            armed, self.armed = self.armed, None
            assert armed is not None
            self.crashes.append(str(exc))
            self.note(f"{what}: crash at {exc}{' without power' if armed.power else ''}")
            restart(armed.power)
            return True
        if outcome:
            self.note(f"{what}: {outcome}")
        return bool(outcome)

    def capture(self, endpoint: Endpoint) -> bool:
        """Capture and submit; whether a submission was sealed."""

        def act(zone: OpenZone) -> int:
            assert zone.outbound is not None
            return zone.outbound.step(PERIOD)

        return self.step("capture", endpoint, act)

    def follow(self, endpoint: Endpoint, other: Endpoint) -> bool:
        """One round with a neighbour, over the line or by carrier."""
        if self.plan.topology.border(endpoint, other) is Border.CARRIER:
            return self.step(f"carry {other}", endpoint, lambda zone: self._carry(zone, other))
        peer = self.peers.setdefault(
            (endpoint, other),
            SimPeer(
                endpoint,
                other,
                holder=lambda: self.answering(endpoint, other),
                caller=lambda: self.zones[endpoint],
                weather=self.weather,
            ),
        )
        return self.step(f"follow {other}", endpoint, lambda zone: zone.inbound.step(peer))

    def _carry(self, zone: OpenZone, other: Endpoint) -> bool:
        carrying = self.carried.setdefault((zone.me, other), between(zone, other))
        accepted = carrying.take()
        return carrying.lay() or accepted > 0

    def apply(self, endpoint: Endpoint) -> bool:
        """Apply what was accepted, attest it, seal trust documents and the receipts that are due."""
        return sum(self.step(what, endpoint, act) for what, act in STEPS) > 0

    # Whole runs.

    def edges(self) -> list[tuple[Endpoint, Endpoint]]:
        """Everyone and each neighbour it follows."""
        return [(e, n) for e in self.zones for n in self.plan.topology.followed(e)]

    def round(self) -> bool:
        """Everybody once, in order."""
        moved = False
        for endpoint, other in self.edges():
            moved |= self.follow(endpoint, other)
        for endpoint in self.zones:
            moved |= self.apply(endpoint)
        return moved

    def capture_all(self) -> None:
        """Every production zone captures."""
        for endpoint in self.business:
            self.capture(endpoint)

    def settle(self) -> None:
        """Fair weather until nothing moves any more."""
        self.weather.clear()
        for _ in range(_ROUNDS_MAX):
            if not self.round():
                return
        raise StuckError(f"seed {self.seed}: expected rest after {_ROUNDS_MAX} rounds, still moving")

    def storm(self, steps: int) -> None:
        """Seeded steps under seeded trouble."""
        self.weather.badness = self.rng.choice([0.0, 0.1, 0.4])
        for _ in range(steps):
            self.act()
        self.armed = None

    def act(self) -> None:
        """One seeded step under seeded trouble."""
        if self.armed is not None and self.rng.random() < 0.1:
            self.armed = None
        if self.armed is None and self.rng.random() < 0.12:
            name = self.rng.choice(["", *steps_failpoints()])
            hits = self.rng.randint(1, 3 if name else 30)
            self.arm(name, hits=hits, power=self.rng.random() < 0.5)
        match self.rng.choices(_ACTIONS, _WEIGHTS)[0]:
            case "edit":
                city = self.rng.choice(list(self.business))
                self.note(f"edit {city}: {self.business[city].edit()}")
            case "capture":
                city = self.rng.choice(list(self.business))
                if city in self.zones:
                    self.capture(city)
            case "follow":
                self.follow(*self.rng.choice(self.edges()))
            case "apply":
                self.apply(self.rng.choice(list(self.zones)))
            case "part":
                self._part(self.rng.choice(self.edges()))
            case "announce":
                self.announce()
            case _:
                self._turn_clock(self.rng.choice(list(self.zones)))

    def _part(self, edge: tuple[Endpoint, Endpoint]) -> None:
        chosen = self.rng.choice([self.weather.parted, self.weather.answers_lost])
        chosen ^= {edge}

    def _turn_clock(self, endpoint: Endpoint) -> None:
        self.skew[endpoint] = timedelta(minutes=self.rng.randint(-600, 600))

    # Trust documents.

    def announce(self) -> None:
        """A new version of the topology is imported at the root; what it says is what the last one said."""
        self.version += 1
        root = Endpoint(self.plan.topology.root, Zone.EXCHANGE)
        topology = replace(self.topology, version=self.version)
        sealed = seal_topology(topology, self.zones[root].identity)
        document = TrustDocument(
            DocumentKind.TOPOLOGY, "topology", self.version, envelope_message(sealed).SerializeToString()
        )
        if self.step("announce", root, lambda zone: zone.trust.take_in([document])):
            self.topology = topology

    # An identity at another epoch, and its old holder who does not know.

    def grant_epoch(self, node: str, epoch: int, *, to_all: bool) -> None:
        """As if nothing was lost: a node's zones get certificates of an epoch, and all or they alone its topology."""
        rows = tuple(
            replace(row, epoch=epoch) if row.node == node else row for row in self.plan.topology.rows
        )
        self.version += 1
        topology = self.topology = Topology(self.plan.topology.trust_domain, self.version, rows)
        signer = load_identity(self.directory / topology.root / Zone.EXCHANGE / "identity")
        file = self.directory / ("topology.sealed" if to_all else f"topology-{node}.sealed")
        file.write_bytes(envelope_message(seal_topology(topology, signer)).SerializeToString())
        body = self.settings[node].model_dump(exclude_unset=True) | {"topology_file": file}
        self.settings[node] = Settings(**body)
        for zone in topology.by_node[node].zones:
            self.zones[Endpoint(node, zone)].ledger.record(acts.healed(epoch, [], [], []))
            self.plan.authorities.issue(
                Endpoint(node, zone), topology, self.directory / node / zone / "identity"
            )
        for endpoint in self.zones:
            if to_all or endpoint.node == node:
                self.restart(endpoint)


def steps_failpoints() -> list[str]:
    """Failpoints of a zone's steps; not those of what a command does beside the zones."""
    return sorted(name for name in failpoint.FAILPOINTS if not name.startswith(APART))


def _seal_trust(zone: OpenZone) -> bool:
    return zone.trust_sealer is not None and zone.trust_sealer.step()


STEPS: tuple[tuple[str, Callable[[OpenZone], object]], ...] = (
    ("apply", lambda zone: zone.applier.step()),
    ("attest", lambda zone: zone.submissions.attest()),
    ("trust", _seal_trust),
    ("standby", lambda zone: zone.following.step()),
    ("witness", lambda zone: zone.cut_sealer.step()),
    ("deadlines", lambda zone: zone.deadlines.step()),
    ("receipts", lambda zone: zone.receipts.step()),
)
"""What a zone does with what it has, one after the other."""


@contextmanager
def world(plan: Plan, directory: Path, seed: int) -> Iterator[World]:
    """A world that is closed at the end, and its files gone."""
    made = World(plan, directory, seed)
    try:
        yield made
    except Exception as exc:
        exc.add_note("the end of the trace:\n  " + "\n  ".join(made.trace[-20:]))
        raise
    finally:
        made.close()
        shutil.rmtree(directory)
