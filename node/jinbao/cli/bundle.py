"""`jinbao bundle`: the offline bundle: key, build, sign, verify."""

from __future__ import annotations

import platform
from pathlib import Path
from typing import TYPE_CHECKING

import click

from jinbao.cli import show
from jinbao.cli.asking import json_option
from jinbao.cli.words import t

if TYPE_CHECKING:
    from jinbao.authority.release_keys import ReleaseKey

_PATH = click.Path(path_type=Path)
_ARCHES = ("x86_64", "aarch64")


@click.group(
    help=t(
        "The offline bundle: built and signed where there is a network, installed where there is none.",
        "离线安装包：在有网络处构建并签名，在无网络处安装。",
    ),
    epilog="jinbao bundle verify jinbao-1.0.0-linux-x86_64.tar.zst --key release.pub.pem",
)
def bundle() -> None:
    """Nothing by itself."""


@bundle.command(
    help=t(
        "Make the release key: the private half under a passphrase, for a safe; the public half for whoever installs.",
        "生成发布密钥：私钥以口令保护，存入保险柜；公钥交安装方。",
    ),
    epilog="jinbao bundle key --to release.pem --public release.pub.pem --passphrase-file passphrase",
)
@click.option(
    "--to", "path", required=True, type=_PATH, help=t("private key, not there yet", "私钥文件，须尚不存在")
)
@click.option(
    "--public", required=True, type=_PATH, help=t("public key, not there yet", "公钥文件，须尚不存在")
)
@click.option(
    "--passphrase-file",
    "passphrase",
    required=True,
    type=_PATH,
    help=t("file with the passphrase (0600)", "口令文件（0600）"),
)
def key(path: Path, public: Path, passphrase: Path) -> None:
    """Keep the private half off every node."""
    from jinbao.authority.private_files import read_secret
    from jinbao.authority.release_keys import create_release_key

    create_release_key(path, public, read_secret(passphrase))
    show.result(str(public))


@bundle.command(
    help=t(
        "Build the bundle of this checkout for one architecture. Without --key it is unsigned, and is not installed.",
        "为一种体系结构构建本代码库的安装包。未给出 --key 则不签名，不能安装。",
    ),
    epilog="jinbao bundle build --arch aarch64 --out dist --key release.pem --passphrase-file passphrase",
)
@click.option(
    "--arch",
    type=click.Choice(_ARCHES),
    help=t("architecture; of this machine if not named", "体系结构，缺省为本机"),
)
@click.option("--out", type=_PATH, default="dist", show_default=True, help=t("directory", "输出目录"))
@click.option("--checkout", type=_PATH, default=".", show_default=True, help=t("source tree", "代码目录"))
@click.option("--key", "key_file", type=_PATH, help=t("private release key", "发布私钥"))
@click.option(
    "--passphrase-file",
    "passphrase",
    type=_PATH,
    help=t("file with its passphrase (0600)", "口令文件（0600）"),
)
def build(
    arch: str | None, out: Path, checkout: Path, key_file: Path | None, passphrase: Path | None
) -> None:
    """Asks the package index; everything else is here."""
    from jinbao.appliance.bundle.building import build as make
    from jinbao.model.errors import UsageError

    chosen = arch or platform.machine()
    if chosen not in _ARCHES:
        raise UsageError("--arch", expected=" or ".join(_ARCHES), got=chosen)
    show.result(str(make(checkout.absolute(), chosen, out.absolute(), _key(key_file, passphrase))))


@bundle.command(
    help=t(
        "Sign a bundle that was built elsewhere: where the release key is, and no network.",
        "为在别处构建的安装包签名：在存放发布私钥、没有网络的机器上执行。",
    ),
    epilog="jinbao bundle sign jinbao-1.0.0-linux-x86_64.tar.zst --key release.pem --passphrase-file passphrase",
)
@click.argument("file", type=_PATH)
@click.option("--key", "key_file", type=_PATH, required=True, help=t("private release key", "发布私钥"))
@click.option(
    "--passphrase-file",
    "passphrase",
    type=_PATH,
    required=True,
    help=t("file with its passphrase (0600)", "口令文件（0600）"),
)
def sign(file: Path, key_file: Path, passphrase: Path) -> None:
    """In place."""
    from jinbao.appliance.bundle.building import sign as put

    signer = _key(key_file, passphrase)
    assert signer is not None, "both options are required"
    put(file.absolute(), signer)
    show.result(str(file))


@bundle.command(
    help=t(
        "Hold a bundle's signature and every sum in it against the release key.",
        "以发布公钥校验安装包的签名及其中每个文件。",
    ),
    epilog="jinbao bundle verify jinbao-1.0.0-linux-x86_64.tar.zst --key release.pub.pem",
)
@click.argument("file", type=_PATH)
@click.option("--key", "public", type=_PATH, required=True, help=t("public release key", "发布公钥"))
@json_option
def verify(file: Path, public: Path, as_json: bool) -> None:
    """Nothing of it is written or run."""
    from jinbao.appliance.bundle.packing import verify as hold

    info = hold(file, public)
    body = {"version": info.version, "arch": info.arch, "python": info.python, "glibc": info.glibc}
    if as_json:
        show.as_json(body)
    else:
        names = {
            "version": t("version", "版本"),
            "arch": t("architecture", "体系结构"),
            "python": "Python",
            "glibc": t("glibc, or newer", "glibc 最低版本"),
        }
        show.pairs(body, names)


def _key(path: Path | None, passphrase: Path | None) -> ReleaseKey | None:
    from jinbao.authority.private_files import read_secret
    from jinbao.authority.release_keys import load_release_key
    from jinbao.model.errors import UsageError

    if path is None:
        return None
    if passphrase is None:
        raise UsageError("--key", expected="--passphrase-file with it", got="none")
    return load_release_key(path, read_secret(passphrase))
