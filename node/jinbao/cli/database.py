"""`jinbao database`: is a zone's database fit, is its schema the newest, move it to another kind."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from jinbao.cli import show
from jinbao.cli.asking import config_option, json_option, zone_option
from jinbao.cli.words import t
from jinbao.model.zone import Zone

_TELL_EVERY_ACTS = 1000


@click.group(
    help=t("Databases of this node's zones.", "本节点各分区的数据库。"),
    epilog="jinbao database check --config /etc/jinbao/node.toml",
)
def database() -> None:
    """Group."""


def _things() -> dict[str, str]:
    """What each finding looks at, in words."""
    return {
        "reach": t("can be reached", "可以连接"),
        "conversion": t("unfinished conversion", "未完成的转换"),
        "schema": t("schema", "表结构版本"),
        "for_release": t("the release asked for can run on it", "所询版本可在其上运行"),
        "copy_before": t("copy made before", "此前所作副本"),
        "version": t("version", "版本"),
        "derived": t("derived server", "衍生版服务器"),
        "encoding": t("encoding", "编码"),
        "fsync": t("fsync: a commit survives power loss", "fsync：提交在断电后仍在"),
        "full_page_writes": t("full_page_writes: no torn page", "full_page_writes：无残页"),
        "synchronous_commit": t("synchronous_commit: waits for the disk", "synchronous_commit：提交等待落盘"),
        "read_only": t("read only", "只读"),
        "create_tables": t("may create tables", "可建表"),
        "create_parts": t("may create the schema of parts", "可建分区部分所在的模式"),
        "temporary_tables": t("may create temporary tables", "可建临时表"),
        "owner": t("owner of the tables", "表的属主"),
        "superuser": t("superuser", "超级用户"),
        "connections": t("connections allowed", "允许的连接数"),
        "quick_check": t("quick_check: the file is sound", "quick_check：文件完好"),
        "journal_mode": t("journal_mode", "journal_mode"),
        "size": t("size", "大小"),
        "space": t("free space", "剩余空间"),
    }


def _advice() -> dict[str, str]:
    """What to do about a finding that is not as it should be."""
    return {
        "reach": t("start the server, or correct zones.*.database", "启动服务器，或更正 zones.*.database"),
        "conversion": t(
            "empty it and convert again, or name another in zones.*.database",
            "清空后重新转换，或在 zones.*.database 中改用其他数据库",
        ),
        "schema": t(
            "lacking: jinbao database migrate, or start the zone; newer: start the release that made it",
            "缺少时：jinbao database migrate 或启动分区；较新时：使用建立它的版本",
        ),
        "for_release": t(
            "stay on this release; the way back is the copy made before: see Upgrade and roll back",
            "请留在本版本；回退须恢复此前所作副本：见“升级与回退”",
        ),
        "copy_before": t(
            "jinbao backup list, jinbao backup restore; of a server its own copy",
            "jinbao backup list、jinbao backup restore；服务器用其自身的备份",
        ),
        "version": t("upgrade the server", "升级数据库服务器"),
        "derived": t(
            "allowed; try it with a copy first, see Use PostgreSQL",
            "可用；请先用副本试验，见“使用 PostgreSQL”",
        ),
        "encoding": t(
            "create the database with ENCODING 'UTF8' TEMPLATE template0",
            "建库时使用 ENCODING 'UTF8' TEMPLATE template0",
        ),
        "fsync": t("set fsync = on", "设置 fsync = on"),
        "full_page_writes": t("set full_page_writes = on", "设置 full_page_writes = on"),
        "synchronous_commit": t(
            "set synchronous_commit = on for the role", "为该角色设置 synchronous_commit = on"
        ),
        "read_only": t("name the primary server", "改用主服务器"),
        "create_tables": t(
            "GRANT CREATE ON SCHEMA, or own the database", "GRANT CREATE ON SCHEMA，或成为库的属主"
        ),
        "create_parts": t(
            "GRANT CREATE ON DATABASE, or own the database", "GRANT CREATE ON DATABASE，或成为库的属主"
        ),
        "temporary_tables": t("GRANT TEMPORARY ON DATABASE", "GRANT TEMPORARY ON DATABASE"),
        "owner": t("ALTER TABLE … OWNER TO the zone's role", "ALTER TABLE … OWNER TO 分区的角色"),
        "superuser": t("give the zone a role of its own", "为分区建立专用角色"),
        "connections": t("raise max_connections", "提高 max_connections"),
        "quick_check": t(
            "stop the zone; rebuild by jinbao database convert", "停止分区；用 jinbao database convert 重建"
        ),
        "journal_mode": t("the zone sets it at its next start", "分区下次启动时自动设置"),
        "space": t("free space, or look on the server itself", "腾出空间，或在服务器上查看"),
    }


def _value(text: str) -> str:
    """A finding's value in the reader's language; names, numbers and a server's own words stay."""
    words = {
        "yes": t("yes", "是"),
        "no": t("no", "否"),
        "none": t("none", "无"),
        "newest": t("newest", "最新"),
        "empty": t("empty", "空"),
        "this release or older": t("this release or older", "本版本或更旧"),
        "this role": t("this role", "本角色"),
        "not known from here": t("not known from here", "在此无法得知"),
        "on: a standby server": t("on: a standby server", "on：备用服务器"),
    }
    openings = {
        "no: ": t("no: ", "否："),
        "lacks ": t("lacks ", "缺少 "),
        "expanded by ": t("expanded by ", "已由较新版本扩展："),
        "unfinished since ": t("unfinished since ", "未完成，始于 "),
        "another role of ": t("another role of ", "属主为其他角色："),
    }
    for opening, word in openings.items():
        if text.startswith(opening):
            return word + text.removeprefix(opening)
    return words.get(text, text)


