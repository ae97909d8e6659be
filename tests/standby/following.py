"""Steps by which the backup site comes to have what a zone recorded."""

from __future__ import annotations

from dataclasses import replace

from tests.sim.world import World

from jinbao.appliance.assembly import OpenZone
from jinbao.appliance.guarding import copy_of as guarded_copy
from jinbao.appliance.network import COPY_KEYS
from jinbao.authority.copy_keys import load_copy_key
from jinbao.model.batch import SegmentRef
from jinbao.model.stream import JOURNAL, StreamId
from jinbao.model.zone import Border, Endpoint, Zone
from jinbao.standby.objects import Opener
from jinbao.standby.rebuilding import Copy

BACKUP = Endpoint("140000-backup", Zone.EXCHANGE)
CITY, PROVINCE = "140100", "140000"
PROTECTED = [
    Endpoint(CITY, Zone.PRODUCTION),
    Endpoint(CITY, Zone.EXCHANGE),
    Endpoint(CITY, Zone.DECISION),
    Endpoint(PROVINCE, Zone.EXCHANGE),
    Endpoint(PROVINCE, Zone.DECISION),
]


def journal_of(endpoint: Endpoint) -> StreamId:
    """The stream of a zone's acts."""
    return StreamId(endpoint, JOURNAL, BACKUP.node)


def bring(world: World, endpoint: Endpoint) -> None:
    """What the zone sealed comes to the backup, by carrier first where it has no listener, and is cut."""
    holder = endpoint
    near = Endpoint(endpoint.node, Zone.EXCHANGE)
    if endpoint != near and world.plan.topology.border(endpoint, near) is Border.CARRIER:
        world.follow(near, endpoint)
        world.follow(endpoint, near)
        world.follow(near, endpoint)
        holder = near
    world.follow(BACKUP, holder)
    world.apply(BACKUP)


def copy_of(backup: OpenZone, endpoint: Endpoint, at: int = 0) -> Copy:
    """A zone's copy as the backup has it, for who holds the escrow key."""
    return replace(guarded_copy(backup, endpoint, at), opener=escrow(backup))


def escrow(backup: OpenZone) -> Opener:
    """What the escrow key of the backup's network opens."""
    file = backup.settings.topology_file.parent / COPY_KEYS / "escrow.pem"
    return Opener(load_copy_key(file, (), ("escrow",)).key, backup.shelf.rings)


def objects_of(copy: Copy) -> dict[str, SegmentRef]:
    """Every segment of a copy, by hash."""
    return {ref.sha256: ref for ref in copy.objects()}
