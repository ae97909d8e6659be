"""Metrics as Prometheus itself reads them: `promtool check metrics` over a zone's exposition."""

from __future__ import annotations

import subprocess

import pytest

from jinbao.appliance.metrics import METRICS, Metrics

pytestmark = pytest.mark.parts


def test_prometheus_finds_nothing_to_say() -> None:
    """Every metric, each with one sample, passes the linter of Prometheus without a remark."""
    metrics = Metrics()
    gauges = [m for m in METRICS[1:] if m.kind == "gauge"]
    metrics.read = lambda: [(m.name, dict.fromkeys(m.labels, "x"), 1.0) for m in gauges]
    labels = {label: "x" for m in METRICS for label in m.labels}
    amounts = {m.amount: 1 for m in METRICS if m.amount}
    for event in {m.event for m in METRICS if m.event}:
        metrics.count(event, {**labels, **amounts})

    checked = subprocess.run(
        ["promtool", "check", "metrics"], input=metrics.text(), capture_output=True, timeout=20, check=False
    )

    assert (checked.returncode, checked.stderr.decode()) == (0, "")
