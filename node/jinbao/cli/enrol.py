"""`jinbao enrol`: how a node comes to its certificates and renews them, over the network or by files."""

from __future__ import annotations

import base64
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from jinbao.cli import show
from jinbao.cli.asking import STANDARD, config_option, json_option
from jinbao.cli.words import t

if TYPE_CHECKING:
    from jinbao.appliance.settings import Settings
    from jinbao.authority.tokens import Token
    from jinbao.model.zone import Zone

_PATH = click.Path(path_type=Path)
_TOKEN_BYTES_MAX = 1 << 16


@click.command(
    help=t(
        "Enrol the zones of this node with a token, or renew them. Keys are made here and stay here. "
        "--request writes a file to carry to the authority instead of asking it, --install takes its answer.",
        "以令牌使本节点各分区入网，或续期。私钥在本机生成，不离开本机。"
        "--request 写出申请文件交发证机构，--install 安装其答复。",
    ),
    epilog="jinbao enrol --token 140100.token --config node.toml",
)
@config_option
@click.option(
    "--token",
    type=_PATH,
    help=t(
        "token file of the authority (0600); - for standard input",
        "发证机构的令牌文件（0600）；- 表示标准输入",
    ),
)
@click.option("--renew", is_flag=True, help=t("renew with the current keys", "以现有密钥续期"))
@click.option(
    "--request", type=_PATH, help=t("write the request to this file, ask nobody", "申请写入此文件，不联网")
)
@click.option("--install", type=_PATH, help=t("install the answer in this file", "安装此文件中的答复"))
@click.option(
    "--zone", default="", type=click.Choice(["", "production", "exchange", "decision"]), metavar="ZONE",
    help=t("only this zone; all if not named", "仅此分区，缺省为全部"),
)  # fmt: skip
@click.option(
    "--address",
    default="",
    help=t("renew at this HOST:PORT instead of where it enrolled", "续期地址，缺省为入网地址"),
)
@click.option(
    "--reason",
    default="",
    help=t("why; a running zone records it, and needs it", "原因；运行中的分区予以记录，必填"),
)
@json_option
def enrol(
    config: Path,
    token: Path | None,
    renew: bool,
    request: Path | None,
    install: Path | None,
    zone: str,
    address: str,
    reason: str,
    as_json: bool,
) -> None:
    """One of: token, renew, install. A running zone renews and installs itself; by files where it is stopped."""
    from jinbao.appliance.settings import load
    from jinbao.model.errors import UsageError
    from jinbao.model.zone import Zone

    if sum((token is not None, renew, install is not None)) != 1:
        raise UsageError("enrol", expected="one of --token, --renew, --install", got="none or several")
    settings = load(config)
    chosen = Zone(zone) if zone else None
    if chosen:
        settings.endpoint(chosen)
    if install:
        _say(_installed(settings, install, chosen, reason), as_json)
    elif token:
        _with_token(settings, token, request, chosen, as_json=as_json)
    else:
        _renewed(settings, request, chosen, _Wanted(address, reason), as_json=as_json)


def _now() -> datetime:
    return datetime.now(UTC)


Rows = list[dict[str, Any]]


def _rows(places: Mapping[Zone, Path]) -> Rows:
    """What every zone now has, read back from its files."""
    from jinbao.appliance.enrolment import facts
    from jinbao.authority.identity_files import load_identity

    return [dict(facts(zone, load_identity(place.parent))) for zone, place in places.items()]


def _say(rows: Rows, as_json: bool) -> None:
    """What every zone now has."""
    if as_json:
        show.as_json({"zones": rows})
        return
    columns = {
        "zone": t("zone", "分区"),
        "identity": t("identity", "身份"),
        "until": t("until", "有效至"),
    }
    show.table(rows, columns)


