"""Lines with windows of time, over real TLS: bulk waits its turn, and nothing else waits for bulk."""

from __future__ import annotations

import math
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from tests.link.parts import CITY, LIMITS, PROVINCE, dialling, listening, utc_now
from tests.link.zones import SETTINGS, Watched, Zones, accepted, seal, serving, zones
from tests.servers import await_

from jinbao.appliance.assembly import OpenZone, open_zone
from jinbao.appliance.network import DEMO_NODES, make_network
from jinbao.appliance.questions import Asked, dispatch
from jinbao.appliance.serve import ZoneService
from jinbao.appliance.settings import Settings
from jinbao.flow.sealing import StreamSealer
from jinbao.link.client import LineClient
from jinbao.link.shaping import Shaper
from jinbao.model import acts
from jinbao.model.batch import Kind, SegmentRef
from jinbao.model.stream import TRUST_UP, Lane, Mark, StreamId
from jinbao.model.window import CHINA, Schedule, window_of
from jinbao.model.zone import Zone

BULK, BULK_BYTES = "pension_macro", 120_000
DAY = (("00:00", "24:00"),)
NOON = datetime(2026, 11, 23, 12, tzinfo=CHINA)


@dataclass
class Hands:
    """The hands of the clock by which windows open and close; seconds pass by themselves."""

    at: datetime = NOON

    def now(self) -> datetime:
        """The time of day."""
        return self.at

    def line(self, morning: float, afternoon: float = math.inf) -> Shaper:
        """Megabits per second until and after one o'clock."""
        windows = [window_of("00:00", "13:00", "mon-sun", morning)]
        if not math.isinf(afternoon):
            windows.append(window_of("13:00", "24:00", "mon-sun", afternoon))
        return Shaper(Schedule(tuple(windows)), {}, clock=time.monotonic, now=self.now)


