"""A bundle as one file: the same bytes from the same files, and nothing believed that nobody signed."""

from __future__ import annotations

import os
import re
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from tests.bundles import KEY, public_key, sign_again, small_bundle, small_info
from tests.house.tree import ROOT

from jinbao.appliance.bundle.building import COMPILER, LOCK, lock_for, platforms, sign
from jinbao.appliance.bundle.compiling import compile_wheels
from jinbao.appliance.bundle.contents import SIGNATURE, SUMS, WHEELS, read_sums
from jinbao.appliance.bundle.packing import SUFFIX, pack, unpack, verify
from jinbao.authority.release_keys import ReleaseKey, create_release_key, load_release_key
from jinbao.model.errors import JinbaoError, LocalError, UnprovableError, UsageError

INFO = small_info()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A small bundle's folder, signed."""
    return small_bundle(tmp_path / "made", INFO)


@pytest.fixture
def key(tmp_path: Path) -> Path:
    """The public release key."""
    return public_key(tmp_path)


def packed(folder: Path, into: Path) -> Path:
    """The folder as one file."""
    into.mkdir(exist_ok=True)
    pack(folder, into / f"{folder.name}{SUFFIX}")
    return into / f"{folder.name}{SUFFIX}"


def test_modules_are_compiled_alike_whoever_builds(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the builder's own Python is told to do otherwise does not show in the modules of a bundle."""
    made = []
    for place in ("first", "second"):
        (tmp_path / place).mkdir()
        made.append(compile_wheels(ROOT / COMPILER, folder / WHEELS, tmp_path / place).read_bytes())
        monkeypatch.setenv("PYTHONPYCACHEPREFIX", str(tmp_path / "elsewhere"))
        monkeypatch.setenv("PYTHONOPTIMIZE", "1")

    assert made[0] == made[1]


def test_a_bundle_without_a_module_is_not_built(tmp_path: Path) -> None:
    """Where nothing could be compiled the build ends, and no target is left to find that out."""
    with pytest.raises(LocalError, match="expected modules to compile, got none"):
        compile_wheels(ROOT / COMPILER, tmp_path, tmp_path)


def test_the_same_files_are_the_same_bytes(folder: Path, tmp_path: Path) -> None:
    """Who packs, when, under which mask and in which order of the disk does not show."""
    first = packed(folder, tmp_path / "first").read_bytes()
    again = tmp_path / "again" / folder.name
    again.parent.mkdir()
    for path in sorted((p for p in folder.rglob("*") if p.is_file()), reverse=True):
        copy = again / path.relative_to(folder)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, copy)
        copy.chmod(0o600)
        os.utime(copy, (1, 1))

    assert packed(again, tmp_path / "second").read_bytes() == first
    assert [p.name for p in (tmp_path / "second").iterdir()] == [f"{folder.name}{SUFFIX}"]


def test_a_signed_bundle_is_what_it_says(folder: Path, key: Path, tmp_path: Path) -> None:
    """Verified it tells for which machine it is, and unpacked it is the folder it was packed from."""
    bundle = packed(folder, tmp_path / "out")

    assert verify(bundle, key) == INFO
    found = unpack(bundle, tmp_path / "unpacked")

    def contents(place: Path) -> dict[str, bytes]:
        return {str(p.relative_to(place)): p.read_bytes() for p in place.rglob("*") if p.is_file()}

    assert contents(found) == contents(folder)


def _flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


KINDS = {
    "a wheel": "wheels/jinbao-7.1.0-py3-none-any.whl",
    "the installer": "install.sh",
    "a unit": "units/jinbao-decision.service",
    "a page": "docs/page.md",
    "the bill of materials": "sbom.cdx.json",
    "for which machine": "BUNDLE",
    "the requirements": "requirements.txt",
    "the sums": SUMS,
    "the signature": SIGNATURE,
}


@pytest.mark.parametrize("name", KINDS.values(), ids=KINDS)
def test_one_byte_that_is_another_is_found(folder: Path, key: Path, tmp_path: Path, name: str) -> None:
    """A byte of any file that was changed after it was signed makes the bundle none."""
    _flip(folder / name)

    with pytest.raises(UnprovableError):
        verify(packed(folder, tmp_path / "out"), key)


def _add(folder: Path) -> None:
    (folder / "units" / "extra.service").write_text("x", encoding="utf-8")


def _take(folder: Path) -> None:
    (folder / "LICENSE").unlink(missing_ok=True)
    (folder / "units" / "jinbao.target").unlink()


def _unsign(folder: Path) -> None:
    (folder / SIGNATURE).unlink()


@pytest.mark.parametrize("change", [_add, _take, _unsign], ids=["one more", "one less", "no signature"])
def test_files_are_those_that_were_signed(
    folder: Path, key: Path, tmp_path: Path, change: Callable[[Path], None]
) -> None:
    """A file nobody signed, a missing one and an unsigned bundle are refused."""
    change(folder)

    with pytest.raises(UnprovableError):
        verify(packed(folder, tmp_path / "out"), key)


def test_another_key_signs_nothing(folder: Path, tmp_path: Path) -> None:
    """Sums signed by somebody else, however right they are, are refused."""
    other = tmp_path / "other.pem"
    other.write_bytes(ReleaseKey(Ed25519PrivateKey.generate()).public_pem)

    with pytest.raises(UnprovableError, match="signature of the bundle"):
        verify(packed(folder, tmp_path / "out"), other)


