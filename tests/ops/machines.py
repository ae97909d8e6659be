"""Debian 12 machines with systemd of their own on a network of their own: hosts for Ansible, reached by SSH alone.

Each is booted by systemd-nspawn over a base that is unpacked once, in a network namespace whose one cable leads to a
switch; what it writes is gone with it. The controller is a process of this machine in a namespace at the same switch.
None of these namespaces has a way to anywhere else.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import psutil

PARTS = {
    "ip": "iproute2",
    "mmdebstrap": "mmdebstrap",
    "nsenter": "util-linux",
    "ssh": "openssh-client",
    "systemd-nspawn": "systemd-container",
    "zstd": "zstd",
}
# python3-venv is for the release 0.2.0: today's installer brings its own uv.
PACKAGES = (
    "dbus,iproute2,openssh-server,openssl,postgresql-15,procps,prometheus,prometheus-alertmanager,python3,python3-apt,"
    "python3-venv,systemd,systemd-sysv,tzdata,zstd"
)
ASLEEP = "postgresql.service prometheus.service prometheus-alertmanager.service"
"""What a role of the collection is to start, and no machine by itself."""
CACHE = Path(os.environ.get("JINBAO_OPS_CACHE", "/var/cache/jinbao-test-ops"))
BOOT_S = 90.0
IN_MEMORY, ROOM = Path("/dev/shm"), 14 << 30  # what machines write is gone with them
"""Where the machines write, while there is so much memory: six releases of gigabytes at once are slow on one disk."""

CONTROLLER = "192.0.2.1"
"""Addresses are of the block that is kept for documentation (RFC 5737): of nobody's machine."""


def missing() -> list[str]:
    """Debian packages this machine lacks for it."""
    return sorted({package for program, package in PARTS.items() if shutil.which(program) is None})


def run(command: Sequence[str], *, within_s: float = 600, **more: str) -> str:
    """What a program says; raises RuntimeError with the end of it where its exit code is another than 0."""
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


def base() -> Path:
    """The unpacked base system, made once: the one step that asks the mirror the system has."""
    place = CACHE / f"bookworm-{sha256(f'{PACKAGES} {ASLEEP}'.encode()).hexdigest()[:8]}"
    if not (place / "usr").is_dir():
        CACHE.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=CACHE) as scratch:
            made = Path(scratch) / "made"
            asleep = f'--customize-hook=chroot "$1" systemctl disable {ASLEEP}'
            options = ["--quiet", "--variant=minbase", f"--include={PACKAGES}", asleep]
            run(["mmdebstrap", *options, "bookworm", str(made)])
            made.rename(place)
    return place


