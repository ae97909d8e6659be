"""Grant 授予: the parent's signed word that a node's identity has another holder, at a higher epoch.

Whoever holds an older epoch is refused by every peer from then on. What persons declared before it is carried as
they signed it; who may sign and what a grant is believed by is not said here.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from jinbao.model.topology import Topology
from jinbao.model.zone import Endpoint, Zone


@dataclass(frozen=True, slots=True)
class GrantedCut:
    """Up to where a zone was built for its new holder: its act `lsn`, with the chain's `hash` there."""

    zone: Zone
    lsn: int
    hash: str


@dataclass(frozen=True, slots=True)
class Grant:
    """One node at one epoch: where its new holder listens, what it was built from, what is given up.

    `without` are neighbours of the node that give nothing back; `declaration` is the text two persons signed, with
    their signatures. `made_at` is UTC, RFC 3339.
    """

    trust_domain: str
    node: str
    epoch: int
    addresses: tuple[tuple[Zone, str], ...]
    cuts: tuple[GrantedCut, ...]
    without: tuple[Endpoint, ...]
    declaration: str
    made_at: str

    def cut(self, zone: Zone) -> GrantedCut | None:
        """Up to where a zone was built; None for one that was not."""
        return next((cut for cut in self.cuts if cut.zone is zone), None)


def granted(topology: Topology, grants: Iterable[Grant]) -> Topology:
    """The topology as grants leave it: rows with the granted epoch and addresses, unless a row is that far itself."""
    newest: dict[str, Grant] = {}
    for grant in grants:
        row = topology.row(grant.node)
        if row is not None and grant.epoch > max(row.epoch, getattr(newest.get(grant.node), "epoch", 0)):
            newest[grant.node] = grant
    if not newest:
        return topology
    rows = [
        replace(
            row,
            epoch=newest[row.node].epoch,
            addresses=tuple(sorted((dict(row.addresses) | dict(newest[row.node].addresses)).items())),
        )
        if row.node in newest
        else row
        for row in topology.rows
    ]
    return replace(topology, rows=tuple(rows))
