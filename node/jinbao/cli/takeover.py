"""The commands of `jinbao standby` that take a lost node over at its backup site: plan, promote."""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from jinbao.cli import show
from jinbao.cli.asking import ask, ask_for_file, config_option, json_option
from jinbao.cli.standby_keys import key_option, passphrase_option
from jinbao.cli.words import t
from jinbao.model.zone import Endpoint, Zone

if TYPE_CHECKING:
    from jinbao.appliance.promoting import Promoted
    from jinbao.appliance.settings import Settings
    from jinbao.model.grant import Grant

_FILE = click.Path(path_type=Path, dir_okay=False, exists=True)
_TELL_EVERY = 500


@click.command(
    help=t(
        "At the backup: what a promotion of a protected node would bring back, what it would not, and how long it takes.",
        "在灾备：切换被保护节点可恢复什么、不可恢复什么、需要多久。",
    ),
    epilog="jinbao standby plan 140100",
)
@click.argument("node", metavar="NODE")
@config_option
@json_option
@click.pass_context
def plan(ctx: click.Context, node: str, config: Path, as_json: bool) -> None:
    """Exit code 3 where a zone cannot be built as things are."""
    found = ask(config, str(Zone.EXCHANGE), "standby.plan", node=node)
    if as_json:
        show.as_json(found)
    else:
        _show_plan(found)
    ctx.exit(3 if any(not line["restorable_to"] or line["held"] for line in found["zones"]) else 0)


def _show_plan(found: dict[str, Any]) -> None:
    unknown = t("unknown", "未知")
    show.table(
        [{k: unknown if v is None else v for k, v in line.items()} for line in found["zones"]],
        {
            "zone": t("zone", "分区"),
            "restorable_to": t("journal up to", "流水至"),
            "rpo_s": t("that is, s ago", "距今（秒）"),
            "captured_at": t("source captured", "来源采集于"),
            "capture_age_s": t("that is, s ago", "距今（秒）"),
            "acts": t("acts", "流水条数"),
            "bytes": t("bytes", "字节"),
            "missing": t("missing segments", "缺失段"),
            "held": t("held", "暂停原因"),
        },
    )
    for line in _plan_lines(found):
        show.result(line)


def _plan_lines(found: dict[str, Any]) -> Iterator[str]:
    givers = ", ".join(found["give_back"]) or t("nobody", "无")
    yield t(
        f"lost: what the zones recorded later, but for what these still have of it: {givers}",
        f"将丢失：此后各分区的记录；以下分区仍持有的部分除外：{givers}",
    )
    yield t(
        "of the source: what it wrote after its capture is protected by the source alone",
        "来源库在采集之后写入的内容，仅由来源库自身保护",
    )
    if found["drill_s"] is None:
        yield t("how long it takes is not known: it was never drilled", "所需时间未知：从未演练")
    else:
        seconds = found["drill_s"]
        yield t(
            f"the last drill built and opened it in {seconds:g} s",
            f"最近一次演练重建并打开用时 {seconds:g} 秒",
        )
    yield from _steps(found)


def _steps(found: dict[str, Any]) -> Iterator[str]:
    node, parent, epoch = found["node"], found["parent"] or "-", found["epoch"]
    done, mark = found["done"], {True: t("done", "已完成"), False: t("to do", "待办")}
    is_granted = done["granted"]
    after = epoch if is_granted else epoch + 1
    lines = [
        (done["declared"] or is_granted, f"jinbao standby declare {node} --reason … --out {node}.declared"),
        (is_granted, f"jinbao standby sign {node}.declared --person … --key …"),
        (is_granted, f"{parent}: jinbao standby grant {node}.declared --out {node}.grant --reason …"),
        (is_granted, f"{parent}: jinbao ca grant … {node}.grant; jinbao ca token … --node {node}"),
        (
            done["promoted"],
            f"jinbao standby promote {node}.grant --place …/node.toml --token {node}.token --key …",
        ),
        (done["promoted"], f"jinbao serve --config …/node.toml: {node}, e/{after}"),
    ]
    for at, (is_done, line) in enumerate(lines, 1):
        yield f"{at}. [{mark[is_done]}] {line}"


