"""Every failpoint of the code is struck at least once, and the network comes out whole."""

from __future__ import annotations

import importlib
import pkgutil
from datetime import timedelta

import pytest
from tests.sim.conftest import MakeWorld
from tests.sim.invariants import check_rest, check_zone
from tests.sim.world import World, steps_failpoints

import jinbao

for _module in pkgutil.walk_packages(jinbao.__path__, "jinbao."):
    if ".migrations" not in _module.name and ".alembic" not in _module.name:
        importlib.import_module(_module.name)

NAMES = steps_failpoints()


def test_durable_acts_have_failpoints() -> None:
    """At least twenty-five places to stop at, each room's acts with one before and one after."""
    rooms = {name.partition(".")[0] for name in NAMES}
    one_sided = [
        room
        for room in sorted(rooms)
        if not (
            any(n.startswith(f"{room}.after_") for n in NAMES)
            and (any(n.startswith(f"{room}.before_") for n in NAMES) or room in _ENDS_AT_LEDGER)
        )
    ]

    assert len(NAMES) >= 25
    assert not one_sided


_ENDS_AT_LEDGER = {"inbound", "segments"}
"""Rooms whose failpoints are the moments between two durable acts of other rooms."""


_GUARDED = {"following", "standby"}
"""Rooms whose acts need a backup site."""

ROOMS = sorted({name.partition(".")[0] for name in NAMES})
CYCLES_MAX = 4


@pytest.mark.fault_row(2)
@pytest.mark.fault_row(12)
@pytest.mark.parametrize(
    "power",
    [pytest.param(False, id="killed", marks=pytest.mark.night), pytest.param(True, id="without-power")],
)
@pytest.mark.parametrize("room", ROOMS)
def test_a_crash_at_any_failpoint_loses_nothing(
    quiet: MakeWorld, guarded: MakeWorld, room: str, power: bool
) -> None:
    """A process stopped there, with or without its power, goes on and every tier ends with the same rows.

    By day the power goes with it: whatever survives that survives a kill; `test_kill` kills real processes.
    """
    names = [name for name in NAMES if name.partition(".")[0] == room]
    make = guarded if room in _GUARDED else quiet
    with make(ROOMS.index(room)) as world:
        world.restarted = check_zone

        for name in names:
            _strike(world, name, power=power)

        assert world.crashes == names
        world.capture_all()
        world.settle()
        check_rest(world)


def _strike(world: World, name: str, *, power: bool) -> None:
    """Let business and line go on until the failpoint was reached."""
    world.arm(name, hits=1 + power, power=power)
    for _ in range(CYCLES_MAX):
        if world.armed is None:
            return
        for business in world.business.values():
            business.edit()
        world.announce()
        world.capture_all()
        if name.startswith("deadlines."):
            _let_deadlines_pass(world)
        world.round()
        world.round()


def _let_deadlines_pass(world: World) -> None:
    """Everybody accepts and nobody applies for three days, then each looks at its deadlines."""
    for endpoint, other in world.edges():
        world.follow(endpoint, other)
    world.now += timedelta(days=3)
    for endpoint in world.zones:
        world.step("deadlines", endpoint, lambda zone: zone.deadlines.step())