def _told(found: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Findings of all zones as rows of one table."""
    things, advice = _things(), _advice()
    levels = {"ok": t("ok", "正常"), "note": t("note", "注意"), "wrong": t("WRONG", "有误")}
    return [
        {
            "zone": body["zone"],
            "thing": things[f["thing"]],
            "expected": _value(f["expected"]),
            "got": _value(f["got"]),
            "level": levels[f["level"]],
            "do": "" if f["level"] == "ok" else advice.get(f["thing"], ""),
        }
        for body in found
        for f in body["findings"]
    ]


@database.command(
    help=t(
        "Look at the database of each zone: server, durability, privileges, schema, space; exit code 1 if one is wrong.",
        "检查各分区的数据库：服务器、持久性设置、权限、表结构、空间；有误时退出码为 1。",
    ),
    epilog="jinbao database check --json --config node.toml",
)
@config_option
@click.option(
    "--zone",
    "zones",
    multiple=True,
    type=click.Choice([str(zone) for zone in Zone]),
    help=t("only this zone; may be repeated", "仅此分区；可重复"),
)
@click.option(
    "--for-release",
    "for_release",
    default="",
    help=t(
        "whether this release could run on the schema as it is now, before going back to it",
        "所列版本能否在当前表结构上运行，用于回退之前",
    ),
)
@json_option
@click.pass_context
def check(ctx: click.Context, config: Path, zones: tuple[str, ...], for_release: str, as_json: bool) -> None:
    """Every finding of every zone."""
    from jinbao.appliance.database.asking import check as look
    from jinbao.appliance.settings import load

    settings = load(config)
    found = [look(settings, Zone(zone), for_release) for zone in zones or settings.zones]
    wrong = sum(f["level"] == "wrong" for body in found for f in body["findings"])
    if as_json:
        show.as_json({"ok": not wrong, "zones": found})
    else:
        _show_findings(found, wrong)
    ctx.exit(1 if wrong else 0)


def _show_findings(found: Sequence[dict[str, Any]], wrong: int) -> None:
    for body in found:
        state = t("running", "运行中") if body["running"] else t("stopped", "已停止")
        show.result(f"{body['zone']}  {state}  {body['database']}")
    titles = {
        "zone": t("zone", "分区"),
        "thing": t("what", "项目"),
        "expected": t("expected", "应为"),
        "got": t("got", "实为"),
        "level": t("finding", "结论"),
        "do": t("what to do", "处理"),
    }
    show.table(_told(found), titles)
    show.result(t("nothing is wrong", "没有错误") if not wrong else t(f"{wrong} wrong", f"{wrong} 项有误"))


@database.command(
    help=t(
        "Bring a stopped zone's database to the newest schema; jinbao serve does the same at its start.",
        "将已停止分区的数据库升级到最新表结构；jinbao serve 启动时也会这样做。",
    ),
    epilog="jinbao database migrate --plan --zone exchange",
)
@config_option
@zone_option(Zone.EXCHANGE)
@click.option("--plan", "only_plan", is_flag=True, help=t("show what would be done", "仅显示将要做什么"))
@json_option
def migrate(config: Path, zone: str, only_plan: bool, as_json: bool) -> None:
    """All of it or nothing."""
    from jinbao.appliance.database.upgrading import migrate as bring
    from jinbao.appliance.settings import load

    steps = bring(load(config), Zone(zone), only_plan=only_plan)
    kinds = {
        "revision": t("revision", "版本"),
        "table": t("table", "建表"),
        "column": t("column", "加列"),
        "parts": t("in parts by origin", "按来源分区"),
    }
    if as_json:
        done = not only_plan and bool(steps)
        show.as_json({"done": done, "steps": [{"kind": s.kind, "name": s.name} for s in steps]})
        return
    if not steps:
        show.result(t("the schema is the newest", "表结构已是最新"))
        return
    rows = [{"kind": kinds[s.kind], "name": s.name} for s in steps]
    show.table(rows, {"kind": t("step", "步骤"), "name": t("name", "名称")})
    show.result(t("nothing was done", "未作更改") if only_plan else t("done", "已完成"))


@database.command(
    help=t(
        "Rebuild a stopped zone's database in an empty one, SQLite or PostgreSQL, from its journal; then compare every table.",
        "由流水在空数据库（SQLite 或 PostgreSQL）中重建已停止分区的数据库，并逐表比对。",
    ),
    epilog="jinbao database convert --zone exchange --to postgresql+psycopg://jinbao@db.internal/exchange",
)
@config_option
@zone_option(Zone.EXCHANGE)
@click.option("--to", "target", required=True, help=t("URL of an empty database", "空数据库的 URL"))
@json_option
def convert(config: Path, zone: str, target: str, as_json: bool) -> None:
    """The zone's own database is left as it is."""
    from dataclasses import asdict

    from jinbao.appliance.database.converting import convert as rebuild
    from jinbao.appliance.settings import load

    def tell(done: int, total: int) -> None:
        if not as_json and done % _TELL_EVERY_ACTS == 0:
            show.talk(t(f"· {done} of {total} acts", f"· {done} / {total} 条流水"))

    found = rebuild(load(config), Zone(zone), target, tell)
    if as_json:
        show.as_json(asdict(found))
        return
    rows = [{"table": name, "rows": rows} for name, rows in sorted(found.tables.items())]
    show.table(rows, {"table": t("table", "表"), "rows": t("rows, equal in both", "行数，两库相同")})
    show.result(t(f"{found.acts} acts replayed", f"已重放 {found.acts} 条流水"))
    show.result(
        t(
            f'Now set {found.key} = "{found.value}" in {config}, start the zone, and move the old database away: '
            "a zone started on it again would contradict itself.",
            f'请在 {config} 中设置 {found.key} = "{found.value}"，启动分区，并移走旧数据库：再用旧库启动会自相矛盾。',
        )
    )
