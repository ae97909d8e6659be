"""A lost node of a simulated network, promoted from its backup site: the product's steps, over the simulated wire.

The old holder may live on: `Former` keeps its zones apart from the network's, and they take their steps as before.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from tests.sim.invariants import BrokenError
from tests.sim.peers import SimPeer, Weather, back
from tests.sim.world import PERIOD, STEPS, World
from tests.standby.following import BACKUP, copy_of

from jinbao.appliance.assembly import OpenZone, open_zone
from jinbao.appliance.carrying import Carrying, between
from jinbao.appliance.freezing import sound
from jinbao.appliance.promoting import ZonePromoted, build, require_declared, take_over
from jinbao.appliance.settings import Settings
from jinbao.appliance.zone_lock import Purpose
from jinbao.model.errors import LinkError
from jinbao.model.grant import Grant, GrantedCut
from jinbao.model.topology import Topology
from jinbao.model.trust import DocumentKind, TrustDocument
from jinbao.model.zone import Border, Endpoint, Zone
from jinbao.standby.rebuilding import Copy
from jinbao.trust.encoding import envelope_message
from jinbao.trust.grants import seal_grant
from jinbao.trust.identity import parse_identity


def quiet(_done: int, _total: int) -> None:
    """Nobody is told."""


@dataclass
class Promotion:
    """One promotion of a node, step by step; each may be cut off and made again."""

    world: World
    node: str
    without: tuple[Endpoint, ...] = ()
    grant: Grant = field(init=False)
    sealed: bytes = field(init=False)
    old: dict[Endpoint, OpenZone] = field(default_factory=dict)

    def declare(self) -> None:
        """The copies end here, and the parent grants the next epoch; nobody but the parent and the backup knows.

        Raises LocalError where a copy cannot be built from, and AssertionError while a batch waits to be cut.
        """
        world, row = self.world, self.world.zones[self.parent].topology.by_node[self.node]
        backup = world.zones[BACKUP]
        cuts = sound(backup, self.node)
        assert all(backup.index.mark(cut.stream).seq == cut.seq for cut in cuts), "a batch is not cut yet"
        self.grant = Grant(
            trust_domain=world.topology.trust_domain,
            node=self.node,
            epoch=row.epoch + 1,
            addresses=(),
            cuts=tuple(GrantedCut(cut.stream.origin.zone, cut.lsn, cut.hash) for cut in cuts),
            without=self.without,
            declaration="{}",
            made_at=world.zones[self.parent].ports.now_text(),
        )
        sealed = seal_grant(self.grant, world.zones[self.parent].identity)
        self.sealed = envelope_message(sealed).SerializeToString()
        for endpoint in (self.parent, BACKUP):
            self.tell(endpoint)

    def tell(self, endpoint: Endpoint) -> None:
        """Somebody imports the grant there."""
        self.world.zones[endpoint].trust.take_in([self.document])

    @property
    def document(self) -> TrustDocument:
        """The grant, as zones take it in."""
        return TrustDocument(DocumentKind.GRANT, self.node, self.grant.epoch, self.sealed)

    @property
    def parent(self) -> Endpoint:
        """Who grants."""
        row = self.world.topology.by_node[self.node]
        return Endpoint(row.parent, Zone.EXCHANGE)

    @property
    def zones(self) -> list[Endpoint]:
        """The zones of the node."""
        return zones_of(self.world, self.node)

    def copies(self) -> list[Copy]:
        """The copies as they are at the backup."""
        return [copy_of(self.world.zones[BACKUP], endpoint) for endpoint in self.zones]

    def _held(self, copy: Copy) -> str:
        return self.world.zones[BACKUP].cuts.of(copy.stream).hash

    @property
    def settings(self) -> Settings:
        """Settings of the new place."""
        home = self.world.directory / f"promoted-{self.node}-{self.grant.epoch}"
        body = self.world.settings[self.node].model_dump(exclude_unset=True)
        return Settings(**(body | {"data_directory": home}))

    def promote(self) -> list[ZonePromoted]:
        """Build, enrol and take back; afterwards the new zones are the network's, and the old ones in `old`."""
        settings, world = self.settings, self.world
        held = {c.stream.origin: (c.acts, self._held(c)) for c in self.copies()}
        require_declared(self.grant, held)
        built = build(self.copies(), world.settings[BACKUP.node], settings, quiet)
        topology = world.zones[self.parent].topology
        for endpoint in self.zones:
            self._enrol(endpoint, topology, settings)
        found = take_over(
            self.sealed,
            self.copies(),
            settings,
            built,
            known=self._known(),
            ports=world.ports,
            peers=lambda zone, neighbour: back(world, zone, neighbour),
        )
        self.old = {endpoint: world.zones.pop(endpoint) for endpoint in self.zones if endpoint in world.zones}
        world.armed = None
        for endpoint in self.zones:
            world.open(endpoint)
        world.forget_ways(self.node)
        return found

    def _known(self) -> list[bytes]:
        """What the backup believes."""
        trust = self.world.zones[BACKUP].trust
        grants = [envelope_message(sealed).SerializeToString() for sealed in trust.sealed_grants()]
        return [*trust.book().documents, *grants]

    def _enrol(self, endpoint: Endpoint, topology: Topology, settings: Settings) -> None:
        """What a new place has, once: settings, files that may be lost, and a certificate."""
        directory = settings.directory(endpoint.zone) / "identity"
        if not directory.exists():
            self.world.plan.authorities.issue(endpoint, topology, directory)
            self.world.settings[self.node] = settings
            self.world.files[endpoint] = self.world.files_of(endpoint, f"attic-{self.grant.epoch}")

    def end(self) -> None:
        """Close the old holder's zones."""
        for zone in self.old.values():
            zone.close()


