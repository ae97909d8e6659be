"""Topology 网络拓扑: who is whose parent, who dials whom, what a caller may see.

One signed document; pure questions about it. Endpoints form a tree: production and
decision hang on their node's exchange zone, exchange zones on their parent's. Every
stream travels that tree along the only path there is.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from jinbao.model.stream import AUDIT, DOWNWARD, JOURNAL, LINE, PUBLISHED_PREFIX, RESOURCE_PREFIX, StreamId
from jinbao.model.zone import NODE_PATTERN, Border, Endpoint, Tier, Zone


@dataclass(frozen=True, slots=True)
class NodeRow:
    """One node: its tier, region and parent (empty for the root).

    `zones` it runs; `carrier` those of them that meet exchange by files instead of a
    line. `addresses` maps a zone to `host:port`. `dials` says which side opens the
    connection to the parent: `parent` (it pulls) or `child` (firewall allows outward only).
    `protects` names the nodes a backup follows; empty for all others.
    """

    node: str
    name_zh: str
    name_en: str
    tier: Tier
    region: str
    parent: str
    zones: tuple[Zone, ...]
    carrier: tuple[Zone, ...]
    addresses: tuple[tuple[Zone, str], ...]
    epoch: int = 1
    dials: str = "parent"
    protects: tuple[str, ...] = ()


@dataclass(frozen=True)
class Topology:
    """All rows of one signed version; refuses to exist if they do not form one tree.

    `made_at` (UTC, RFC 3339) is when it was signed; empty in a topology of release 0.1.
    """

    trust_domain: str
    version: int
    rows: tuple[NodeRow, ...]
    made_at: str = ""

    def __post_init__(self) -> None:
        """Check names, single root, known parents and tiers that fit (a municipality sits under the ministry)."""
        if len(self.by_node) != len(self.rows):
            msg = "topology: expected each node once, got a repeated node"
            raise ValueError(msg)
        roots = [row.node for row in self.rows if not row.parent]
        if len(roots) != 1:
            msg = f"topology: expected one node without parent, got {roots or 'none'}"
            raise ValueError(msg)
        for row in self.rows:
            self._check_names(row)
            self._check_protects(row)
        for row in self.rows:
            self._check_way_up(row)

    def _check_names(self, row: NodeRow) -> None:
        if not NODE_PATTERN.fullmatch(row.node):
            msg = f"topology: expected a node of six digits or six digits and -backup, got {row.node!r}"
            raise ValueError(msg)
        if row.parent and row.parent not in self.by_node:
            msg = f"topology: node {row.node}: expected a known parent, got {row.parent!r}"
            raise ValueError(msg)

    def _check_protects(self, row: NodeRow) -> None:
        for node in row.protects:
            other = self.by_node.get(node)
            if other is not None and other.protects:
                msg = f"topology: backup {row.node}: expected nodes that protect none, got {node}"
                raise ValueError(msg)
            if self.backup(node) != row.node:
                msg = f"topology: node {node}: expected one backup, got {self.backup(node)} and {row.node}"
                raise ValueError(msg)

    def _check_way_up(self, row: NodeRow) -> None:
        seen: set[str] = set()
        node = row.node
        while node:
            if node in seen:
                msg = f"topology: node {row.node}: expected a tree, got a cycle through {node}"
                raise ValueError(msg)
            seen.add(node)
            node = self.by_node[node].parent

    @cached_property
    def by_node(self) -> dict[str, NodeRow]:
        """Rows by node name."""
        return {row.node: row for row in self.rows}

    def row(self, node: str) -> NodeRow | None:
        """The row of a node, or None if the topology does not know it."""
        return self.by_node.get(node)

    def epoch(self, node: str) -> int:
        """The epoch at which a node's identity is held; 0 for a node the topology does not know."""
        row = self.by_node.get(node)
        return row.epoch if row is not None else 0

    def issuer(self, node: str) -> str:
        """The node whose issuing authority certifies `node`: the province of a city, for all others the root.

        Cities hold no authority; a backup site is certified from above the province it protects.
        """
        row = self.row(node)
        above = self.row(row.parent) if row else None
        if (
            row is not None
            and row.tier is Tier.CITY
            and above is not None
            and above.tier is Tier.PROVINCE
            and not row.protects
        ):
            return row.parent
        return self.root  # also for a node that left: nobody below may speak for it

    @cached_property
    def root(self) -> str:
        """The one node without parent."""
        return next(row.node for row in self.rows if not row.parent)

    def knows(self, endpoint: Endpoint) -> bool:
        """Whether the topology has this zone of this node."""
        row = self.row(endpoint.node)
        return row is not None and endpoint.zone in row.zones

    def parent(self, endpoint: Endpoint) -> Endpoint | None:
        """The endpoint above: a node's exchange for its other zones, the parent's exchange for exchange."""
        row = self.by_node[endpoint.node]
        if endpoint.zone is not Zone.EXCHANGE:
            return Endpoint(endpoint.node, Zone.EXCHANGE)
        return Endpoint(row.parent, Zone.EXCHANGE) if row.parent else None

    def above(self, endpoint: Endpoint) -> tuple[Endpoint, ...]:
        """The endpoints above, nearest first: who answers for what this one sends up the line."""
        found: list[Endpoint] = []
        at = self.parent(endpoint) if self.knows(endpoint) else None
        while at is not None:
            found.append(at)
            at = self.parent(at)
        return tuple(found)

    def children(self, endpoint: Endpoint) -> tuple[Endpoint, ...]:
        """Endpoints right below, sorted."""
        return self._children.get(endpoint, ())

    @cached_property
    def _children(self) -> dict[Endpoint, tuple[Endpoint, ...]]:
        below: dict[Endpoint, list[Endpoint]] = {}
        for endpoint in self.endpoints():
            parent = self.parent(endpoint)
            if parent is not None:
                below.setdefault(parent, []).append(endpoint)
        return {parent: tuple(sorted(of_it)) for parent, of_it in below.items()}

    def below(self, endpoint: Endpoint, child: Endpoint) -> frozenset[str]:
        """Nodes whose streams can come to `endpoint` by way of `child`; none if that is neither below it nor protected."""
        if child not in self.children(endpoint):
            return frozenset({child.node} if child in self.protected(endpoint) else ())
        found, waiting = set[str](), [child]
        while waiting:
            at = waiting.pop()
            found.add(at.node)
            waiting.extend(self.children(at))
        return frozenset(found)

    def neighbours(self, endpoint: Endpoint) -> tuple[Endpoint, ...]:
        """Parent and children: everyone this endpoint may ever speak to on the line or by carrier."""
        above = self.parent(endpoint)
        return ((above,) if above else ()) + self.children(endpoint)

    def backup(self, node: str) -> str:
        """The node that protects a node; empty while none does."""
        return next((row.node for row in self.rows if node in row.protects), "")

    def protected(self, endpoint: Endpoint) -> tuple[Endpoint, ...]:
        """Zones a backup's exchange zone follows itself, sorted; those met by carrier come by their exchange zone."""
        if not self.knows(endpoint) or endpoint.zone is not Zone.EXCHANGE:
            return ()
        rows = [self.by_node[node] for node in self.by_node[endpoint.node].protects if node in self.by_node]
        return tuple(sorted(Endpoint(r.node, z) for r in rows for z in r.zones if z not in r.carrier))

    def followed(self, endpoint: Endpoint) -> tuple[Endpoint, ...]:
        """Everyone whose streams this endpoint asks for: its neighbours, and what it protects."""
        near = self.neighbours(endpoint)
        return near + tuple(e for e in self.protected(endpoint) if e not in near)

    def border(self, a: Endpoint, b: Endpoint) -> Border:
        """How two neighbours meet; carrier if either is a zone its node row lists under `carrier`."""
        if a.node == b.node and {a.zone, b.zone} & set(self.by_node[a.node].carrier):
            return Border.CARRIER
        return Border.LINE

    def address(self, endpoint: Endpoint) -> str:
        """`host:port` of an endpoint's line listener, empty when it has none."""
        return dict(self.by_node[endpoint.node].addresses).get(endpoint.zone, "")

    def endpoints(self) -> Iterator[Endpoint]:
        """Every zone of every node."""
        for row in self.rows:
            for zone in row.zones:
                yield Endpoint(row.node, zone)

    def in_subtree(self, endpoint: Endpoint, top: Endpoint) -> bool:
        """Whether `top` is `endpoint` or above it."""
        at: Endpoint | None = endpoint
        while at is not None:
            if at == top:
                return True
            at = self.parent(at)
        return False

    def _inside(self, top: Endpoint, node: str) -> list[bool]:
        """For each zone of `node`, whether it is `top` or below it."""
        return [self.in_subtree(e, top) for e in self.endpoints() if e.node == node]

    def may_see(self, *, holder: Endpoint, caller: Endpoint, stream: StreamId) -> bool:
        """Whether `holder` lists `stream` to its neighbour `caller` (invariant 4).

        A stream never returns to the side it came from. Audience `line`: libraries go
        to the parent, directives to the children. Audience of one node: the next hop
        towards it, and every line zone of that node itself. Of a protected node the backup
        sees the journals, in which everything else is.
        """
        if stream.topic == JOURNAL:
            return self._may_see_journal(holder, caller, stream)
        if caller not in self.neighbours(holder) or not self.knows(stream.origin):
            return False
        upward = self.parent(holder) == caller
        came_from_caller = (
            not self.in_subtree(stream.origin, holder) if upward else self.in_subtree(stream.origin, caller)
        )
        not_for_caller = (stream.topic == AUDIT or stream.topic.startswith(RESOURCE_PREFIX)) or (
            stream.topic.startswith(PUBLISHED_PREFIX) and caller.zone is not Zone.DECISION
        )
        if came_from_caller or not_for_caller:
            return False
        if stream.audience == LINE:
            return upward is not (stream.topic in DOWNWARD)
        if upward:
            return not all(self._inside(holder, stream.audience) or [True])
        return any(self._inside(caller, stream.audience))

    def may_take_back(self, *, holder: Endpoint, caller: Endpoint, stream: StreamId) -> bool:
        """Whether `holder` gives `caller` back what had been sent there by it or through it (clause 2.9).

        A zone's own streams; to an exchange zone those of everyone below it too, from whoever is not.
        To nobody at a first epoch: who has a code that another node had before is no successor of it.
        """
        if caller not in self.neighbours(holder) or not self.knows(stream.origin):
            return False
        if self.by_node[caller.node].epoch == 1:
            return False
        came_through = self.in_subtree(stream.origin, caller) and not self.in_subtree(holder, caller)
        return (
            (stream.origin == caller or came_through)
            and stream.topic not in {JOURNAL, AUDIT}
            and not stream.topic.startswith(RESOURCE_PREFIX)
        )

    def _may_see_journal(self, holder: Endpoint, caller: Endpoint, stream: StreamId) -> bool:
        """Journals go to the backup they are for, from their own node; by carrier first to the node's exchange zone."""
        if not self.knows(stream.origin) or not self.knows(caller):
            return False
        near = Endpoint(stream.origin.node, Zone.EXCHANGE)
        is_carried = self.border(stream.origin, near) is Border.CARRIER
        if caller == Endpoint(stream.audience, Zone.EXCHANGE):
            is_holder = holder == stream.origin or (is_carried and holder == near)
            return is_holder and stream.origin.node in self.by_node[caller.node].protects
        return is_carried and (holder, caller) == (stream.origin, near)
