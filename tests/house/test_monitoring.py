"""Whoever is woken can rely on it: every alert speaks two languages, is tried, and has a page whose commands exist."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import Any

import click
import pytest
from tests.house.monitoring import MONITORING, alerts, commands, first_command, loaded, pages, panels, rules

from jinbao.appliance.metrics import METRICS
from jinbao.cli.main import build

HEADINGS = {
    ".zh.md": ["含义", "影响", "诊断", "处置"],
    ".md": ["Meaning", "Impact", "Diagnosis", "Mitigation"],
}
WAKES_WITHIN_S = 20
"""Beside two scrapes and the Alertmanager's wait a minute has no room for more."""

NAMES = sorted({alert["alert"] for alert in alerts()})
OF_PROMETHEUS = {"up", "ALERTS"}


def _id(alert: dict[str, Any]) -> str:
    return f"{alert['alert']}-{alert['labels']['severity']}"


EACH = pytest.mark.parametrize("alert", [pytest.param(a, id=_id(a)) for a in alerts()])


@EACH
def test_an_alert_says_what_where_and_whose(alert: dict[str, Any]) -> None:
    """An alert has a severity of two, whom it is about, a summary in each language and the address of its page."""
    said = alert["annotations"]

    assert alert["labels"]["severity"] in {"critical", "warning"}
    assert alert["labels"].keys() == {"severity", "subject", "subject_node"}
    assert re.search(r"[\u4e00-\u9fff]", said["summary"])
    assert not re.search(r"[\u4e00-\u9fff]", said["summary_en"])
    assert ("description" in said) == ("description_en" in said)
    assert said["runbook_url"].startswith("http://{{ ")
    assert said["runbook_url"].endswith(f"}}}}/runbooks/{alert['alert']}")


@EACH
def test_what_wakes_somebody_does_not_wait(alert: dict[str, Any]) -> None:
    """A critical alert waits at most twenty seconds after its symptom."""
    waits = alert.get("for", "0s")

    assert alert["labels"]["severity"] == "warning" or (
        waits.endswith("s") and int(waits[:-1]) <= WAKES_WITHIN_S
    )


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("end", HEADINGS, ids=["zh", "en"])
def test_a_page_has_its_four_parts(name: str, end: str) -> None:
    """The page of an alert has its name as title and the four headings, none of them empty."""
    text = pages()[f"{name}{end}"]

    assert re.match(rf"# {name}(：|: )\S", text)
    parts = re.findall(r"^## (.+)\n\n(.+)$", text, flags=re.MULTILINE)
    assert [heading for heading, _ in parts] == HEADINGS[end]


def test_no_page_is_of_no_alert() -> None:
    """There are two pages for every alert, and none beside."""
    assert sorted(pages()) == sorted(f"{name}{end}" for name in NAMES for end in HEADINGS)


@pytest.mark.parametrize("name", NAMES)
def test_a_page_begins_with_a_command(name: str) -> None:
    """Diagnosis begins with a command, and both languages show the same commands but for the words of reasons."""
    both = [pages()[f"{name}{end}"] for end in HEADINGS]

    assert all(first_command(text).startswith("jinbao ") for text in both)
    zh, en = ([re.sub(r'"[^"]*"', '"…"', one) for one in commands(text)] for text in both)
    assert sorted(zh) == sorted(en)


