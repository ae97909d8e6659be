"""What both ends of a line stand on: who we are, whom we trust and what the topology says, as of now.

Everything is asked for each call anew, so that a renewed certificate, a new revocation list
or a new topology counts from the next call on. Anchors of a link are narrowed to the
authorities that may speak for its other end (clause 1.4). Reads no file and keeps no key.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from jinbao.model.topology import Topology
from jinbao.model.zone import Border, Endpoint
from jinbao.trust.book import TrustBook
from jinbao.trust.envelope import parse_certificate
from jinbao.trust.revocation import key_id

STAPLED_MAX = 32
"""Lists and certificates of one hello: its sender's authorities, in rotation."""

GRANT_METADATA = "jinbao-grant-bin"
"""Name of the trailing metadata in which a refused holder finds why (clause 1.7)."""

OPENS_METADATA = "jinbao-line-opens"
"""Name of the trailing metadata that says after how many seconds bulk is worth asking for again (clause 3.5)."""

PROOF_BYTES_MAX = 12 << 10
"""A grant with its certificates, three times what ours have; a third more as it is encoded on its way."""

METADATA_BYTES_MAX = 2 * PROOF_BYTES_MAX
"""What a caller takes of metadata; the library's own bound would cut a proof off."""

STAPLED_BYTES_MAX = 1 << 20
"""Lists that come with a hello: one message, and a node with a longer list sends it by the line."""

_ANCHORS_HOLD = timedelta(seconds=60)
"""How long narrowed anchors are kept: an authority taken back is out of every handshake within this."""


class Credentials(Protocol):
    """A zone's own keys and certificates, of one moment: a renewed identity is another object."""

    @property
    def suite(self) -> str:
        """Id of the suite the zone seals and answers challenges by."""
        ...

    @property
    def certificates(self) -> tuple[bytes, ...]:
        """Chain of the key that signs, leaf first, DER."""
        ...

    def sign(self, message: bytes) -> bytes:
        """Signature by the zone's key for seals."""
        ...

    def pem(self, name: str) -> bytes:
        """`key.pem` or `chain.pem` of the line, for the TLS library."""
        ...


@dataclass
class Standing:
    """One zone's view; the callables answer from memory and from any thread.

    `learn` takes documents a peer brought with its hello and keeps what is proved and new;
    it may block, and raises PeerError for what proves nothing.
    """

    me: Endpoint
    identity: Callable[[], Credentials]
    book: Callable[[], TrustBook]
    topology: Callable[[], Topology]
    now: Callable[[], datetime]
    learn: Callable[[Sequence[bytes], Endpoint | None], None]
    proof: Callable[[str], bytes] = lambda _node: b""
    """Why an older holder of a node's identity is refused: the envelope of its grant, or nothing (clause 1.7)."""
    _narrowed: tuple[TrustBook, Topology, datetime, dict[frozenset[str], bytes]] | None = None

    def anchors_of(self, peers: Iterable[Endpoint]) -> bytes:
        """PEM of the authorities that may certify these endpoints: all a handshake with them trusts."""
        book, topology, now = self.book(), self.topology(), self.now()
        held = self._narrowed
        if held is None or held[0] is not book or held[1] is not topology or now > held[2]:
            held = self._narrowed = book, topology, now + _ANCHORS_HOLD, {}
        names = frozenset(topology.issuer(peer.node) for peer in peers)
        if names not in held[3]:
            held[3][names] = b"".join(c.public_bytes(Encoding.PEM) for c in book.issuers(names, now))
        return held[3][names]

    def callers(self) -> list[Endpoint]:
        """Everyone who may call: neighbours by the line, and the backup that follows this node."""
        topology = self.topology()
        near = [e for e in topology.neighbours(self.me) if topology.border(self.me, e) is Border.LINE]
        return near + [e for e in topology.endpoints() if self.me.node in topology.by_node[e.node].protects]

    def staple(self) -> list[bytes]:
        """What another needs to judge our own certificates: their authorities, the newest lists held, and our grant."""
        book = self.book()
        chain = [parse_certificate(der) for der in self.identity().certificates]
        keys = {key_id(c) for c in (*chain[1:], *_above(chain, book))}
        lists = [book.crls[key].der for key in sorted(keys) if key in book.crls]
        authorities = [c.public_bytes(Encoding.DER) for c in book.authorities if key_id(c) in keys]
        grant = self.proof(self.me.node)
        documents = [*([grant] if grant else []), *lists, *authorities][:STAPLED_MAX]
        return documents if sum(map(len, documents)) <= STAPLED_BYTES_MAX else []


def _above(chain: Sequence[x509.Certificate], book: TrustBook) -> list[x509.Certificate]:
    """Roots and known authorities that bear the name of an issuer in a chain."""
    issuers = {c.issuer for c in chain}
    return [c for c in (*book.roots, *book.authorities) if c.subject in issuers]
