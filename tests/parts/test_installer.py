"""The installer on this machine without a network: whole or not at all, nothing used before it is proved, and back."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from tests.bundles import KEY, STEADY, public_key, sign_again, small_bundle, small_info
from tests.house.tree import ROOT

from jinbao import __version__
from jinbao.appliance.bundle.building import build
from jinbao.appliance.bundle.compiling import NAME
from jinbao.appliance.bundle.contents import SIGNATURE, SUMS, TOOLS, BundleInfo
from jinbao.appliance.bundle.packing import unpack, verify

pytestmark = pytest.mark.parts

OFFLINE = ["unshare", "--user", "--map-root-user", "--net"]
FIRST, SECOND = small_info("7.1.0"), small_info("7.2.0")
KILLS = (0.02, 0.1, 0.25, 0.4, 0.55, 0.7, 0.85, 1.0)
"""Shares of the time that an installation takes here."""


class Host:
    """A place releases are installed into, and the public key its operator brought."""

    def __init__(self, directory: Path) -> None:
        self.directory, self.prefix = directory, directory / "opt"
        self.key = public_key(directory)

    def bundle(self, info: BundleInfo) -> Path:
        """A small bundle, unpacked on this host."""
        place = self.directory / info.version / info.name
        return place if place.exists() else small_bundle(place.parent, info)

    def command(self, bundle: Path, *options: str) -> list[str]:
        """The installer's, in a network of its own with nobody in it."""
        named = [] if "--rollback" in options else ["--key", str(self.key)]
        python = [] if {"--rollback", "--python"} & set(options) else ["--python", sys.executable]
        return [
            *OFFLINE,
            "sh",
            str(bundle / "install.sh"),
            "--prefix",
            str(self.prefix),
            *named,
            *python,
            *options,
        ]

    def run(self, bundle: Path, *options: str, language: str = "en") -> subprocess.CompletedProcess[str]:
        """The installer's end and all it said."""
        return subprocess.run(
            self.command(bundle, *options),
            env=os.environ | {"JINBAO_LANG": language},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=300,
            check=False,
        )

    def install(self, info: BundleInfo) -> None:
        """Install a small bundle, which must succeed."""
        ran = self.run(self.bundle(info))
        assert ran.returncode == 0, ran.stdout

    def says(self) -> str:
        """What the current release says, as it is started by its units; empty if there is none."""
        program = self.prefix / "current" / "venv" / "bin" / "jinbao"
        if not program.exists():
            return ""
        return subprocess.run(
            [program, "--version"], capture_output=True, text=True, check=True
        ).stdout.strip()


@pytest.fixture
def host(tmp_path: Path) -> Host:
    """A host with nothing on it."""
    return Host(tmp_path)


def test_scripts_are_shell_that_every_shell_reads() -> None:
    """Shellcheck has nothing to say of the installer, and it is plain POSIX sh."""
    script = str(ROOT / "scripts" / "install.sh")

    checked = subprocess.run(
        ["shellcheck", "--shell=sh", script], capture_output=True, text=True, check=False
    )

    assert (checked.returncode, checked.stdout) == (0, "")


def test_a_release_is_installed_upgraded_and_gone_back_from(host: Host) -> None:
    """Each release runs from `current`; the former one stays, comes back in seconds, and the one after it goes."""
    host.install(FIRST)
    assert host.says() == "jinbao, version 7.1.0"
    host.install(SECOND)
    assert host.says() == "jinbao, version 7.2.0"

    began = time.monotonic()
    back = host.run(host.bundle(SECOND), "--rollback")
    assert (back.returncode, host.says()) == (0, "jinbao, version 7.1.0"), back.stdout
    assert time.monotonic() - began < 5
    assert host.run(host.prefix / "current", "--rollback").returncode == 0, "as it lies on the host"
    assert host.says() == "jinbao, version 7.2.0"

    host.install(small_info("7.3.0"))
    assert host.says() == "jinbao, version 7.3.0"
    assert sorted(p.name for p in (host.prefix / "releases").iterdir()) == ["7.2.0", "7.3.0"]


def test_installing_what_is_there_changes_nothing(host: Host) -> None:
    """A second run says so, another bundle of the same version is refused, and neither touches the release."""
    host.install(FIRST)
    made = (host.prefix / "releases" / "7.1.0" / ".complete").stat().st_mtime_ns

    again = host.run(host.bundle(FIRST))
    (host.bundle(FIRST) / "docs" / "page.md").write_text("another", encoding="utf-8")
    sign_again(host.bundle(FIRST))
    other = host.run(host.bundle(FIRST))

    assert (again.returncode, "current already" in again.stdout) == (0, True)
    assert (other.returncode, "another build of it" in other.stdout) == (1, True)
    assert (host.prefix / "releases" / "7.1.0" / ".complete").stat().st_mtime_ns == made


def _installed(host: Host, version: str, name: str) -> Path:
    """A file of the wheel that every release has."""
    [site] = (host.prefix / "releases" / version / "venv" / "lib").glob("python*/site-packages")
    return site / STEADY / name


