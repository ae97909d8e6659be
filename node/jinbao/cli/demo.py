"""`jinbao demo`: the product on one machine, with the proof at the end."""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Literal

import click

from jinbao.cli import show
from jinbao.cli.asking import end_tidily
from jinbao.cli.words import t

Backend = Literal["sqlite", "postgresql"]

_LAST = Path(os.environ.get("XDG_RUNTIME_DIR") or tempfile.gettempdir()) / f"jinbao-demo-{os.getuid()}"
"""Where this account's running demonstration says its directory."""


def _running() -> Path | None:
    """The directory of the demonstration this account runs now, if any."""
    try:
        owner, text = _LAST.lstat().st_uid, _LAST.read_text(encoding="utf-8")
        os.kill(int(json.loads((Path(text) / "demo.json").read_text(encoding="utf-8"))["pid"]), 0)
    except (OSError, ValueError, KeyError):
        return None
    return Path(text) if owner == os.getuid() else None


def _talk(quiet: bool) -> Callable[[str, dict[str, Any]], None]:
    texts = {
        "sample": t("making a sample city: {node}, {persons} persons", "生成样例城市：{node}，{persons} 人"),
        "started": t("{zones} zones are up, each its own process", "{zones} 个分区已启动，各为独立进程"),
        "hop": t("{library} of {city} applied at {receiver}", "{city} 的 {library} 已在 {receiver} 入库"),
        "kept": t(
            "kept in {directory}; to look at it, start its databases again: {command}",
            "已保留在 {directory}；如需查看，请先启动其数据库：{command}",
        ),
        "restarted": t("{zone} was killed and is started again", "{zone} 被杀死，已重新启动"),
        "ahead": t(
            "the backup hears nothing of {node}; {rows} rows of it are with its neighbours alone",
            "灾备已收不到 {node} 的数据；其中 {rows} 行仅存于相邻分区",
        ),
        "destroyed": t("{node} is killed and its directory removed", "{node} 已被杀死，其目录已删除"),
        "granted": t(
            "two persons declared {node} lost; its identity is granted at epoch {epoch}",
            "两人声明 {node} 失效；其身份已授予，纪元 {epoch}",
        ),
        "promoted": t("{node} is built and healed in {seconds} s", "{node} 已重建并补齐，用时 {seconds} 秒"),
        "trust": t("trust: {step} done in every zone", "信任：{step} 已在所有分区生效"),
        "moved": t(
            "everything arrived after {seconds} s; restarting every zone to prove it",
            "{seconds} 秒后全部到达；重启各分区以核验",
        ),
    }

    def talk(message: str, values: dict[str, Any]) -> None:
        if not quiet:
            show.talk("· " + texts[message].format(**values))

    return talk


_DATABASE = click.option(
    "--database",
    type=click.Choice(["sqlite", "postgresql"]),
    default="sqlite",
    show_default=True,
    help=t(
        "where zones and cities keep their rows; postgresql: a server of its own, from a wheel",
        "各分区和各市的数据库；postgresql：由 wheel 启动专用服务器",
    ),
)


@click.group(
    invoke_without_command=True,
    help=t(
        "Ministry, province, two cities and the backup site on this machine; every zone its own process, certificate and database.",
        "在本机运行部、省、两个市和灾备中心；每个分区有自己的进程、证书和数据库。",
    ),
    epilog="jinbao demo --once --json | jinbao demo --database postgresql | jinbao demo tamper row",
)
@click.option(
    "--persons", default=20_000, show_default=True, help=t("insured persons per city", "每市参保人数")
)
@click.option("--seed", default=1, show_default=True, help=t("same seed, same cities", "随机种子"))
@click.option(
    "--once",
    is_flag=True,
    help=t("end after the proof; exit code 0 only if all is equal", "核验后结束；全部相等时退出码为 0"),
)
@click.option("--json", "as_json", is_flag=True, help=t("print one JSON object", "输出一个 JSON 对象"))
@click.option(
    "--keep", type=click.Path(path_type=Path), help=t("keep everything in this directory", "保留在此目录")
)
@_DATABASE
@click.pass_context
def demo(
    ctx: click.Context,
    persons: int,
    seed: int,
    once: bool,
    as_json: bool,
    keep: Path | None,
    database: Backend,
) -> None:
    """Run, prove, and stay until Ctrl-C unless `--once`."""
    if ctx.invoked_subcommand is not None:
        return
    then = _nothing if once else partial(stay, as_json=as_json)
    ctx.exit(_run(persons, seed, keep, as_json=as_json, then=then, database=database))