def zones_of(world: World, node: str) -> list[Endpoint]:
    """The zones of a node."""
    return [e for e in world.plan.topology.endpoints() if e.node == node]


class Former:
    """A node whose identity is granted to another holder: its zones know nothing of it, and take their steps as before.

    It is no part of the world from here on. While it is `cut_off` it reaches nobody but itself, and nobody reaches it.
    """

    def __init__(self, world: World, node: str, *, cut_off: bool) -> None:
        self.world, self.node, self.cut_off = world, node, cut_off
        self.zones = {endpoint: world.zones.pop(endpoint) for endpoint in zones_of(world, node)}
        self.epoch = epoch_of(next(iter(self.zones.values())))
        self.weather = Weather(world.rng)
        self._settings = world.settings[node]
        self._files = {endpoint: world.files[endpoint] for endpoint in self.zones}
        self._carried: dict[tuple[Endpoint, Endpoint], Carrying] = {}
        self._peers: dict[tuple[Endpoint, Endpoint], SimPeer] = {}
        world.forget_ways(node)

    def close(self) -> None:
        """Close its zones."""
        for zone in self.zones.values():
            zone.close()

    def restart(self, endpoint: Endpoint, *, power: bool) -> None:
        """End a zone where it stands, with or without its power, and open it again; one superseded only answers."""
        self.zones[endpoint].close()
        if power:
            self._files[endpoint].lose_power()
        ports = replace(self.world.ports(endpoint), files=self._files[endpoint])
        self.zones[endpoint] = open_zone(self._settings, endpoint.zone, ports, Purpose.SERVE)
        self._carried = {edge: c for edge, c in self._carried.items() if edge[0] != endpoint}

    # Steps, as those of the world.

    def _step(self, what: str, endpoint: Endpoint, act: Callable[[OpenZone], object]) -> bool:
        moved = self.world.attempt(
            f"{what} former {endpoint}",
            endpoint,
            lambda: act(self.zones[endpoint]),
            lambda power: self.restart(endpoint, power=power),
        )
        self.world.stepped(self.zones[endpoint])
        return moved

    def capture(self, endpoint: Endpoint) -> bool:
        """Capture and submit."""
        return self._step("capture", endpoint, _capture)

    def apply(self, endpoint: Endpoint) -> bool:
        """Do with what is here what zones do."""
        return sum(self._step(what, endpoint, act) for what, act in STEPS) > 0

    def follow(self, endpoint: Endpoint, other: Endpoint) -> bool:
        """One round with a neighbour, which may be one of its own zones, the network's, or nobody."""
        if self.world.plan.topology.border(endpoint, other) is Border.CARRIER:
            return self._step(f"carry {other}", endpoint, lambda zone: self._carry(zone, other))
        peer = self._peers.setdefault(
            (endpoint, other),
            SimPeer(
                endpoint,
                other,
                holder=lambda: self._reached(other),
                caller=lambda: self.zones[endpoint],
                weather=self.weather,
            ),
        )
        crashes, is_met = len(self.world.crashes), self._is_known_to(endpoint, other)
        moved = self._step(f"follow {other}", endpoint, lambda zone: zone.inbound.step(peer))
        if is_met and len(self.world.crashes) == crashes and not is_superseded(self.zones[endpoint]):
            msg = f"seed {self.world.seed}: former {endpoint}: expected {other} to tell it that it is superseded"
            raise BrokenError(msg)
        return moved

    def _is_known_to(self, endpoint: Endpoint, other: Endpoint) -> bool:
        """Whether a neighbour is there and knows of the holder after us, and of our parent no more than we do."""
        try:
            theirs = self._reached(other).topology
        except LinkError:
            return False
        ours, parent = self.zones[endpoint].topology, theirs.by_node[self.node].parent
        is_provable = ours.by_node[parent].epoch >= theirs.by_node[parent].epoch
        return is_provable and theirs.by_node[self.node].epoch > self.epoch

    def learn(self, document: TrustDocument) -> None:
        """Somebody imports a grant in each of its zones."""
        for zone in self.zones.values():
            zone.trust.take_in([document])

    def _carry(self, zone: OpenZone, other: Endpoint) -> bool:
        carrying = self._carried.setdefault((zone.me, other), between(zone, other))
        accepted = carrying.take()
        return carrying.lay() or accepted > 0

    def _reached(self, other: Endpoint) -> OpenZone:
        found = self.zones.get(other) or (None if self.cut_off else self.world.zones.get(other))
        if found is None:
            raise nobody()
        return found

    def edges(self) -> list[tuple[Endpoint, Endpoint]]:
        """Each zone and each neighbour it follows."""
        return [(e, n) for e in self.zones for n in self.world.plan.topology.followed(e)]

    def round(self) -> None:
        """Everybody once, in order."""
        for endpoint, other in self.edges():
            self.follow(endpoint, other)
        for endpoint in self.zones:
            self.apply(endpoint)

    def act(self) -> None:
        """One seeded step; now and then it is cut off, or found again."""
        rng = self.world.rng
        self.weather.badness = self.world.weather.badness
        match rng.choices(("capture", "follow", "apply", "cut"), (3, 12, 8, 1))[0]:
            case "capture":
                for endpoint in self.zones:
                    if endpoint in self.world.business:
                        self.world.note(f"edit {endpoint}: {self.world.business[endpoint].edit()}")
                        self.capture(endpoint)
            case "follow":
                self.follow(*rng.choice(self.edges()))
            case "apply":
                self.apply(rng.choice(list(self.zones)))
            case _:
                self.cut_off = not self.cut_off


def epoch_of(zone: OpenZone) -> int:
    """The epoch of a zone's certificate."""
    return parse_identity(zone.identity.chain[0]).epoch


def is_superseded(zone: OpenZone) -> bool:
    """Whether a zone's own topology says that its identity has another holder."""
    return zone.topology.by_node[zone.me.node].epoch > epoch_of(zone)


def nobody() -> LinkError:
    """What a caller meets where nobody listens."""
    return LinkError("simulated line", expected="an answer", got="nobody there")


def _capture(zone: OpenZone) -> int:
    assert zone.outbound is not None
    return zone.outbound.step(PERIOD)