def test_a_part_of_a_bundle_is_none(folder: Path, key: Path, tmp_path: Path) -> None:
    """A transfer that broke off anywhere is found, whatever it cut."""
    bundle = packed(folder, tmp_path / "out")
    whole = bundle.read_bytes()

    for size in range(0, len(whole), max(1, len(whole) // 23)):
        bundle.write_bytes(whole[:size])
        with pytest.raises(UnprovableError):
            verify(bundle, key)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("../out", tarfile.REGTYPE),
        ("/out", tarfile.REGTYPE),
        ("f/link", tarfile.SYMTYPE),
        ("f/dev", tarfile.CHRTYPE),
    ],
    ids=["above", "absolute", "link", "device"],
)
def test_what_no_bundle_holds_is_not_read(tmp_path: Path, key: Path, name: str, kind: bytes) -> None:
    """A member that would leave its folder, or is no plain file, ends the reading, and nothing is written outside."""
    bundle = tmp_path / f"odd{SUFFIX}"
    with (
        pa.OSFile(str(bundle), "wb") as raw,
        pa.CompressedOutputStream(raw, "zstd") as out,
        tarfile.open(fileobj=out, mode="w|") as tar,  # type: ignore[arg-type]  # it writes
    ):
        tar.addfile(tarfile.TarInfo("f/first"))
        member = tarfile.TarInfo(name)
        member.type, member.linkname = kind, "/etc/passwd"
        tar.addfile(member)

    with pytest.raises(UnprovableError):
        verify(bundle, key)
    with pytest.raises(UnprovableError):
        unpack(bundle, tmp_path / "in")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "line", ["zz  a", f"{'a' * 64}  ../a", f"{'a' * 64}  /a", f"{'a' * 64}  a b", f"{'a' * 64}  a\n{'b' * 64}  a"],
    ids=["no sum", "above", "absolute", "a space", "twice"],
)  # fmt: skip
def test_sums_name_plain_files_once(line: str) -> None:
    """Whatever is signed, a name that leads elsewhere or stands twice is refused."""
    with pytest.raises(UnprovableError):
        read_sums(line.encode())


def test_a_name_that_not_everybody_reads_alike_is_not_signed(folder: Path) -> None:
    """A file whose name a shell or sum program might read otherwise keeps a bundle from being made."""
    (folder / "docs" / "a page.md").write_text("x", encoding="utf-8")

    with pytest.raises(LocalError, match=r"a page\.md"):
        sign_again(folder)


def test_a_bundle_is_signed_where_the_key_is(folder: Path, key: Path, tmp_path: Path) -> None:
    """An unsigned bundle that is signed on another machine is, byte for byte, the one that was signed when it was built."""
    signed = packed(folder, tmp_path / "signed").read_bytes()
    (folder / SIGNATURE).unlink()
    bundle = packed(folder, tmp_path / "out")

    sign(bundle, KEY)

    assert verify(bundle, key) == INFO
    assert bundle.read_bytes() == signed


def test_a_release_key_is_made_once_and_opened_by_its_passphrase(tmp_path: Path) -> None:
    """The private half lies under its passphrase, 0600; neither half is ever written over."""
    path, public = tmp_path / "release.pem", tmp_path / "release.pub.pem"
    made = create_release_key(path, public, b"secret")

    assert load_release_key(path, b"secret").sign(b"x") == made.sign(b"x")
    assert path.read_bytes().startswith(b"-----BEGIN ENCRYPTED PRIVATE KEY-----")
    assert path.stat().st_mode & 0o777 == 0o600
    with pytest.raises(UsageError):
        load_release_key(path, b"another")
    with pytest.raises(LocalError):
        create_release_key(path, tmp_path / "new", b"secret")
    with pytest.raises(LocalError):
        create_release_key(tmp_path / "new", public, b"secret")
    with pytest.raises(JinbaoError):
        create_release_key(tmp_path / "new", tmp_path / "newer", b"")


LOCKED = """\
all==1 \\
    --hash=sha256:aa \\
    --hash=sha256:bb
mine==2 ; platform_machine == 'x86_64' \\
    --hash=sha256:cc
new==4 ; python_full_version >= '3.12' \\
    --hash=sha256:dd
old==3 ; python_full_version < '3.12' \\
    --hash=sha256:ee
"""


@pytest.mark.parametrize(
    ("arch", "python", "names"),
    [
        ("x86_64", "3.11", ["all==1", "mine==2", "old==3"]),
        ("aarch64", "3.11", ["all==1", "old==3"]),
        ("aarch64", "3.12", ["all==1", "new==4"]),
    ],
)
def test_a_lock_is_read_for_the_machine_it_is_fetched_for(arch: str, python: str, names: list[str]) -> None:
    """What is only for another architecture or Python is left out, whatever builds; hashes stay."""
    found = lock_for(LOCKED, small_info(arch=arch, python=python))

    assert re.findall(r"^\S+", found, re.MULTILINE) == names
    assert found.count("--hash") == LOCKED.count("--hash") - sum(
        len(entry.split("--hash")) - 1
        for entry in re.split(r"\n(?=\S)", LOCKED)
        if entry.split(" ")[0] not in names
    )


def test_no_wheel_asks_for_a_newer_library_than_the_installer() -> None:
    """What is fetched runs on glibc 2.28, for both architectures and no other."""
    assert platforms("aarch64")[0] == "manylinux_2_28_aarch64"
    assert all(tag.endswith("_x86_64") for tag in platforms("x86_64"))
    assert len(set(platforms("x86_64"))) == len(platforms("x86_64"))
    assert "--hash=sha256:" in (ROOT / LOCK).read_text(encoding="utf-8")
