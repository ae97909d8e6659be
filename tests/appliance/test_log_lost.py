"""A log that cannot be written costs its lines, and nothing else."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import pytest
import structlog

from jinbao.appliance.metrics import Metrics
from jinbao.appliance.observers import ZoneObserver, configure_logging
from jinbao.model.zone import Endpoint, Zone

FULL = Path("/dev/full")
"""The kernel's device on which every write finds no space."""


@pytest.mark.fault_row(8)
def test_a_full_disk_under_the_log_loses_lines_and_counts_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever tells a fact is not told that its line found no room; lines and what they count are counted."""
    metrics = Metrics()
    with FULL.open("wb", buffering=0) as device:
        nowhere = io.TextIOWrapper(device, encoding="utf-8", write_through=True)
        monkeypatch.setattr(sys, "stderr", nowhere)
        configure_logging()
        observer = ZoneObserver(Endpoint("140100", Zone.EXCHANGE), metrics)
        for _ in range(3):
            observer.event("step_failed", worker="apply", code="space", reason="no room")
        monkeypatch.undo()
        structlog.reset_defaults()

    labels = {"worker": "apply", "code": "space"}
    assert metrics.registry.get_sample_value("jinbao_log_lines_lost_total") == 3
    assert metrics.registry.get_sample_value("jinbao_steps_failed_total", labels) == 3
