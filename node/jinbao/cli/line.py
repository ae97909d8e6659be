"""`jinbao line`: the main line as an operator sees and steers it."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import Any

import click

from jinbao.cli import show
from jinbao.cli.asking import answer, ask, asking
from jinbao.cli.status import stream_columns
from jinbao.cli.words import t
from jinbao.model.window import CHINA
from jinbao.model.zone import Zone


@click.group(
    help=t(
        "The line: how far streams are; pull, pause, resume, proof, release, rebase; export and import when it is cut.",
        "主线：各流进度；拉取、暂停、恢复、证据、解除、重定基点；线路中断时导出和导入。",
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
    if not as_json:
        for peer in found["peers"]:
            peer |= {f"limit_{way}": _limit(peer["limits"].get(way)) for way in ("in", "out")}
        if any(peer["limit_in"] or peer["limit_out"] for peer in found["peers"]):
            columns |= {"limit_in": t("bulk in, Mbit/s", "批量接收 Mbit/s")}
            columns |= {"limit_out": t("bulk out, Mbit/s", "批量发送 Mbit/s")}
    answer(found, as_json, "peers", columns)
    if not as_json:
        show.result("")
        show.table(found["streams"], stream_columns())


def _limit(limit: dict[str, Any] | None) -> str:
    """The window in force as a person reads it: rate of limit, or closed; empty without windows."""
    if limit is None or not limit["until"]:
        return ""
    until = datetime.fromisoformat(limit["until"]).astimezone(CHINA)
    most = limit["mbit_per_s"]
    if most is None:
        text = t("no limit until {until:%a %H:%M}", "不限速，至 {until:%m-%d %H:%M}")
    elif most == 0:
        text = t("closed until {until:%a %H:%M} ({window})", "停传批量，至 {until:%m-%d %H:%M}（{window}）")
    else:
        text = t(
            "{rate:g} of {most:g} until {until:%a %H:%M} ({window})",
            "{rate:g} / 上限 {most:g}，至 {until:%m-%d %H:%M}（{window}）",
        )
    return text.format(until=until, most=most, rate=limit["rate_mbit_per_s"], window=limit["window"])


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


_ONE_PEER = click.option(
    "--peer", required=True, help=t("neighbour, NODE or NODE/ZONE", "相邻分区，NODE 或 NODE/ZONE")
)
_MEDIUM = click.argument("directory", type=click.Path(path_type=Path, file_okay=False))


@line.command(
    name="export",
    help=t(
        "Write what a neighbour has not got to a medium: for a line that is cut.",
        "将相邻分区尚未取得的内容写入介质，用于线路中断时。",
    ),
    epilog="jinbao line export /media/stick --peer 140000",
)
@_MEDIUM
@_ONE_PEER
@asking(Zone.EXCHANGE)
def export_(directory: Path, peer: str, config: Path, zone: str, as_json: bool) -> None:
    """Packages beyond the marks the neighbour left on the medium; without marks, all there are."""
    found = ask(config, zone, "line.export", peer=peer, directory=str(directory.resolve()))
    if as_json:
        show.as_json(found)
        return
    show.result(
        t(
            "{packages} packages, {bytes} bytes in {folder}; there: jinbao line import",
            "{folder} 中有 {packages} 个交换包，{bytes} 字节；在对端执行：jinbao line import",
        ).format(**found)
    )


@line.command(
    name="import",
    help=t(
        "Accept what a neighbour exported to a medium, and leave our marks on it for its next export.",
        "受理相邻分区导出到介质的内容，并留下本方进度供其下次导出。",
    ),
    epilog="jinbao line import /media/stick --peer 140100",
)
@_MEDIUM
@_ONE_PEER
@asking(Zone.EXCHANGE)
@click.pass_context
def import_(ctx: click.Context, directory: Path, peer: str, config: Path, zone: str, as_json: bool) -> None:
    """Every package is proved as if it came by the line."""
    found = ask(config, zone, "line.import", peer=peer, directory=str(directory.resolve()))
    if as_json:
        show.as_json(found)
    else:
        text = t("{accepted} batches of {peer} accepted", "已受理 {peer} 的 {accepted} 个批次")
        show.result(text.format(**found))
        for stream, reason in found["held"].items():
            show.talk(f"{stream}: {reason}")
    ctx.exit(3 if found["held"] else 0)


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


@line.command(
    help=t(
        "Why a stream was held, and the signed heads that contradict each other.",
        "流被暂停的原因，以及相互矛盾的已签封批头。",
    ),
    epilog="jinbao line proof 140100/production/pension_macro/line --out proof.json",
)
@click.argument("stream")
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    help=t("write both sealed heads to a file, whole", "将两个签封批头完整写入文件"),
)
@asking(Zone.EXCHANGE)
def proof(stream: str, out: Path | None, config: Path, zone: str, as_json: bool) -> None:
    """A person reads the places and heads; the file holds the bytes that were signed."""
    found = ask(config, zone, "line.proof", stream=stream)
    if out is not None:
        out.write_text(json.dumps(found, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    if as_json:
        show.as_json(found)
        return
    if out is not None:
        show.talk(t(f"both sides written to {out}", f"双方已写入 {out}"))
        return
    names = {
        "code": t("held by code", "暂停代码"),
        "reason": t("reason", "原因"),
        "at": t("at", "时间"),
        "still_held": t("still held", "仍在暂停"),
        "ground": t("what both prove", "两者证明"),
    }
    show.pairs(found, names)
    columns = {
        "side": t("side", "一方"),
        "stream": t("stream", "流"),
        "seq": t("seq", "序号"),
        "head": t("head", "批头摘要"),
        "previous": t("follows", "前一批头"),
        "made_at": t("made at", "生成时间"),
    }
    show.result("")
    show.table(found["heads"], columns)


@line.command(
    help=t(
        "Let a held stream go on; the reason is recorded and the origin is told.",
        "让被暂停的流继续；记录原因并告知来源。",
    ),
    epilog='jinbao line release 140100/production/pension_macro/line --reason "restored copy switched off"',
)
@click.argument("stream")
@click.option("--reason", required=True, help=t("why; it is recorded", "原因，将被记录"))
@asking(Zone.EXCHANGE)
def release(stream: str, reason: str, config: Path, zone: str, as_json: bool) -> None:
    """Release."""
    found = ask(config, zone, "line.release", stream=stream, reason=reason)
    if as_json:
        show.as_json(found)
    else:
        show.result(t("{stream} goes on at #{seq}", "{stream} 从 #{seq} 继续").format(**found))


@line.command(
    help=t(
        "Let a zone that was put back from a copy go on, though nobody told it how far it had come; nothing ends what "
        "it then contradicts but a store made anew.",
        "由副本恢复的分区，尚无人告知其原有进度时，仍让它继续；由此产生的矛盾只能以重新建立存储来结束。",
    ),
    epilog='jinbao line proceed --zone production --reason "exchange zone lost, nothing was captured after the copy"',
)
@click.option("--reason", required=True, help=t("why; it is recorded", "原因，将被记录"))
@asking(Zone.PRODUCTION)
def proceed(reason: str, config: Path, zone: str, as_json: bool) -> None:
    """Wait no longer."""
    found = ask(config, zone, "line.proceed", reason=reason)
    if as_json:
        show.as_json(found)
    else:
        text = t(
            "{zone} goes on without the word of {not_waited_for}", "{zone} 不等 {not_waited_for} 的说明，继续"
        )
        show.result(text.format(**found))


def _told(found: dict[str, object], as_json: bool, key: str) -> None:
    if as_json:
        show.as_json(found)
        return
    peers = found[key]
    assert isinstance(peers, list)
    show.result("\n".join(peers))
