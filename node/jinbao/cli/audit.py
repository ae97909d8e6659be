"""`jinbao audit`: who asked for what, about whom and why; whether the trail is unchanged; all of it as a file."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from jinbao.cli import show
from jinbao.cli.asking import answer, ask, asking
from jinbao.cli.words import t
from jinbao.model.zone import Zone

_CSV = ("number", "at", "account", "roles", "way", "action", "outcome", "reason", "detail")
_STORED = ("previous", "hash", "body", "sealed")
_OUTCOMES = ("asked", "done", "refused", "failed", "counted")


@click.group(
    help=t("The audit trail: list, verify, export.", "审计日志：查询、校验、导出。"),
    epilog="jinbao audit list --outcome refused",
)
def audit() -> None:
    """Group."""


@audit.command(
    name="list",
    help=t(
        "Who asked for what, newest first; persons are found by number and shown masked.",
        "谁做了什么，最近的在前；可按个人号码查询，显示时遮盖。",
    ),
    epilog="jinbao audit list --person 140105199001011234 --since 2024-10",
)
@click.option("--since", default="", help=t("UTC, 2024-10-01 or longer", "起始时间（UTC），如 2024-10-01"))
@click.option("--until", default="", help=t("UTC, before this", "截止时间（UTC，不含）"))
@click.option("--who", default="", help=t("one account", "账户"))
@click.option("--person", default="", help=t("a person's number, in full", "个人号码（完整）"))
@click.option(
    "--action", default="", help=t("e.g. library.show, or library", "操作，如 library.show 或 library")
)
@click.option("--outcome", type=click.Choice(_OUTCOMES), default=None, help=t("how it ended", "结果"))
@click.option("--limit", default=50, show_default=True, help=t("lines", "条数"))
@asking(Zone.EXCHANGE)
def listing(config: Path, zone: str, as_json: bool, **wanted: Any) -> None:
    """Lines of the trail."""
    found = ask(config, zone, "audit.list", **{k: v for k, v in wanted.items() if v is not None})
    columns = {
        "number": t("number", "编号"),
        "at": t("at", "时间"),
        "account": t("account", "账户"),
        "roles": t("roles", "角色"),
        "way": t("way", "途径"),
        "action": t("action", "操作"),
        "outcome": t("outcome", "结果"),
        "persons": t("whose", "何人信息"),
        "everyone": t("everyone of", "全表"),
        "reason": t("reason", "原因"),
        "detail": t("detail", "详情"),
    }
    answer(found, as_json, "entries", columns)


@audit.command(
    help=t(
        "Compute the chain anew and hold it against every sealed head; exit code 1 names what differs. "
        "With --file, of an export.",
        "重新计算链并与每个签封对照；不一致时退出码为 1。--file 校验导出文件。",
    ),
    epilog="jinbao audit verify --file trail.jsonl --anchors anchors.pem",
)
@click.option(
    "--file", "exported", type=click.Path(path_type=Path), help=t("an export, not the zone", "导出文件")
)
@click.option(
    "--anchors",
    type=click.Path(path_type=Path),
    help=t("certificates of the authorities, for --file", "根证书文件，用于 --file"),
)
@asking(Zone.EXCHANGE)
@click.pass_context
def verify(
    ctx: click.Context, exported: Path | None, anchors: Path | None, config: Path, zone: str, as_json: bool
) -> None:
    """Faults, or none."""
    if exported is not None and anchors is None:
        raise click.UsageError(t("--file needs --anchors", "--file 需要 --anchors"))
    if exported is not None and anchors is not None:
        from jinbao.appliance.auditing import verify_file

        found = verify_file(exported, anchors)
    else:
        found = ask(config, zone, "audit.verify")
    if found["ok"] and not as_json:
        show.result(
            t(
                "ok: {entries} entries are what was written, {sealed} of them sealed by {heads} heads",
                "正确：{entries} 条与写入时一致，其中 {sealed} 条由 {heads} 个签封覆盖",
            ).format(**found)
        )
    else:
        titles = {"thing": t("thing", "对象"), "kind": t("kind", "类"), "detail": t("detail", "详情")}
        answer(found, as_json, "faults", titles)
    ctx.exit(0 if found["ok"] else 1)


@audit.command(
    help=t(
        "Every entry and every sealed head as JSON lines or CSV; both verify elsewhere.",
        "以 JSON 行或 CSV 导出全部条目和签封；均可在别处校验。",
    ),
    epilog="jinbao audit export --output trail.jsonl",
)
@click.option("--output", required=True, type=click.Path(path_type=Path), help=t("file", "文件"))
@click.option("--format", "layout", type=click.Choice(["jsonl", "csv"]), default="jsonl", show_default=True)
@asking(Zone.EXCHANGE)
def export(output: Path, layout: str, config: Path, zone: str, as_json: bool) -> None:
    """A file this account alone can read."""
    content = io.BytesIO()
    found = ask(config, zone, "audit.export", content)
    text = content.getvalue().decode()
    if layout == "csv":
        text = show.as_csv(list(_rows(text)), [*_CSV, *_STORED])
    output.touch(mode=0o600)  # a new file is this account's alone
    output.write_text(text, encoding="utf-8-sig" if layout == "csv" else "utf-8")
    if as_json:
        show.as_json(found | {"output": str(output)})
    else:
        show.talk(t(f"{found['lines']} lines written to {output}", f"已写入 {found['lines']} 行：{output}"))


def _rows(text: str) -> Iterator[dict[str, Any]]:
    """Lines of an export as rows of a table: what people read first, then what is verified, verbatim."""
    for line in text.splitlines():
        found = json.loads(line)
        if "body" not in found:
            yield {"sealed": line}
            continue
        body = json.loads(found["body"])
        told = {name: body[name] for name in _CSV if name in body} | {"roles": "+".join(body["roles"])}
        yield told | {name: found[name] for name in ("number", "at", "previous", "hash", "body")}
