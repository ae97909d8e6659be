"""`jinbao standby`: how far the backup site is behind, and a lost zone built again from it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from jinbao.cli import divergence, promotion, show, takeover
from jinbao.cli.asking import ask, ask_for_file, asking, config_option, json_option
from jinbao.cli.drill import drill, show_drilling, show_drills
from jinbao.cli.standby_keys import key, key_option, passphrase_option
from jinbao.cli.words import t
from jinbao.model.zone import Zone

_TELL_EVERY = 500


@click.group(
    help=t(
        "The backup site: what would be lost now, up to when each protected zone can be built again, building it, drills, "
        "and having it take over.",
        "灾备：此刻会丢失什么、各被保护分区可重建到何时，重建、演练与接管。",
    ),
    epilog="jinbao standby status",
)
def standby() -> None:
    """Group."""


_COMMANDS = (
    *(takeover.plan, promotion.declare, promotion.sign, promotion.grant, takeover.promote, key),
    *(divergence.diverged, divergence.review, divergence.rejoin, drill),
)
for _command in _COMMANDS:
    standby.add_command(_command)


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
    """Exit code 3 where a protected zone cannot be built again, a drill went wrong, or a backup has less than it said."""
    found = ask(config, zone, "standby.status")
    broken = [line for line in found["protected"] if not line["restorable_to"] or line["held"]]
    broken += [line for line in found["witnessed"] if line["went_back_at"]]
    broken += [drill for drill in found["drills"] if not drill["ok"]]
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
            "opened_by": t("opened by", "可打开者"),
            "held": t("held", "暂停原因"),
        }
        lines = [
            line | {"opened_by": ", ".join(name.partition(":")[0] for name in line["opened_by"])}
            for line in found["protected"]
        ]
        show.table(lines, columns)
    if found["drills"]:
        show_drills(found["drills"])
    if found["drilling"]:
        show_drilling(found["drilling"])
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
@key_option
@passphrase_option
@config_option
@json_option
def rebuild(
    protected: str,
    directory: Path,
    database: str,
    at: int,
    keys: tuple[Path, ...],
    passphrases: tuple[Path, ...],
    config: Path,
    as_json: bool,
) -> None:
    """The backup goes on following meanwhile."""
    import tempfile
    from dataclasses import asdict

    from jinbao.appliance.restoring import Place, opens_of, read_copy
    from jinbao.appliance.restoring import rebuild as build
    from jinbao.appliance.settings import load

    settings = load(config)
    opens = opens_of(keys, passphrases, ("escrow",))

    def tell(done: int, total: int) -> None:
        if not as_json and done % _TELL_EVERY == 0:
            show.talk(t(f"· {done} of {total}", f"· {done} / {total}"))

    with tempfile.TemporaryDirectory(prefix="jinbao-") as scratch:
        lines = Path(scratch) / "copy"
        said = ask_for_file(lines, config, str(Zone.EXCHANGE), "standby.copy", protected=protected)
        found = build(
            read_copy(lines, said, opens, at), settings, Place(directory.absolute(), database), tell
        )
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


@standby.command(
    help=t(
        "At the backup: what of its copies may go after its time. A zone can be built again all the same.",
        "在灾备：副本中到期可清除的内容；各分区仍可重建。",
    ),
    epilog="jinbao standby purge --older-than 90 --reason 'the disk is full' --apply",
)
@click.option(
    "--older-than",
    "days",
    required=True,
    type=click.FloatRange(min=0, min_open=True),
    help=t("days since a segment was last named", "段最后一次被引用以来的天数"),
)
@click.option("--apply", "is_applied", is_flag=True, help=t("remove it", "执行清除"))
@click.option("--reason", required=True, help=t("why; it is recorded", "原因，将被记录"))
@config_option
@json_option
def purge(days: float, is_applied: bool, reason: str, config: Path, as_json: bool) -> None:
    """An act of the security administrator, where roles are apart."""
    found = ask(config, str(Zone.EXCHANGE), "standby.purge", days=days, apply=is_applied, reason=reason)
    if as_json:
        show.as_json(found)
        return
    show.table(
        found["may_go"],
        {"zone": t("zone", "分区"), "segments": t("segments", "段"), "bytes": t("bytes", "字节")},
    )
    if found["hold"]:
        show.result(t("under legal hold: {}", "法律保全：{}").format(", ".join(found["hold"])))
    if is_applied:
        show.result(t("{} bytes came free", "已释放 {} 字节").format(found["freed_bytes"]))
