"""Small bundles: all that a release has, and one wheel that only says its version."""

from __future__ import annotations

import base64
import hashlib
import io
import platform
import shutil
import sys
import zipfile
from collections.abc import Mapping
from functools import cache
from importlib.metadata import version as version_of
from pathlib import Path

import uv
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from tests.house.tree import ROOT

from jinbao.appliance.bundle.building import COMPILER, LINKER
from jinbao.appliance.bundle.compiling import compile_wheels
from jinbao.appliance.bundle.contents import (
    INFO,
    INSTALLER,
    REQUIREMENTS,
    SBOM,
    SIGNATURE,
    TOOLS,
    WHEELS,
    BundleInfo,
    write_sums,
)
from jinbao.appliance.bundle.sbom import read_wheel, sbom
from jinbao.authority.release_keys import ReleaseKey

KEY = ReleaseKey(Ed25519PrivateKey.from_private_bytes(bytes(32)))

UV = version_of("uv")

STEADY = "steady_words"
"""The package of a wheel that is the same in every release."""

SAYS = "import sys\n\n\ndef main():\n    sys.stdout.write('jinbao, version {version}\\n')\n"


def small_info(
    version: str = "7.1.0", *, arch: str = "", python: str = "", glibc: str = "2.28"
) -> BundleInfo:
    """A bundle for this machine, unless another is named."""
    mine = f"{sys.version_info.major}.{sys.version_info.minor}"
    return BundleInfo(version, arch or platform.machine(), python or mine, glibc)


def small_bundle(into: Path, info: BundleInfo) -> Path:
    """The signed folder of a small bundle."""
    directory = into / info.name
    for name in (WHEELS, TOOLS):
        (directory / name).mkdir(parents=True)
    wheel = read_wheel(_program(directory / WHEELS, info.version))
    steady = read_wheel(_steady(directory / WHEELS))
    (directory / REQUIREMENTS).write_text(
        "".join(f"{w.name}=={w.version} --hash=sha256:{w.sha256}\n" for w in (wheel, steady)),
        encoding="utf-8",
    )
    (directory / TOOLS / f"uv-{UV}-py3-none-any.whl").write_bytes(_uv())
    shutil.copy(ROOT / LINKER, directory / TOOLS)
    compile_wheels(ROOT / COMPILER, directory / WHEELS, directory / TOOLS)
    (directory / SBOM).write_bytes(sbom(info, wheel, [steady]))
    (directory / INFO).write_text(info.text(), encoding="utf-8")
    shutil.copytree(ROOT / "units", directory / "units")
    (directory / "docs").mkdir()
    (directory / "docs" / "page.md").write_text("# 页\n", encoding="utf-8")
    shutil.copy(ROOT / "scripts" / INSTALLER, directory / INSTALLER)
    sign_again(directory)
    return directory


def sign_again(directory: Path) -> None:
    """Sums and signature of what is in the folder now."""
    (directory / SIGNATURE).write_bytes(KEY.sign(write_sums(directory)))


def public_key(into: Path) -> Path:
    """The public file of the key that signs."""
    path = into / "release.pub.pem"
    path.write_bytes(KEY.public_pem)
    return path


@cache
def _uv() -> bytes:
    """The uv that runs here, as a wheel carries it."""
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        archive.write(uv.find_uv_bin(), f"uv-{UV}.data/scripts/uv")
    return held.getvalue()


def _program(into: Path, version: str) -> Path:
    """A wheel with one command."""
    files = {
        "jinbao_says.py": SAYS.format(version=version),
        f"jinbao-{version}.dist-info/entry_points.txt": "[console_scripts]\njinbao = jinbao_says:main\n",
    }
    return _wheel(into, "jinbao", version, files)


def _steady(into: Path) -> Path:
    """A wheel with two modules and no command."""
    files = {f"{STEADY}/__init__.py": "", f"{STEADY}/words.py": "WORDS = '金保工程'\n"}
    return _wheel(into, STEADY, "1.0", files)


def _wheel(into: Path, name: str, version: str, files: Mapping[str, str]) -> Path:
    info = f"{name}-{version}.dist-info"
    files = {
        **files,
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\nLicense-Expression: Apache-2.0\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(f"{n},sha256={_record_hash(text)},{len(text.encode())}\n" for n, text in files.items())
    path = into / f"{name}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for n, text in (files | {f"{info}/RECORD": record + f"{info}/RECORD,,\n"}).items():
            archive.writestr(zipfile.ZipInfo(n), text)
    return path


def _record_hash(text: str) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
