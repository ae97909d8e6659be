"""Grants 授予 as sealed documents: who may seal one, and what is believed of it. Clause 1.7 of the wire contract.

The exchange zone of a node's parent grants it; the root node has no parent and is granted nothing: its new holder
is certified at the next epoch and signs a topology that says so. Decides nothing about when to grant.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from google.protobuf.message import DecodeError

from jinbao.model.batch import SealedBatch
from jinbao.model.errors import IdentityError, UnprovableError
from jinbao.model.grant import Grant, GrantedCut, granted
from jinbao.model.quoting import quoted
from jinbao.model.topology import Topology
from jinbao.model.zone import Endpoint, Zone
from jinbao.trust import bounds
from jinbao.trust.book import TrustBook
from jinbao.trust.envelope import Signer, seal_bytes, signer_of
from jinbao.trust.identity import check_issuer, check_row, parse_identity
from jinbao.trust.signer import moment, prove_signer
from jinbao.wire.gen.jinbao.wire.v1 import wire_pb2 as wire

GRANT_TYPE = "application/vnd.jinbao.grant.v1+protobuf"

GRANT_BYTES_MAX = 16 << 10
"""A grant has a line for each of three zones and a declaration of one page."""

DECLARATION_CHARACTERS_MAX = 4_000
"""A page: what happened, and two signatures."""

WITHOUT_MAX = 100
"""Neighbours of one node: a province has at most two dozen cities."""

EPOCH_MAX = 999_999_998
"""The highest a name carries is that of drills, which nobody grants."""

EPOCH_STEP_MAX = 100
"""How far a grant may go beyond what is known of its node: a parent's stolen key leaves epochs to grant after it."""


def encode_grant(grant: Grant) -> bytes:
    """A grant as the bytes that are signed."""
    message = wire.Grant(
        trust_domain=grant.trust_domain,
        node=grant.node,
        epoch=grant.epoch,
        addresses={str(zone): address for zone, address in grant.addresses},
        cuts=[wire.GrantedCut(zone=str(cut.zone), lsn=cut.lsn, hash=cut.hash) for cut in grant.cuts],
        without=[str(endpoint) for endpoint in grant.without],
        declaration=grant.declaration,
        made_at=grant.made_at,
    )
    return message.SerializeToString(deterministic=True)


def decode_grant(payload: bytes) -> Grant:
    """Read a grant's payload; raises UnprovableError on anything that is none."""
    if len(payload) > GRANT_BYTES_MAX:
        raise UnprovableError("grant", expected=f"at most {GRANT_BYTES_MAX} bytes", got=len(payload))
    try:
        return _grant(wire.Grant.FromString(payload))
    except (DecodeError, ValueError) as exc:
        raise UnprovableError(
            "grant", expected="a message of the contract", got=quoted(str(exc), bounds.CHARACTERS_MAX)
        ) from exc


def _grant(m: wire.Grant) -> Grant:
    cuts = bounds.few(m.cuts, len(Zone), "cuts")
    if len(m.declaration) > DECLARATION_CHARACTERS_MAX:
        msg = (
            f"declaration: expected at most {DECLARATION_CHARACTERS_MAX} characters, got {len(m.declaration)}"
        )
        raise ValueError(msg)
    epoch = bounds.at_most(bounds.positive(m.epoch), EPOCH_MAX, "epoch")
    return Grant(
        trust_domain=bounds.domain(m.trust_domain),
        node=Endpoint(m.node, Zone.EXCHANGE).node,
        epoch=epoch,
        addresses=tuple(sorted((Zone(z), bounds.address(a)) for z, a in m.addresses.items())),
        cuts=tuple(
            GrantedCut(
                Zone(cut.zone), bounds.at_most(cut.lsn, bounds.NUMBER_MAX, "lsn"), bounds.hash_text(cut.hash)
            )
            for cut in cuts
        ),
        without=tuple(Endpoint.parse(name) for name in bounds.few(m.without, WITHOUT_MAX, "without")),
        declaration=m.declaration,
        made_at=bounds.moment(m.made_at),
    )


def seal_grant(grant: Grant, signer: Signer) -> SealedBatch:
    """Seal a grant with the key of the exchange zone of the node's parent."""
    return seal_bytes(GRANT_TYPE, encode_grant(grant), signer)


def open_grant(sealed: SealedBatch, book: TrustBook, topology: Topology, at: datetime) -> Grant:
    """The grant, once its seal, its signer's chain and the signer's right are proved.

    Its signer is the exchange zone of the node's parent in `topology`, at the epoch the parent has or had: what
    counts is that its certificate was in force when the grant says it was made. The parent's authority takes back
    those of a holder before; which of two grants came first no clock of two sites can say. Raises UnprovableError
    or IdentityError.
    """
    leaf, rest = signer_of(sealed, GRANT_TYPE)
    grant = decode_grant(sealed.payload)
    thing = f"grant of {grant.node} at epoch {grant.epoch}"
    proof = prove_signer(book, sealed.suite, leaf, rest, moment(grant.made_at, at, thing=thing))
    identity = parse_identity(proof.leaf)
    row = topology.row(grant.node)
    if row is None or grant.trust_domain != topology.trust_domain:
        raise IdentityError(thing, expected="a node of the topology", got="none of that name")
    parent = topology.row(row.parent)
    if parent is None or identity.endpoint != Endpoint(parent.node, Zone.EXCHANGE):
        expected = (
            f"{row.parent}/exchange, its parent" if row.parent else "no grant: the root node has no parent"
        )
        raise IdentityError(f"{thing}: signer", expected=expected, got=str(identity.endpoint))
    if identity.epoch >= parent.epoch:
        check_row(identity, topology)
    check_issuer(identity, proof.issuer, topology)
    if grant.epoch > row.epoch + EPOCH_STEP_MAX:
        raise IdentityError(thing, expected=f"at most epoch {row.epoch + EPOCH_STEP_MAX}", got=grant.epoch)
    return grant


def open_grants(
    several: Iterable[SealedBatch], book: TrustBook, topology: Topology, at: datetime
) -> tuple[Topology, list[Grant]]:
    """The topology with all grants in it, those of parents before those of their children. Raises as `open_grant`."""
    found = list[Grant]()
    by_depth = sorted(several, key=lambda sealed: _depth(topology, sealed))
    now = topology
    for sealed in by_depth:
        found.append(open_grant(sealed, book, now, at))
        now = granted(topology, found)
    return now, found


def _depth(topology: Topology, sealed: SealedBatch) -> tuple[int, int]:
    grant = decode_grant(sealed.payload)
    endpoint = Endpoint(grant.node, Zone.EXCHANGE)
    return (len(topology.above(endpoint)), grant.epoch)