def _run(
    persons: int,
    seed: int,
    keep: Path | None,
    *,
    as_json: bool,
    then: Callable[[Any, dict[str, Any]], None],
    database: Backend,
) -> int:
    from jinbao.appliance.demo import run_demo

    end_tidily()
    shown: list[dict[str, Any]] = []

    def conclude(network: Any, result: dict[str, Any]) -> None:
        shown.append(result)
        if as_json:
            show.as_json(result)
        else:
            _show(result)
        then(network, result)

    run_demo(persons=persons, seed=seed, keep=keep, talk=_talk(as_json), then=conclude, backend=database)
    return 0 if shown[-1]["ok"] else 1


def _nothing(_network: object, _result: dict[str, Any]) -> None:
    """End after the proof."""


def stay(network: Any, result: dict[str, Any], *, as_json: bool) -> None:
    """Leave the network running until Ctrl-C, and say what to try: on stderr where stdout is a document."""
    say = show.talk if as_json else show.result
    _LAST.unlink(missing_ok=True)
    _LAST.write_text(result["directory"], encoding="utf-8")
    config = Path(result["directory"]) / "140000" / "node.toml"
    say("")
    say(t("The network is running. Try, in another terminal:", "网络正在运行。可在另一终端尝试："))
    for line in (
        f"jinbao status --config {config}",
        f"jinbao topology --config {config}",
        f"jinbao library show pension_macro retiree --limit 3 --config {config}",
        f"jinbao quarantine list --config {config.parent.parent / '140100' / 'node.toml'}",
        f"jinbao decision show --region total --config {config}",
        f"jinbao standby status --config {config.parent.parent / '140000-backup' / 'node.toml'}",
        "jinbao demo stop city",
        "jinbao demo tamper row",
        "jinbao demo lose city",
        "jinbao demo rotate",
        "jinbao demo revoke 140200",
    ):
        say(f"  {line}")
    say(t("Ctrl-C ends it.", "按 Ctrl-C 结束。"))
    sys.stdout.flush()  # who reads it through a pipe or from a file would wait for the end otherwise
    try:
        network.watch()
    except KeyboardInterrupt:
        show.talk(t("ending", "正在结束"))
    finally:
        _LAST.unlink(missing_ok=True)


def _show(result: dict[str, Any]) -> None:
    rows = [
        row
        | {tier: row["rows"][tier] for tier in ("city", "province", "ministry")}
        | {"where": row["city"], "equal": row["digest_equal"], "short": row["digest"][:12]}
        | {"found": f"{row['caught_defects']}/{row['planted_defects']}"}
        for row in result["tables"]
    ]
    columns = {
        "where": t("city", "城市"),
        "library": t("library", "交换库"),
        "table": t("table", "表"),
        "source_rows": t("source", "来源行"),
        "passed": t("passed", "通过"),
        "quarantined": t("stopped", "隔离"),
        "city": t("at city", "市"),
        "province": t("at province", "省"),
        "ministry": t("at ministry", "部"),
        "found": t("defects found", "查出缺陷"),
        "short": t("digest", "摘要"),
        "equal": t("equal", "相等"),
    }
    # the row's own `city` is its node; the column shows rows stored there
    show.table([row | {"city": row["rows"]["city"]} for row in rows], columns)
    line = result["line"]
    show.result(
        t(
            f"{result['seconds']} s, {line['bytes']} bytes in {line['segments']} segments on the line, "
            f"{result['indicators']} indicators",
            f"{result['seconds']} 秒，主线 {line['segments']} 个段 {line['bytes']} 字节，{result['indicators']} 个指标",
        )
    )
    if result["standby"]:
        show.table(
            result["standby"],
            {
                "node": t("protected node", "被保护节点"),
                "rpo_s": t("journal not at the backup, s", "流水未到灾备（秒）"),
                "capture_age_s": t("source captured, s ago", "来源采集于（秒前）"),
                "restorable_to": t("can be built up to", "可重建到"),
                "drill_ok": t("drill went well", "演练成功"),
                "drill_s": t("drill, s", "演练用时（秒）"),
            },
        )
    for found in result["differences"]:
        show.result(
            t(
                "NOT EQUAL at the {tier}: {library}.{table} of {city}, {keys} keys from {key_min} to {key_max}",
                "不相等：{tier} 级，{city} 的 {library}.{table}，{keys} 个主键，{key_min} 至 {key_max}",
            ).format(**found)
        )
    for damage in result["damage"]:
        show.result(
            t(
                "DAMAGED at {zone}: {thing}: {kind}: {detail}", "损坏：{zone}：{thing}：{kind}：{detail}"
            ).format(**damage)
        )
    show.result(t("all equal", "全部相等") if result["ok"] else t("NOT all equal", "并非全部相等"))


