"""A Debian 12 with systemd of its own and no network, of which this checkout is a read-only part.

It is booted by systemd-nspawn over a base that is unpacked once; what it writes is gone with it. The controller is in
it too: Ansible runs inside, from the checkout's `.venv`, so that nothing can reach the outside.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import psutil
from tests.house.tree import ROOT

PARTS = {
    "mmdebstrap": "mmdebstrap",
    "systemd-nspawn": "systemd-container",
    "nsenter": "util-linux",
    "zstd": "zstd",
}
PACKAGES = "systemd,systemd-sysv,dbus,python3,python3-apt,python3-venv,iproute2,openssl,zstd,procps"
CACHE = Path(os.environ.get("JINBAO_OPS_CACHE", "/var/cache/jinbao-test-ops"))
BOOT_S = 90.0


def missing() -> list[str]:
    """Debian packages this machine lacks for it."""
    return sorted({package for program, package in PARTS.items() if shutil.which(program) is None})


def base() -> Path:
    """The unpacked base system, made once: the one step that asks the mirror the system has."""
    place = CACHE / "bookworm"
    if not (place / "usr").is_dir():
        CACHE.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=CACHE) as scratch:
            made = Path(scratch) / "made"
            run(
                ["mmdebstrap", "--quiet", "--variant=minbase", f"--include={PACKAGES}", "bookworm", str(made)]
            )
            made.rename(place)
    return place


def run(command: Sequence[str], *, within_s: float = 600, **more: str) -> str:
    """What a program says; raises RuntimeError with all of it where it ends with another code than 0."""
    ran = subprocess.run(
        command,
        env=os.environ | more,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=within_s,
        check=False,
    )
    if ran.returncode:
        msg = f"{' '.join(command[:8])} …: expected exit code 0, got {ran.returncode}\n{ran.stdout[-6000:]}"
        raise RuntimeError(msg)
    return ran.stdout


class Container:
    """A booted one; `leader` is its first process as this host sees it."""

    def __init__(self, leader: int) -> None:
        self._leader = leader

    def run(self, *command: str, **environment: str) -> str:
        """What a program in it says, all its namespaces being the container's."""
        paths = f"{ROOT}/.venv/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
        known = {"HOME": "/root", "LC_ALL": "C.UTF-8", "PATH": paths} | environment
        words = [f"{name}={value}" for name, value in known.items()]
        return run(
            [
                "nsenter",
                "--target",
                str(self._leader),
                "--all",
                "env",
                "--ignore-environment",
                *words,
                *command,
            ]
        )


@contextmanager
def booted(carried: Path, collections: Path) -> Iterator[Container]:
    """A container with `carried` at /srv/carried and the collection at /srv/collections, gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="jb-ops-") as scratch:
        place = {name: Path(scratch) / name for name in ("upper", "work", "root")}
        for one in place.values():
            one.mkdir()
        layers = f"lowerdir={base()},upperdir={place['upper']},workdir={place['work']}"
        run(["mount", "-t", "overlay", "overlay", "-o", layers, str(place["root"])])
        try:
            with _nspawn(place["root"], Path(scratch) / "log", carried, collections) as leader:
                yield Container(leader)
        finally:
            run(["umount", str(place["root"])])


@contextmanager
def _nspawn(root: Path, log: Path, carried: Path, collections: Path) -> Iterator[int]:
    shown = [f"--bind-ro={ROOT}", f"--bind-ro={collections}:/srv/collections"]
    if sys.base_prefix != "/usr":  # the interpreter of .venv; Debian's own is in the base too
        shown.append(f"--bind-ro={sys.base_prefix}")
    options = ["--register=no", "--keep-unit", "--private-network", "--link-journal=no", "--boot"]
    command = ["systemd-nspawn", "-D", str(root), f"--machine=jb-ops-{os.getpid()}", *options, *shown]
    with (
        log.open("wb") as told,
        subprocess.Popen(
            [*command, f"--bind={carried}:/srv/carried"],
            env=os.environ | {"SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1"},
            stdin=subprocess.DEVNULL,
            stdout=told,
            stderr=subprocess.STDOUT,
        ) as process,
    ):
        try:
            yield _leader(process, log)
        finally:
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()


def _leader(process: subprocess.Popen[bytes], log: Path) -> int:
    """Its first process, once all its services are started."""
    until = time.monotonic() + BOOT_S
    while time.monotonic() < until and process.poll() is None:
        time.sleep(0.5)
        for child in psutil.Process(process.pid).children():
            asked = ["nsenter", "--target", str(child.pid), "--all", "systemctl", "is-system-running"]
            said = subprocess.run(asked, capture_output=True, text=True, check=False).stdout.strip()
            if said in {"running", "degraded"}:
                return child.pid
    told = log.read_text(encoding="utf-8", errors="replace")[-3000:]
    msg = f"container: expected systemd to run within {BOOT_S:.0f} s, got\n{told}"
    raise RuntimeError(msg)
