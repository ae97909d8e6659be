"""What is shipped for Prometheus, Alertmanager and Grafana, in their own hands, over a network of real zones."""

from __future__ import annotations

import json
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from tests.cli.harness import spawn
from tests.house.monitoring import MONITORING, first_command, panels
from tests.parts.watchers import Watcher, Webhook, run, within

from jinbao.appliance.demo.processes import DemoNetwork
from jinbao.appliance.network import BACKUP, DEMO_NODES

pytestmark = pytest.mark.parts

CITY, PROVINCE = "140100", "140000"
OURS = (PROVINCE, BACKUP.node)
"""What the province's operations reach; a city's own bureau watches its zones."""

NODES = (*DEMO_NODES[:3], replace(BACKUP, protects=(PROVINCE, CITY)))


def test_prometheus_takes_the_rules() -> None:
    """`promtool` finds the rules and the configuration right, and says nothing against them."""
    rules = [str(MONITORING / name) for name in ("rules.yml", "alerts.yml")]

    said = run(["promtool", "check", "rules", "--lint=all", "--lint-fatal", *rules])
    run(["promtool", "check", "config", "--syntax-only", str(MONITORING / "prometheus.yml")])

    assert said.count("SUCCESS") == 2


def test_every_alert_fires_and_ends_as_its_test_says() -> None:
    """`promtool` plays every unit test: each alert is silent, fires with its texts, and resolves."""
    files = sorted(map(str, (MONITORING / "tests").glob("*.yml")))

    said = run(["promtool", "test", "rules", *files])

    assert said.count("SUCCESS") == len(files)


def test_alertmanager_takes_the_configuration() -> None:
    """`amtool` finds route, inhibitions and template right; critical and warning alerts go to the receiver."""
    config = str(MONITORING / "alertmanager" / "alertmanager.yml")

    said = run(["amtool", "check-config", config])
    routes = [
        run(["amtool", "config", "routes", "test", f"--config.file={config}", f"severity={severity}"])
        for severity in ("critical", "warning")
    ]

    assert "1 templates" in said
    assert [route.split("\n")[0] for route in routes] == ["jinbao", "jinbao"]


def test_a_message_is_in_both_languages() -> None:
    """The template puts Chinese, English and the runbook's address into one message."""
    alert = {
        "status": "firing",
        "startsAt": "2026-11-26T12:00:00Z",
        "labels": {"alertname": "JinbaoChildSilent", "severity": "critical"},
        "annotations": {"summary": "收不到应答", "summary_en": "no answer", "runbook_url": "http://a/b"},
    }
    data = {"status": "firing", "alerts": [alert], "groupLabels": {"alertname": "JinbaoChildSilent"}}
    glob = f"--template.glob={MONITORING}/alertmanager/*.tmpl"

    said = run(
        [
            "amtool",
            "template",
            "render",
            glob,
            '--template.text={{ template "jinbao.title" . }}|{{ template "jinbao.text" . }}',
            "--template.data=/dev/stdin",
        ],
        input=json.dumps(data),
    )

    assert said.startswith("告警 JinbaoChildSilent")
    assert "【严重】收不到应答\nno answer\n手册 Runbook: http://a/b\n" in said


@dataclass(frozen=True)
class Watched:
    """A network, the Prometheus that sees all of it, and the province's own with its Alertmanager."""

    network: DemoNetwork
    all: Watcher
    ours: Watcher
    webhook: Webhook

    def http(self, node: str, zone: str) -> str:
        """The address of a zone's pages."""
        return next(z.http for name, z in self.network.settings[node].zones.items() if name == zone)


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    """Ministry, province, a city and the backup site, from capture to decision, watched from their start."""
    directory = tmp_path_factory.mktemp("watched")
    network = DemoNetwork(directory / "net", 5_000, 7, lambda _message, _values: None, NODES)
    network.directory.mkdir(mode=0o700)
    webhook, watchers = Webhook(), list[Watcher]()
    try:
        network.make()
        network.start()
        watchers.append(Watcher(directory / "all", network.settings, every="3s"))
        watchers.append(Watcher(directory / "ours", {n: network.settings[n] for n in OURS}, webhook.url))
        network.run()
        yield Watched(network, *watchers, webhook)
    finally:
        for watcher in watchers:
            watcher.close()
        webhook.close()
        network.end()


def _page_is_well_formed(watched: Watched, zone: str) -> None:
    """`promtool` has nothing to say against the page of a zone that captured or sealed."""
    with urllib.request.urlopen(f"http://{watched.http(CITY, zone)}/metrics", timeout=10) as answer:
        page = answer.read()

    checked = subprocess.run(
        ["promtool", "check", "metrics"], input=page, capture_output=True, timeout=20, check=False
    )

    assert (checked.returncode, checked.stderr.decode()) == (0, "")


def _every_panel_has_data(watched: Watched) -> None:
    """Each query of each dashboard gives at least one value."""
    up = 'count(up{job="jinbao"} == 1)'
    within(40, lambda: watched.all.query(f"{up} == {len(watched.network.endpoints())}"), "every zone up")

    deadline = time.monotonic() + 40  # a rate needs two scrapes of a counter that moved
    while (empty := _without_data(watched.all)) and time.monotonic() < deadline:
        time.sleep(2)

    assert not empty


