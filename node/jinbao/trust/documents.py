"""Signed documents that are no batches: the topology, and the marks a carrier brings back."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from jinbao.model.batch import SealedBatch
from jinbao.model.errors import IdentityError
from jinbao.model.stream import Mark
from jinbao.model.topology import Topology
from jinbao.model.zone import Endpoint, Zone
from jinbao.trust.book import Proof, TrustBook
from jinbao.trust.encoding import (
    TOPOLOGY_TYPE,
    decode_marks,
    decode_topology,
    encode_marks,
    encode_topology,
)
from jinbao.trust.envelope import Signer, seal_bytes, signer_of
from jinbao.trust.identity import Identity, authority_name, check_issuer, check_row, parse_identity
from jinbao.trust.signer import moment, prove_signer

MINISTRY = "100000"
"""The root node: its code is the nation's (GB/T 2260)."""

MARKS_TYPE = "application/vnd.jinbao.marks.v1+protobuf"


def seal_topology(topology: Topology, signer: Signer) -> SealedBatch:
    """Seal a topology with the key of the root node's exchange zone."""
    return seal_bytes(TOPOLOGY_TYPE, encode_topology(topology), signer)


def open_topology(sealed: SealedBatch, book: TrustBook, at: datetime) -> Topology:
    """The topology, once its seal, its signer's chain and the signer's right to sign it are proved.

    A topology holds for years and its signer's certificate for days: what counts is that it was
    in force when the topology says it was made, which is not after `at`. Raises UnprovableError or IdentityError.
    """
    leaf, rest = signer_of(sealed, TOPOLOGY_TYPE)
    topology = decode_topology(sealed.payload)
    made_at = moment(topology.made_at, at, thing="topology") if topology.made_at else at
    proof = prove_signer(book, sealed.suite, leaf, rest, made_at)
    identity = _row_of(proof, topology)
    # A topology must not be what says who may sign it: the root node is the nation's, by GB/T 2260, and its
    # authority bears that name in a certificate of the root.
    named = authority_name(proof.issuer)
    signer = Endpoint(MINISTRY, Zone.EXCHANGE)
    if identity.endpoint != signer or named not in {"", MINISTRY} or topology.root != MINISTRY:
        raise IdentityError(
            "topology: signer",
            expected=f"{signer}, certified by authority {MINISTRY}",
            got=f"{identity.endpoint}, certified by authority {named or 'without a name'}",
        )
    return topology


def seal_marks(marks: Sequence[Mark], signer: Signer) -> SealedBatch:
    """Seal the marks of a receiver, so that the sender may take away what was taken."""
    return seal_bytes(MARKS_TYPE, encode_marks(marks), signer)


def open_marks(
    sealed: SealedBatch,
    receiver: Endpoint,
    book: TrustBook,
    topology: Topology,
    at: datetime,
) -> list[Mark]:
    """The marks of `receiver`, once they are proved to be its own; raises UnprovableError or IdentityError."""
    leaf, rest = signer_of(sealed, MARKS_TYPE)
    identity = _row_of(prove_signer(book, sealed.suite, leaf, rest, at), topology)
    if identity.endpoint != receiver:
        raise IdentityError("marks: signer", expected=str(receiver), got=str(identity.endpoint))
    return decode_marks(sealed.payload)


def _row_of(proof: Proof, topology: Topology) -> Identity:
    """Who a proved certificate speaks for, held against its row and its issuer's right; raises IdentityError."""
    identity = parse_identity(proof.leaf)
    check_row(identity, topology)
    check_issuer(identity, proof.issuer, topology)
    return identity
