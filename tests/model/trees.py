"""Topologies by chance, and the words of the specification about them, written a second time and simply."""

from __future__ import annotations

from hypothesis import strategies as st

from jinbao.model.stream import StreamId
from jinbao.model.topology import NodeRow, Topology
from jinbao.model.zone import Endpoint, Tier, Zone

UPPER = (Zone.EXCHANGE, Zone.DECISION)


def row(node: str, parent: str, tier: Tier, zones: tuple[Zone, ...] = tuple(Zone)) -> NodeRow:
    """A row whose region is its node."""
    return NodeRow(node, node, node, tier, node, parent, zones, (Zone.DECISION,), ())


@st.composite
def topologies(draw: st.DrawFn) -> Topology:
    """A ministry, provinces and municipalities below it, cities below provinces; not every zone everywhere."""
    rows = [row("100000", "", Tier.MINISTRY, UPPER)]
    for at in range(draw(st.integers(1, 3))):
        province = f"{11 + at}0000"
        rows.append(row(province, "100000", Tier.PROVINCE, draw(st.sampled_from([UPPER, tuple(Zone)]))))
        for city in range(draw(st.integers(0, 2))):
            zones = draw(st.sampled_from([tuple(Zone), (Zone.PRODUCTION, Zone.EXCHANGE)]))
            rows.append(row(f"{11 + at}0{city + 1}00", province, Tier.CITY, zones))
    return Topology("jinbao.test", 1, tuple(draw(st.permutations(rows))))


def way_up(topology: Topology, endpoint: Endpoint) -> list[Endpoint]:
    """An endpoint, its node's exchange, and the exchange of every node above."""
    way = [endpoint]
    node = endpoint.node
    while node:
        way.append(Endpoint(node, Zone.EXCHANGE))
        node = topology.by_node[node].parent
    return list(dict.fromkeys(way))


def between(topology: Topology, source: Endpoint, target: Endpoint) -> set[Endpoint]:
    """Both ends and everyone on the only path from one to the other."""
    up, down = way_up(topology, source), way_up(topology, target)
    top = next(e for e in up if e in down)
    return {*up[: up.index(top) + 1], *down[: down.index(top) + 1]}


def reached(topology: Topology, stream: StreamId) -> set[Endpoint]:
    """Everyone a stream comes to when each holder lists it to every neighbour that may see it."""
    found, new = {stream.origin}, [stream.origin]
    while new:
        holder = new.pop()
        for caller in topology.endpoints():
            if caller not in found and topology.may_see(holder=holder, caller=caller, stream=stream):
                found.add(caller)
                new.append(caller)
    return found
