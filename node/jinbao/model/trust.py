"""Trust documents 信任文件: what a network's authorities and its root node sign for everybody to hold.

They prove themselves, travel as rows of sealed batches (topics `trust` and `trust_up`), and
are kept as they came.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class DocumentKind(StrEnum):
    """What a trust document is."""

    AUTHORITY = "authority"  # an X.509 certificate of an authority, DER
    REVOCATION = "revocation"  # an X.509 revocation list, DER
    TOPOLOGY = "topology"  # a sealed topology, an envelope of the wire contract
    GRANT = "grant"  # a sealed grant of an identity to another holder, an envelope of the wire contract


@dataclass(frozen=True, slots=True)
class TrustDocument:
    """One document; `name` says whose it is: an authority's key id, `topology`, or the node that was granted."""

    kind: DocumentKind
    name: str
    number: int
    body: bytes
