"""`jinbao standby key`: keys that open a backup site's copies, and those by which persons sign."""

from __future__ import annotations

from pathlib import Path

import click

from jinbao.cli import show
from jinbao.cli.asking import ask, asking, config_option, json_option
from jinbao.cli.words import t
from jinbao.model.zone import Zone

_ESCROW_PERSONS = 2

key_option = click.option(
    "--key",
    "keys",
    type=click.Path(path_type=Path, exists=True),
    multiple=True,
    help=t(
        "what opens the copy: a private key file, or the directory copy-keys of a zone; several if one does not do",
        "打开副本的密钥：私钥文件，或分区的 copy-keys 目录；可给出多个",
    ),
)
passphrase_option = click.option(
    "--passphrase-file",
    "passphrases",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    multiple=True,
    help=t(
        "file whose first line is a passphrase of the key; once for each person, in their order",
        "首行为私钥口令的文件；每位保管人一个，按原顺序",
    ),
)


@click.group(
    help=t(
        "Keys that open the copies a backup site keeps, which it cannot read itself; keys by which persons sign.",
        "打开灾备副本的密钥（灾备自身无法读取副本），以及个人签名密钥。",
    ),
    epilog="jinbao standby key create escrow --to escrow.pem --passphrase-file first --passphrase-file second",
)
def key() -> None:
    """Group."""


@key.command(
    help=t(
        "Make the private key of the escrow, of drills, or of a person who may declare a node lost; prints the line for the settings.",
        "生成托管、演练或声明人私钥；输出配置中的相应一行。",
    ),
    epilog="jinbao standby key create drill --to /etc/jinbao/drill.pem | "
    "jinbao standby key create person --to wang.pem --passphrase-file wang.pass",
)
@click.argument("purpose", type=click.Choice(["escrow", "drill", "person"]))
@click.option(
    "--to",
    "path",
    required=True,
    type=click.Path(path_type=Path, dir_okay=False),
    help=t("the key file, which is not there yet", "私钥文件，须尚不存在"),
)
@passphrase_option
def create(purpose: str, path: Path, passphrases: tuple[Path, ...]) -> None:
    """An escrow key has passphrases of two persons at least, a person's that person's own."""
    from jinbao.authority.copy_keys import create_copy_key
    from jinbao.authority.private_files import read_secret
    from jinbao.model.errors import UsageError

    if purpose == "escrow" and len(passphrases) < _ESCROW_PERSONS:
        raise UsageError(
            "--passphrase-file",
            expected=f"one of each of {_ESCROW_PERSONS} persons, none of whom opens it alone",
            got=str(len(passphrases)),
        )
    if purpose == "person":
        show.result(_person(path, passphrases))
        return
    made = create_copy_key(path, [read_secret(file) for file in passphrases], purpose)
    show.result(f'{purpose}_key = "{made.public_text}"')


def _person(path: Path, passphrases: tuple[Path, ...]) -> str:
    """Make a person's key; its line in the settings, under the file's name."""
    from jinbao.authority.person_keys import create_person_key
    from jinbao.authority.private_files import read_secret
    from jinbao.model.declarant import declarant, settings_line
    from jinbao.model.errors import UsageError

    if len(passphrases) != 1:
        raise UsageError("--passphrase-file", expected="the person's own, once", got=str(len(passphrases)))
    try:
        name = declarant(path.stem)
    except ValueError as exc:
        raise UsageError("--to", expected="a file named as the person", got=path.name) from exc
    return settings_line(name, create_person_key(path, read_secret(passphrases[0])).public_text)


@key.command(
    help=t(
        "Make another key for a zone's copies: what the backup fetches from now on is encrypted by it.",
        "为本分区副本更换密钥；此后灾备取得的内容以新密钥加密。",
    ),
    epilog="jinbao standby key rotate --zone exchange",
)
@asking(Zone.EXCHANGE)
def rotate(config: Path, zone: str, as_json: bool) -> None:
    """Older keys stay, for what they encrypted."""
    found = ask(config, zone, "standby.rotate")
    if as_json:
        show.as_json(found)
        return
    show.result(t("copies are encrypted by {key} from now on", "此后副本以 {key} 加密").format(**found))


@key.command(
    help=t(
        "At the backup: whether a private key opens every copy there is, tried before it is needed; no copy is read.",
        "在灾备：在需要之前验证私钥能否打开全部副本；不读取副本。",
    ),
    epilog="jinbao standby key check --key escrow.pem --passphrase-file first --passphrase-file second",
)
@key_option
@passphrase_option
@config_option
@json_option
@click.pass_context
def check(
    ctx: click.Context, keys: tuple[Path, ...], passphrases: tuple[Path, ...], config: Path, as_json: bool
) -> None:
    """Exit code 3 where it opens less than all."""
    from jinbao.appliance.key_check import check_keys
    from jinbao.appliance.settings import load

    found = [tried.body() for tried in check_keys(load(config), keys, passphrases)]
    if as_json:
        show.as_json({"zones": found})
    else:
        columns = {
            "zone": t("zone", "分区"),
            "opened": t("keys opened", "已打开密钥"),
            "shut": t("NOT opened", "未能打开"),
        }
        show.table([line | {"shut": ", ".join(line["shut"])} for line in found], columns)
    ctx.exit(3 if any(line["shut"] for line in found) else 0)
