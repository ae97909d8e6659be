"""A zone whose neighbour was away is ready once the neighbour listens again, not once there is news."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import grpc
import pytest
from tests.link.parts import CITY, PROVINCE
from tests.link.zones import SETTINGS, TOPICS, seal, serving
from tests.servers import await_

from jinbao.appliance.assembly import OpenZone, open_zone
from jinbao.appliance.network import DEMO_NODES, make_network
from jinbao.appliance.serve import ZoneService
from jinbao.flow.pace import Worker
from jinbao.link.server import LineServer
from jinbao.model.errors import CorruptionError, LinkError

LONG_S, SOON_S = 20.0, 10.0
"""How long a call waits for news here, the most a server lets it, and within which time it must not take that long."""


@pytest.fixture
def pair(tmp_path: Path) -> tuple[OpenZone, OpenZone]:
    """A province's and its city's exchange zones, whose calls wait long for news."""
    pace = {**SETTINGS["pace"], "follow_wait_s": LONG_S, "backoff_max_s": 600.0}
    _, settings = make_network(tmp_path, DEMO_NODES, overrides={**SETTINGS, "pace": pace})
    province, city = (open_zone(settings[e.node], e.zone) for e in (PROVINCE, CITY))
    return province, city


def after_a_night(service: ZoneService) -> Worker:
    """The worker that follows the city, which failed so often that its wait is the longest there is."""
    worker = service.workers[f"follow {CITY}"]
    worker._pace.failures = 20
    failed = worker.rounds
    worker.wake()
    await_(lambda: worker.rounds > failed, 20)
    return worker


def test_a_neighbour_that_is_back_makes_ready_before_it_has_news(
    pair: tuple[OpenZone, OpenZone],
) -> None:
    """What kept the line from a neighbour is over when it lets us in, before any news (clause 2.12)."""
    province, city = pair
    with serving(province) as service:
        follows = f"follow {CITY}"
        await_(lambda: isinstance(service.workers[follows].last_error, LinkError), 20)
        assert any(reason.startswith(follows) for reason in service.readiness())
        with serving(city):
            await_(lambda: service.workers[follows].last_error is None, SOON_S)
            assert service.workers[follows].busy_s(time.monotonic()) > 0, "it waits for news still"


def test_a_neighbour_that_calls_is_followed_again_at_once(pair: tuple[OpenZone, OpenZone]) -> None:
    """After a night of failures the wait is long; it ends when the neighbour comes and calls, and its news comes."""
    province, city = pair
    seal(city, 1)
    with serving(province) as service:
        worker = after_a_night(service)
        with serving(city):
            await_(lambda: worker._pace.failures == 0, 20)

            assert service.following[CITY].accepted == len(TOPICS)


def test_a_call_ends_a_wait_only_now_and_then(pair: tuple[OpenZone, OpenZone]) -> None:
    """A neighbour that calls without end and cannot be reached has us try no oftener than every few seconds."""
    province, _ = pair
    with serving(province) as service:
        worker = after_a_night(service)
        failed = worker.rounds
        worker.called()
        await_(lambda: worker.rounds > failed, 20)
        worker._pace.failures = 20
        tried = worker.rounds
        for _ in range(300):
            worker.called()
            time.sleep(0.01)

        assert worker.rounds <= tried + 1


def test_a_neighbour_that_gives_nothing_is_no_neighbour_that_is_well(
    pair: tuple[OpenZone, OpenZone], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whose every fetch fails is told of all the time: that it lets us in says nothing of what it gives."""

    async def fails(_server: LineServer, _requests: object, context: Any) -> None:
        await asyncio.sleep(0.3)
        await context.abort(grpc.StatusCode.UNAVAILABLE, "no disk")

    province, city = pair
    seal(city, 1)
    monkeypatch.setattr(LineServer, "_fetch", fails)
    with serving(province) as service, serving(city):
        worker = service.workers[f"follow {CITY}"]
        await_(lambda: "fetch" in str(worker.last_error), 20)
        failed = worker.rounds
        while worker.rounds < failed + 2:
            assert worker.last_error is not None
            time.sleep(0.01)


def test_what_a_neighbour_gave_is_no_matter_of_the_line(pair: tuple[OpenZone, OpenZone]) -> None:
    """A fault in what was given stays told when the neighbour is heard."""
    with serving(pair[0]) as service:
        worker = service.workers[f"follow {CITY}"]
        worker.last_error = CorruptionError("segment", expected="its hash", got="another")
        worker.heard()
        assert isinstance(worker.last_error, CorruptionError)
