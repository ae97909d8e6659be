"""`jinbao ca`: an authority as its operator sees and steers it. Secrets are in files or go into a pipe, never shown."""

from __future__ import annotations

import sys
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from jinbao.cli import ca_grant, ca_trust, show
from jinbao.cli.asking import STANDARD, json_option
from jinbao.cli.ca_options import (
    PATH,
    directory_argument,
    done,
    facts_of,
    now,
    opened,
    out_option,
    passphrase_option,
    topology_of,
    topology_option,
    worded,
    write,
)
from jinbao.cli.loading import loading
from jinbao.cli.words import t

if TYPE_CHECKING:
    from jinbao.authority.authority import Authority


@click.group(
    help=t(
        "Authorities: found, issue, revoke, list, rotate; tokens for nodes; the enrolment listener.",
        "发证机构：建立、签发、吊销、列表、轮换；节点入网令牌；入网服务。",
    ),
    epilog="jinbao ca init ca-root --domain jinbao.example",
)
def ca() -> None:
    """Group."""


for _command in (ca_grant.grant, ca_trust.rotate, ca_trust.crl, ca_trust.csr, ca_trust.take, ca_trust.export):
    ca.add_command(_command)


@ca.command(
    help=t(
        "Found an authority: the root, or with --issuing that of a node; with --root it is certified at once.",
        "建立发证机构：根，或以 --issuing 建立某节点的签发机构；给出 --root 时立即由根签发。",
    ),
    epilog="jinbao ca init ca-140000 --domain jinbao.example --issuing 140000 --root ca-root",
)
@directory_argument
@click.option("--domain", required=True, help=t("trust domain of the network", "全网信任域"))
@click.option("--issuing", default="", metavar="NODE", help=t("node whose authority this is", "所属节点"))
@click.option("--root", type=PATH, help=t("directory of the root on this machine", "本机上根的目录"))
@click.option(
    "--root-passphrase-file", type=PATH, help=t("as --passphrase-file, of the root", "根的口令文件")
)
@click.option(
    "--signer", multiple=True, metavar="WORD",
    help=t("signing program and its arguments, one per option: an HSM's tool", "签名程序及其参数，逐个给出：密码机工具"),
)  # fmt: skip
@click.option(
    "--public-key", type=PATH, help=t("public key (PEM) of the signing program", "签名程序的公钥（PEM）")
)
@passphrase_option
@json_option
def init(
    directory: Path,
    domain: str,
    issuing: str,
    root: Path | None,
    root_passphrase_file: Path | None,
    signer: tuple[str, ...],
    public_key: Path | None,
    passphrase_file: Path | None,
    as_json: bool,
) -> None:
    """Found, or go on founding."""
    from jinbao.authority import rotation
    from jinbao.authority.authority import Authority
    from jinbao.authority.keys import command_spec
    from jinbao.authority.private_files import read_secret
    from jinbao.model.errors import UsageError
    from jinbao.trust.identity import ROOT

    if bool(signer) != bool(public_key) or (root and not issuing):
        raise UsageError(
            "options",
            expected="--signer with --public-key, --root with --issuing",
            got="one without the other",
        )
    above = opened(root, root_passphrase_file) if root else None
    authority = Authority.at(directory, read_secret(passphrase_file) if passphrase_file else b"")
    key = command_spec(public_key, signer) if public_key else None
    authority.found("issuing" if issuing else ROOT, domain, issuing, now(), key)
    if above:
        rotation.certify_here(authority, above, now())
    if not issuing or above:
        authority.crl(now())
    name = issuing or ROOT
    waits = t("; it waits for its certificate: jinbao ca csr", "；等待证书：jinbao ca csr")
    done(
        as_json,
        t(f"authority {name} in {directory}", f"发证机构 {name} 位于 {directory}")
        + (waits if issuing and not above else ""),
        authority=name,
        domain=domain,
        directory=str(directory),
        certified=not issuing or above is not None,
    )


@ca.command(
    help=t(
        "Answer a request that came as a file: a node's enrolment or renewal, or an authority's certificate request.",
        "签发文件形式的申请：节点入网或续期申请，或下级发证机构的证书申请。",
    ),
    epilog="jinbao ca issue ca-140000 --request city.request --out city.answer --topology topology.sealed",
)
@directory_argument
@click.option("--request", type=PATH, required=True, help=t("the request", "申请文件"))
@out_option("where the answer is written", "答复文件")
@topology_option
@passphrase_option
@json_option
def issue(
    directory: Path,
    request: Path,
    out: Path,
    topology: Path | None,
    passphrase_file: Path | None,
    as_json: bool,
) -> None:
    """The answer carries certificates, roots and lists; no secret."""
    from jinbao.appliance.observers import configure_logging
    from jinbao.authority.enrolling import Enrolling
    from jinbao.authority.trust_files import write_trust

    configure_logging()
    authority, content = opened(directory, passphrase_file), request.read_bytes()
    if content.startswith(b"-----BEGIN CERTIFICATE REQUEST-----"):
        answer = write_trust(_certified(authority, content))
    else:
        granted = topology_of(topology, authority)
        answer = Enrolling(authority, lambda: granted, now, _log_event).answer_file(content)
    write(out, answer)
    done(as_json, t(f"answer in {out}", f"答复写入 {out}"), out=str(out))


