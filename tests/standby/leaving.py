"""A node whose identity was granted to another holder, and the files it leaves behind."""

from __future__ import annotations

import tarfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.sim.world import World

from jinbao.appliance.assembly import OpenZone, rfc3339
from jinbao.appliance.diverging import Ended, diverge, source_of
from jinbao.appliance.trust_keeper import grant_document
from jinbao.journal.index import JournalIndex
from jinbao.model.acts import Entry
from jinbao.model.batch import SealedBatch
from jinbao.model.grant import Grant, GrantedCut
from jinbao.model.zone import Endpoint, Zone
from jinbao.standby.divergence import Place, Said
from jinbao.standby.opening import Divergence, open_divergence
from jinbao.store.files import Files
from jinbao.trust.encoding import envelope_message
from jinbao.trust.grants import seal_grant

CITY, PROVINCE = "140100", "140000"
PRODUCTION, EXCHANGE, DECISION = (
    Endpoint(CITY, Zone(zone)) for zone in ("production", "exchange", "decision")
)
PARENT = Endpoint(PROVINCE, Zone.EXCHANGE)
EPOCH = 2


def place_of(index: JournalIndex) -> Place:
    """Where a zone's journal ends now."""
    return Place(*index.newest_act())


def granted_away(
    signer: OpenZone, cuts: Mapping[Zone, Place], *, node: str = CITY, epoch: int = EPOCH, made_at: str = ""
) -> SealedBatch:
    """A node's identity granted to another holder, built from what it had at these places, by the node's parent."""
    grant = Grant(
        trust_domain=signer.topology.trust_domain,
        node=node,
        epoch=epoch,
        addresses=(),
        cuts=tuple(GrantedCut(zone, place.lsn, place.hash) for zone, place in sorted(cuts.items())),
        without=(),
        declaration="the data centre burnt down",
        made_at=made_at or rfc3339(signer.ports.now()),
    )
    return seal_grant(grant, signer.identity)


def envelope(sealed: SealedBatch) -> bytes:
    """A grant as a file."""
    return envelope_message(sealed).SerializeToString()


def tell(zone: OpenZone, grant: SealedBatch) -> None:
    """Let a zone record a grant."""
    assert zone.trust.learn([grant_document(envelope(grant))], "a peer")


def entries_after(zone: OpenZone, lsn: int, last: int) -> list[Entry]:
    """The acts of a zone's journal after one, up to another."""
    found: list[Entry] = []
    while (found[-1].lsn if found else lsn) < last:
        found += zone.ledger.entries(found[-1].lsn if found else lsn, 100, 1 << 20)
    return [entry for entry in found if entry.lsn <= last]


def members(path: Path) -> Iterator[tuple[str, bytes]]:
    """What an ordinary tool finds in a file."""
    with tarfile.open(path) as archive:
        for member in archive:
            body = archive.extractfile(member)
            assert body is not None
            yield member.name, body.read()


@dataclass
class Old:
    """The city's old holder in a busy network: where the new one was built from, and what was recorded since."""

    world: World
    cuts: dict[Zone, Place]
    grant: SealedBatch

    def zone(self, endpoint: Endpoint) -> OpenZone:
        """One of its zones."""
        return self.world.zones[endpoint]

    def write(self, path: Path, endpoint: Endpoint = PRODUCTION, cut: Place | None = None) -> Said:
        """The file of one zone, from its cut on or from another place."""
        place = self.cuts[endpoint.zone] if cut is None else cut
        return diverge(self.zone(endpoint), path, Ended(EPOCH, place), Files())

    def open(self, path: Path) -> Divergence:
        """A file as the parent proves it."""
        parent = self.world.zones[PARENT]
        grant = parent.trust.grant_of(CITY)
        grants = [grant] if grant is not None else []
        return open_divergence(path, parent.trust.book(), parent.topology, parent.ports.now(), grants)


def superseded(world: World) -> Old:
    """Let the city go on after the new holder's cut, and tell its parent of the grant."""
    zones = {endpoint.zone: world.zones[endpoint] for endpoint in (PRODUCTION, EXCHANGE, DECISION)}
    cuts = {name: place_of(zone.index) for name, zone in zones.items()}
    world.business[PRODUCTION].edit()
    world.capture(PRODUCTION)
    world.apply(PRODUCTION)
    world.follow(EXCHANGE, PRODUCTION)
    world.apply(EXCHANGE)
    grant = granted_away(world.zones[PARENT], cuts)
    tell(world.zones[PARENT], grant)
    assert all(
        source_of(zone).newest > cuts[name].lsn for name, zone in zones.items() if name != Zone.DECISION
    )
    return Old(world, cuts, grant)
