"""What rots at the backup is brought again from the zone it protects, and what rots at a zone from its peers."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pytest
from tests.sim.conftest import MakeWorld
from tests.sim.peers import SimPeer
from tests.sim.world import World
from tests.standby.following import BACKUP, CITY, PROTECTED, copy_of, journal_of, name_of, objects_of

from jinbao.appliance.mending import mend
from jinbao.flow.ports import Peer
from jinbao.journal.verify import verify_journal
from jinbao.model.stream import SPARE_TABLE
from jinbao.model.zone import Border, Endpoint, Zone

EXCHANGE, PROVINCE = Endpoint(CITY, Zone.EXCHANGE), Endpoint("140000", Zone.EXCHANGE)


def holders(world: World, me: Endpoint) -> Iterator[Peer]:
    """Everyone a zone may ask over the line."""
    topology = world.plan.topology
    for other in topology.followed(me):
        if topology.border(me, other) is Border.LINE:
            yield SimPeer(
                me,
                other,
                holder=lambda o=other: world.zones[o],
                caller=lambda: world.zones[me],
                weather=world.weather,
            )  # type: ignore[misc]


def scrub(world: World, me: Endpoint) -> None:
    """Read a zone's whole shelf, mending what can be."""
    zone = world.zones[me]
    for _ in range(2000):
        if zone.scrub.step(lambda sha256, size, uses: mend(zone, holders(world, me), sha256, size, uses)):
            return
        world.now += timedelta(hours=1)


def damage(world: World, me: Endpoint) -> list[str]:
    """What of a zone's journal is not what was written."""
    zone = world.zones[me]
    return [one.kind for one in verify_journal(zone.store, zone.shelf)]


@pytest.mark.fault_row(13)
@pytest.mark.fault_row(14)
def test_every_object_of_a_copy_is_mended_from_its_zone(guarded: MakeWorld) -> None:
    """Altered, cut, emptied and missing objects of the backup are found by one pass and brought again."""
    with guarded(3) as world:
        backup = world.zones[BACKUP]
        named = [ref for batch in copy_of(backup, EXCHANGE).batches for ref in batch.header.segments]
        objects = sorted({name_of(EXCHANGE, ref.sha256) for ref in named if ref.table != SPARE_TABLE})
        for at, sha256 in enumerate(objects):
            path = backup.shelf.path(sha256)
            content = path.read_bytes()
            match at % 4:
                case 0:
                    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
                case 1:
                    path.write_bytes(content[: len(content) // 2])
                case 2:
                    path.write_bytes(b"")
                case _:
                    path.unlink()
        assert len(damage(world, BACKUP)) == len(objects)

        scrub(world, BACKUP)

        assert damage(world, BACKUP) == []
        assert backup.scrub.progress().bad == {}
        assert len(list(backup.shelf.damaged.iterdir())) == len(objects) - len(objects[3::4])


@pytest.mark.fault_row(13)
def test_a_province_is_mended_from_its_city(guarded: MakeWorld) -> None:
    """A segment of a library that rotted at the province comes again from the city, by the batch that names it."""
    with guarded(3) as world:
        zone = world.zones[PROVINCE]
        named = [s for s in zone.index.segments() if s["stream"] == f"{CITY}/production/pension_macro/line"]
        path = zone.shelf.path(named[0]["sha256"])
        path.write_bytes(b"rotten")

        scrub(world, PROVINCE)

        assert damage(world, PROVINCE) == []


def test_a_peer_that_is_away_is_no_end(guarded: MakeWorld) -> None:
    """With every line cut the damage stays known, the file stays aside, and the next pass mends it."""
    endpoint = PROTECTED[0]
    with guarded(3) as world:
        backup = world.zones[BACKUP]
        sha256 = name_of(endpoint, min(objects_of(copy_of(backup, endpoint))))
        backup.shelf.path(sha256).write_bytes(b"rotten")
        world.weather.parted |= {(BACKUP, other) for other in world.zones}

        scrub(world, BACKUP)
        assert backup.scrub.progress().bad == {sha256: "truncated"}
        assert backup.shelf.damaged.joinpath(f"{sha256}.0").read_bytes() == b"rotten"

        world.weather.clear()
        scrub(world, BACKUP)
        assert backup.scrub.progress().bad == {}
        assert backup.cuts.of(journal_of(endpoint)).missing == 0