def _certified(root: Authority, pem: bytes) -> tuple[bytes, ...]:
    """The certificate a root makes from an authority's request, first, and what else it tells."""
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import Encoding

    from jinbao.authority import rotation
    from jinbao.authority.state import der
    from jinbao.model.errors import UnprovableError

    try:
        request = x509.load_pem_x509_csr(pem).public_bytes(Encoding.DER)
    except ValueError as exc:
        raise UnprovableError("request of an authority", expected="PEM", got=str(exc)[:80]) from exc
    made = rotation.certify_request(root, request, now())
    root.crl(now(), due_only=True)
    return tuple(dict.fromkeys([der(made), *root.documents()]))


def _log_event(name: str, /, **values: object) -> None:
    """One log line."""
    import structlog

    log = structlog.get_logger()
    (log.warning if name.endswith("refused") else log.info)(name, **values)


@ca.command(
    help=t(
        "Make a token file for one node; each of its zones enrols with it once. Without a topology: only the ministry's own node.",
        "为一个节点生成入网令牌文件，每个分区用一次。不给拓扑时只能用于部级本节点。",
    ),
    epilog="jinbao ca token ca-140000 --node 140100 --address ca.140000:7443 --topology topology.sealed --out 140100.token",
)
@directory_argument
@click.option("--node", required=True, help=t("node that will enrol", "入网节点"))
@click.option(
    "--zone", multiple=True, type=click.Choice(["production", "exchange", "decision"]),
    help=t("zones; all of the node if none is named", "分区；缺省为该节点全部"),
)  # fmt: skip
@click.option(
    "--address",
    default="",
    help=t("HOST:PORT of jinbao ca serve; none: by file", "jinbao ca serve 的地址；缺省为文件方式"),
)
@click.option("--minutes", type=float, help=t("how long it is good; 10 if not said", "有效分钟数，缺省 10"))
@out_option("the token file, made 0600; - for standard output", "令牌文件，权限 0600；- 表示标准输出")
@topology_option
@passphrase_option
@json_option
def token(
    directory: Path,
    node: str,
    zone: tuple[str, ...],
    address: str,
    minutes: float | None,
    out: Path,
    topology: Path | None,
    passphrase_file: Path | None,
    as_json: bool,
) -> None:
    """The secret is in the file alone, or in the pipe."""
    from jinbao.authority.tokens import make_token, token_text, write_token
    from jinbao.model.errors import UsageError
    from jinbao.model.zone import Zone

    is_piped = out == STANDARD
    if is_piped and (as_json or sys.stdout.isatty()):
        raise UsageError(
            "--out -", expected="a pipe to jinbao enrol --token -", got="--json" if as_json else "a terminal"
        )
    if not is_piped and out.exists():
        raise UsageError(f"token file {out}", expected="a new name", got="a file that is there")
    authority = opened(directory, passphrase_file)
    made = make_token(
        authority,
        node,
        topology=topology_of(topology, authority),
        now=now(),
        zones=tuple(map(Zone, zone)),
        address=address,
        life=None if minutes is None else timedelta(minutes=minutes),
    )
    if is_piped:
        show.result(token_text(made).decode())
        return
    write_token(made, out)
    until = f"{made.expires:%Y-%m-%dT%H:%M:%SZ}"
    zones = ", ".join(made.zones)
    done(
        as_json,
        t(
            f"token {made.id} for {node} ({zones}) in {out}, good until {until}",
            f"{node}（{zones}）的令牌 {made.id} 写入 {out}，有效至 {until}",
        ),
        id=made.id,
        node=node,
        zones=list(made.zones),
        until=until,
        out=str(out),
    )


@ca.command(
    name="list",
    help=t(
        "Certificates in force; with --all also those that ended. Keys of the authority first, granted epochs last.",
        "有效证书；--all 含已到期的。先列发证机构自己的密钥，最后列已授予的纪元。",
    ),
    epilog="jinbao ca list ca-140000",
)
@directory_argument
@click.option("--all", "everything", is_flag=True, help=t("also those that ended", "含已到期的"))
@passphrase_option
@json_option
def listing(directory: Path, everything: bool, passphrase_file: Path | None, as_json: bool) -> None:
    """Keys, certificates, tokens that wait."""
    found = _found(opened(directory, passphrase_file), everything)
    if as_json:
        show.as_json(found)
        return
    show.pairs(found, {"authority": t("authority", "发证机构"), "domain": t("trust domain", "信任域")})
    until = t("until", "有效至")
    show.table(
        worded(found["keys"], "stage"), {"key": t("key", "密钥"), "stage": t("stage", "阶段"), "until": until}
    )
    columns = {
        "about": t("of", "对象"),
        "use": t("use", "用途"),
        "serial": t("serial", "序列号"),
        "until": until,
        "standing": t("standing", "状态"),
    }
    show.table(worded(found["certificates"], "use", "standing"), columns)
    waits = {"id": t("token", "令牌"), "node": t("node", "节点"), "zones": t("zones", "分区"), "until": until}
    if found["tokens"]:
        show.table(found["tokens"], waits)
    if found["grants"]:
        show.table(
            found["grants"],
            {"node": t("granted node", "已授予节点"), "epoch": t("epoch", "纪元"), "at": t("at", "时间")},
        )