def _written(request: Path, content: bytes, as_json: bool) -> None:
    from jinbao.authority.private_files import write_private

    write_private(request, content)
    if as_json:
        show.as_json({"request": str(request)})
    else:
        show.result(
            t(
                f"request in {request}; carry it to the authority: jinbao ca issue",
                f"申请写入 {request}；请交发证机构：jinbao ca issue",
            )
        )


def _with_token(
    settings: Settings, path: Path, request: Path | None, zone: Zone | None, *, as_json: bool
) -> None:
    from jinbao.appliance import enrolment
    from jinbao.authority import joining
    from jinbao.wire.gen.jinbao.wire.v1 import enrolment_pb2 as wire

    token = _token(path)
    directories = enrolment.token_directories(settings, token, zone)
    if request:
        asked = joining.enrol_request(token, directories)
        _written(request, wire.EnrolmentFile(enrol=asked).SerializeToString(), as_json)
    else:
        _say(_rows(enrolment.enrol(token, directories, _now())), as_json)


def _token(path: Path) -> Token:
    """Of a file its owner alone may read, or of standard input, so that it need lie nowhere."""
    from jinbao.authority.tokens import parse_token, read_token

    if path == STANDARD:
        return parse_token(sys.stdin.buffer.read(_TOKEN_BYTES_MAX), "token on standard input")
    return read_token(path)


def _installed(settings: Settings, file: Path, zone: Zone | None, reason: str) -> Rows:
    """Install an answer: each running zone does it itself, the files of the others are written here."""
    from jinbao.appliance import admin_client, enrolment
    from jinbao.authority import joining

    content = file.read_bytes()
    answer = joining.response_of(content)
    zones = [zone] if zone else list(settings.zones)
    served = [one for one in zones if enrolment.is_served(settings, one)]
    given = {"content": base64.b64encode(content).decode("ascii"), "reason": reason}
    answered = {one.zone for one in answer.zones}
    rows = [
        admin_client.ask(settings, one, "trust.install", given)
        for one in served
        if zone or one.value in answered
    ]
    stopped = [one for one in zones if one not in served]
    if rows and not stopped:
        return rows
    waiting = {
        one: place
        for one, place in enrolment.identity_directories(settings, stopped).items()
        if zone or joining.waiting(place) is not None
    }
    if rows and not waiting:
        return rows
    return rows + _rows(joining.install(waiting, answer, _now()))


class _Wanted(NamedTuple):
    """How a renewal is asked for."""

    address: str
    reason: str


def _renewed(
    settings: Settings, request: Path | None, zone: Zone | None, wanted: _Wanted, *, as_json: bool
) -> None:
    from jinbao.appliance import admin_client, enrolment
    from jinbao.model.errors import UsageError

    if request:
        if not zone:
            raise UsageError("renewal by file", expected="--zone: one request per zone", got="none")
        _written(request, _request_of(settings, zone, wanted.reason), as_json)
        return
    rows: Rows = []
    for one in [zone] if zone else list(settings.zones):
        if enrolment.is_served(settings, one):
            rows.append(admin_client.ask(settings, one, "trust.renew", wanted._asdict()))
        else:
            [(_, directory)] = enrolment.identity_directories(settings, [one]).items()
            rows += _rows(enrolment.renew(one, directory, _now(), wanted.address))
    _say(rows, as_json)


def _request_of(settings: Settings, zone: Zone, reason: str) -> bytes:
    """A zone's request for new certificates, as a file holds it: made by the zone itself while it runs."""
    from jinbao.appliance import admin_client, enrolment
    from jinbao.authority import joining
    from jinbao.authority.identity_files import load_identity
    from jinbao.wire.gen.jinbao.wire.v1 import enrolment_pb2 as wire

    if enrolment.is_served(settings, zone):
        found = admin_client.ask(settings, zone, "trust.request", {"reason": reason})
        return base64.b64decode(found["content"])
    [(_, directory)] = enrolment.identity_directories(settings, [zone]).items()
    asked = joining.renew_request(load_identity(directory), directory)
    return wire.EnrolmentFile(renew=asked).SerializeToString()
