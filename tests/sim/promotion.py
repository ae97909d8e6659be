"""A lost node of a simulated network, promoted from its backup site: the product's steps, over the simulated wire.

The old holder may live on: it is kept apart from the network's zones, and speaks to them as before.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from tests.sim.peers import back
from tests.sim.world import World
from tests.standby.following import BACKUP, copy_of

from jinbao.appliance.assembly import OpenZone
from jinbao.appliance.promoting import ZonePromoted, build, require_declared, take_over
from jinbao.appliance.settings import Settings
from jinbao.model.grant import Grant, GrantedCut
from jinbao.model.topology import Topology
from jinbao.model.trust import DocumentKind, TrustDocument
from jinbao.model.zone import Endpoint, Zone
from jinbao.standby.rebuilding import Copy
from jinbao.trust.encoding import envelope_message
from jinbao.trust.grants import seal_grant


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
        """The copies end here, and the parent grants the next epoch; nobody but the parent and the backup knows."""
        world, row = self.world, self.world.zones[self.parent].topology.by_node[self.node]
        self.grant = Grant(
            trust_domain=world.topology.trust_domain,
            node=self.node,
            epoch=row.epoch + 1,
            addresses=(),
            cuts=tuple(
                GrantedCut(copy.stream.origin.zone, copy.acts, self._held(copy)) for copy in self.copies()
            ),
            without=self.without,
            declaration="{}",
            made_at=world.zones[self.parent].ports.now_text(),
        )
        sealed = seal_grant(self.grant, world.zones[self.parent].identity)
        self.sealed = envelope_message(sealed).SerializeToString()
        for endpoint in (self.parent, BACKUP):
            world.zones[endpoint].trust.take_in([self.document])

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
        return [e for e in self.world.plan.topology.endpoints() if e.node == self.node]

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
        world.settings[self.node] = settings
        for endpoint in self.zones:
            self._enrol(endpoint, topology, settings)
            world.files[endpoint] = world.files_of(endpoint, f"attic-{self.grant.epoch}")
        found = take_over(
            self.sealed,
            self.copies(),
            settings,
            built,
            known=self._known(),
            ports=world.ports,
            peers=lambda zone, neighbour: back(world, zone, neighbour),
        )
        for endpoint in self.zones:
            self.old[endpoint] = world.zones.pop(endpoint)
            world.open(endpoint)
        world.forget_ways(self.node)
        return found

    def _known(self) -> list[bytes]:
        """What the backup believes."""
        trust = self.world.zones[BACKUP].trust
        grants = [envelope_message(sealed).SerializeToString() for sealed in trust.sealed_grants()]
        return [*trust.book().documents, *grants]

    def _enrol(self, endpoint: Endpoint, topology: Topology, settings: Settings) -> None:
        directory = settings.directory(endpoint.zone) / "identity"
        if not directory.exists():
            self.world.plan.authorities.issue(endpoint, topology, directory)

    def end(self) -> None:
        """Close the old holder's zones."""
        for zone in self.old.values():
            zone.close()