def _found(authority: Authority, everything: bool) -> dict[str, Any]:
    from jinbao.authority.renewal import standing

    moment = now()
    with authority.acting() as state:
        keys = [
            {
                "key": key.ski[:16],
                "stage": key.stage,
                "until": facts_of(key.certificate)["until"] if key.certificates else "",
            }
            for key in state.keys.values()
        ]
        certificates = [
            {"about": one.about, "use": one.use}
            | facts_of(one.certificate)
            | {"standing": "revoked" if one.serial in state.revoked else standing(one.certificate, moment)}
            for one in state.issued.values()
            if everything or one.certificate.not_valid_after_utc >= moment
        ]
        tokens = [
            {
                "id": one.id,
                "node": one.node,
                "zones": list(one.zones),
                "until": f"{one.expires:%Y-%m-%dT%H:%M:%SZ}",
            }
            for one in state.tokens.values()
            if one.expires > moment and len(one.used) < len(one.zones)
        ]
        grants = [
            {"node": one.grant.node, "epoch": one.grant.epoch, "at": one.grant.made_at}
            for one in state.grants
        ]
        return {
            "authority": state.name,
            "domain": state.domain,
            "keys": keys,
            "certificates": certificates,
            "tokens": tokens,
            "grants": grants,
        }


@ca.command(
    help=t(
        "Take certificates back, by serial or by node and zone, and make a new list.",
        "按序列号或按节点、分区吊销证书，并生成新列表。",
    ),
    epilog="jinbao ca revoke ca-140000 --node 140100 --zone exchange --reason key-compromise",
)
@directory_argument
@click.argument("serials", nargs=-1, metavar="[SERIAL]...")
@click.option("--node", default="", help=t("all certificates of this node in force", "该节点的全部有效证书"))
@click.option("--zone", default="", help=t("of this zone of it only", "仅该分区"))
@click.option(
    "--reason", required=True,
    type=click.Choice(["key-compromise", "superseded", "cessation", "affiliation", "privilege-withdrawn"]),
    help=t("key-compromise refuses all of it, others what is made from now on", "key-compromise 使其全部失效，其余自现在起失效"),
)  # fmt: skip
@passphrase_option
@json_option
def revoke(
    directory: Path,
    serials: tuple[str, ...],
    node: str,
    zone: str,
    reason: str,
    passphrase_file: Path | None,
    as_json: bool,
) -> None:
    """Revoked ones stay revoked."""
    from jinbao.model.errors import UsageError

    authority = opened(directory, passphrase_file)
    if bool(serials) == bool(node):
        raise UsageError("what to revoke", expected="serials or --node", got="both" if node else "neither")
    try:
        wanted = [int(serial, 16) for serial in serials]
    except ValueError as exc:
        raise UsageError("serial", expected="hexadecimal, as jinbao ca list shows it", got=str(exc)) from exc
    taken = authority.revoke(wanted or authority.serials_of(node, zone, now=now()), reason, now())
    authority.crl(now())
    done(
        as_json,
        t(
            f"{len(taken)} revoked; hand out the new list: jinbao ca crl",
            f"已吊销 {len(taken)} 张；请分发新列表：jinbao ca crl",
        ),
        revoked=[f"{serial:x}" for serial in taken],
    )


@ca.command(
    help=t(
        "Answer enrolments and renewals over the network until it is told to stop; makes lists before they are due.",
        "通过网络受理入网和续期，直至停止；到期前自动更新吊销列表。",
    ),
    epilog="jinbao ca serve ca-140000 --listen 0.0.0.0:7443 --topology topology.sealed",
)
@directory_argument
@click.option("--listen", required=True, metavar="HOST:PORT", help=t("where it listens", "监听地址"))
@click.option(
    "--publish",
    type=click.Path(path_type=Path, dir_okay=False),
    help=t(
        "keep what others need to trust in this file: in trust_directory of the exchange zone",
        "将信任材料保持在此文件中：置于交换区的 trust_directory",
    ),
)
@topology_option
@passphrase_option
@click.pass_context
def serve(
    ctx: click.Context,
    directory: Path,
    listen: str,
    publish: Path | None,
    topology: Path | None,
    passphrase_file: Path | None,
) -> None:
    """Until SIGTERM."""
    with loading():
        from jinbao.appliance.enrolment import serve as serve_authority
        from jinbao.appliance.observers import configure_logging

    configure_logging()
    authority = opened(directory, passphrase_file)
    ctx.exit(serve_authority(authority, listen, topology, now, publish))