@demo.command(
    help=t(
        "Change a row, a segment or a receipt behind the product's back and let it be found; exit code 1.",
        "绕过软件篡改一行、一个段或一份回执，并验证能被发现；退出码为 1。",
    ),
    epilog="jinbao demo tamper row",
)
@click.argument("kind", type=click.Choice(["row", "segment", "receipt"]))
@click.option(
    "--persons",
    default=5_000,
    show_default=True,
    help=t("if no demonstration is running", "没有正在运行的演示时使用"),
)
@click.option("--json", "as_json", is_flag=True, help=t("print one JSON object", "输出一个 JSON 对象"))
@_DATABASE
@click.pass_context
def tamper(ctx: click.Context, kind: str, persons: int, as_json: bool, database: Backend) -> None:
    """In the running demonstration, or in one made for it."""
    from jinbao.appliance.demo import attach, conclude, run_demo
    from jinbao.appliance.demo import tamper as change

    running = _running()
    if running is not None:
        network = attach(running, _talk(as_json))
        show.talk(t("changed: ", "已篡改：") + change(network, kind))
        result = conclude(network, 0.0)
    else:
        found: list[dict[str, Any]] = []

        def after(network: Any, _result: dict[str, Any]) -> None:
            show.talk(t("changed: ", "已篡改：") + change(network, kind))
            found.append(conclude(network, 0.0))

        run_demo(persons=persons, seed=1, keep=None, talk=_talk(as_json), then=after, backend=database)
        result = found[0]
    if as_json:
        show.as_json(result)
    else:
        _show(result)
    ctx.exit(0 if result["ok"] else 1)


_PERSONS = click.option(
    "--persons",
    default=5_000,
    show_default=True,
    help=t("if no demonstration is running", "没有正在运行的演示时使用"),
)
_JSON = click.option("--json", "as_json", is_flag=True, help=t("print one JSON object", "输出一个 JSON 对象"))


def _with_network(
    persons: int, as_json: bool, database: Backend, act: Callable[[Any], dict[str, Any]]
) -> dict[str, Any]:
    """What an act on the running demonstration gives, or on one made for it."""
    from jinbao.appliance.demo import attach, run_demo

    running = _running()
    if running is not None:
        return act(attach(running, _talk(as_json)))
    found: list[dict[str, Any]] = []
    run_demo(
        persons=persons,
        seed=1,
        keep=None,
        talk=_talk(as_json),
        then=lambda network, _: found.append(act(network)),
        backend=database,
    )
    return found[0]


@demo.command(
    help=t(
        "Let a new root certificate follow the old one, and all certificates with it, while records travel; no fetch may fail.",
        "在记录传输期间更换根证书及全部证书；不得有任何拉取失败。",
    ),
    epilog="jinbao demo rotate --json",
)
@_PERSONS
@_JSON
@_DATABASE
@click.pass_context
def rotate(ctx: click.Context, persons: int, as_json: bool, database: Backend) -> None:
    """Prepare, activate, renew, retire."""
    from jinbao.appliance.demo import rotate_root

    found = _with_network(persons, as_json, database, rotate_root)
    if as_json:
        show.as_json(found)
    else:
        show.table(found["steps"], {"step": t("step", "步骤"), "seconds": t("seconds", "秒")})
        for failure in found["failures"]:
            show.result(f"  - {failure}")
        text = t(
            "{accepted} batches accepted meanwhile, {count} failures",
            "期间受理 {accepted} 个批次，失败 {count} 次",
        )
        show.result(text.format(accepted=found["accepted"], count=len(found["failures"])))
    ctx.exit(0 if found["ok"] else 1)


