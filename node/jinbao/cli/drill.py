"""`jinbao standby drill`: a protected node built again, by this process or by the running zone, and what came of it.

By the zone where this account may not open the key of drills or the copies: it drills as its calendar would.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from jinbao.cli import show
from jinbao.cli.asking import ask, ask_for_file, config_option, end_tidily, json_option
from jinbao.cli.standby_keys import key_option, passphrase_option
from jinbao.cli.words import t
from jinbao.model.errors import LinkError, LocalError, UsageError
from jinbao.model.zone import Zone

_LOOK_EVERY_S = 1.0


@click.command(
    help=t(
        "Build a protected node again where it can reach nobody, open it, hold it against its own signed word, and sign the report.",
        "在隔离环境中重建被保护节点，打开并与其自身签封核对，签发演练报告。",
    ),
    epilog="jinbao standby drill --node 140100 | jinbao standby drill --all --by-zone",
)
@click.option(
    "--node",
    default="",
    help=t("the node; the one that waits longest if not named", "节点；缺省为等待最久者"),
)
@click.option(
    "--all", "every", is_flag=True, help=t("every protected node, one after the other", "逐个演练全部节点")
)
@click.option(
    "--by-zone",
    is_flag=True,
    help=t(
        "let the running exchange zone drill with its own key, and wait for it; with --node or --all",
        "由运行中的交换区用其自身密钥演练，并等待结果；须与 --node 或 --all 同用",
    ),
)
@click.option(
    "--at",
    "moment",
    default="",
    help=t("as it was at this moment, UTC; now if not named", "按此时刻（UTC）重建；缺省为最新"),
)
@key_option
@passphrase_option
@config_option
@json_option
@click.pass_context
def drill(
    ctx: click.Context,
    node: str,
    every: bool,
    by_zone: bool,
    moment: str,
    keys: tuple[Path, ...],
    passphrases: tuple[Path, ...],
    config: Path,
    as_json: bool,
) -> None:
    """Exit code 3 if anything is wrong: a red drill is a red backup."""
    if by_zone:
        own = {"--at": moment, "--key": keys, "--passphrase-file": passphrases}
        _require_zones_own(node, every=every, given=[name for name, value in own.items() if value])
        ctx.exit(_by_zone(node, config, as_json=as_json))
    reports = _here(node, every, moment, keys, passphrases, config, as_json)
    if as_json:
        show.as_json({"ok": all(r["ok"] for r in reports), "reports": reports})
    else:
        for report in reports:
            _show_report(report)
    ctx.exit(0 if all(r["ok"] for r in reports) else 3)


def _require_zones_own(node: str, *, every: bool, given: Sequence[str]) -> None:
    """Refuse what the zone would not do: it has a key of its own, and builds what is newest."""
    if given:
        raise UsageError(
            "--by-zone", expected="neither --key, --passphrase-file nor --at", got=", ".join(given)
        )
    if bool(node) == every:
        got = "both" if every else "neither"
        raise UsageError("--by-zone", expected="--node NODE or --all", got=got)


def _by_zone(node: str, config: Path, *, as_json: bool) -> int:
    """Have the zone drill, wait until that run has ended, and show the newest drill of each node; the exit code."""
    run = ask(config, str(Zone.EXCHANGE), "standby.drill", node=node)["run"]
    if not as_json:
        show.talk(t(f"· asked for as run {run}", f"· 已请求，为第 {run} 次"))
    found = _ended(run, config)
    doing = found["drilling"]
    if doing["failed_run"] >= run:
        raise LocalError(
            f"drill by zone {found['zone']}",
            expected="a report",
            got=doing["failed"],
            next_step="mend what it says, then ask again",
        )
    nodes = {node} if node else {line["zone"].partition("/")[0] for line in found["protected"]}
    drills = [one for one in found["drills"] if one["node"] in nodes]
    ok = bool(drills) and all(one["ok"] for one in drills)
    if as_json:
        show.as_json({"ok": ok, "drills": drills})
    else:
        show_drills(drills)
    return 0 if ok else 3


def _ended(run: int, config: Path) -> dict[str, Any]:
    """The standing of the backup once that run has ended, however long it takes; raises LinkError if it never will."""
    while True:
        found = ask(config, str(Zone.EXCHANGE), "standby.status")
        doing = found["drilling"]
        if doing and doing["ended"] >= run:
            return found
        if not doing or not (doing["running"] or doing["owed"]):
            raise LinkError(
                f"drill by zone {found['zone']}",
                expected=f"run {run} to end",
                got="a zone that was stopped or started again meanwhile",
                next_step="ask again once it runs",
            )
        time.sleep(_LOOK_EVERY_S)


def _here(
    node: str,
    every: bool,
    moment: str,
    keys: tuple[Path, ...],
    passphrases: tuple[Path, ...],
    config: Path,
    as_json: bool,
) -> list[dict[str, Any]]:
    """Reports of what this process drilled; refused before anything is built where this account may not fetch copies."""
    from jinbao.appliance.restoring import opens_of
    from jinbao.appliance.settings import load

    end_tidily()
    settings = load(config)
    usual = (settings.copies.drill_key_file,) if settings.copies.drill_key_file is not None else ()
    opens = opens_of(keys or usual, passphrases, ("drill", "escrow"))
    found = ask(config, str(Zone.EXCHANGE), "standby.status")
    return [
        _drilled(chosen, moment, config, settings, opens, as_json=as_json)
        for chosen in _chosen(found, node, every=every)
    ]


def _chosen(found: dict[str, Any], node: str, *, every: bool) -> list[str]:
    """The nodes to drill: the one named, all, or the one whose last drill is the oldest."""
    nodes = list(dict.fromkeys(line["zone"].partition("/")[0] for line in found["protected"] if line["acts"]))
    if not nodes or (node and node not in nodes):
        raise UsageError(
            "--node", expected=" or ".join(nodes) or "a backup site that has a copy", got=node or "none"
        )
    last = {drill["node"]: drill["at"] for drill in found["drills"]}
    if every:
        return nodes
    return [node or min(nodes, key=lambda name: last.get(name, ""))]


def _drilled(
    node: str, moment: str, config: Path, settings: Any, opens: Any, *, as_json: bool
) -> dict[str, Any]:
    """Drill one node in a directory of the backup's own zone, and have the report signed."""
    import tempfile

    from jinbao.appliance.drilling import ZoneDrill
    from jinbao.appliance.drilling import drill as run
    from jinbao.appliance.restoring import read_copy
    from jinbao.standby.rebuilding import as_of

    home = settings.directory(Zone.EXCHANGE)
    with tempfile.TemporaryDirectory(prefix="drill-", dir=home) as scratch:
        copies, without = [], list[str]()
        for line in ask(config, str(Zone.EXCHANGE), "standby.status")["protected"]:
            if line["zone"].startswith(f"{node}/") and not line["acts"]:
                without.append(line["zone"])
            elif line["zone"].startswith(f"{node}/"):
                lines = Path(scratch) / line["zone"].replace("/", "-")
                said = ask_for_file(lines, config, str(Zone.EXCHANGE), "standby.copy", protected=line["zone"])
                copies.append(read_copy(lines, said, opens))
        copies, not_yet = as_of(copies, moment) if moment else (copies, list[str]())

        def tell(zone: str) -> None:
            if not as_json:
                show.talk(f"· {zone}")

        report = run(copies, settings, Path(scratch) / "place", tell)
    report.not_yet = not_yet
    for zone in without:
        report.zones.append(ZoneDrill(zone, wrong=["there is no copy of it"]))
    report.ok = report.ok and not without
    body = report.body()
    ask(config, str(Zone.EXCHANGE), "standby.drilled", report=body)
    return body