def _without_data(watcher: Watcher) -> list[tuple[str, str, str]]:
    """Dashboard, panel and query of those that give nothing."""
    return [
        (board, panel, query)
        for board, panel, query in panels()
        if not watcher.query(query.replace("$endpoint", ".*"))
    ]


def _nobody_is_woken(watched: Watched) -> None:
    """No alert fires, over any zone, critical or not."""
    within(60, lambda: not watched.all.firing() and not watched.ours.firing(), "no critical alert")

    assert [alert["labels"] for alert in watched.all.firing("warning")] == []


def test_a_zone_that_is_down_explains_its_silence(tmp_path: Path) -> None:
    """Of a zone known to be down the Alertmanager keeps back that its parent does not hear it."""
    webhook = Webhook()
    alone = Watcher(tmp_path, {}, webhook.url)
    try:
        within(20, lambda: _ready(alone), "an Alertmanager that is ready")
        _add_both(alone)
        within(20, lambda: _states(alone).get("JinbaoChildSilent") == "suppressed", "the silence kept back")
        told = _names(webhook)
    finally:
        alone.close()
        webhook.close()

    assert told == {"JinbaoZoneDown"}


def _ready(watcher: Watcher) -> bool:
    with urllib.request.urlopen(f"{watcher.alertmanager}/-/ready", timeout=5) as answer:
        return bool(answer.status == 200)


def _names(webhook: Webhook) -> set[str]:
    within(20, lambda: webhook.posts, "a post")
    time.sleep(2)  # the other, were it not kept back, would come now
    return {post["groupLabels"]["alertname"] for _, post in webhook.posts}


def _add_both(watcher: Watcher) -> None:
    add = ["amtool", f"--alertmanager.url={watcher.alertmanager}", "alert", "add"]
    labels = ["severity=critical", "subject=149900/exchange", "subject_node=149900", "job=by-hand"]
    for name in ("JinbaoZoneDown", "JinbaoChildSilent"):
        run([*add, *labels, f"alertname={name}"])


def _states(watcher: Watcher) -> dict[str, str]:
    """Active or suppressed, by the name of the alert."""
    with urllib.request.urlopen(f"{watcher.alertmanager}/api/v2/alerts", timeout=10) as answer:
        found = json.loads(answer.read())
    return {one["labels"]["alertname"]: one["status"]["state"] for one in found}


def test_a_stopped_city_wakes_the_province_once(watched: Watched) -> None:
    """Well, all is seen and nobody woken; a stopped city is told within a minute, once, with what names why; it ends.

    One test, for whoever runs several at once should start one network for it.
    """
    network, webhook = watched.network, watched.webhook
    for zone in ("production", "exchange"):
        _page_is_well_formed(watched, zone)
    _every_panel_has_data(watched)
    _nobody_is_woken(watched)

    def about(status: str) -> list[dict[str, Any]]:
        return [post for post in webhook.of(status) if post["groupLabels"]["subject_node"] == CITY]

    stopped = time.monotonic()
    network.stop(CITY)
    [post] = within(60, lambda: about("firing"), "an alert by webhook")
    took = time.monotonic() - stopped
    firing = [a["labels"] for a in watched.ours.firing()]
    [alert] = post["alerts"]
    page = _markdown(alert["annotations"]["runbook_url"])
    command = first_command(page)
    said = spawn(*command.split()[1:], "--config", str(network.directory / PROVINCE / "node.toml"))
    down = within(30, lambda: _all_down(watched), "each zone of the city told to be down")
    network.start(CITY)
    within(60, lambda: about("resolved"), "the end of the alert by webhook")

    assert took < 60
    assert [(one["alertname"], one["peer"]) for one in firing] == [("JinbaoChildSilent", f"{CITY}/exchange")]
    assert f"收不到下级 {CITY}/exchange" in alert["annotations"]["summary"]
    [line] = [line for line in said.out.splitlines() if line.startswith(f"{CITY}/exchange")]
    assert "UNAVAILABLE" in line
    assert len(about("firing")) == 1
    assert sum(text.startswith("# JinbaoZoneDown: ") for text in down) == 3  # served by a zone that is up
    assert not watched.ours.firing()


def _all_down(watched: Watched) -> list[str]:
    """Pages of what fires where the city is seen too, once that is each of its zones, its silence and nothing else."""
    firing = watched.all.firing()
    names = sorted(alert["labels"]["alertname"] for alert in firing)
    if names != ["JinbaoChildSilent", *["JinbaoZoneDown"] * 3]:
        return []
    return [_markdown(alert["annotations"]["runbook_url"]) for alert in firing]


def _markdown(url: str) -> str:
    request = urllib.request.Request(url, headers={"Accept": "text/markdown", "Accept-Language": "en"})
    with urllib.request.urlopen(request, timeout=10) as answer:
        return answer.read().decode()
