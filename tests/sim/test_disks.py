"""A parent that is away for a week, and a disk that is slow: told early, nothing lost, nothing dropped."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import pytest
from tests.link.parts import CITY as PEER
from tests.link.parts import PROVINCE as PARENT
from tests.link.parts import dialling, listening
from tests.link.zones import TOPICS, accepted, seal, zones
from tests.sim.conftest import MakeWorld
from tests.sim.invariants import check_rest
from tests.sim.world import World

from jinbao.appliance.assembly import Ports, open_zone
from jinbao.appliance.housekeeping import clear, retention_plan, watch_disk
from jinbao.flow.disk import DiskForecast, WriteWatch
from jinbao.link.limits import LinkLimits
from jinbao.model.stream import StreamId
from jinbao.model.zone import Endpoint, Zone
from jinbao.store.files import Files

CITY, EXCHANGE = Endpoint("140100", Zone.PRODUCTION), Endpoint("140100", Zone.EXCHANGE)
PROVINCE = Endpoint("140000", Zone.EXCHANGE)
STREAM = StreamId(CITY, "pension_macro")
DAY_S = 86_400.0
GB = 1 << 30


def metric(world: World, endpoint: Endpoint, name: str, **labels: str) -> float:
    """A counter of a zone as it is now."""
    return world.zones[endpoint].metrics.registry.get_sample_value(name, labels) or 0.0


def a_day(world: World) -> int:
    """The city changes, captures and hands over to its exchange zone; what was written is older afterwards."""
    before = world.zones[CITY].index.head(STREAM).seq
    while world.zones[CITY].index.head(STREAM).seq == before:
        world.business[CITY].edit()
        world.capture_all()
    for _ in range(3):
        world.follow(EXCHANGE, CITY)
        world.apply(EXCHANGE)
    world.now += timedelta(days=1)
    for zone in world.zones.values():
        for sha256 in zone.shelf.stored():  # files carry the wall clock's time, and the run has its own
            os.utime(zone.shelf.path(sha256), (0, world.now.timestamp() - DAY_S / 2))
        clear(zone, retention_plan(zone))
        zone.deadlines.step()
    return world.zones[EXCHANGE].index.head(STREAM).seq


@pytest.mark.fault_row(28)
def test_a_parent_away_for_a_week_loses_nothing(quiet: MakeWorld) -> None:
    """The city goes on for seven days, what waits is swept by nobody, silence is told in a day, all arrives at last."""
    with quiet(28) as world:
        began = world.zones[PROVINCE].index.head(STREAM).seq
        world.weather.parted |= {(PROVINCE, EXCHANGE), (EXCHANGE, PROVINCE)}
        told, heads = [], [began]
        for _ in range(7):
            heads.append(a_day(world))
            world.follow(PROVINCE, EXCHANGE)
            told.append(
                metric(world, CITY, "jinbao_receipts_missing_total", topic=STREAM.topic, stage="accepted")
            )
        while_away = world.zones[PROVINCE].index.head(STREAM).seq
        waiting = {
            line.sha256 for line in retention_plan(world.zones[EXCHANGE]) if str(PROVINCE) in line.needed_by
        }

        world.settle()

        assert heads == sorted(set(heads))
        assert while_away == began
        assert waiting
        assert told[1] > 0
        assert world.zones[PROVINCE].index.head(STREAM).seq == heads[-1]
        assert all(world.zones[PROVINCE].shelf.has(sha256) for sha256 in waiting)
        check_rest(world)


@pytest.mark.fault_row(28)
def test_a_disk_that_fills_is_told_of_a_week_before(
    quiet: MakeWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At 10 GB a day on a disk of 200 GB the first warning comes while 70 GB are free, and none comes before."""
    with quiet(29) as world:
        zone, free = world.zones[EXCHANGE], 200 * GB
        monkeypatch.setattr(zone.ports.files, "free_bytes", lambda _: free)
        warned = []
        while free > 0:
            watch_disk(zone)
            if metric(world, EXCHANGE, "jinbao_disk_warnings_total"):
                warned.append(free)
            free -= 10 * GB
            world.now += timedelta(days=1)

        assert warned[0] == 70 * GB


