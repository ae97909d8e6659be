"""The challenge of clause 1.3: who answers signs the caller's nonce with its key for seals.

grpc shows a client nothing of the server's certificate, and one authority certifies many
zones, so TLS does not say which of them answered. This does.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from jinbao.model.errors import IdentityError
from jinbao.model.topology import Topology
from jinbao.model.zone import Endpoint
from jinbao.trust.book import Proof, TrustBook
from jinbao.trust.envelope import CERTIFICATES_MAX, parse_certificate
from jinbao.trust.identity import check_issuer, check_row, parse_identity
from jinbao.trust.signer import prove_signer
from jinbao.trust.suites import P256, check_signature, sealing_suite

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
    suite_id: str,
    signature: bytes,
    certificates: Sequence[bytes],
    expected: Endpoint,
    caller: Endpoint,
    book: TrustBook,
    topology: Topology,
    now: datetime,
) -> Proof:
    """The certificate of `expected`, which itself answered; raises IdentityError or UnprovableError.

    A server of release 0.1 names no suite: it had one.
    """
    suite = sealing_suite(suite_id or P256, thing="hello")
    if not 0 < len(certificates) <= CERTIFICATES_MAX:
        raise IdentityError("hello: certificates", expected=f"1 to {CERTIFICATES_MAX}", got=len(certificates))
    leaf, *rest = [parse_certificate(der) for der in certificates]
    proof = prove_signer(book, suite.id, leaf, rest, now)
    identity = parse_identity(leaf)
    check_row(identity, topology)
    check_issuer(identity, proof.issuer, topology)
    if identity.endpoint != expected:
        raise IdentityError("who answered", expected=str(expected), got=str(identity.endpoint))
    check_signature(suite, leaf.public_key(), signature, challenge(nonce, expected, caller), thing="hello")
    return proof