@demo.command(
    name="revoke",
    help=t(
        "Take back the certificates of a city and see its stream end; the others must not notice.",
        "吊销一个市的证书，其数据流随即中断；其他节点不受影响。",
    ),
    epilog="jinbao demo revoke 140200",
)
@click.argument("node", default="140200")
@_PERSONS
@_JSON
@_DATABASE
@click.pass_context
def revoke_(ctx: click.Context, node: str, persons: int, as_json: bool, database: Backend) -> None:
    """As if its key had been stolen."""
    from jinbao.appliance.demo import revoke
    from jinbao.model.errors import UsageError

    def act(network: Any) -> dict[str, Any]:
        if node not in network.cities():
            raise UsageError("demo: node", expected=" or ".join(network.cities()), got=node)
        return revoke(network, node)

    found = _with_network(persons, as_json, database, act)
    if as_json:
        show.as_json(found)
    else:
        text = t("{node} was refused after {refused_after_s} s", "{node} 在 {refused_after_s} 秒后被拒绝")
        show.result(text.format(**found))
        for line in found["others_noticed"]:
            show.result(f"  - {line}")
    ctx.exit(0 if found["ok"] else 1)


@demo.command(
    help=t(
        "Destroy a city's directory and let it go on from the backup site; at the end all tables must be equal again.",
        "销毁一个市的目录，由灾备接管；最后各表须再次相等。",
    ),
    epilog="jinbao demo lose city",
)
@click.argument("node", default="city")
@_PERSONS
@_JSON
@_DATABASE
@click.pass_context
def lose(ctx: click.Context, node: str, persons: int, as_json: bool, database: Backend) -> None:
    """Two persons declare it, the province grants it, its neighbours give back what only they have."""
    from jinbao.appliance.demo import conclude
    from jinbao.appliance.demo import lose as lose_node
    from jinbao.model.errors import UsageError

    chosen = "140100" if node == "city" else node

    def act(network: Any) -> dict[str, Any]:
        if chosen not in network.cities():
            raise UsageError("demo: node", expected=" or ".join(network.cities()), got=chosen)
        lost = lose_node(network, chosen)
        return {"loss": lost} | conclude(network, lost["seconds"])

    found = _with_network(persons, as_json, database, act)
    if as_json:
        show.as_json(found)
    else:
        _show(found)
        _show_loss(found["loss"])
    ctx.exit(0 if found["ok"] else 1)


def _show_loss(lost: dict[str, Any]) -> None:
    zones = lost["promotion"]["zones"]
    batches = sum(zone["batches"] for zone in zones)
    show.table(
        zones,
        {
            "zone": t("zone", "分区"),
            "restored_to": t("journal up to", "流水至"),
            "captured_at": t("source captured", "来源采集于"),
            "batches": t("batches that came back", "取回批次"),
            "build_s": t("built in, s", "重建用时（秒）"),
        },
    )
    show.result(
        t(
            "when {node} was lost its backup lacked {rpo_s} s of its journal, {rpo_rows} rows; its source was captured "
            "{capture_age_s} s before; {batches} batches came back from its neighbours",
            "{node} 失效时，灾备缺其流水 {rpo_s} 秒、{rpo_rows} 行；来源库于 {capture_age_s} 秒前采集；自相邻分区取回 {batches} 个批次",
        ).format(**lost, batches=batches)
    )
    show.result(t("it served again after {seconds} s", "{seconds} 秒后恢复服务").format(**lost))


@demo.command(
    help=t(
        "Stop all zones of one city of the running demonstration; it comes back by itself.",
        "停止正在运行的演示中一个市的全部分区；随后自动恢复。",
    ),
    epilog="jinbao demo stop city",
)
@click.argument("node", default="city")
def stop(node: str) -> None:
    """SIGKILL, as a power cut would."""
    from jinbao.appliance.demo import kill
    from jinbao.model.errors import LocalError

    running = _running()
    if running is None:
        raise LocalError(
            "demo", expected="one that is running", got="none", next_step="make demo, in another terminal"
        )
    chosen = "140100" if node == "city" else node
    killed = kill(running, chosen)
    show.result(
        t("killed {zones}; they come back by themselves", "已杀死 {zones}；将自动恢复").format(
            zones=", ".join(killed)
        )
    )
