"""Authorities of a demonstration: all of them in one process, beside the nodes they certify.

For demonstrations and tests on one machine, which no real authority may be: the hierarchy of a real
network, by the same code. In a directory, `jinbao ca` shows and steers each of them.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import Encoding

from jinbao.authority import granting, rotation
from jinbao.authority.authority import Authority, identity_of
from jinbao.authority.identity_files import (
    ANCHORS,
    CHAIN,
    KEY,
    SEAL_CHAIN,
    SEAL_KEY,
    TRUST,
    write_generation,
)
from jinbao.authority.joining import Context, Waiting, private_pem
from jinbao.authority.keys import MemoryKeys
from jinbao.authority.ledger import Ledger
from jinbao.authority.policy import Policy
from jinbao.authority.requests import ZoneRequest
from jinbao.authority.trust_files import newest, write_trust
from jinbao.model.batch import SealedBatch
from jinbao.model.topology import Topology
from jinbao.model.zone import Endpoint, Zone
from jinbao.trust.encoding import decode_envelope
from jinbao.trust.grants import decode_grant
from jinbao.trust.identity import ROOT


class DemoAuthorities:
    """A root, the ministry's issuing authority and one per province, made when first asked for.

    `life` is that of leaves; authorities live long enough for it, and lists hold as long as it.
    They are in memory, or each in a folder of `directory`; without `now` they go by the wall clock.
    """

    def __init__(
        self,
        *,
        life: timedelta = timedelta(days=14),
        now: datetime | None = None,
        directory: Path | None = None,
    ) -> None:
        self._fixed, self._directory = now, directory
        self.policy = Policy(
            leaf=life,
            leaf_min=timedelta(0),
            leaf_max=life,
            issuing=life * 7,
            root=life * 50,
            crl=life,
            root_crl=life * 7,
        )
        self._by_name: dict[str, Authority] = {}

    def authority(self, name: str, domain: str) -> Authority:
        """The authority of a node, or `root`."""
        if name not in self._by_name:
            made = self._by_name[name] = self._at(name)
            if made.is_founded:
                return made
            made.found(ROOT if name == ROOT else "issuing", domain, "" if name == ROOT else name, self.now)
            if name != ROOT:
                rotation.certify_here(made, self.authority(ROOT, domain), self.now)
            made.crl(self.now)
        return self._by_name[name]

    @property
    def now(self) -> datetime:
        """The moment they go by."""
        return self._fixed or datetime.now(UTC)

    def _at(self, name: str) -> Authority:
        if self._directory is None:
            return Authority(Ledger(None), MemoryKeys(), self.policy)
        return Authority.at(self._directory / name, policy=self.policy)

    def documents(self) -> tuple[bytes, ...]:
        """Certificates of all authorities and their newest lists, DER."""
        return newest(document for one in self._by_name.values() for document in one.documents())

    def revoke(
        self, endpoint: Endpoint, topology: Topology, reason: str, now: datetime | None = None
    ) -> None:
        """Take back all certificates of a zone, and list it."""
        authority, at = self._by_name[topology.issuer(endpoint.node)], now or self.now
        authority.revoke(authority.serials_of(endpoint.node, endpoint.zone, now=at), reason, at)
        authority.crl(at)

    def prepare(self, name: str, now: datetime | None = None) -> None:
        """Make a successor of an authority's key; the root's is made known to all authorities."""
        authority, at = self._by_name[name], now or self.now
        rotation.prepare(authority, at)
        if name != ROOT:
            rotation.certify_here(authority, self._by_name[ROOT], at)
        self._spread(at)

    def activate(self, name: str, now: datetime | None = None) -> None:
        """Let the successor sign; a new root certifies every authority's key again."""
        at = now or self.now
        rotation.activate(self._by_name[name], at)
        if name == ROOT:
            for other, authority in self._by_name.items():
                if other != ROOT:
                    rotation.certify_here(authority, self._by_name[ROOT], at)
        self._spread(at)

    def taint(self, name: str, now: datetime | None = None) -> None:
        """Ask for the leaves of an authority's old key to be renewed at once."""
        rotation.taint(self._by_name[name], now or self.now)

    def retire(self, name: str, now: datetime | None = None) -> None:
        """Give up an authority's old key."""
        rotation.retire(self._by_name[name], now or self.now)
        self._spread(now or self.now)

    def grant(self, sealed: SealedBatch, topology: Topology, now: datetime | None = None) -> granting.Taken:
        """Have the authority of a node take in its grant; later `issue` certifies it at the granted epoch."""
        at, node = now or self.now, decode_grant(sealed.payload).node
        authority = self._issuer(node, topology)
        authority.learn(self.documents(), at)
        above = {endpoint.node for endpoint in topology.above(Endpoint(node, Zone.EXCHANGE))}
        return granting.take_in(authority, sealed, topology, at, above=self._grants(above))

    def _grants(self, nodes: Collection[str]) -> list[SealedBatch]:
        """Grants of nodes that any of the authorities took in."""
        found: dict[bytes, None] = {}
        for authority in self._by_name.values():
            with authority.acting() as state:
                found |= {one.sealed: None for one in state.grants if one.grant.node in nodes and one.sealed}
        return list(map(decode_envelope, found))

    def _issuer(self, node: str, topology: Topology) -> Authority:
        """The authority that certifies a node, among all of a network's."""
        for name in dict.fromkeys(map(topology.issuer, topology.by_node)):
            self.authority(name, topology.trust_domain)
        return self._by_name[topology.issuer(node)]

    def _spread(self, now: datetime) -> None:
        """New lists of every authority; those of the root known to all."""
        for authority in self._by_name.values():
            authority.crl(now)
        for name, authority in self._by_name.items():
            if name != ROOT:
                authority.learn(self._by_name[ROOT].documents(), now)

    def issue(
        self, endpoint: Endpoint, topology: Topology, directory: Path, now: datetime | None = None
    ) -> None:
        """Write a new generation of one zone's identity into `directory` (0700), at the epoch it was granted."""
        authority = self._issuer(endpoint.node, topology)
        identity = identity_of(endpoint, authority.in_force(topology))
        waits = Waiting(
            Context("demo", identity, topology.issuer(endpoint.node), "", ()),
            ec.generate_private_key(ec.SECP256R1()),
            ed25519.Ed25519PrivateKey.generate(),
        )
        asked = waits.requests()
        request = ZoneRequest(asked.line_request, asked.seal_request)
        pair = authority.issue(endpoint, topology, request, now=now or self.now)
        pem = [b"".join(c.public_bytes(Encoding.PEM) for c in chain) for chain in (pair.line, pair.seal)]
        roots = b"".join(root.public_bytes(Encoding.PEM) for root in authority.roots())
        files = {
            KEY: private_pem(waits.line),
            CHAIN: pem[0],
            SEAL_KEY: private_pem(waits.seal),
            SEAL_CHAIN: pem[1],
            ANCHORS: roots,
            TRUST: write_trust(self.documents()),
        }
        write_generation(directory, files)