COMPILED = f"__pycache__/words.{sys.implementation.cache_tag}.pyc"


def test_what_did_not_change_is_linked_and_outlives_the_release_it_came_from(host: Host) -> None:
    """Sources and compiled modules of an unchanged wheel take no room again, and stay when the older release goes."""
    for version in ("7.1.0", "7.2.0", "7.3.0"):
        host.install(small_info(version))

    for name in ("words.py", COMPILED):
        kept, newest = (_installed(host, version, name) for version in ("7.2.0", "7.3.0"))
        assert (kept.stat().st_ino, kept.stat().st_nlink) == (newest.stat().st_ino, 2)
    shown = subprocess.run(
        [host.prefix / "current" / "venv" / "bin" / "python", "-I", "-m", STEADY + ".words"], check=False
    )
    assert shown.returncode == 0
    assert not (host.prefix / "releases" / "7.1.0").exists()


def test_modules_come_compiled_with_the_bundle(host: Host) -> None:
    """A module is laid down as it was compiled and signed, and its sum is written down for the release after."""
    host.install(FIRST)

    laid = _installed(host, "7.1.0", COMPILED).read_bytes()
    with tarfile.open(host.bundle(FIRST) / TOOLS / NAME) as tar:
        signed = tar.extractfile(f"{STEADY}/{COMPILED}")
        assert signed is not None
        assert laid == signed.read()
    written = (host.prefix / "releases" / "7.1.0" / "COMPILED").read_text(encoding="utf-8")
    assert f"{hashlib.sha256(laid).hexdigest()}  lib/" in written


def test_another_python_compiles_modules_itself(host: Host) -> None:
    """Compiled modules of another kind of Python are passed by, and the release is compiled on the host."""
    tools = host.bundle(FIRST) / TOOLS
    (tools / NAME).rename(tools / "compiled-00000000.tar")
    sign_again(host.bundle(FIRST))

    host.install(FIRST)

    laid = _installed(host, "7.1.0", COMPILED)
    assert laid.read_bytes()[:4] == importlib.util.MAGIC_NUMBER
    assert int.from_bytes(laid.read_bytes()[4:8], "little") == 0, "dated by its source, as a host compiles"


@pytest.mark.parametrize("name", ["words.py", COMPILED])
def test_damage_in_the_former_release_does_not_spread(host: Host, name: str) -> None:
    """A file that is not as it was signed, or a compiled module not as it was made, is made anew for the next release."""
    host.install(FIRST)
    damaged = _installed(host, "7.1.0", name)
    whole = damaged.read_bytes()
    damaged.write_bytes(whole.replace("金保工程".encode(), "銀保工程".encode()))

    host.install(SECOND)

    fresh = _installed(host, "7.2.0", name)
    assert damaged.read_bytes() != whole
    assert "金保工程".encode() in fresh.read_bytes()
    assert fresh.stat().st_ino != damaged.stat().st_ino


def test_a_place_may_have_any_name(tmp_path: Path) -> None:
    """What programs that are called would take for a setting, a list or an escape in a path is a name."""
    place = tmp_path / "a=b c,d#e\\f"
    place.mkdir()
    host = Host(place)

    for info in (FIRST, SECOND):
        host.install(info)

    assert host.says() == "jinbao, version 7.2.0"


def test_without_a_former_release_there_is_no_way_back(host: Host) -> None:
    """The first release cannot be gone back from, and stays."""
    host.install(FIRST)

    ran = host.run(host.bundle(FIRST), "--rollback")

    assert (ran.returncode, host.says()) == (1, "jinbao, version 7.1.0")
    assert "former release" in ran.stdout


