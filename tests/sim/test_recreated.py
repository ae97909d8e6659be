"""A zone that lost its directory and starts from nothing under its own name."""

from __future__ import annotations

import shutil

from tests.sim.conftest import MakeWorld
from tests.sim.world import World

from jinbao.appliance.assembly import OpenZone
from jinbao.appliance.questions import Asked, dispatch
from jinbao.decision.view import view
from jinbao.model.stream import StreamId
from jinbao.model.zone import Endpoint, Zone

CITY = Endpoint("140100", Zone.PRODUCTION)
STREAMS = [StreamId(CITY, library) for library in ("pension_macro", "unemployment_monitor")]
"""What the parents hold of the city; receipts and packages of other zones are not concerned."""


def _recreate(world: World) -> None:
    """Close the city's production zone, lose all but its keys, and open it again."""
    home = world.settings[CITY.node].directory(CITY.zone)
    world.zones[CITY].close()
    for path in home.iterdir():
        if path.name != "identity":
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    world.open(CITY)


def _holders(world: World) -> list[Endpoint]:
    return [e for e, zone in world.zones.items() if STREAMS[0] in zone.index.held()]


def _rebase(world: World) -> None:
    """Re-base every library of the city wherever it is held."""
    for holder in _holders(world):
        for stream in STREAMS:
            arguments = {"stream": str(stream), "reason": "disk lost", "apply": True}
            dispatch(Asked(world.zones[holder]), "line.rebase", arguments)


def test_an_origin_created_anew_is_held_and_goes_on_once_re_based(quiet: MakeWorld) -> None:
    """Nobody skips or mixes its batches: they are held aloud, and after the re-base every tier has its new rows."""
    with quiet(1) as world:
        _recreate(world)
        world.capture_all()
        world.settle()
        held = [_holders(world)]
        for _ in range(4):
            _rebase(world)
            world.settle()
            held.append(_holders(world))
        for business in world.business.values():
            business.edit()
        world.capture_all()
        world.settle()

        assert [str(zone) for zones in held for zone in zones] == [
            "140100/exchange",
            "140000/exchange",
            "100000/exchange",
        ]
        for stream in STREAMS:
            sealed = {
                t["table"]: (t["rows"], t["digest"]) for t in world.zones[CITY].state.sealed(stream.topic)
            }
            for zone in [z for e, z in world.zones.items() if e.zone is Zone.EXCHANGE]:
                digests = zone.library.digests(stream.topic, CITY.node)
                assert {t: (d.rows, d.root) for t, d in digests.items()} == sealed
            for zone in [z for e, z in world.zones.items() if e.zone is Zone.DECISION]:
                assert _viewed(zone, stream.topic) == {table: rows for table, (rows, _) in sealed.items()}


def _viewed(zone: OpenZone, library: str) -> dict[str, int]:
    """Rows an analyst sees of each table."""
    segments = zone.decision.segments(library)
    tables = zone.standards[library].tables
    return {table.id: view(segments, table, zone.shelf.open_path).height for table in tables}