def bulk(zone: OpenZone) -> SegmentRef:
    """Seal a batch with a segment that nothing can shorten."""
    frame = pl.DataFrame({"AAC001": [os.urandom(500).hex() for _ in range(BULK_BYTES // 500)]})
    return _seal(zone, BULK, frame)


def control(zone: OpenZone) -> None:
    """Seal a batch of what is small and steers."""
    _seal(zone, TRUST_UP, pl.DataFrame({"document": ["small"]}))


def _seal(zone: OpenZone, topic: str, frame: pl.DataFrame) -> SegmentRef:
    last = next((m for m in zone.index.streams() if m.stream == StreamId(zone.me, topic)), None)
    sealer = StreamSealer(
        last or Mark(StreamId(zone.me, topic)),
        incarnation=zone.index.incarnation(),
        epoch=zone.succession.epoch,
        seal=zone.seal,
        now=zone.ports.now_text,
    )
    ref = SegmentRef("person", *zone.shelf.write(frame), rows=frame.height)
    zone.ledger.record(acts.sealed(sealer.next(Kind.CHANGE, segments=[ref])))
    return ref


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Zones]:
    """A city and its province."""
    with zones(tmp_path / "network", CITY, PROVINCE) as found:
        yield found


@dataclass
class Lanes:
    """The two followers of one neighbour, the bulk one in a thread of its own."""

    zone: OpenZone
    steering: LineClient
    bulk: LineClient
    thread: threading.Thread = field(init=False)

    def begin(self) -> None:
        """Begin a round for bulk."""
        self.thread = threading.Thread(target=self.zone.inbound.step, args=(self.bulk,))
        self.thread.start()


@contextmanager
def lanes(opened: Zones, *, takes: Shaper | None = None, gives: Shaper | None = None) -> Iterator[Lanes]:
    """The province follows the city; calls are broken off after a fifth of a second."""
    limits = replace(LIMITS, paced_call_s=0.2)
    network, watched = opened.network, Watched(opened[CITY].counter)
    with (
        listening(network, CITY, watched, gives=gives, limits=limits) as server,
        dialling(network, PROVINCE, CITY, server.address, lane=Lane.CONTROL) as steering,
        dialling(
            network, PROVINCE, CITY, server.address, lane=Lane.BULK, takes=takes, limits=limits
        ) as following,
    ):
        yield Lanes(opened[PROVINCE], steering, following)


@pytest.mark.parametrize("limited", ["takes", "gives"])
def test_what_steers_waits_behind_no_bulk(opened: Zones, limited: str) -> None:
    """While a segment trickles through a narrow window of either end, over many calls, small batches arrive at once."""
    city, province = opened[CITY], opened[PROVINCE]
    ref, line = bulk(city), Hands().line(0.5)
    with lanes(opened, **{limited: line}) as both:
        began = time.monotonic()
        both.begin()
        arrived = []
        while BULK not in accepted(province):
            sent = time.monotonic()
            control(city)
            assert both.zone.inbound.step(both.steering) == 1
            arrived.append(time.monotonic() - sent)
            time.sleep(0.05)
        both.thread.join()
        took_s = time.monotonic() - began

    assert province.shelf.examine(ref.sha256, ref.bytes) is None
    assert took_s > ref.bytes / (0.5 * 125_000)
    assert len(arrived) > 5
    assert max(arrived) < took_s / 3
    assert accepted(province)[TRUST_UP] == list(range(1, len(arrived) + 1))
    assert province.index.held() == {}


@pytest.mark.parametrize("limited", ["takes", "gives"])
def test_a_closed_window_leaves_bulk_for_later_and_nothing_is_wrong(opened: Zones, limited: str) -> None:
    """Where a window is closed a round ends without an error or a hold, and the first one after it brings everything."""
    city, province, hands = opened[CITY], opened[PROVINCE], Hands()
    bulk(city)
    with lanes(opened, **{limited: hands.line(0)}) as both:
        assert both.zone.inbound.step(both.bulk) == 0
        assert both.bulk.is_closed
        control(city)
        assert both.zone.inbound.step(both.steering) == 1
        assert province.index.held() == {}

        hands.at += timedelta(hours=1)
        assert both.zone.inbound.step(both.bulk) == 1

    assert accepted(province) == {TRUST_UP: [1], BULK: [1]}


def test_one_follower_of_everything_takes_what_steers_from_a_closed_line(opened: Zones) -> None:
    """A round that asks for all lanes accepts what is small and leaves bulk, whichever comes first."""
    city, province = opened[CITY], opened[PROVINCE]
    bulk(city)
    control(city)
    seal(city, 2, ["unemployment_monitor"])
    with (
        listening(opened.network, CITY, city.counter) as server,
        dialling(opened.network, PROVINCE, CITY, server.address, takes=Hands().line(0)) as client,
    ):
        assert province.inbound.step(client) == 1

    assert accepted(province) == {TRUST_UP: [1]}
    assert province.index.held() == {}


@pytest.mark.parametrize("limited", ["takes", "gives"])
def test_a_window_that_changes_counts_for_a_running_fetch(opened: Zones, limited: str) -> None:
    """A fetch that runs when the line closes ends there, keeps what came, and goes on from it when the line opens."""
    city, province, hands = opened[CITY], opened[PROVINCE], Hands(NOON)
    ref = bulk(city)
    with lanes(opened, **{limited: hands.line(0.5, 0)}) as both:
        part = province.shelf.temporary(f"{province.shelf.path(ref.sha256).stem}.part")
        both.begin()
        await_(lambda: part.is_file() and part.stat().st_size > 0, 10)
        hands.at += timedelta(hours=1)
        both.thread.join(10)
        assert not both.thread.is_alive()
        came = part.stat().st_size
        assert 0 < came < ref.bytes
        assert accepted(province) == {}

        hands.at -= timedelta(hours=1)
        both.begin()
        both.thread.join(20)

    assert accepted(province) == {BULK: [1]}
    assert province.index.held() == {}


@contextmanager
def closed_network(
    directory: Path, closes: str = "140000"
) -> Iterator[tuple[OpenZone, ZoneService, OpenZone]]:
    """A city that serves, and a province that serves and follows it over a line one end of which is closed for bulk."""
    _, settings = make_network(directory, DEMO_NODES, overrides=SETTINGS)
    shut = {"windows": [{"from": "00:00", "to": "24:00", "mbit_per_s": 0}]}
    body = settings[closes].model_dump(mode="json", exclude_defaults=True)
    body["zones"]["exchange"]["line"] = shut
    settings[closes] = Settings(**body)
    province = open_zone(settings["140000"], Zone.EXCHANGE)
    city = open_zone(settings["140100"], Zone.EXCHANGE)
    with serving(city), serving(province) as service:
        yield city, service, province


def test_a_zone_with_a_closed_line_is_ready_and_in_touch(tmp_path: Path) -> None:
    """Day and night closed, a zone is ready, hears its neighbour, takes what steers, holds nothing and says why."""
    with closed_network(tmp_path / "network") as (city, service, province):
        control(city)
        await_(lambda: accepted(province).get(TRUST_UP) == [1], 20)
        seal(city, 3)
        bulk_lane = service.workers[f"fetch {CITY}"]
        rounds = bulk_lane.rounds
        await_(lambda: bulk_lane.rounds > rounds + 5, 20)
        control(city)
        await_(lambda: accepted(province)[TRUST_UP] == [1, 2], 20)

        # Not asked about: zones this test leaves unserved, and its documents, which are none.
        own = [r for r in service.readiness() if str(CITY) in r and TRUST_UP not in r]
        held = {stream.topic for stream in province.index.held()}
        status = dispatch(Asked(province, service), "line.status", {})
        peer = next(p for p in status.body["peers"] if p["peer"] == str(CITY))
        metrics = province.metrics.text().decode()

    assert own == []
    assert province_took_no_bulk(metrics)
    assert peer["error"] == ""
    assert peer["seconds_ago"] < 10
    assert peer["limits"]["in"]["mbit_per_s"] == 0
    assert peer["limits"]["in"]["window"] == "mon-sun 00:00-24:00"
    assert f'jinbao_line_limit_bytes_per_second{{direction="in",peer="{CITY}"}} 0.0' in metrics
    assert held <= {TRUST_UP}


def test_a_line_without_windows_has_one_lane_until_the_other_end_closes(tmp_path: Path) -> None:
    """A province without windows follows by one worker; once its city says that its line is closed, by two."""
    with closed_network(tmp_path / "network", closes="140100") as (city, service, province):
        control(city)
        await_(lambda: accepted(province).get(TRUST_UP) == [1], 20)
        before = f"fetch {CITY}" in service.workers
        seal(city, 3)
        await_(lambda: f"fetch {CITY}" in service.workers, 20)
        control(city)
        await_(lambda: accepted(province)[TRUST_UP] == [1, 2], 20)
        metrics = province.metrics.text().decode()

    assert not before
    assert province_took_no_bulk(metrics)


def province_took_no_bulk(metrics: str) -> bool:
    """Whether no batch of a library was accepted."""
    return not any(
        line.startswith("jinbao_batches_accepted_total") and 'topic="pension_macro"' in line
        for line in metrics.splitlines()
    )


def test_no_clock_is_needed_where_nothing_is_limited(opened: Zones) -> None:
    """Without windows a line goes as fast as it can: a segment takes less time than it would in any window."""
    city, province = opened[CITY], opened[PROVINCE]
    ref = bulk(city)
    with lanes(opened, takes=Shaper(Schedule(), {}, clock=time.monotonic, now=utc_now)) as both:
        assert both.zone.inbound.step(both.bulk) == 1

    assert province.shelf.has(ref.sha256)
