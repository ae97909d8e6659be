"""`jinbao line`: the main line as an operator sees and steers it."""

from __future__ import annotations

from pathlib import Path

import click

from jinbao.cli import show
from jinbao.cli.asking import answer, ask, asking
from jinbao.cli.status import stream_columns
from jinbao.cli.words import t
from jinbao.model.zone import Zone


@click.group(
    help=t(
        "The line: how far streams are; pull, pause, resume, rebase.",
        "主线：各流进度；拉取、暂停、恢复、重定基点。",
    ),
    epilog="jinbao line status",
)
def line() -> None:
    """Group."""


@line.command(
    help=t("Neighbours and streams, with what pauses or holds them.", "相邻分区和各流，以及暂停的原因。"),
    epilog="jinbao line status",
)
@asking(Zone.EXCHANGE)
def status(config: Path, zone: str, as_json: bool) -> None:
    """Peers, then streams."""
    found = ask(config, zone, "line.status")
    columns = {
        "peer": t("peer", "对端"),
        "border": t("border", "边界"),
        "seconds_ago": t("seconds since contact", "距上次联系秒数"),
        "accepted": t("accepted", "受理"),
        "paused": t("paused because", "暂停原因"),
        "error": t("error", "错误"),
    }
    answer(found, as_json, "peers", columns)
    if not as_json:
        show.result("")
        show.table(found["streams"], stream_columns())


_PEER = click.option(
    "--peer", default="", help=t("neighbour, NODE or NODE/ZONE; all if not named", "相邻分区，缺省为全部")
)


@line.command(
    help=t("Ask the neighbours for news now.", "立即向相邻分区拉取。"),
    epilog="jinbao line pull --peer 140100",
)
@_PEER
@asking(Zone.EXCHANGE)
def pull(peer: str, config: Path, zone: str, as_json: bool) -> None:
    """Wake the followers."""
    _told(ask(config, zone, "line.pull", peer=peer), as_json, "pulled")


@line.command(
    help=t("Stop following a neighbour; the reason is recorded.", "暂停跟随相邻分区，并记录原因。"),
    epilog="jinbao line pause --peer 140100 --reason audit",
)
@_PEER
@click.option("--reason", required=True, help=t("why; it is recorded", "原因，将被记录"))
@asking(Zone.EXCHANGE)
def pause(peer: str, reason: str, config: Path, zone: str, as_json: bool) -> None:
    """Pause."""
    _told(ask(config, zone, "line.pause", peer=peer, reason=reason), as_json, "paused")


@line.command(
    help=t("Follow a paused neighbour again.", "恢复跟随。"), epilog="jinbao line resume --peer 140100"
)
@_PEER
@asking(Zone.EXCHANGE)
def resume(peer: str, config: Path, zone: str, as_json: bool) -> None:
    """Resume."""
    _told(ask(config, zone, "line.resume", peer=peer), as_json, "resumed")


@line.command(
    help=t(
        "Let a stream of a re-created origin go on from where it says; first only the plan.",
        "让重建的来源的流从其声明处继续；先只给出计划。",
    ),
    epilog="jinbao line rebase 140100/production/pension_macro/line --plan",
)
@click.argument("stream")
@click.option("--plan/--apply", default=True, help=t("only tell, or do", "仅计划，或执行"))
@click.option("--reason", default="", help=t("why; needed to apply", "原因，执行时必填"))
@asking(Zone.EXCHANGE)
def rebase(stream: str, plan: bool, reason: str, config: Path, zone: str, as_json: bool) -> None:
    """Plan or apply."""
    del as_json  # a plan is read whole or not at all
    show.as_json(ask(config, zone, "line.rebase", stream=stream, reason=reason, apply=not plan))


def _told(found: dict[str, object], as_json: bool, key: str) -> None:
    if as_json:
        show.as_json(found)
        return
    peers = found[key]
    assert isinstance(peers, list)
    show.result("\n".join(peers))
