"""The challenge of clause 1.3: who answers signs the caller's nonce with the key of its certificate.

grpc shows a client nothing of the server's certificate, and one authority certifies many
zones, so TLS does not say which of them answered. This does.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from cryptography import x509

from jinbao.model.errors import IdentityError
from jinbao.model.topology import Topology
from jinbao.model.zone import Endpoint
from jinbao.trust.envelope import CERTIFICATES_MAX, check_signature, parse_certificate
from jinbao.trust.identity import check_chain, check_row, parse_identity

NONCE_BYTES = 32
VERSION = "1"


def challenge(nonce: bytes, endpoint: Endpoint, caller: Endpoint) -> bytes:
    """The bytes that are signed; bound to both ends, so that an answer cannot be passed on."""
    return b"\n".join(
        [b"jinbao-hello-v1", nonce.hex().encode(), str(endpoint).encode(), str(caller).encode()]
    )


def check_answer(
    *,
    nonce: bytes,
    signature: bytes,
    certificates: Sequence[bytes],
    expected: Endpoint,
    caller: Endpoint,
    anchors: Sequence[x509.Certificate],
    topology: Topology,
    now: datetime,
) -> None:
    """Raise IdentityError or UnprovableError unless `expected` itself answered."""
    if not 0 < len(certificates) <= CERTIFICATES_MAX:
        raise IdentityError("hello: certificates", expected=f"1 to {CERTIFICATES_MAX}", got=len(certificates))
    leaf, *rest = [parse_certificate(der) for der in certificates]
    check_chain(leaf, rest, anchors, now)
    identity = parse_identity(leaf)
    check_row(identity, topology)
    if identity.endpoint != expected:
        raise IdentityError("who answered", expected=str(expected), got=str(identity.endpoint))
    check_signature(leaf, signature, challenge(nonce, expected, caller), thing="hello")
