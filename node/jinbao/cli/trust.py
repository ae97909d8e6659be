"""`jinbao trust`: whom this zone trusts, and how it is told of more."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path
from typing import Any

import click

from jinbao.cli import show
from jinbao.cli.asking import ask, asking, config_option, json_option
from jinbao.cli.words import t
from jinbao.model.zone import Zone


@click.group(
    help=t(
        "Whom this zone trusts: roots, authorities, revocation lists, topology.",
        "本分区信任谁：根证书、发证机构、吊销列表、网络拓扑。",
    ),
    epilog="jinbao trust list",
)
def trust() -> None:
    """Group."""


@trust.command(
    name="list",
    help=t(
        "Our own certificate, roots, authorities and revocation lists.",
        "本分区证书、根、发证机构和吊销列表。",
    ),
    epilog="jinbao trust list --zone exchange",
)
@asking(Zone.EXCHANGE)
def list_(config: Path, zone: str, as_json: bool) -> None:
    """What is believed now."""
    found = ask(config, zone, "trust.list")
    if as_json:
        show.as_json(found)
        return
    names = {
        "suite": t("suite of our seals", "签封套件"),
        "until": t("our certificate ends", "本分区证书到期"),
    }
    show.pairs(
        found | {"topology": found["topology"]["version"]}, names | {"topology": t("topology", "拓扑版本")}
    )
    show.result("")
    held = [c | {"held": t("root", "根")} for c in found["roots"]] + [
        c | {"held": t("authority", "发证机构")} for c in found["authorities"]
    ]
    show.table(held, _certificate_columns())
    show.result("")
    show.table(
        found["lists"],
        {
            "authority": t("revocation list of", "吊销列表签发者"),
            "number": t("number", "序号"),
            "due_at": t("next due", "下次应到"),
            "believed_until": t("believed until", "采信至"),
            "revoked": t("revoked", "已吊销"),
        },
    )
    if not found["asked"]:
        return
    show.result("")
    columns = {
        "authority": t("asked for newer lists: authority", "询问新列表：发证机构"),
        "address": t("address", "地址"),
        "answered_at": t("last answered", "最近答复"),
        "reason": t("since then", "其后情况"),
    }
    show.table(found["asked"], columns)


def _certificate_columns() -> dict[str, str]:
    return {
        "held": t("as", "身份"),
        "authority": t("authority", "机构"),
        "subject": t("subject", "主体"),
        "issuer": t("issuer", "签发者"),
        "until": t("until", "有效期至"),
    }


@trust.command(
    name="import",
    help=t(
        "Take in revocation lists, authorities' certificates or a signed topology; exchange zones pass them on.",
        "导入吊销列表、发证机构证书或签名拓扑；交换区会继续下发。",
    ),
    epilog="jinbao trust import province.crl.pem --reason 'daily list'",
)
@click.argument(
    "files", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True, dir_okay=False)
)
@click.option("--reason", required=True, help=t("why; it is recorded", "原因，将被记录"))
@asking(Zone.EXCHANGE)
def import_(files: tuple[Path, ...], reason: str, config: Path, zone: str, as_json: bool) -> None:
    """Each file whole or not at all."""
    answers: list[dict[str, Any]] = []
    for file in files:
        content = base64.b64encode(file.read_bytes()).decode("ascii")
        answers.append(ask(config, zone, "trust.import", name=file.name, content=content, reason=reason))
    if as_json:
        show.as_json({"files": answers})
        return
    for found in answers:
        learned = t("learned", "已采信") if found["learned"] else t("known already", "已知")
        count = len(found["documents"])
        show.result(
            t("{file}: {count} documents, {learned}", "{file}：{count} 份文件，{learned}").format(
                file=found["file"], count=count, learned=learned
            )
        )


@trust.command(
    name="seal",
    help=t(
        "Seal a topology written in TOML by the exchange zone of this node, which is its root, for all others to believe. "
        "The zone judges it by the one in force and records who sealed it and why; before its first start its keys seal, "
        "and nothing is recorded.",
        "由本节点（根节点）交换区签封以 TOML 书写的网络拓扑，供其他节点采信。分区依现行拓扑审核，并记录何人因何签封；"
        "首次启动前直接以其密钥签封，不作记录。",
    ),
    epilog="jinbao trust seal topology.toml --out topology.sealed --reason 'city 140300 joins'",
)
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@click.option(
    "--out",
    required=True,
    type=click.Path(path_type=Path, dir_okay=False),
    help=t("where the sealed topology is written", "写入已签封拓扑的文件"),
)
@click.option(
    "--reason",
    default="",
    help=t(
        "why; recorded in the audit trail, needed from the zone's first start on",
        "原因，记入审计日志；分区首次启动后必填",
    ),
)
@config_option
@json_option
def seal_topology(file: Path, out: Path, reason: str, config: Path, as_json: bool) -> None:
    """Asked of the zone, whether it runs or not; by its keys only before there is a journal to record it in."""
    from datetime import UTC, datetime

    from jinbao.appliance.settings import load
    from jinbao.appliance.topology_file import read_text, seal_first, write_sealed
    from jinbao.appliance.topology_sealing import is_founded

    settings = load(config)
    text = read_text(file)
    recorded = is_founded(settings)
    if recorded:
        digest = hashlib.sha256(text.encode()).hexdigest()
        found = ask(
            config,
            str(Zone.EXCHANGE),
            "trust.seal",
            name=file.name[:200],
            content=text,
            sha256=digest,
            reason=reason,
        )
        content = base64.b64decode(found.pop("content"))
        version, nodes = found["version"], found["nodes"]
    else:
        topology, content = seal_first(settings, file, datetime.now(UTC))
        version, nodes = topology.version, [row.node for row in topology.rows]
    write_sealed(out, content)
    if as_json:
        show.as_json({"version": version, "nodes": nodes, "file": str(out), "recorded": recorded})
        return
    text = t(
        "topology version {version}: {count} nodes, sealed in {out}",
        "拓扑版本 {version}：{count} 个节点，已签封于 {out}",
    )
    show.result(text.format(version=version, count=len(nodes), out=out))
    if recorded:
        show.result(
            t(
                "hand it out: jinbao trust import {out} --reason …",
                "请分发：jinbao trust import {out} --reason …",
            ).format(out=out)
        )
    else:
        show.result(
            t(
                "by the zone's keys, before its first start: in no audit trail; its journal begins with this topology",
                "首次启动前以分区密钥签封：未记入审计日志；其流水自此拓扑开始",
            )
        )