def test_a_first_load_is_no_pace() -> None:
    """What is used within half a day, or comes free, foretells nothing; a reserve that is reached is 0 s away."""
    forecast = DiskForecast(GB)

    assert forecast.look(0, 100 * GB) == float("inf")
    assert forecast.look(3600, 50 * GB) == float("inf")
    assert forecast.look(DAY_S, 51 * GB) == pytest.approx(50 / 49 * DAY_S)
    assert forecast.look(DAY_S + 1, 200 * GB) == float("inf")
    assert forecast.look(DAY_S + 2, GB) == 0.0


@pytest.mark.parametrize("every_s", [30.0, 3600.0], ids=["each half minute", "hourly"])
def test_a_forecast_asks_not_how_often_it_is_made(every_s: float) -> None:
    """A round that is tried again and again, its database being away, warns as early as one that goes well."""
    forecast, at_s, free = DiskForecast(GB), 0.0, 71.0 * GB

    while forecast.look(at_s, int(free)) > 5 * DAY_S:
        at_s, free = at_s + every_s, free - 10 * GB / DAY_S * every_s

    assert at_s == pytest.approx(2 * DAY_S, abs=every_s)


def test_a_clock_that_was_a_year_ahead_blinds_no_forecast() -> None:
    """What was seen under a clock that was set back afterwards counts no more; the pace is told after half a day."""
    forecast = DiskForecast(GB)
    forecast.look(365 * DAY_S, 90 * GB)

    assert forecast.look(0, 81 * GB) == float("inf")
    assert forecast.look(DAY_S, 41 * GB) == pytest.approx(DAY_S)


def test_slow_writes_are_told_once_until_they_recover() -> None:
    """One slow write among quick ones is nothing; eight are, once; after a recovery they are told again."""
    watch = WriteWatch(0.1)

    quick = [watch.see(took) for took in [0.005] * 20 + [3.0] + [0.005] * 20]
    slow = [watch.see(0.2) for _ in range(40)]
    again = [watch.see(took) for took in [0.005] * 40 + [0.2] * 40]

    assert not any(quick)
    assert (sum(slow), sum(again)) == (1, 1)


@dataclass
class SlowFiles(Files):
    """A disk on which every sync takes so long."""

    sync_s: float = 0.0
    synced: int = field(default=0)

    def __post_init__(self) -> None:
        super().__init__()

    def sync(self, path: Path) -> None:
        """Wait, then sync."""
        self.synced += 1
        time.sleep(self.sync_s)
        super().sync(path)


@pytest.mark.fault_row(17)
@pytest.mark.parametrize("sync_s", [0.05, 0.3])
def test_a_slow_disk_is_told_and_times_nothing_out(tmp_path: Path, sync_s: float) -> None:
    """With 50 or 300 ms per sync and calls of 2 s every batch is taken in its first round, and the disk is told of once."""
    with zones(tmp_path / "network", PEER) as opened:
        files = SlowFiles(sync_s)
        province = open_zone(opened.settings[PARENT.node], PARENT.zone, Ports(files=files))
        limits = LinkLimits(call_s=2.0)
        seal(opened[PEER], 6)
        try:
            with (
                listening(opened.network, PEER, opened[PEER].counter, limits=limits) as server,
                dialling(opened.network, PARENT, PEER, server.address, limits=limits) as client,
            ):
                before = files.synced
                taken = [province.inbound.step(client) for _ in range(3)]

            registry = province.metrics.registry
            assert sum(taken) == 6 * len(TOPICS)
            assert accepted(province) == {topic: list(range(1, 7)) for topic in TOPICS}
            assert files.synced - before >= 12
            assert registry.get_sample_value("jinbao_disks_slow_total", {"place": "segments"}) == 1
            assert province.writes["segments"].median_s > 2 * sync_s
        finally:
            province.close()
