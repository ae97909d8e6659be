"""`jinbao doctor`: what keeps this node from working, and the command that mends it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from jinbao.cli import show
from jinbao.cli.asking import config_option, json_option
from jinbao.cli.words import t
from jinbao.model.zone import Zone

if TYPE_CHECKING:
    from jinbao.appliance.doctor.examine import Line
    from jinbao.appliance.doctor.repair import Repair

RED, DEGRADED = 1, 3


@click.command(
    help=t(
        "Sixteen checks of this node, whether its zones run or not; every fault with the command that mends it. "
        "Exit code 1 where one is red, 3 where one is a warning or cannot be made.",
        "对本节点做十六项体检，分区运行与否均可；每个毛病都给出修复命令。有红色项时退出码为 1，有警告或无法检查的项时为 3。",
    ),
    epilog="jinbao doctor --config /etc/jinbao/node.toml",
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
    "--only", multiple=True, metavar="NAME", help=t("only this check; may be repeated", "仅此项；可重复")
)
@click.option("--list", "only_names", is_flag=True, help=t("name the checks and end", "列出各项后退出"))
@click.option(
    "--fix", is_flag=True, help=t("do the repairs that are safe, then look again", "执行安全的修复，然后复查")
)
@json_option
@click.pass_context
def doctor(
    ctx: click.Context,
    config: Path,
    zones: tuple[str, ...],
    only: tuple[str, ...],
    only_names: bool,
    fix: bool,
    as_json: bool,
) -> None:
    """Look, mend where asked, look again, say it."""
    from jinbao.appliance.doctor.examine import chosen, examine
    from jinbao.appliance.doctor.repair import repair
    from jinbao.appliance.settings import load

    if only_names:
        _name(as_json)
        return
    chosen(only)
    settings, picked = load(config), [Zone(zone) for zone in zones]
    lines = examine(settings, config, only=only, zones=picked)
    repairs = repair(settings, lines) if fix else []
    if any(one.is_done for one in repairs):
        lines = examine(settings, config, only=only, zones=picked)
    if as_json:
        found: dict[str, Any] = {"state": str(_worst(lines)), "lines": [line.as_json() for line in lines]}
        show.as_json(found | ({"repairs": [one.as_json() for one in repairs]} if fix else {}))
    else:
        _show(lines, repairs)
    ctx.exit(_code(lines))


def _name(as_json: bool) -> None:
    from jinbao.appliance.doctor.examine import CHECKS

    if as_json:
        show.as_json([{"check": c.name, "what_en": c.what.en, "what_zh": c.what.zh} for c in CHECKS])
        return
    rows = [{"check": check.name, "what": t(*check.what)} for check in CHECKS]
    show.table(rows, {"check": t("check", "检查"), "what": t("what is looked at", "查看内容")})


def _worst(lines: Sequence[Line]) -> str:
    from jinbao.appliance.doctor.examine import worst

    return worst(lines)


def _code(lines: Sequence[Line]) -> int:
    return {"ok": 0, "red": RED}.get(str(_worst(lines)), DEGRADED)


def _show(lines: Sequence[Line], repairs: Sequence[Repair]) -> None:
    """First what was done, then one row for what is well in one check, and one for each finding else."""
    if repairs:
        rows = [
            {
                "check": one.line.check,
                "zone": one.line.zone,
                "done": t("done", "已修复") if one.is_done else t("left", "未修复"),
                "said": t(*one.said),
            }
            for one in repairs
        ]
        titles = {"check": t("check", "检查"), "zone": t("zone", "分区"), "done": t("repair", "修复")}
        show.table(rows, titles | {"said": t("what became of it", "结果")})
        show.result("")
    titles = {
        "check": t("check", "检查"),
        "zone": t("zone", "分区"),
        "state": t("state", "结论"),
        "what": t("what", "情况"),
        "fix": t("what mends it", "修复"),
    }
    show.table(_rows(lines), titles)
    for line in lines:
        advice = t(*line.finding.advice)
        if advice:
            show.result(t(f"{line.check} {line.zone}: {advice}", f"{line.check} {line.zone}：{advice}"))
    show.result(_sum(lines))


def _rows(lines: Sequence[Line]) -> list[dict[str, str]]:
    words = {
        "ok": t("ok", "正常"),
        "warning": t("WARNING", "警告"),
        "red": t("RED", "红色"),
        "unknown": t("unknown", "未知"),
    }
    rows: list[dict[str, str]] = []
    for line in lines:
        state = str(line.finding.state)
        row = {"check": line.check, "zone": line.zone, "state": words[state], "what": _what(line), "fix": ""}
        if state != "ok":
            row["fix"] = line.finding.fix
        rows.append(row)
    return _together(rows)


def _together(rows: Sequence[dict[str, str]]) -> list[dict[str, str]]:
    """Rows that say the same of several zones, as one."""
    merged: dict[tuple[str, ...], list[str]] = {}
    for row in rows:
        key = row["check"], row["state"], row["what"], row["fix"]
        merged.setdefault(key, []).append(row["zone"])
    names = ("check", "state", "what", "fix")
    return [
        dict(zip(names, key, strict=True)) | {"zone": ", ".join(dict.fromkeys(zones))}
        for key, zones in merged.items()
    ]


def _what(line: Line) -> str:
    found = line.finding
    thing = f"{found.thing}: " if found.thing else ""
    expected, got = t(*found.expected), t(*found.got)
    if str(found.state) == "ok" or not expected:
        return f"{thing}{got}"
    return t(f"{thing}expected {expected}, got {got}", f"{thing}应为 {expected}，实为 {got}")


def _sum(lines: Sequence[Line]) -> str:
    counts = {
        state: sum(line.finding.state == state for line in lines) for state in ("red", "warning", "unknown")
    }
    if not any(counts.values()):
        return t("nothing is wrong", "没有毛病")
    return t(
        f"{counts['red']} red, {counts['warning']} warnings, {counts['unknown']} unknown",
        f"红色 {counts['red']} 项，警告 {counts['warning']} 项，未知 {counts['unknown']} 项",
    )
