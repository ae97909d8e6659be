"""A step that fails again and again waits longer each time, also one whose news wakes others."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from tests.link.zones import SETTINGS, serving
from tests.servers import await_

from jinbao.appliance.assembly import open_zone
from jinbao.appliance.network import DEMO_NODES, make_network
from jinbao.model.errors import LocalError
from jinbao.model.zone import Zone


def test_what_cannot_be_applied_is_tried_at_the_pace_of_failures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Applying that fails is tried anew by pace: five tries take seconds, not milliseconds."""
    pace = {**SETTINGS["pace"], "backoff_max_s": 10.0}
    settings = make_network(tmp_path, DEMO_NODES[:1], overrides={**SETTINGS, "pace": pace})[1]["100000"]
    zone, tried = open_zone(settings, Zone.EXCHANGE), []

    def fail() -> bool:
        tried.append(time.monotonic())
        raise LocalError("decoder", expected="one that is ready", got="none")

    monkeypatch.setattr(zone.applier, "step", fail)
    with serving(zone):
        await_(lambda: len(tried) >= 5, 60)

    assert tried[4] - tried[0] > 1.0  # half a second, one, two and four, but for what others wake it by
