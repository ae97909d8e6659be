"""Peers 邻居: each neighbour of the line called once, who it proves to be, whether it lets us in, and what is held.

Of a node's own zones those that are stopped are not called. Sends a hello and nothing else.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

from jinbao.appliance.doctor import certificate
from jinbao.appliance.doctor.context import Hello, ZoneContext
from jinbao.appliance.doctor.findings import Finding, State, UnknownError, Words, same
from jinbao.model.errors import JinbaoError, LinkError
from jinbao.model.zone import Endpoint


def look(zone: ZoneContext) -> Iterator[Finding]:
    """One finding for each neighbour that does not answer well and each stream that is held; else one that all do."""
    if zone.settings.role == "node" and not zone.line_peers:
        yield Finding("peers.ok", State.OK, got=Words("none by the line", "无主线邻居"))
        return
    if any(finding.state is State.RED for finding in certificate.look(zone)):
        raise UnknownError(Words("the certificate must be mended first", "须先修复证书"), code="certificate")
    wrong = [_missed(zone, other, said) for other, said in zone.hellos.items() if not isinstance(said, Hello)]
    wrong += _held(zone)
    yield from wrong
    if not wrong:
        answered, resting = len(zone.hellos), len(zone.line_peers) - len(zone.hellos)
        got = Words(
            f"{answered} answered" + (f", {resting} of this node are stopped" if resting else ""),
            f"{answered} 个应答" + (f"，本节点另有 {resting} 个分区已停止" if resting else ""),
        )
        yield Finding("peers.ok", State.OK, got=got, numbers={"answered": answered, "resting": resting})


def _missed(zone: ZoneContext, other: Endpoint, said: JinbaoError) -> Finding:
    if isinstance(said, LinkError):
        return _silent(zone, other, said)
    return Finding(
        "peers.refused",
        State.RED,
        same(said.expected),
        same(said.got),
        f"{other} {zone.topology.address(other)}",
        zone.command("enrol --token FILE"),
        Words(
            f"compare certificate and topology of both ends; {other.node} logs peer_refused with the reason",
            f"比对两端的证书与拓扑；{other.node} 的日志 peer_refused 载有原因",
        ),
    )


def _silent(zone: ZoneContext, other: Endpoint, said: LinkError) -> Finding:
    address = zone.topology.address(other)
    return Finding(
        "peers.silent",
        State.RED,
        Words("an answer", "应答"),
        same(said.got),
        f"{other} {address}",
        f"systemctl start jinbao-{other.zone}",
        Words(
            f"at {other.node}; if it runs there, open {address} in the firewalls between",
            f"在 {other.node} 上执行；若已运行，请在途经的防火墙放行 {address}",
        ),
    )


def _held(zone: ZoneContext) -> list[Finding]:
    """Streams that wait for a person here."""
    found: list[Finding] = []
    with suppress(UnknownError):
        for stream, seq, code in zone.facts.held or ():
            fix = zone.command(f"line proof {stream}")
            expected, got = (
                Words("to move", "继续"),
                Words(f"held at #{seq}: {code}", f"在 #{seq} 暂停：{code}"),
            )
            advice = Words(
                "then jinbao line release, or rebase, with a reason",
                "随后执行 jinbao line release 或 rebase，并写明原因",
            )
            found.append(Finding("peers.held", State.RED, expected, got, stream, fix, advice, {"seq": seq}))
    return found
