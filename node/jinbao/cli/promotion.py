"""The commands of `jinbao standby` by which a backup site may take over: declare, sign, grant."""

from __future__ import annotations

from base64 import b64decode, b64encode
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from jinbao.cli import show
from jinbao.cli.asking import ask, config_option, json_option
from jinbao.cli.words import t
from jinbao.model.zone import Zone

if TYPE_CHECKING:
    from jinbao.standby.declaring import Declaration, Signed

_FILE = click.Path(path_type=Path, dir_okay=False, exists=True)
_NEW = click.Path(path_type=Path, dir_okay=False)

_reason_option = click.option(
    "--reason",
    required=True,
    help=t("why; it is signed, and recorded in the audit trail", "原因；将被签名并记入审计日志"),
)


@click.command(
    help=t(
        "At the backup: declare a protected node lost. Its copies stand still, and what persons sign is written to a file; "
        "jinbao line resume takes it back.",
        "在灾备：声明被保护节点失效。其副本随即冻结，待签名的声明写入文件；jinbao line resume 可撤回。",
    ),
    epilog="jinbao standby declare 140100 --reason 'fire in the data centre' --address exchange=10.9.0.5:7443 --out 140100.declared",
)
@click.argument("node", metavar="NODE")
@_reason_option
@click.option(
    "--address", "addresses", multiple=True, metavar="ZONE=HOST:PORT",
    help=t("where a zone will listen; those not named stay where they are", "分区的新监听地址；未给出者不变"),
)  # fmt: skip
@click.option(
    "--without", multiple=True, metavar="NODE/ZONE",
    help=t(
        "a neighbour that gives nothing back; what only it has of the node is given up",
        "不再回传数据的相邻分区；仅存于该处的数据将被放弃",
    ),
)  # fmt: skip
@click.option("--out", type=_NEW, required=True, help=t("the declaration, to be signed", "待签名的声明文件"))
@config_option
@json_option
def declare(
    node: str,
    reason: str,
    addresses: tuple[str, ...],
    without: tuple[str, ...],
    out: Path,
    config: Path,
    as_json: bool,
) -> None:
    """Asked again, it gives the same cuts while nobody resumes."""
    from jinbao.model.errors import UsageError
    from jinbao.standby.declaring import Signed, read

    if out.exists():  # it may have signatures
        raise UsageError("--out", expected="a file that is not there yet", got=str(out))
    found = ask(
        config,
        str(Zone.EXCHANGE),
        "standby.declare",
        node=node,
        reason=reason,
        addresses=_addresses(addresses),
        without=list(without),
    )
    text = found["declaration"]
    signed = Signed(text, read(text))
    _write(out, signed.content().encode())
    if as_json:
        show.as_json(found | {"out": str(out)})
        return
    _show(signed)
    show.result(
        t(
            f"nobody follows {node} any more; to be signed: jinbao standby sign {out}",
            f"已停止跟随 {node}；待签名：jinbao standby sign {out}",
        )
    )


def _addresses(pairs: tuple[str, ...]) -> dict[str, str]:
    from jinbao.model.errors import UsageError

    found = dict[str, str]()
    for pair in pairs:
        zone, sign, address = pair.partition("=")
        if not sign or zone in found:
            raise UsageError("--address", expected="ZONE=HOST:PORT, each zone once", got=pair[:80])
        found[zone] = address
    return found


@click.command(
    help=t(
        "Sign a declaration with a person's key; shows what is signed. Asks no zone: the file and the key are enough.",
        "以个人密钥签署声明，并显示所签内容；无需连接任何分区。",
    ),
    epilog="jinbao standby sign 140100.declared --person wang --key wang.pem --passphrase-file wang.pass",
)
@click.argument("file", type=_FILE)
@click.option(
    "--person", required=True, help=t("the name as the settings of the parent have it", "上级配置中的姓名")
)
@click.option("--key", type=_FILE, required=True, help=t("the person's private key", "个人私钥文件"))
@click.option(
    "--passphrase-file",
    type=_FILE,
    required=True,
    help=t("file (0600) whose first line opens the key", "口令文件（0600），首行为私钥口令"),
)
@json_option
def sign(file: Path, person: str, key: Path, passphrase_file: Path, as_json: bool) -> None:
    """Whose signature counts is for the granting node to say."""
    from jinbao.authority.person_keys import load_person_key
    from jinbao.authority.private_files import read_secret
    from jinbao.standby.declaring import read_file
    from jinbao.standby.declaring import sign as add

    signed = read_file(file.read_bytes())
    if not as_json:
        _show(signed)
    signed = add(signed, person, load_person_key(key, read_secret(passphrase_file)))
    _write(file, signed.content().encode())
    signers = [signature.person for signature in signed.signatures]
    if as_json:
        show.as_json(_facts(signed.declaration) | {"signed_by": signers})
        return
    show.result(t(f"signed by {', '.join(signers)}: {file}", f"已签名（{'、'.join(signers)}）：{file}"))


@click.command(
    help=t(
        "At the parent of a lost node: verify who signed, and seal the grant of its identity to the backup site.",
        "在失效节点的上级：核验签名，签封将其身份授予灾备的授予书。",
    ),
    epilog="jinbao standby grant 140100.declared --out 140100.grant --reason 'declared by wang and li'",
)
@click.argument("file", type=_FILE)
@click.option("--out", type=_NEW, required=True, help=t("the sealed grant", "签封的授予书"))
@click.option("--reason", required=True, help=t("why; recorded in the audit trail", "原因，记入审计日志"))
@config_option
@json_option
def grant(file: Path, out: Path, reason: str, config: Path, as_json: bool) -> None:
    """A declaration that was granted gives the same grant again."""
    content = b64encode(file.read_bytes()).decode()
    found = ask(config, str(Zone.EXCHANGE), "standby.grant", content=content, reason=reason)
    _write(out, b64decode(found["content"]))
    if as_json:
        show.as_json({name: value for name, value in found.items() if name != "content"} | {"out": str(out)})
        return
    show.result(
        t(
            "{node} is granted at epoch {epoch}, signed by {signers}: {out}",
            "{node} 的身份已授予，纪元 {epoch}，签名人 {signers}：{out}",
        ).format(**found, signers=", ".join(found["signed_by"]), out=out)
    )


def _write(path: Path, content: bytes) -> None:
    from jinbao.authority.private_files import write_private

    write_private(path, content)


def _facts(declaration: Declaration) -> dict[str, Any]:
    return {
        "trust_domain": declaration.trust_domain,
        "node": declaration.node,
        "epoch": declaration.epoch,
        "backup": declaration.backup,
        "reason": declaration.reason,
        "made_at": declaration.made_at,
        "addresses": [f"{zone}={address}" for zone, address in declaration.addresses],
        "cuts": [f"{cut.zone} {cut.lsn} ({cut.hash[:12]})" for cut in declaration.cuts],
        "without": list(map(str, declaration.without)),
    }


def _show(signed: Signed) -> None:
    """What a person signs, in lines."""
    facts = _facts(signed.declaration)
    show.pairs(
        facts | {"without": facts["without"] or t("nothing", "无")},
        {
            "trust_domain": t("network", "信任域"),
            "node": t("lost node", "失效节点"),
            "epoch": t("epoch granted", "授予纪元"),
            "backup": t("taken over by", "接管方"),
            "reason": t("reason", "原因"),
            "made_at": t("declared at", "声明时间"),
            "addresses": t("listens at", "新地址"),
            "cuts": t("built up to act", "重建至流水"),
            "without": t("given up: what only these have", "放弃：仅存于以下分区的数据"),
        },
    )
