"""A zone takes only what its neighbour may show it, whatever it is shown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from tests.sim.conftest import MakeWorld
from tests.sim.forging import through
from tests.sim.world import World
from tests.standby.following import BACKUP, CITY, PROTECTED, PROVINCE, journal_of

from jinbao.appliance.assembly import OpenZone
from jinbao.model.batch import SealedBatch
from jinbao.model.stream import JOURNAL, Mark, StreamId
from jinbao.model.zone import Endpoint, Zone

PRODUCTION, EXCHANGE = Endpoint(CITY, Zone.PRODUCTION), Endpoint(CITY, Zone.EXCHANGE)
HIGHER, MINISTRY = Endpoint(PROVINCE, Zone.EXCHANGE), Endpoint("100000", Zone.EXCHANGE)
LIBRARY = StreamId(PRODUCTION, "pension_macro")
RECEIPTS = StreamId(HIGHER, "receipts", CITY)


def showing(zone: OpenZone, stream: StreamId) -> Any:
    """A neighbour that shows all it has of a stream, whoever asks."""

    def change(found: list[SealedBatch], _marks: Sequence[Mark]) -> list[SealedBatch]:
        return [*zone.index.batches(stream)[:5], *found]

    return change


SHOWN = [
    ("a library, from a protected zone", BACKUP, PRODUCTION, LIBRARY),
    ("a library, from another's node", BACKUP, HIGHER, LIBRARY),
    ("receipts, from a protected zone", BACKUP, HIGHER, RECEIPTS),
    ("acts, from another node than theirs", BACKUP, HIGHER, journal_of(EXCHANGE)),
    ("acts, at a parent", HIGHER, EXCHANGE, journal_of(EXCHANGE)),
    ("acts, at the backup's parent", MINISTRY, BACKUP, journal_of(EXCHANGE)),
    ("receipts of a city, at the ministry", MINISTRY, HIGHER, RECEIPTS),
]
"""What is shown to whom by whom, who should not."""


def test_what_is_not_for_us_is_refused_and_told(guarded: MakeWorld, subtests: pytest.Subtests) -> None:
    """A stream a neighbour may not show is passed by and told, nothing of it is kept or held, and the rest is taken."""
    with guarded(4) as world:
        for what, receiver, peer, stream in SHOWN:
            with subtests.test(what):
                _show(world, receiver, peer, stream)
        world.business[PRODUCTION].edit()
        world.capture_all()
        world.settle()
        assert not any(zone.index.held() for zone in world.zones.values())


def _show(world: World, receiver: Endpoint, peer: Endpoint, stream: StreamId) -> None:
    holder = next(z for z in world.zones.values() if z.index.batches(stream))
    zone = world.zones[receiver]
    before, held = _known(zone, stream), zone.index.held()
    told = _refused(zone, peer)

    with through(world, receiver, peer, showing(holder, stream)):
        world.follow(receiver, peer)

    assert _refused(zone, peer) > told
    assert zone.index.held() == held
    assert _known(zone, stream) == before


def _known(zone: OpenZone, stream: StreamId) -> list[Mark]:
    """What a zone has of a stream, and how far it accepted it."""
    return [m for m in (*zone.index.streams(), *zone.index.marks()) if m.stream == stream]


def _refused(zone: OpenZone, peer: Endpoint) -> float:
    labels = {"peer": str(peer), "code": "unacceptable"}
    return zone.metrics.registry.get_sample_value("jinbao_headers_refused_total", labels) or 0.0


def test_a_backup_takes_acts_of_whom_it_protects_and_what_comes_down_its_line(guarded: MakeWorld) -> None:
    """At rest a backup site has the acts of every protected zone, what its parent sends down, and no other stream."""
    with guarded(4) as world:
        topology, zone = world.plan.topology, world.zones[BACKUP]
        taken = {m.stream for m in zone.index.streams() if m.stream.origin != BACKUP}

        assert {s for s in taken if s.topic == JOURNAL} == set(map(journal_of, PROTECTED))
        down = {s for s in taken if s.topic != JOURNAL}
        assert down
        assert {s.origin for s in down} == {topology.parent(BACKUP)}


def test_who_is_protected_no_more_is_followed_no_more(guarded: MakeWorld) -> None:
    """Once the topology takes a node from its backup, acts it still shows are refused."""
    with guarded(4) as world:
        zone = world.zones[BACKUP]
        rows = tuple(
            replace(row, protects=tuple(n for n in row.protects if n != CITY)) for row in zone.topology.rows
        )
        left = replace(zone.topology, rows=rows)

        assert zone.topology.may_see(holder=EXCHANGE, caller=BACKUP, stream=journal_of(EXCHANGE))
        assert not left.may_see(holder=EXCHANGE, caller=BACKUP, stream=journal_of(EXCHANGE))
