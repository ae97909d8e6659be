"""`jinbao journal`: what was recorded, whether it is unchanged, and what may go."""

from __future__ import annotations

from pathlib import Path

import click

from jinbao.cli import show
from jinbao.cli.asking import answer, ask, asking
from jinbao.cli.words import t
from jinbao.model.zone import Zone


@click.group(
    help=t(
        "The journal: list, show, verify, scrub, mend, retention.",
        "流水：列表、查看、校验、巡检、修复、保留。",
    ),
    epilog="jinbao journal verify --zone exchange",
)
def journal() -> None:
    """Group."""


@journal.command(
    name="list", help=t("Acts in order.", "按顺序列出。"), epilog="jinbao journal list --after 100 --limit 20"
)
@click.option("--after", default=0, help=t("place to start after", "起始位置"))
@click.option("--limit", default=50, show_default=True, help=t("how many", "条数"))
@click.option("--kind", default="", help=t("one kind only", "仅此类"))
@asking(Zone.EXCHANGE)
def listing(after: int, limit: int, kind: str, config: Path, zone: str, as_json: bool) -> None:
    """A page of acts."""
    found = ask(config, zone, "journal.list", after=after, limit=limit, kind=kind)
    columns = {
        "lsn": t("place", "位置"),
        "at": t("at", "时间"),
        "kind": t("kind", "类"),
        "about": t("about", "对象"),
    }
    answer(found, as_json, "acts", columns)


@journal.command(name="show", help=t("One act, whole.", "查看一条。"), epilog="jinbao journal show 12")
@click.argument("lsn", type=int)
@asking(Zone.EXCHANGE)
def show_act(lsn: int, config: Path, zone: str, as_json: bool) -> None:
    """Always JSON: it is the record."""
    del as_json
    show.as_json(ask(config, zone, "journal.show", lsn=lsn))


@journal.command(
    help=t(
        "Read every act, header and segment again; exit code 1 names what is damaged.",
        "重读全部流水、批次头和段；有损坏时退出码为 1。",
    ),
    epilog="jinbao journal verify --zone exchange",
)
@asking(Zone.EXCHANGE)
@click.pass_context
def verify(ctx: click.Context, config: Path, zone: str, as_json: bool) -> None:
    """Damage, or none."""
    found = ask(config, zone, "journal.verify")
    if found["ok"] and not as_json:
        acts, segments = found["acts"], found["segments"]
        show.result(
            t(
                f"ok: {acts} acts and {segments} segments are what was written",
                f"正确：{acts} 条流水、{segments} 个段与写入时一致",
            )
        )
    else:
        answer(
            found,
            as_json,
            "damage",
            {"thing": t("thing", "对象"), "kind": t("kind", "类"), "detail": t("detail", "详情")},
        )
    ctx.exit(0 if found["ok"] else 1)


@journal.command(
    help=t(
        "How far the pass over all segments is, and what is damaged; a zone reads every segment again within its scrub_days.",
        "段巡检进度及损坏情况；分区在 scrub_days 天内重读全部段。",
    ),
    epilog="jinbao journal scrub --zone production",
)
@asking(Zone.EXCHANGE)
@click.pass_context
def scrub(ctx: click.Context, config: Path, zone: str, as_json: bool) -> None:
    """Exit code 3 while something is damaged and not mended."""
    found = ask(config, zone, "journal.scrub")
    answer(found, as_json, "damaged", {"segment": t("segment", "段"), "kind": t("kind", "类")})
    if not as_json:
        names = {
            "segments": t("segments read in this pass", "本轮已读段数"),
            "last_ended_at": t("last whole pass ended", "最近一轮完成于"),
            "last_segments": t("its segments", "该轮段数"),
            "last_bytes": t("its bytes", "该轮字节数"),
            "within_days": t("days for a pass", "每轮天数上限"),
        }
        show.pairs(found, names)
    ctx.exit(3 if found["damaged"] else 0)


@journal.command(
    help=t(
        "Bring missing or damaged segments again from neighbours, without waiting for the pass; exit code 1 where one is left.",
        "立即向邻居重新取得缺失或损坏的段，不等巡检轮到；仍有缺失时退出码为 1。",
    ),
    epilog="jinbao journal mend --zone exchange",
)
@asking(Zone.EXCHANGE)
@click.pass_context
def mend(ctx: click.Context, config: Path, zone: str, as_json: bool) -> None:
    """What came, and what nobody has."""
    found = ask(config, zone, "journal.mend")
    if as_json:
        show.as_json(found)
    else:
        done, left = t("brought again", "已重新取得"), t("nobody has it", "无人持有")
        rows = [{"segment": s, "said": done} for s in found["mended"]]
        rows += [{"segment": s, "said": left} for s in found["left"]]
        show.table(rows, {"segment": t("segment", "段"), "said": t("what became of it", "结果")})
    ctx.exit(1 if found["left"] else 0)


@journal.command(
    help=t(
        "Who still needs which bytes, and what may go; --apply removes what nobody needs.",
        "各方仍需的字节数与可删除部分；--apply 执行删除。",
    ),
    epilog="jinbao journal retention --zone production",
)
@click.option("--apply", is_flag=True, help=t("remove what nobody needs", "删除无人需要的文件"))
@asking(Zone.EXCHANGE)
def retention(apply: bool, config: Path, zone: str, as_json: bool) -> None:
    """The plan."""
    found = ask(config, zone, "journal.retention", apply=apply)
    answer(found, as_json, "needed_by", {"who": t("needed by", "需要者"), "bytes": t("bytes", "字节")})
    if not as_json:
        names = {
            "bytes": t("bytes in all", "总字节"),
            "may_go_bytes": t("may go", "可删除"),
            "freed_bytes": t("freed", "已释放"),
            "reserve_bytes": t("disk reserve", "磁盘保留"),
        }
        show.pairs(found, names)
