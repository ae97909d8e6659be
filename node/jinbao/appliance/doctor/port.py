"""Port 端口: whether a stopped zone could listen where it is to, and who listens there if it could not.

Reads the kernel's table of listeners; binds no port that a zone might want at that moment.
"""

from __future__ import annotations

import ipaddress
import shlex
import socket
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from jinbao.appliance.doctor.context import ZoneContext
from jinbao.appliance.doctor.findings import Finding, State, UnknownError, Words, same

_LISTENS = "0A"


@dataclass(frozen=True)
class Listener:
    """A listening socket of this machine."""

    host: ipaddress.IPv4Address | ipaddress.IPv6Address
    port: int
    inode: str


def look(zone: ZoneContext) -> Iterator[Finding]:
    """One finding for each address that is not to be had; one that all are."""
    held = None
    with suppress(UnknownError):
        held = zone.holder
    if zone.is_running or held is not None:
        yield Finding(
            "port.ok", State.OK, got=Words("the zone is open and has its own", "分区已打开，端口为其所用")
        )
        return
    found = [wrong for name, address in _addresses(zone) for wrong in _taken(zone, name, address)]
    yield from found
    if not found:
        got = ", ".join(address for _, address in _addresses(zone))
        yield Finding("port.ok", State.OK, got=Words(f"free: {got}", f"空闲：{got}"))


def _addresses(zone: ZoneContext) -> list[tuple[str, str]]:
    """Addresses a zone listens on, with the settings that give them; those the kernel chooses left out."""
    mine = zone.settings.zones[zone.zone]
    listen = mine.listen or zone.topology.address(zone.me)
    both = [(f"zones.{zone.zone}.listen", listen), (f"zones.{zone.zone}.http", mine.http)]
    return [(name, address) for name, address in both if address and address.rpartition(":")[2] != "0"]


def _taken(zone: ZoneContext, name: str, address: str) -> Iterator[Finding]:
    host, _, port = address.rpartition(":")
    try:
        wanted = ipaddress.ip_address(
            socket.gethostbyname(host.strip("[]")) if ":" not in host else host.strip("[]")
        )
        number = int(port)
    except (OSError, ValueError) as exc:
        yield _wrong(zone, "port.address", name, address, same(str(exc)))
        return
    if not _is_here(str(wanted)):
        yield _wrong(
            zone, "port.address", name, address, Words("an address of another machine", "不是本机地址")
        )
        return
    for other in listeners():
        if other.port == number and (
            other.host.is_unspecified or wanted.is_unspecified or other.host == wanted
        ):
            yield _occupied(name, address, other)
            return


def _is_here(host: str) -> bool:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as probe:  # no listener's port is touched
        try:
            probe.bind((host, 0))
        except OSError:
            return False
    return True


def _wrong(zone: ZoneContext, code: str, name: str, address: str, got: Words) -> Finding:
    return Finding(
        code,
        State.RED,
        Words("an address of this machine", "本机地址"),
        got,
        f"{name} {address}",
        f"sudoedit {shlex.quote(str(zone.node.config))}",
        Words(f"correct {name}", f"更正 {name}"),
    )


def _occupied(name: str, address: str, other: Listener) -> Finding:
    pid = owner(other.inode)
    number = {"port": other.port}
    fix = f"kill {pid}" if pid else f"ss -ltnp 'sport = :{other.port}'"
    got = (
        Words(f"process {pid} listens there", f"进程 {pid} 在此监听")
        if pid
        else Words("another account's process listens there", "其他账户的进程在此监听")
    )
    advice = Words(f"or move it, or change {name}", f"或为其换端口，或更改 {name}")
    return Finding(
        "port.taken", State.RED, Words("free", "空闲"), got, f"{name} {address}", fix, advice, number
    )


def listeners() -> Iterator[Listener]:
    """Every TCP listener of this machine; raises UnknownError where the kernel does not say."""
    try:
        tables = [
            Path(f"/proc/net/{name}").read_text(encoding="ascii")
            for name in ("tcp", "tcp6")
            if Path(f"/proc/net/{name}").exists()
        ]
    except OSError as exc:
        raise UnknownError(same(f"/proc/net/tcp: {exc.strerror}")) from exc
    for line in (line.split() for table in tables for line in table.splitlines()[1:]):
        if line[3] == _LISTENS:
            host, _, port = line[1].partition(":")
            yield Listener(_address(host), int(port, 16), line[9])


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """An address as the kernel prints it: words of four bytes, each the wrong way round."""
    raw = b"".join(bytes.fromhex(text[at : at + 8])[::-1] for at in range(0, len(text), 8))
    found = ipaddress.ip_address(raw)
    return getattr(found, "ipv4_mapped", None) or found


def owner(inode: str) -> int:
    """The process that has a socket open, as far as this account may see; 0 if none is seen."""
    wanted = f"socket:[{inode}]"
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            for handle in (process / "fd").iterdir():
                with suppress(OSError):
                    if str(handle.readlink()) == wanted:
                        return int(process.name)
    return 0
