"""`jinbao backup`: this node's zones copied to a directory while they run, copies proved, a zone built from one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from jinbao.cli import show
from jinbao.cli.asking import ask, ask_for_file, config_option, end_tidily, json_option
from jinbao.cli.backup_copies import restore_copy, show_copies
from jinbao.cli.backup_options import (
    anchors_of,
    begun,
    newest_of,
    one_zone_option,
    opened,
    places,
    repository_argument,
    root_option,
    telling,
)
from jinbao.cli.words import t
from jinbao.model.errors import JinbaoError, UsageError
from jinbao.model.zone import Zone

if TYPE_CHECKING:
    from jinbao.standby.inspecting import Inspection
    from jinbao.standby.manifests import Manifest
    from jinbao.standby.repository import Backups

DAMAGED, STRAYS = 1, 3


@click.group(
    help=t(
        "Backup of this node to a directory: another disk, a file server, what a tape takes. For a node that no backup site "
        "protects, or beside one. Private keys are in none: keep identity/ and audit.key of each zone apart.",
        "本节点到目录的备份：另一磁盘、文件服务器或磁带暂存区。供无灾备保护的节点使用，或与灾备并用。私钥不在备份中，"
        "请另行保管各分区的 identity/ 与 audit.key。",
    ),
    epilog="jinbao backup create /srv/backup",
)
def backup() -> None:
    """Group."""


@backup.command(
    help=t(
        "Copy each zone of this node, while it runs: its acts and every segment they name; only what is new is written.",
        "在运行中复制本节点各分区：流水及其引用的全部数据段；只写入新增内容。",
    ),
    epilog="jinbao backup create /srv/backup --config /etc/jinbao/node.toml",
)
@repository_argument
@one_zone_option
@config_option
@json_option
def create(directory: Path, zone: str | None, config: Path, as_json: bool) -> None:
    """A zone whose backup fails ends the command; those before it stand."""
    from dataclasses import asdict

    from jinbao.appliance.backing_up import create as make
    from jinbao.appliance.settings import load

    end_tidily()
    settings = load(config)
    chosen = [Zone(zone)] if zone else list(settings.zones)
    endpoints = [settings.endpoint(one) for one in chosen]
    repository = begun(directory, settings.node)
    made = []
    for endpoint in endpoints:

        def asking(
            question: str, output: Path | None = None, zone: str = endpoint.zone, **arguments: Any
        ) -> dict[str, Any]:
            if output is not None:
                return ask_for_file(output, config, zone, question, **arguments)
            return ask(config, zone, question, **arguments)

        tell = telling(f"{endpoint}: ", t("acts", "条流水"), as_json=as_json)
        made.append(make(asking, repository, repository.begin(endpoint), tell))
    if as_json:
        show.as_json({"repository": str(directory), "backups": [asdict(one) for one in made]})
        return
    for one in made:
        for passed in one.passed_over:
            show.talk(t(f"passed over as damaged: {passed}", f"已跳过损坏的备份：{passed}"))
    show.table([asdict(one) for one in made], _columns() | {"seconds": t("seconds", "秒")})
    show.result(
        t(
            "Private keys are not in it: keep identity/ and audit.key of each zone, the topology and the settings apart.",
            "备份不含私钥：请另行保管各分区的 identity/ 与 audit.key，以及网络拓扑和配置文件。",
        )
    )


def _columns() -> dict[str, str]:
    return {
        "zone": t("zone", "分区"),
        "name": t("backup", "备份"),
        "at": t("zone as of", "分区截至"),
        "captured_at": t("source captured", "来源采集于"),
        "acts": t("acts", "流水条数"),
        "bytes": t("bytes", "字节"),
        "new_bytes": t("of them new", "其中新增"),
    }


@backup.command(
    name="list",
    help=t(
        "Backups with their moments and sizes. Says nothing of the files they name: see verify. Exit code 3 where a "
        "manifest cannot be read or a zone has none. Without a repository: copies of this node's databases that were made "
        "before an upgrade changed them.",
        "列出各备份的时刻与大小；不检查其所列文件，参见 verify。清单无法读取或某分区无备份时退出码为 3。"
        "未指定目录时：列出升级修改本节点数据库之前所作的副本。",
    ),
    epilog="jinbao backup list /srv/backup --json",
)
@click.argument(
    "directory", metavar="[REPOSITORY]", required=False, type=click.Path(path_type=Path, file_okay=False)
)
@one_zone_option
@config_option
@json_option
@click.pass_context
def listing(
    ctx: click.Context, directory: Path | None, zone: str | None, config: Path, as_json: bool
) -> None:
    """Oldest first, zone by zone."""
    if directory is None:
        show_copies(config, zone, as_json=as_json)
        return
    repository = opened(directory)
    rows: list[dict[str, Any]] = []
    for backups in places(repository, zone):
        rows += [_line(backups, name) for name in backups.names()]
        if not backups.names():
            wrong = t("no backup", "无备份")
            rows.append({"zone": str(backups.zone), "name": "", "ok": False, "wrong": wrong})
    if as_json:
        show.as_json({"repository": str(directory), "node": repository.node, "backups": rows})
    else:
        show.table(rows, _columns() | {"wrong": t("wrong", "错误")})
    ctx.exit(0 if rows and all(row["ok"] for row in rows) else STRAYS)


def _line(backups: Backups, name: str) -> dict[str, Any]:
    """One backup as its manifest says; `wrong` where that cannot be read."""
    try:
        found = backups.read(name, None)
    except JinbaoError as exc:
        return {"zone": str(backups.zone), "name": name, "ok": False, "wrong": str(exc)}
    names = ("name", "at", "made_at", "captured_at", "acts", "hash", "segments", "bytes")
    said = {key: getattr(found, key) for key in (*names, "new_acts", "new_segments", "new_bytes")}
    return {"zone": str(found.zone)} | said | {"ok": True, "wrong": ""}


@backup.command(
    help=t(
        "Hash every file, prove every signature, hold every act against the chain; names what is missing, truncated, altered, "
        "swapped, unprovable or stray, and deletes nothing. Exit code 1: damaged; 3: only strays.",
        "逐文件计算摘要、核验签名、核对流水链；指出缺失、截断、篡改、错置、无法证明或多余的文件，不删除任何内容。"
        "退出码 1：有损坏；3：仅有多余文件。",
    ),
    epilog="jinbao backup verify /srv/backup | jinbao backup verify /srv/backup --zone exchange --at 20261126T054512Z-000000001234",
)
@repository_argument
@one_zone_option
@click.option(
    "--at",
    default="",
    help=t(
        "one backup only, by name or moment; all of them if not named", "仅此备份（名称或时刻）；缺省为全部"
    ),
)
@root_option
@config_option
@json_option
@click.pass_context
def verify(
    ctx: click.Context,
    directory: Path,
    zone: str | None,
    at: str,
    roots: tuple[Path, ...],
    config: Path,
    as_json: bool,
) -> None:
    """A zone that is on this host is asked for the newest backup it made: a repository put back is found."""
    from dataclasses import asdict

    from jinbao.standby.inspecting import inspect

    repository = opened(directory)
    found = []
    for backups in places(repository, zone):
        anchors = anchors_of(backups, roots, config)
        newest = newest_of(repository, backups, config)
        tell = telling(f"{backups.zone}: ", t("files", "个文件"), as_json=as_json)
        found.append((inspect(backups, anchors, at, newest, tell), newest is not None))
    if as_json:
        zones = [asdict(one) | {"asked": asked} for one, asked in found]
        show.as_json(
            {"repository": str(directory), "ok": not any(o.damage for o, _ in found), "zones": zones}
        )
    else:
        for one, asked in found:
            _show(one, asked=asked)
    damaged, strays = any(one.damage for one, _ in found), any(one.strays for one, _ in found)
    ctx.exit(DAMAGED if damaged or not found else STRAYS if strays else 0)


def _show(found: Inspection, *, asked: bool) -> None:
    for one in (*found.damage, *found.strays):
        show.result(f"  - {found.zone}: {one.thing}: {_kind(one.kind)}: {one.detail}")
    good = t(
        "{zone}: {backups} backups whole, {segments} files, {bytes} bytes",
        "{zone}：{backups} 个备份完整，{segments} 个文件，{bytes} 字节",
    )
    bad = t("{zone}: DAMAGED, {wrong} findings", "{zone}：有损坏，{wrong} 处")
    said = {"zone": found.zone, "backups": found.backups, "segments": found.segments, "bytes": found.bytes}
    show.result((bad if found.damage else good).format(**said, wrong=len(found.damage)))
    if not asked:
        text = t(
            "{zone} was not asked for its newest backup: an older state of the whole repository would not be found",
            "未向 {zone} 询问其最新备份：若整个目录被还原到旧状态，将无法发现",
        )
        show.talk(text.format(zone=found.zone))


def _kind(kind: str) -> str:
    chinese = {
        "missing": "缺失",
        "unreadable": "无法读取",
        "truncated": "截断",
        "altered": "篡改",
        "swapped": "错置",
        "unprovable": "无法证明",
        "stray": "多余",
    }
    return t(kind, chinese.get(kind, kind))


@backup.command(
    help=t(
        "Build a zone from a backup in an empty directory and an empty database; every file and act is proved on the way. "
        "From a directory of copies made before upgrades: the database alone, as it was.",
        "由备份在空目录和空数据库中重建分区；逐文件、逐条流水核验。指定升级前副本的目录时：仅恢复当时的数据库。",
    ),
    epilog="jinbao backup restore /srv/backup 140100/exchange --to /srv/restored/exchange --root root.pem",
)
@repository_argument
@click.argument("restored", metavar="NODE/ZONE")
@click.option(
    "--to",
    "target",
    required=True,
    type=click.Path(path_type=Path, file_okay=False),
    help=t("an empty directory, or one where the same restore did not end", "空目录，或同一恢复未完成的目录"),
)
@click.option(
    "--database",
    default="",
    help=t(
        "URL of an empty database; a file in the directory if not named", "空数据库的 URL；缺省为目录中的文件"
    ),
)
@click.option(
    "--at",
    default="",
    help=t(
        "a backup's name, or a moment, UTC: the newest backup of it or before; the newest of all if not named",
        "备份名称，或时刻（UTC）：取该时刻或之前的最新备份；缺省为最新备份",
    ),
)
@root_option
@config_option
@json_option
def restore(
    directory: Path,
    restored: str,
    target: Path,
    database: str,
    at: str,
    roots: tuple[Path, ...],
    config: Path,
    as_json: bool,
) -> None:
    """Nothing is ever written over; a restore that was ended goes on when the command is given again."""
    from dataclasses import asdict

    from jinbao.appliance.backing_up import restore as build
    from jinbao.appliance.database.copies import is_copies
    from jinbao.appliance.restoring import Place
    from jinbao.appliance.settings import load
    from jinbao.model.zone import Endpoint

    settings = load(config)
    try:
        endpoint = Endpoint.parse(restored)
    except ValueError as exc:
        raise UsageError("zone", expected="NODE/ZONE", got=restored[:80]) from exc
    if is_copies(directory):
        restore_copy(directory, endpoint, at, target, database, as_json=as_json)
        return
    backups = opened(directory).of(endpoint)
    manifest: Manifest = backups.choose(at, anchors_of(backups, roots, config))
    tell = telling("", t("acts", "条流水"), as_json=as_json)
    found = build(backups, manifest, settings, Place(target.absolute(), database), tell)
    if as_json:
        show.as_json(asdict(found) | {"backup": manifest.name, "at": manifest.at})
        return
    rows = [{"table": name, "rows": count} for name, count in sorted(found.tables.items()) if count]
    show.table(rows, {"table": t("table", "表"), "rows": t("rows", "行数")})
    text = t(
        "{zone} as of {at}, act {acts}, is in {directory}, {bytes} bytes of segments, {seconds} s; its keys are not: "
        "enrol it anew, or lay its identity there",
        "{zone} 截至 {at}（第 {acts} 条流水）已恢复于 {directory}，段 {bytes} 字节，用时 {seconds} 秒；密钥不在其中，"
        "请重新入网或放回其身份",
    )
    show.result(text.format(**asdict(found), at=manifest.at))