@pytest.mark.parametrize("command", sorted({c for text in pages().values() for c in commands(text)}))
def test_a_command_of_a_page_is_one(command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever a page tells to type is taken by the command line, with each of its options and arguments."""
    words = shlex.split(command)[1:]
    monkeypatch.chdir(tmp_path)
    for file in (word for word in words if re.fullmatch(r"[\w-]+[.][a-z]+", word)):
        (tmp_path / file).touch()

    _parse(words)


def _parse(words: list[str]) -> None:
    """Go down to the command and let it read its words; raises click.UsageError where it cannot."""
    at: click.Command = build()
    parent = None
    while isinstance(at, click.Group):
        parent = click.Context(at, info_name=at.name, parent=parent)
        _, found, words = at.resolve_command(parent, words)
        assert found is not None
        at = found
    if words != ["--help"]:
        at.make_context(at.name, list(words), parent=parent)


def test_a_command_that_is_none_would_be_found() -> None:
    """A page that shows a wrong verb or option fails."""
    for wrong in (["standby", "divergence", "list"], ["line", "status", "--all"], ["line", "release"]):
        with pytest.raises(click.UsageError):
            _parse(wrong)


@pytest.mark.parametrize("name", sorted(pages()))
def test_a_page_names_pages_that_exist(name: str) -> None:
    """Another page a page sends to is there."""
    assert set(re.findall(r"\bJinbao[A-Za-z]+", pages()[name])) <= set(NAMES)


@EACH
def test_an_alert_is_tried(alert: dict[str, Any]) -> None:
    """A unit test of promtool sees the alert silent, then firing with its texts, then silent again."""
    name, severity = alert["alert"], alert["labels"]["severity"]
    body = loaded(f"tests/{name}.yml")
    seen = []
    for one in body["tests"]:
        moments = [m for m in one["alert_rule_test"] if m["alertname"] == name]
        seen.append([_fires(moment, severity) for moment in moments])
        for fired in (f for m in moments for f in m["exp_alerts"]):
            told = fired["exp_annotations"]["summary"] + fired["exp_annotations"]["summary_en"]
            assert fired["exp_labels"].get("subject", "") in told

    assert body["rule_files"] == ["../rules.yml", "../alerts.yml"]
    assert [False, True, False] in seen


def _fires(moment: dict[str, Any], severity: str) -> bool:
    return any(fired["exp_labels"]["severity"] == severity for fired in moment["exp_alerts"])


def _named(expression: str) -> set[str]:
    """Names of metrics in an expression; what stands in quotes, brackets of labels and `by` lists is none."""
    bare = re.sub(r'"[^"]*"', "", expression)
    bare = re.sub(r"\{[^}]*\}|(?:by|without|on|ignoring|group_left|group_right) *\([^)]*\)", "", bare)
    words = re.findall(r"(?<![\w:$])[a-zA-Z_][\w:]*(?!\w|\s*\()", re.sub(r"\[[^\]]*\]", "", bare))
    return {word for word in words if word not in {"and", "or", "unless", "offset"}} - {"by", "on"}


def test_every_metric_that_is_asked_for_exists() -> None:
    """Rules, alerts and dashboards ask for metrics of the table and for recorded series, and for nothing else."""
    recorded = {rule["record"]: rule["expr"] for rule in rules("rules.yml", "record")}
    asked = [*recorded.values(), *(a["expr"] for a in alerts()), *(query for _, _, query in panels())]
    known = {metric.name for metric in METRICS} | recorded.keys() | OF_PROMETHEUS

    unknown = {name for expression in asked for name in _named(expression)} - known

    assert unknown == set()


def test_every_recorded_series_is_used_and_well_named() -> None:
    """A recorded series is named level:metric:operation, over a metric of the table, and somebody asks for it."""
    metrics = {metric.name.removesuffix("_total") for metric in METRICS} | {"jinbao_disk_free"}
    asked = "".join([*(a["expr"] for a in alerts()), *(query for _, _, query in panels())])

    for rule in rules("rules.yml", "record"):
        level, metric, operation = rule["record"].split(":")
        assert level
        assert operation
        assert metric in metrics
        assert rule["record"] in asked


def test_an_inhibition_is_of_alerts_that_exist() -> None:
    """The Alertmanager keeps back alerts by names there are, and by labels alerts carry."""
    text = (MONITORING / "alertmanager" / "alertmanager.yml").read_text(encoding="utf-8")

    assert set(re.findall(r"\bJinbao[A-Za-z]+", text)) <= set(NAMES)
    of_metrics = {label for metric in METRICS for label in metric.labels}
    labels = {"alertname", "instance", "subject", "subject_node"} | of_metrics
    assert {
        label for rule in loaded("alertmanager/alertmanager.yml")["inhibit_rules"] for label in rule["equal"]
    } <= labels


@pytest.mark.parametrize(
    "path", [pytest.param(p, id=p.stem) for p in sorted((MONITORING / "dashboards").glob("*.json"))]
)
def test_a_dashboard_can_be_provisioned(path: Any) -> None:
    """A dashboard has its uid, asks the data source that is chosen, and numbers each panel once."""
    board = json.loads(path.read_text(encoding="utf-8"))
    sources = [panel["datasource"] for panel in board["panels"]]
    sources += [target["datasource"] for panel in board["panels"] for target in panel["targets"]]

    assert board["uid"] == f"jinbao-{path.stem}"
    assert [v["name"] for v in board["templating"]["list"]] == ["datasource", "endpoint"]
    assert all(source == {"type": "prometheus", "uid": "${datasource}"} for source in sources)
    numbers = [panel["id"] for panel in board["panels"]]
    assert len(numbers) == len(set(numbers))
    assert "id" not in board