def _show_report(report: dict[str, Any]) -> None:
    columns = {
        "zone": t("zone", "分区"),
        "acts": t("acts", "流水条数"),
        "restored_to": t("built up to", "重建至"),
        "captured_at": t("source captured", "来源采集于"),
        "rows": t("rows", "行数"),
        "bytes": t("bytes", "字节"),
        "libraries": t("libraries held against their word", "已核对交换库"),
        "rebuild_s": t("built in, s", "重建用时（秒）"),
        "open_s": t("opened and asked in, s", "打开并问答用时（秒）"),
    }
    show.table(report["zones"], columns)
    for zone in report["zones"]:
        for line in zone["wrong"]:
            show.result(f"  - {zone['zone']}: {line}")
    for zone in report["not_yet"]:
        show.result(t(f"{zone} did not exist yet", f"{zone} 当时尚不存在"))
    good = t("{node}: all well, {seconds} s", "{node}：全部正确，用时 {seconds} 秒")
    bad = t("{node}: NOT well, {seconds} s", "{node}：有错误，用时 {seconds} 秒")
    show.result((good if report["ok"] else bad).format(**report))


def show_drills(drills: Sequence[dict[str, Any]]) -> None:
    """The newest drill of each node."""
    columns = {
        "node": t("drilled node", "已演练节点"),
        "at": t("at", "时间"),
        "ok": t("went well", "成功"),
        "seconds": t("seconds", "秒"),
        "restored_to": t("built up to", "重建至"),
        "wrong": t("wrong", "错误"),
        "good_at": t("last went well", "最近成功"),
    }
    show.table(drills, columns)


def show_drilling(doing: dict[str, Any]) -> None:
    """What a running zone drills now, and how its last run without a report ended; nothing where there is neither."""
    if doing["running"]:
        show.result(t("drilling now: {running}", "正在演练：{running}").format(**doing))
    if doing["owed"]:
        show.result(t("to be drilled next: {owed}", "待演练：{owed}").format(**doing))
    if doing["failed_run"]:
        show.result(
            t(
                "run {failed_run} gave no report: {failed}", "第 {failed_run} 次演练未产生报告：{failed}"
            ).format(**doing)
        )