def _flip(name: str) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        content = bytearray((folder / name).read_bytes())
        content[len(content) // 2] ^= 1
        (folder / name).write_bytes(content)

    return change


def _append(folder: Path) -> None:
    with (folder / "install.sh").open("a", encoding="utf-8") as file:
        file.write("# one line more\n")


def _link(folder: Path) -> None:
    (folder / "units" / "jinbao.target").unlink()
    (folder / "units" / "jinbao.target").symlink_to("/etc/passwd")


CHANGES: dict[str, Callable[[Path], None]] = {
    "a wheel": _flip("wheels/jinbao-7.1.0-py3-none-any.whl"),
    "a unit": _flip("units/jinbao-decision.service"),
    "a page": _flip("docs/page.md"),
    "the bill of materials": _flip("sbom.cdx.json"),
    "for which machine": _flip("BUNDLE"),
    "the requirements": _flip("requirements.txt"),
    "the sums": _flip(SUMS),
    "the signature": _flip(SIGNATURE),
    "the installer": _append,
    "one more": lambda folder: (folder / "wheels" / "evil-1-py3-none-any.whl").write_bytes(b"x"),  # type: ignore[dict-item,return-value]
    "a link": _link,
    "one less": lambda folder: (folder / "units" / "jinbao.target").unlink(),
    "no signature": lambda folder: (folder / SIGNATURE).unlink(),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_what_was_not_signed_is_refused_before_it_is_used(host: Host, change: Callable[[Path], None]) -> None:
    """One byte, one file more or less, a link or no signature: nothing is made on the host."""
    change(host.bundle(FIRST))

    ran = host.run(host.bundle(FIRST))

    assert ran.returncode == 1, ran.stdout
    assert re.search(r"expected .*, got .*; ", ran.stdout)
    assert not host.prefix.exists()


MACHINES = {
    "architecture": (
        small_info(arch="aarch64" if platform.machine() == "x86_64" else "x86_64"),
        "architecture",
    ),
    "C library": (small_info(glibc="9.0"), "C library: expected glibc 9.0 or newer, got "),
    "Python": (small_info(python="3.99"), ": expected 3.99, got "),
}


@pytest.mark.parametrize(("info", "said"), MACHINES.values(), ids=MACHINES)
def test_another_machine_is_told_what_is_missing(host: Host, info: BundleInfo, said: str) -> None:
    """A wrong architecture, C library or Python is refused with what was expected, what is there and what to do."""
    ran = host.run(host.bundle(info))

    assert ran.returncode == 1
    assert said in ran.stdout
    assert not list((host.prefix / "releases").iterdir())


def test_it_speaks_chinese(host: Host) -> None:
    """Where the reader's language is Chinese the installer's is."""
    ran = host.run(host.bundle(small_info(python="3.99")), language="zh_CN.UTF-8")

    assert "应为 3.99，实为" in ran.stdout


def test_two_installers_do_not_meet(host: Host) -> None:
    """While one is at work another is refused."""
    (host.prefix / "releases").mkdir(parents=True)
    with subprocess.Popen(["flock", str(host.prefix / ".lock"), "sleep", "30"]) as other:
        time.sleep(0.5)
        ran = host.run(host.bundle(FIRST))
        other.terminate()

    assert (ran.returncode, "no other installer" in ran.stdout) == (1, True)


def test_killed_at_any_moment_the_host_has_a_whole_release(host: Host) -> None:
    """After each kill `current` runs, old or new; the next run makes the new one, whatever lies half made."""
    host.bundle(FIRST)
    began = time.monotonic()
    host.install(FIRST)
    took_s = time.monotonic() - began
    for after_s in (share * took_s for share in KILLS):
        shutil.rmtree(host.prefix / "releases" / SECOND.version, ignore_errors=True)
        (host.prefix / "current").unlink()
        (host.prefix / "current").symlink_to(f"releases/{FIRST.version}")
        with subprocess.Popen(
            host.command(host.bundle(SECOND)), stdout=subprocess.DEVNULL, start_new_session=True
        ) as running:
            time.sleep(after_s)
            os.killpg(running.pid, signal.SIGKILL)

        assert host.says() in {"jinbao, version 7.1.0", "jinbao, version 7.2.0"}, f"killed after {after_s} s"
    host.install(SECOND)

    assert host.says() == "jinbao, version 7.2.0"
    assert host.run(host.bundle(SECOND), "--rollback").returncode == 0
    assert host.says() == "jinbao, version 7.1.0"


def test_the_documented_commands_verify_a_bundle(host: Host) -> None:
    """What the page gives to be typed before anything of the bundle is run holds a good one and finds a bad one."""
    page = (ROOT / "docs" / "how-to" / "install-offline.md").read_text(encoding="utf-8")
    typed = re.findall(r"^\$ ((?:openssl pkeyutl|sha256sum) .*(?:\\\n.*)?)$", page, re.MULTILINE)
    assert len(typed) == 2
    bundle = host.bundle(FIRST)

    def verified() -> Sequence[int]:
        lines = [line.replace("/etc/jinbao/release.pub.pem", str(host.key)) for line in typed]
        return [
            subprocess.run(["sh", "-c", line], cwd=bundle, capture_output=True, check=False).returncode
            for line in lines
        ]

    assert verified() == [0, 0]
    _flip("docs/page.md")(bundle)
    assert verified() == [0, 1]
    _flip(SUMS)(bundle)
    assert verified()[0] == 1


@pytest.mark.timeout(900)
def test_the_release_of_this_checkout_is_built_and_installed(tmp_path: Path) -> None:
    """Built twice from the locked wheels it is the same bytes; installed without a network it runs from `current`."""
    host = Host(tmp_path)
    first = build(ROOT, platform.machine(), tmp_path / "first", KEY)
    second = build(ROOT, platform.machine(), tmp_path / "second", KEY)

    assert first.read_bytes() == second.read_bytes()
    assert verify(first, host.key).version == __version__
    bundle = unpack(first, tmp_path / "unpacked")
    ran = host.run(bundle)
    assert ran.returncode == 0, ran.stdout
    assert host.says() == f"jinbao, version {__version__}"
    shown = subprocess.run(
        [
            *OFFLINE,
            str(host.prefix / "current" / "venv" / "bin" / "python"),
            "-I",
            "-c",
            "import jinbao.appliance.serve",
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert shown.returncode == 0, shown.stderr[-1500:]
