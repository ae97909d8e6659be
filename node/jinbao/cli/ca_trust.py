"""The commands of `jinbao ca` about keys, lists and trust: rotate, crl, csr, import, export."""

from __future__ import annotations

from pathlib import Path

import click

from jinbao.cli import show
from jinbao.cli.asking import json_option
from jinbao.cli.ca_options import (
    PATH,
    directory_argument,
    done,
    now,
    opened,
    out_option,
    passphrase_option,
    worded,
    write,
)
from jinbao.cli.words import t


@click.command(
    help=t(
        "Change the authority's key in steps: prepare, activate, then taint (issuing) and retire. "
        "With --root the successor is certified at once; recertify has the root certify the active key again.",
        "分步更换密钥：prepare、activate，然后 taint（签发机构）、retire。"
        "给出 --root 时立即由根签发；recertify 使根重新签发当前密钥。",
    ),
    epilog="jinbao ca rotate ca-140000 prepare --root ca-root",
)
@directory_argument
@click.argument("step", type=click.Choice(["prepare", "activate", "taint", "retire", "recertify"]))
@click.option("--root", type=PATH, help=t("directory of the root on this machine", "本机上根的目录"))
@click.option(
    "--root-passphrase-file", type=PATH, help=t("as --passphrase-file, of the root", "根的口令文件")
)
@passphrase_option
@json_option
def rotate(
    directory: Path,
    step: str,
    root: Path | None,
    root_passphrase_file: Path | None,
    passphrase_file: Path | None,
    as_json: bool,
) -> None:
    """One step."""
    from jinbao.authority import rotation
    from jinbao.model.errors import UsageError

    authority = opened(directory, passphrase_file)
    above = opened(root, root_passphrase_file) if root else None
    if step == "recertify" and not above:
        raise UsageError("recertify", expected="--root", got="none", next_step="or jinbao ca csr and import")
    steps = {
        "prepare": rotation.prepare,
        "activate": rotation.activate,
        "taint": rotation.taint,
        "retire": rotation.retire,
    }
    if step in steps:
        steps[step](authority, now())
    if above and step in {"prepare", "recertify"}:
        rotation.certify_here(authority, above, now())
    authority.crl(now(), due_only=step != "activate")
    with authority.acting() as state:
        keys = [{"key": key.ski[:16], "stage": key.stage} for key in state.keys.values()]
    if as_json:
        show.as_json({"keys": keys})
    else:
        show.table(worded(keys, "stage"), {"key": t("key", "密钥"), "stage": t("stage", "阶段")})


@click.command(
    help=t(
        "Make and write a new revocation list of each key of the authority, PEM.",
        "生成并写出各密钥的新吊销列表（PEM）。",
    ),
    epilog="jinbao ca crl ca-140000 --out lists.pem",
)
@directory_argument
@out_option("the lists, PEM", "吊销列表文件（PEM）")
@passphrase_option
@json_option
def crl(directory: Path, out: Path, passphrase_file: Path | None, as_json: bool) -> None:
    """Numbers only go up."""
    from cryptography.hazmat.primitives.serialization import Encoding

    from jinbao.authority.authority import crl_number

    made = opened(directory, passphrase_file).crl(now())
    write(out, b"".join(one.public_bytes(Encoding.PEM) for one in made))
    rows = [
        {
            "authority": one.issuer.rfc4514_string(),
            "number": crl_number(one),
            "revoked": len(one),
            "until": f"{one.next_update_utc:%Y-%m-%dT%H:%M:%SZ}" if one.next_update_utc else "",
        }
        for one in made
    ]
    if as_json:
        show.as_json({"lists": rows})
        return
    columns = {
        "authority": t("authority", "发证机构"),
        "number": t("number", "编号"),
        "revoked": t("revoked", "吊销数"),
        "until": t("next by", "下次更新"),
    }
    show.table(rows, columns)


@click.command(
    help=t(
        "Write the certificate request of an issuing authority, for a root elsewhere; of the key that waits, else of the active one.",
        "写出签发机构的证书申请，供别处的根签发；先取等待证书的密钥，否则取当前密钥。",
    ),
    epilog="jinbao ca csr ca-140000 --out 140000.csr",
)
@directory_argument
@out_option("the request, PEM", "申请文件（PEM）")
@passphrase_option
@json_option
def csr(directory: Path, out: Path, passphrase_file: Path | None, as_json: bool) -> None:
    """PKCS 10."""
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import Encoding

    from jinbao.authority import rotation

    request = x509.load_der_x509_csr(rotation.certificate_request(opened(directory, passphrase_file)))
    write(out, request.public_bytes(Encoding.PEM))
    done(as_json, t(f"request in {out}", f"申请写入 {out}"), out=str(out))


@click.command(
    name="import",
    help=t(
        "Take over what a root answered: this authority's certificate, roots, cross certificates, lists.",
        "导入根的答复：本机构证书、根证书、交叉证书、吊销列表。",
    ),
    epilog="jinbao ca import ca-140000 140000.pem",
)
@directory_argument
@click.argument("file", type=PATH)
@passphrase_option
@json_option
def take(directory: Path, file: Path, passphrase_file: Path | None, as_json: bool) -> None:
    """Certificates of our keys must lead to a root of the file or one known."""
    from jinbao.authority import rotation
    from jinbao.authority.trust_files import read_trust

    authority = opened(directory, passphrase_file)
    documents = read_trust(file.read_bytes(), str(file))
    certified = rotation.install(authority, documents, now())
    if certified:
        authority.crl(now(), due_only=True)
    done(
        as_json,
        t(
            f"{len(documents)} documents, {len(certified)} of them certificates of this authority",
            f"{len(documents)} 份文件，其中 {len(certified)} 份为本机构证书",
        ),
        documents=len(documents),
        certified=certified,
    )


@click.command(
    help=t(
        "Write what others need to trust: certificates of authorities, cross certificates and newest lists, PEM.",
        "写出信任材料：发证机构证书、交叉证书和最新吊销列表（PEM）。",
    ),
    epilog="jinbao ca export ca-140000 --out trust.pem",
)
@directory_argument
@out_option("the file, PEM", "文件（PEM）")
@passphrase_option
@json_option
def export(directory: Path, out: Path, passphrase_file: Path | None, as_json: bool) -> None:
    """Public material only."""
    from jinbao.authority.trust_files import write_trust

    documents = opened(directory, passphrase_file).documents()
    write(out, write_trust(documents))
    done(
        as_json,
        t(f"{len(documents)} documents in {out}", f"{len(documents)} 份文件写入 {out}"),
        documents=len(documents),
        out=str(out),
    )
