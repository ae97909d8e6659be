"""Signed documents that are no batches: the topology. Signed by the root of the tree's exchange zone."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from cryptography import x509

from jinbao.model.batch import SealedBatch
from jinbao.model.errors import IdentityError
from jinbao.model.topology import Topology
from jinbao.model.zone import Zone
from jinbao.trust.encoding import TOPOLOGY_TYPE, decode_topology, encode_topology
from jinbao.trust.envelope import Signer, seal_bytes, signer_of
from jinbao.trust.identity import check_chain, check_row, parse_identity


def seal_topology(topology: Topology, signer: Signer) -> SealedBatch:
    """Seal a topology with the key of the root node's exchange zone."""
    return seal_bytes(TOPOLOGY_TYPE, encode_topology(topology), signer)


def open_topology(sealed: SealedBatch, anchors: Sequence[x509.Certificate], at: datetime) -> Topology:
    """The topology, once its seal, its signer's chain and the signer's right to sign it are proved.

    Raises UnprovableError or IdentityError.
    """
    leaf, rest = signer_of(sealed, TOPOLOGY_TYPE)
    check_chain(leaf, rest, anchors, at)
    identity = parse_identity(leaf)
    topology = decode_topology(sealed.payload)
    check_row(identity, topology)
    row = topology.by_node[identity.endpoint.node]
    if row.parent or identity.endpoint.zone is not Zone.EXCHANGE:
        raise IdentityError(
            "topology: signer", expected="the exchange zone of the root node", got=str(identity.endpoint)
        )
    return topology