@dataclass(frozen=True, slots=True)
class Machine:
    """A booted one: its address, what this host calls its first process, its root as this host sees it."""

    name: str
    address: str
    leader: int
    root: Path

    def keep(self, place: Path) -> None:
        """Copy what was written to it into a layer for others, without what tells one machine from another."""
        with tempfile.TemporaryDirectory(dir=place.parent) as scratch:
            made = Path(scratch) / "made"
            run(["cp", "--archive", str(self.root.with_name("upper")), str(made)])
            (made / "etc" / "machine-id").unlink(missing_ok=True)
            for own in ("root", "tmp", "run", "var/log", "var/tmp"):
                shutil.rmtree(made / own, ignore_errors=True)
            made.rename(place)

    def run(self, *command: str) -> str:
        """What a program in it says, as its root's console would run it."""
        known = {"HOME": "/root", "LC_ALL": "C.UTF-8", "PATH": "/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
        words = [f"{name}={value}" for name, value in known.items()]
        entered = ["nsenter", "--target", str(self.leader), "--all", "env", "--ignore-environment", *words]
        return run([*entered, *command])


@dataclass(frozen=True, slots=True)
class Network:
    """The machines by name, and the controller's namespace at the same switch."""

    machines: Mapping[str, Machine]
    namespace: str

    def at_controller(self, *command: str, **environment: str) -> str:
        """What a program says that sees this network alone."""
        return run(["ip", "netns", "exec", self.namespace, *command], **environment)


@contextmanager
def booted(
    addresses: Mapping[str, str], authorized_key: str, layers: Mapping[str, Path] | None = None
) -> Iterator[Network]:
    """Machines by name and address, some with a layer over the base; whoever has the key is root on each.

    All is gone afterwards.
    """
    mine = f"jb{os.getpid()}"
    with ExitStack() as stack:
        switch = stack.enter_context(_namespace(f"{mine}-switch"))
        for words in (
            "link add switch type bridge",
            f"addr add {CONTROLLER}/24 dev switch",
            "link set switch up",
        ):
            _ip(switch, words)
        started = {}
        for number, (name, address) in enumerate(addresses.items(), 1):
            cable = stack.enter_context(_namespace(f"{mine}-{number}"))
            _ip(switch, f"link add port{number} type veth peer name eth0 netns {cable}")
            _ip(switch, f"link set port{number} master switch up")
            _ip(cable, f"addr add {address}/24 dev eth0")
            _ip(cable, "link set eth0 up")
            lower = [str(one) for one in ((layers or {}).get(name), base()) if one is not None]
            started[name] = stack.enter_context(_nspawn(f"{mine}-{number}", cable, authorized_key, lower))
        machines = {n: Machine(n, addresses[n], one.leader(), one.root) for n, one in started.items()}
        yield Network(machines, switch)


@contextmanager
def _namespace(name: str) -> Iterator[str]:
    """A network namespace with nothing but its loopback."""
    run(["ip", "netns", "add", name])
    try:
        _ip(name, "link set lo up")
        yield name
    finally:
        run(["ip", "netns", "delete", name])


def _ip(namespace: str, words: str) -> None:
    run(["ip", "-netns", namespace, *words.split()])


@dataclass(frozen=True, slots=True)
class _Started:
    process: subprocess.Popen[bytes]
    log: Path
    root: Path

    def leader(self) -> int:
        """Its first process, once all its services are started."""
        until = time.monotonic() + BOOT_S
        while time.monotonic() < until and self.process.poll() is None:
            for child in psutil.Process(self.process.pid).children():
                asked = ["nsenter", "--target", str(child.pid), "--all", "systemctl", "is-system-running"]
                said = subprocess.run(asked, capture_output=True, text=True, check=False).stdout.strip()
                if said in {"running", "degraded"}:
                    return child.pid
            time.sleep(0.5)
        told = self.log.read_text(encoding="utf-8", errors="replace")[-3000:]
        msg = f"container: expected systemd to run within {BOOT_S:.0f} s, got\n{told}"
        raise RuntimeError(msg)


@contextmanager
def _nspawn(name: str, namespace: str, authorized_key: str, lower: Sequence[str]) -> Iterator[_Started]:
    """One machine that boots."""
    with ExitStack() as stack:
        room = min(shutil.disk_usage(IN_MEMORY).free, psutil.virtual_memory().available)
        where = IN_MEMORY if room >= ROOM else None
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="jb-ops-", dir=where)))
        root = scratch / "root"
        for one in ("upper", "work", "root"):
            (scratch / one).mkdir()
        layers = f"lowerdir={':'.join(lower)},upperdir={scratch / 'upper'},workdir={scratch / 'work'}"
        run(["mount", "-t", "overlay", "overlay", "-o", layers, str(root)])
        stack.callback(run, ["umount", "--lazy", str(root)])
        _let_in(root, authorized_key)
        log = scratch / "log"
        yield _Started(stack.enter_context(_boot(name, namespace, root, log)), log, root)


def _let_in(root: Path, authorized_key: str) -> None:
    place = root / "root" / ".ssh"
    place.mkdir(mode=0o700, exist_ok=True)
    (place / "authorized_keys").write_text(authorized_key, encoding="utf-8")
    (root / "etc" / "localtime").unlink(missing_ok=True)
    (root / "etc" / "localtime").symlink_to("/usr/share/zoneinfo/Asia/Shanghai")


@contextmanager
def _boot(name: str, namespace: str, root: Path, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Its process, ended afterwards. What it writes is thrown away, so it waits for no disk."""
    options = [
        "--register=no",
        "--keep-unit",
        "--link-journal=no",
        "--suppress-sync=yes",
        "--timezone=off",
        "--boot",
    ]
    command = ["systemd-nspawn", f"--directory={root}", f"--machine={name}", *options]
    with (
        log.open("wb") as told,
        subprocess.Popen(
            [*command, f"--network-namespace-path=/run/netns/{namespace}"],
            env=os.environ | {"SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1"},
            stdin=subprocess.DEVNULL,
            stdout=told,
            stderr=subprocess.STDOUT,
        ) as process,
    ):
        try:
            yield process
        finally:
            for first in psutil.Process(process.pid).children():
                first.kill()  # and with it all that runs in there; without it they would outlive systemd-nspawn
            process.wait(20)
