"""A zone whose neighbour was away is ready once the neighbour listens again, not once there is news."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from tests.link.parts import CITY, PROVINCE
from tests.link.zones import SETTINGS, seal, serving
from tests.servers import await_

from jinbao.appliance.assembly import OpenZone, open_zone
from jinbao.appliance.network import DEMO_NODES, make_network
from jinbao.model.errors import CorruptionError, LinkError

LONG_S = 60.0
"""How long a call waits for news here: much longer than the test has patience."""


@pytest.fixture
def pair(tmp_path: Path) -> tuple[OpenZone, OpenZone]:
    """A province's and its city's exchange zones, whose calls wait long for news."""
    pace = {**SETTINGS["pace"], "follow_wait_s": LONG_S, "backoff_max_s": 600.0}
    _, settings = make_network(tmp_path, DEMO_NODES, overrides={**SETTINGS, "pace": pace})
    province, city = (open_zone(settings[e.node], e.zone) for e in (PROVINCE, CITY))
    return province, city


def test_a_neighbour_that_is_back_makes_ready_before_it_has_news(
    pair: tuple[OpenZone, OpenZone],
) -> None:
    """What kept the line from a neighbour is over when it lets us in, however long there is no news after that."""
    province, city = pair
    with serving(province) as service:
        follows = f"follow {CITY}"
        await_(lambda: isinstance(service.workers[follows].last_error, LinkError), 20)
        assert any(reason.startswith(follows) for reason in service.readiness())
        with serving(city):
            await_(lambda: service.workers[follows].last_error is None, 20)
            assert service.workers[follows].busy_s(time.monotonic()) > 0, "it waits for news still"


def test_a_neighbour_that_calls_is_followed_again_at_once(pair: tuple[OpenZone, OpenZone]) -> None:
    """After a night of failures the wait is long; it ends when the neighbour comes and calls, and its news comes."""
    province, city = pair
    seal(city, 1)
    with serving(province) as service:
        worker = service.workers[f"follow {CITY}"]
        worker._pace.failures = 20
        failed = worker.rounds
        worker.wake()
        await_(lambda: worker.rounds > failed, 20)
        with serving(city):
            await_(lambda: service.following[CITY].accepted > 0, 20)


def test_a_call_ends_a_wait_only_now_and_then(pair: tuple[OpenZone, OpenZone]) -> None:
    """A neighbour that calls without end and cannot be reached has us try no oftener than every few seconds."""
    province, _ = pair
    with serving(province) as service:
        worker = service.workers[f"follow {CITY}"]
        worker._pace.failures = 20
        failed = worker.rounds
        worker.wake()
        await_(lambda: worker.rounds > failed, 20)
        worker.called()
        await_(lambda: worker.rounds > failed + 1, 20)
        worker._pace.failures = 20
        tried = worker.rounds
        for _ in range(100):
            worker.called()
            time.sleep(0.01)

        assert worker.rounds <= tried + 1


def test_a_neighbour_that_only_answers_clears_no_other_fault(pair: tuple[OpenZone, OpenZone]) -> None:
    """What was wrong with what a neighbour gave stays told until a round ended well: that it listens says nothing of it."""
    province, city = pair
    seal(city, 1)
    with serving(province) as service, serving(city):
        worker = service.workers[f"follow {CITY}"]
        await_(lambda: service.following[CITY].accepted > 0, 20)
        worker.last_error = CorruptionError("segment", expected="its hash", got="another")
        worker.heard()
        assert isinstance(worker.last_error, CorruptionError)
