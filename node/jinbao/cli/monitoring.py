"""`jinbao monitoring` and `jinbao runbook`: what Prometheus and its neighbours need, and what to do when they call."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

import click

from jinbao.cli import show
from jinbao.cli.asking import config_option, json_option
from jinbao.cli.words import is_chinese, t

DEGRADED = 3
_FILE = click.Path(path_type=Path, dir_okay=False)


@click.group(
    help=t(
        "Files for Prometheus, Alertmanager and Grafana: write, targets.",
        "Prometheus、Alertmanager 和 Grafana 所需文件：写出、采集目标。",
    ),
    epilog="jinbao monitoring write /etc/prometheus/jinbao",
)
def monitoring() -> None:
    """Group."""


@monitoring.command(
    help=t(
        "Write rules, alerts, runbooks, dashboards and an Alertmanager configuration. A file that was changed by hand "
        "is named and left, exit code 3.",
        "写出规则、告警、处置手册、看板和 Alertmanager 配置。手工改过的文件只列出、不覆盖，退出码为 3。",
    ),
    epilog="jinbao monitoring write /etc/prometheus/jinbao --webhook http://10.14.0.9:8060/alerts",
)
@click.argument("directory", type=click.Path(path_type=Path, file_okay=False))
@click.option(
    "--webhook", default="", help=t("where the Alertmanager sends alerts", "告警发往的 webhook 地址")
)
@click.option(
    "--alertmanager",
    default="",
    metavar="HOST:PORT",
    help=t("where Prometheus finds it", "Alertmanager 地址"),
)
@click.option("--force", is_flag=True, help=t("overwrite what was changed by hand too", "连手工改过的也覆盖"))
@json_option
@click.pass_context
def write(
    ctx: click.Context, directory: Path, webhook: str, alertmanager: str, force: bool, as_json: bool
) -> None:
    """Tell what became of each file that is not as it was."""
    from jinbao.appliance import monitoring as files

    wanted = dict(files.shipped(webhook or files.WEBHOOK, alertmanager or files.ALERTMANAGER))
    outcomes = files.write(directory, wanted, force=force)
    kept = [one for one in outcomes if one.state == "kept"]
    if as_json:
        show.as_json({"directory": str(directory), "files": [asdict(one) for one in outcomes]})
    else:
        words = {
            "written": t("written", "已写出"),
            "renewed": t("renewed", "已更新"),
            "same": t("as they were", "未变"),
            "kept": t("changed by hand, left", "手工改过，未动"),
        }
        for one in kept:
            show.result(f"{one.file}  {words[one.state]}")
        counts = {state: sum(one.state == state for one in outcomes) for state in words}
        show.pairs(counts, words)
    ctx.exit(DEGRADED if kept else 0)


@monitoring.command(
    help=t(
        "The zones of this node, or of all nodes of a signed topology, as Prometheus reads targets from a file.",
        "本节点各分区，或签名拓扑中全部节点的分区，以 Prometheus 文件发现的格式输出。",
    ),
    epilog="jinbao monitoring targets --host 10.14.0.1 > /etc/prometheus/jinbao/targets/140000.json",
)
@click.option(
    "--host", default="", help=t("the host as Prometheus reaches it", "Prometheus 访问本机所用的主机名或地址")
)
@click.option(
    "--topology",
    type=_FILE,
    help=t(
        "all nodes of this signed topology instead; with --root and --trust",
        "改为列出该签名拓扑中的全部节点；须同时给出 --root 和 --trust",
    ),
)
@click.option("--root", type=_FILE, help=t("root certificates of the network, PEM", "全网根证书（PEM）"))
@click.option(
    "--trust", type=_FILE, help=t("what jinbao ca export wrote, PEM", "jinbao ca export 写出的文件（PEM）")
)
@config_option
def targets(host: str, topology: Path | None, root: Path | None, trust: Path | None, config: Path) -> None:
    """One JSON document, for a file in `targets/`."""
    from jinbao.appliance import monitoring as files
    from jinbao.appliance.settings import load
    from jinbao.model.errors import UsageError

    if topology is None:
        show.as_json(files.targets(load(config), host))
        return
    if root is None or trust is None:
        raise UsageError("--topology", expected="--root and --trust beside it, to prove it", got="none")
    proved = files.proved_topology(topology, root, trust, datetime.now(UTC))
    show.as_json(files.targets_of_network(proved))


@click.command(
    help=t(
        "What an alert means and what to do; all pages where none is named.",
        "告警的含义与处置；不指名则列出全部。",
    ),
    epilog="jinbao runbook ChildSilent",
)
@click.argument("name", required=False, default="")
def runbook(name: str) -> None:
    """The page, as it is served at `/runbooks/NAME`."""
    from jinbao.appliance.runbooks import Runbooks

    books, lang = Runbooks(), "zh" if is_chinese() else "en"
    if name:
        show.result(books.text(books.find(name), lang).rstrip("\n"))
        return
    rows = [{"name": each, "title": books.title(each, lang)} for each in books.names]
    show.table(rows, {"name": t("alert", "告警"), "title": t("what it is", "含义")})
