"""What lies in a bundle, and the sums by which each byte of it is known. Reads and writes directories, no network.

jinbao-X.Y.Z-linux-ARCH/
  SHA256SUMS SHA256SUMS.sig   a line for every other file, and the release key's signature over them
  BUNDLE                      version, arch, python, glibc, one per line: what the installer compares
  install.sh requirements.txt wheels/ tools/ units/ tiers/ docs/ sbom.cdx.json …
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from jinbao.model.errors import LocalError, UnprovableError

SUMS, SIGNATURE, INFO = "SHA256SUMS", "SHA256SUMS.sig", "BUNDLE"
REQUIREMENTS, WHEELS, SBOM, INSTALLER = "requirements.txt", "wheels", "sbom.cdx.json", "install.sh"
TOOLS = "tools"
"""What the installer takes: uv, compiled modules, and the linker of what did not change."""

ARCHES = ("x86_64", "aarch64")
GLIBC_MIN = "2.28"
"""Of the newest manylinux the wheels are built for."""

SUMS_BYTES_MAX = 4 << 20
"""Thirty thousand files."""

_NAME = r"[A-Za-z0-9_.+@/-]{1,400}"
"""What every shell and sum program reads alike."""

_LINE = re.compile(rf"([0-9a-f]{{64}})  ({_NAME})")


@dataclass(frozen=True, slots=True)
class BundleInfo:
    """For which machine a bundle is."""

    version: str
    arch: str
    python: str
    glibc: str = GLIBC_MIN

    @property
    def name(self) -> str:
        """Of the bundle, its folder and its file."""
        return f"jinbao-{self.version}-linux-{self.arch}"

    def text(self) -> str:
        """As a shell reads it, and people."""
        return f"version={self.version}\narch={self.arch}\npython={self.python}\nglibc={self.glibc}\n"


def read_info(text: str) -> BundleInfo:
    """The info in a text; raises UnprovableError for one that is none."""
    found = dict(line.partition("=")[::2] for line in text.splitlines())
    if set(found) != {"version", "arch", "python", "glibc"}:
        raise UnprovableError(
            INFO, expected="version, arch, python, glibc", got=", ".join(sorted(found))[:80]
        )
    return BundleInfo(**found)


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file, hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def files_of(directory: Path) -> Iterator[Path]:
    """Every file of a bundle, in the order of its name; raises UnprovableError for anything else that lies in it."""
    for path in sorted(directory.rglob("*"), key=lambda p: p.relative_to(directory).as_posix()):
        if path.is_symlink() or not (path.is_file() or path.is_dir()):
            raise UnprovableError(f"bundle file {path.name}", expected="a plain file", got="another kind")
        if path.is_file():
            yield path


def write_sums(directory: Path) -> bytes:
    """Write the sums of all files of a bundle; returns them. Raises LocalError for a name not everybody reads alike."""
    lines = []
    for path in files_of(directory):
        name = path.relative_to(directory).as_posix()
        if not re.fullmatch(_NAME, name):
            raise LocalError(f"bundle file {name}", expected="a name of letters, digits and _.+@-", got=name)
        if name not in {SUMS, SIGNATURE}:
            lines.append(f"{sha256_of(path)}  {name}\n")
    content = "".join(lines).encode()
    (directory / SUMS).write_bytes(content)
    return content


def read_sums(content: bytes) -> dict[str, str]:
    """Sum by name; raises UnprovableError for a line that is none, a name twice or one that leaves the bundle."""
    found: dict[str, str] = {}
    for line in content.decode("ascii", "replace").splitlines():
        match = _LINE.fullmatch(line)
        if match is None or match[2] in found or ".." in match[2].split("/") or match[2].startswith("/"):
            raise UnprovableError(SUMS, expected="a sum and a name, each once", got=line[:120])
        found[match[2]] = match[1]
    return found


def check_sums(expected: Mapping[str, str], got: Mapping[str, str]) -> None:
    """Raise UnprovableError unless there is every file that is named, as it is named, and no other."""
    for name in sorted(expected.keys() | got.keys()):
        if expected.get(name) != got.get(name):
            raise UnprovableError(
                f"bundle file {name}",
                expected=expected.get(name, "none")[:12],
                got=got.get(name, "none")[:12],
                next_step="fetch the bundle again, and ask whoever released it",
            )
