"""What the commands of `jinbao ca` share: options, the authority of a directory, and how results are said."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from jinbao.cli import show
from jinbao.cli.words import t

if TYPE_CHECKING:
    from cryptography import x509

    from jinbao.authority.authority import Authority
    from jinbao.model.topology import Topology

F = TypeVar("F", bound=Callable[..., Any])
PATH = click.Path(path_type=Path)


def now() -> datetime:
    """The wall clock."""
    return datetime.now(UTC)


def directory_argument(command: F) -> F:
    """The directory of the authority."""
    return click.argument("directory", type=PATH, metavar="DIR")(command)


def passphrase_option(command: F) -> F:
    """`--passphrase-file`: never an argument or the environment."""
    text = t("file (0600) whose first line opens the key", "口令文件（0600），首行为私钥口令")
    return click.option("--passphrase-file", type=PATH, help=text)(command)


def topology_option(command: F) -> F:
    """`--topology`: whom the authority may certify."""
    text = t("the signed topology", "已签名的网络拓扑")
    return click.option("--topology", type=PATH, help=text)(command)


def out_option(help_en: str, help_zh: str) -> Callable[[F], F]:
    """`--out`: where a file is written."""
    return click.option("--out", type=PATH, required=True, help=t(help_en, help_zh))


def opened(directory: Path, passphrase_file: Path | None) -> Authority:
    """The authority of a directory that was founded; without a file, by the passphrase its service was handed, if any."""
    from jinbao.authority.authority import Authority
    from jinbao.authority.key_protection import AUTHORITY_CREDENTIAL, passphrase
    from jinbao.authority.private_files import read_secret
    from jinbao.model.errors import UsageError

    secret = read_secret(passphrase_file) if passphrase_file else passphrase(AUTHORITY_CREDENTIAL)
    authority = Authority.at(directory, secret)
    if not (directory / "ledger.jsonl").exists():
        raise UsageError(
            f"directory {directory}", expected="an authority", got="none", next_step="jinbao ca init"
        )
    return authority


def topology_of(path: Path | None, authority: Authority) -> Topology | None:
    """The signed topology of a file, if one is named."""
    from jinbao.appliance.enrolment import read_topology

    return read_topology(path, authority, now()) if path else None


def write(path: Path, content: bytes) -> None:
    """Write a result for its owner alone."""
    from jinbao.authority.private_files import write_private

    write_private(path, content)


def done(as_json: bool, text: str, **facts: object) -> None:
    """Say what was done."""
    if as_json:
        show.as_json(facts)
    else:
        show.result(text)


def facts_of(certificate: x509.Certificate) -> dict[str, object]:
    """What is said of a certificate."""
    return {
        "serial": f"{certificate.serial_number:x}",
        "subject": certificate.subject.rfc4514_string(),
        "until": f"{certificate.not_valid_after_utc:%Y-%m-%dT%H:%M:%SZ}",
    }


def word(value: object) -> str:
    """A stage, a use or a standing as a person reads it; programs get the identifier."""
    zh = {
        "made": "待签发",
        "prepared": "已备好",
        "active": "在用",
        "superseded": "已被接替",
        "tainted": "待弃用",
        "retired": "已停用",
        "line": "主线",
        "seal": "签封",
        "enrolment": "入网服务",
        "authority": "发证机构",
        "cross": "交叉",
        "fresh": "有效",
        "due": "应续期",
        "alarm": "续期告警",
        "ended": "已到期",
        "revoked": "已吊销",
    }
    return t(str(value), zh.get(str(value), str(value)))


def worded(rows: Iterable[Mapping[str, object]], *names: str) -> list[dict[str, object]]:
    """Rows with some of their values in words."""
    return [dict(row) | {name: word(row[name]) for name in names} for row in rows]