@click.command(
    help=t(
        "At the backup: build a granted node in its new place, enrol it, and take back what it had sent to its neighbours. "
        "Killed or refused, it is made again and goes on.",
        "在灾备：在新位置重建已获授予的节点、入网，并向相邻分区取回其已发送的数据。中断后重新执行即可继续。",
    ),
    epilog="jinbao standby promote 140100.grant --place /srv/140100/node.toml --token 140100.token "
    "--key escrow.pem --passphrase-file first --passphrase-file second --reason 'fire in the data centre'",
)
@click.argument("grant", type=_FILE)
@click.option(
    "--place",
    type=_FILE,
    required=True,
    help=t(
        "settings (node.toml) of the new place, whose directories and databases are empty",
        "新位置的配置（node.toml），其目录和数据库须为空",
    ),
)
@click.option(
    "--token",
    type=_FILE,
    help=t(
        "token of its authority; without it the zones are enrolled by jinbao enrol, and this is made again",
        "发证机构令牌；未给出时用 jinbao enrol 入网后重新执行本命令",
    ),
)
@key_option
@passphrase_option
@click.option("--reason", required=True, help=t("why; it is recorded", "原因，将被记录"))
@config_option
@json_option
def promote(
    grant: Path,
    place: Path,
    token: Path | None,
    keys: tuple[Path, ...],
    passphrases: tuple[Path, ...],
    reason: str,
    config: Path,
    as_json: bool,
) -> None:
    """Nothing is served: the zones are started as any others afterwards."""
    from jinbao.appliance.promoting import (
        declared_copies,
        read_grant,
        require_empty,
        require_opened,
        require_place,
    )
    from jinbao.appliance.promoting import promote as promote_node
    from jinbao.appliance.restoring import opens_of
    from jinbao.appliance.settings import load

    sealed, backup, settings = grant.read_bytes(), load(config), load(place)
    wanted, exchange = read_grant(sealed), str(Zone.EXCHANGE)
    require_place(wanted, settings)
    enrol = _enrolling(token, settings, wanted)
    opens = opens_of(keys, passphrases, ("escrow",))
    content = b64encode(sealed).decode("ascii")

    def tell(done: int, total: int) -> None:
        if not as_json and done % _TELL_EVERY == 0:
            show.talk(t(f"· {done} of {total}", f"· {done} / {total}"))

    believed = ask(config, exchange, "trust.documents")
    known = [b64decode(text) for text in (*believed["documents"], *believed["grants"])]

    def fetch(lines: Path, endpoint: Endpoint) -> dict[str, Any]:
        return ask_for_file(lines, config, exchange, "standby.copy", protected=str(endpoint))

    with declared_copies(wanted, fetch, opens) as copies:
        require_empty(copies, settings)
        require_opened(copies)  # up to here nothing was changed anywhere
        ask(config, exchange, "trust.import", name=grant.name, content=content, reason=reason)
        found = promote_node(sealed, copies, backup, settings, enrol, tell, known)
    for peer in ask(config, exchange, "standby.plan", node=wanted.node)["paused"]:
        ask(config, exchange, "line.resume", peer=peer, reason=reason)
    if as_json:
        show.as_json(found.body())
    else:
        _show(found, place)


def _enrolling(path: Path | None, settings: Settings, grant: Grant) -> Callable[[Sequence[Zone]], None]:
    """What certifies zones that lack a certificate: the token's authority, or nobody. Raises as `require_token`."""
    from datetime import UTC, datetime

    from jinbao.appliance import enrolment
    from jinbao.appliance.promoting import require_token
    from jinbao.authority.tokens import read_token

    token = read_token(path) if path is not None else None
    if token is not None:
        require_token(token, grant)

    def enrol(zones: Sequence[Zone]) -> None:
        if token is None:
            return
        for zone in zones:
            directories = enrolment.token_directories(settings, token, zone)
            enrolment.enrol(token, directories, datetime.now(UTC))

    return enrol


def _show(found: Promoted, place: Path) -> None:
    body = found.body()
    show.table(
        body["zones"],
        {
            "zone": t("zone", "分区"),
            "restored_to": t("journal up to", "流水至"),
            "captured_at": t("source captured", "来源采集于"),
            "acts": t("acts", "流水条数"),
            "batches": t("batches that came back", "取回批次"),
            "build_s": t("built in, s", "重建用时（秒）"),
        },
    )
    back = [
        {"zone": zone["zone"]} | line
        for zone in body["zones"]
        for line in zone["returned"]
        if any(line[name] for name in ("batches", "passed"))
    ]
    if back:
        show.table(
            back,
            {
                "zone": t("zone", "分区"),
                "peer": t("came back from", "取回自"),
                "batches": t("its own batches", "自身批次"),
                "rows": t("rows", "行数"),
                "passed": t("batches that had come through it", "经其转发的批次"),
            },
        )
    for endpoint in found.without:
        show.result(t(f"given up: what only {endpoint} has", f"已放弃：仅存于 {endpoint} 的数据"))
    show.result(
        t(
            f"{found.node} at epoch {found.epoch} took {found.seconds:g} s; start its zones: jinbao serve --config {place}",
            f"{found.node} 已切换至纪元 {found.epoch}，用时 {found.seconds:g} 秒；请启动其分区：jinbao serve --config {place}",
        )
    )
