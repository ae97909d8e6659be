"""Small bundles: all that a release has, and one wheel that only says its version."""

from __future__ import annotations

import base64
import hashlib
import platform
import shutil
import sys
import zipfile
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from tests.house.tree import ROOT

from jinbao.appliance.bundle.contents import (
    INFO,
    INSTALLER,
    REQUIREMENTS,
    SBOM,
    SIGNATURE,
    WHEELS,
    BundleInfo,
    write_sums,
)
from jinbao.appliance.bundle.sbom import read_wheel, sbom
from jinbao.authority.release_keys import ReleaseKey

KEY = ReleaseKey(Ed25519PrivateKey.from_private_bytes(bytes(32)))

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
    (directory / WHEELS).mkdir(parents=True)
    wheel = read_wheel(_wheel(directory / WHEELS, info.version))
    (directory / REQUIREMENTS).write_text(
        f"jinbao=={info.version} --hash=sha256:{wheel.sha256}\n", encoding="utf-8"
    )
    (directory / SBOM).write_bytes(sbom(info, wheel, []))
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


def _wheel(into: Path, version: str) -> Path:
    """A wheel with one command."""
    info = f"jinbao-{version}.dist-info"
    files = {
        "jinbao_says.py": SAYS.format(version=version),
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: jinbao\nVersion: {version}\nLicense-Expression: Apache-2.0\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/entry_points.txt": "[console_scripts]\njinbao = jinbao_says:main\n",
    }
    record = "".join(f"{name},sha256={_record_hash(text)},{len(text)}\n" for name, text in files.items())
    path = into / f"jinbao-{version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in (files | {f"{info}/RECORD": record + f"{info}/RECORD,,\n"}).items():
            archive.writestr(zipfile.ZipInfo(name), text)
    return path


def _record_hash(text: str) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
