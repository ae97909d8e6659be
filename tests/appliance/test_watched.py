"""What a running zone says of its neighbours: since when they are silent, and whether their standards are ours."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from tests.link.zones import SETTINGS, serving

from jinbao.appliance.admin_client import ask
from jinbao.appliance.assembly import open_zone
from jinbao.appliance.network import DEMO_NODES, make_network
from jinbao.appliance.serve import ZoneService
from jinbao.appliance.settings import Settings
from jinbao.model.zone import Zone

MINISTRY, PROVINCE = "100000", "140000"
CHILD = {"peer": f"{PROVINCE}/exchange", "side": "below"}
WITHIN_S = 10.0


@pytest.fixture
def network(tmp_path: Path) -> dict[str, Settings]:
    """Ministry and one province, nothing running."""
    return make_network(tmp_path, DEMO_NODES[:2], overrides=SETTINGS)[1]


@pytest.fixture
def ministry(network: dict[str, Settings]) -> Iterator[ZoneService]:
    """The ministry's exchange zone, serving."""
    with serving(open_zone(network[MINISTRY], Zone.EXCHANGE)) as service:
        yield service


def _read(service: ZoneService, name: str, labels: dict[str, str] | None = None) -> float | None:
    return service.zone.metrics.registry.get_sample_value(name, labels or {})


def _until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WITHIN_S
    while not holds():
        assert time.monotonic() < deadline, f"not reached within {WITHIN_S:g} s"
        time.sleep(0.05)


def test_a_child_is_silent_from_its_last_answer_on(
    network: dict[str, Settings], ministry: ZoneService
) -> None:
    """While a child answers its age stays small; before it came and once it is gone the age grows."""

    def age() -> float:
        return _read(ministry, "jinbao_peer_contact_age_seconds", CHILD) or 0.0

    _until(lambda: age() > 1)
    with ExitStack() as stack:
        stack.enter_context(serving(open_zone(network[PROVINCE], Zone.EXCHANGE)))
        _until(lambda: age() < 0.6)
        time.sleep(1.2)
        while_up = age()
    _until(lambda: age() > 1.5)

    assert while_up < 1.2


def test_a_paused_child_is_not_watched(network: dict[str, Settings], ministry: ZoneService) -> None:
    """Whoever pauses a neighbour ends its alert: there is no age of it until it is resumed."""
    _until(lambda: _read(ministry, "jinbao_peer_contact_age_seconds", CHILD) is not None)

    ask(network[MINISTRY], Zone.EXCHANGE, "line.pause", {"peer": PROVINCE, "reason": "a test"})
    _until(lambda: _read(ministry, "jinbao_peer_contact_age_seconds", CHILD) is None)
    ask(network[MINISTRY], Zone.EXCHANGE, "line.resume", {"peer": PROVINCE})

    _until(lambda: _read(ministry, "jinbao_peer_contact_age_seconds", CHILD) is not None)


def test_standards_of_the_tier_above_are_heard(network: dict[str, Settings], ministry: ZoneService) -> None:
    """A zone takes from each hello which standards the tier above holds, and finds itself outdated by another version."""
    del ministry  # it answers
    library = {"library": "pension_macro"}
    with serving(open_zone(network[PROVINCE], Zone.EXCHANGE)) as province:
        [known] = [one for one in province.following.values() if one.peer.node == MINISTRY]
        assert known.client is not None
        _until(lambda: bool(known.client and known.client.standards))
        same = _read(province, "jinbao_standard_outdated", library)
        known.client.standards = ("pension_macro@9.9",)

        assert same == 0
        assert _read(province, "jinbao_standard_outdated", library) == 1


def test_a_worker_that_does_not_go_well_is_seen_by_its_task(ministry: ZoneService) -> None:
    """A worker with a time of its own shows when its round last went well, and what of that is too long ago."""
    task = {"task": "trust"}
    before = _read(ministry, "jinbao_task_last_success_timestamp_seconds", task)

    assert before is not None
    assert abs(before - time.time()) < 60
    assert _read(ministry, "jinbao_task_limit_seconds", task) == 310
