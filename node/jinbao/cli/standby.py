"""`jinbao standby`: how far the backup site is behind, and a lost zone built again from it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from jinbao.cli import show
from jinbao.cli.asking import ask, ask_for_file, asking, config_option, json_option
from jinbao.cli.words import t
from jinbao.model.zone import Zone

_TELL_EVERY = 500


@click.group(
    help=t(
        "The backup site: what would be lost now, up to when each protected zone can be built again, and building it.",
        "灾备：此刻会丢失什么、各被保护分区可重建到何时，以及重建。",
    ),
    epilog="jinbao standby status",
)
def standby() -> None:
    """Group."""


@standby.command(
    help=t(
        "At a protected zone: what the backup does not have. At the backup: each protected zone's newest cut.",
        "在被保护分区：灾备尚未取得的内容。在灾备：各被保护分区的最新切点。",
    ),
    epilog="jinbao standby status --config /etc/jinbao/node.toml",
)
@asking(Zone.EXCHANGE)
@click.pass_context
def status(ctx: click.Context, config: Path, zone: str, as_json: bool) -> None:
    """Exit code 3 where a protected zone cannot be built again, or a backup has less than it said."""
    found = ask(config, zone, "standby.status")
    broken = [line for line in found["protected"] if not line["restorable_to"] or line["held"]]
    broken += [line for line in found["witnessed"] if line["went_back_at"]]
    if as_json:
        show.as_json(found)
    else:
        _show(found)
    ctx.exit(3 if broken else 0)


def _show(found: dict[str, Any]) -> None:
    own = found["own"]
    unknown = t("unknown", "未知")
    if own["backup"]:
        text = t(
            "{backup} is behind this zone's journal by {rpo_s} s, {rpo_rows} records, {rpo_bytes} bytes",
            "{backup} 落后本分区流水 {rpo_s} 秒、{rpo_rows} 条记录、{rpo_bytes} 字节",
        )
        show.result(text.format(**{k: unknown if v is None else v for k, v in own.items()}))
    elif not found["protected"] and not found["witnessed"]:
        show.result(t("nobody protects this zone", "本分区没有灾备"))
    if own["capture_age_s"] is not None:
        text = t(
            "the source was captured {capture_age_s} s ago; what it wrote since is protected by the source alone",
            "来源库 {capture_age_s} 秒前采集；此后写入的内容仅由来源库自身保护",
        )
        show.result(text.format(**own))
    if found["protected"]:
        columns = {
            "zone": t("zone", "分区"),
            "acts": t("acts", "流水条数"),
            "restorable_to": t("can be built up to", "可重建到"),
            "capture_age_s": t("source captured, s ago", "来源采集于（秒前）"),
            "seen_s_ago": t("seen, s ago", "上次应答（秒前）"),
            "missing": t("missing segments", "缺失段"),
            "verified_at": t("all read again by", "最近全部重读"),
            "held": t("held", "暂停原因"),
        }
        show.table(found["protected"], columns)

    if found["witnessed"]:
        columns = {
            "backup": t("backup", "灾备"),
            "zone": t("said it has of", "声明已取得"),
            "batch": t("batch", "批次"),
            "at": t("at", "时间"),
            "went_back_at": t("HAD LESS at", "少于先前声明，于"),
        }
        show.table(found["witnessed"], columns)


@standby.command(
    help=t(
        "Build a protected zone again in an empty directory, from its copy at this backup site; every act and segment is proved.",
        "由本灾备的副本在空目录中重建被保护分区；逐条流水、逐段核验。",
    ),
    epilog="jinbao standby rebuild 140100/exchange --to /srv/rebuilt/exchange",
)
@click.argument("protected", metavar="NODE/ZONE")
@click.option(
    "--to",
    "directory",
    required=True,
    type=click.Path(path_type=Path, file_okay=False),
    help=t("an empty directory, or one where the same rebuild did not end", "空目录，或同一重建未完成的目录"),
)
@click.option(
    "--database",
    default="",
    help=t(
        "URL of an empty database; a file in the directory if not named", "空数据库的 URL；缺省为目录中的文件"
    ),
)
@click.option(
    "--at", default=0, help=t("last act to build; all if not named", "重建到第几条流水；缺省为全部")
)
@config_option
@json_option
def rebuild(protected: str, directory: Path, database: str, at: int, config: Path, as_json: bool) -> None:
    """The backup goes on following meanwhile."""
    import tempfile
    from dataclasses import asdict

    from jinbao.appliance.restoring import Place, read_copy
    from jinbao.appliance.restoring import rebuild as build
    from jinbao.appliance.settings import load

    settings = load(config)

    def tell(done: int, total: int) -> None:
        if not as_json and done % _TELL_EVERY == 0:
            show.talk(t(f"· {done} of {total}", f"· {done} / {total}"))

    with tempfile.TemporaryDirectory(prefix="jinbao-") as scratch:
        lines = Path(scratch) / "copy"
        said = ask_for_file(lines, config, str(Zone.EXCHANGE), "standby.copy", protected=protected)
        copy = read_copy(lines, Path(said["shelf"]), at)
    found = build(copy, settings, Place(directory.absolute(), database), tell)
    if as_json:
        show.as_json(asdict(found))
        return
    rows = [{"table": name, "rows": count} for name, count in sorted(found.tables.items()) if count]
    show.table(rows, {"table": t("table", "表"), "rows": t("rows", "行数")})
    text = t(
        "{zone} as of act {acts} is in {directory}, {bytes} bytes of segments, {seconds} s; its keys are not: they never left it",
        "{zone} 截至第 {acts} 条流水已重建于 {directory}，段 {bytes} 字节，用时 {seconds} 秒；密钥从未离开原分区，不在其中",
    )
    show.result(text.format(**asdict(found)))
