"""Ciphertext objects 密文段: a segment as a backup site holds it, which it can prove and cannot read (clause 3.4).

    magic | blocks, each encrypted with its tag | claim, sealed by the zone that gave it | its length | magic

The claim pairs the hash of what was encrypted with the hash of what came of it. Every segment has a key of
its own, derived from a key of its zone; that key is in the claim too, wrapped for those who may open
copies. Knows no file and keeps no key.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes, hpke
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from google.protobuf.message import DecodeError

from jinbao.model.batch import SealedBatch
from jinbao.model.errors import IdentityError, UnprovableError
from jinbao.model.quoting import quoted
from jinbao.model.topology import Topology
from jinbao.model.zone import Endpoint
from jinbao.trust import bounds
from jinbao.trust.book import TrustBook
from jinbao.trust.envelope import Signer, seal_bytes, signer_of
from jinbao.trust.identity import check_issuer, parse_identity
from jinbao.trust.signer import SignerProofs, moment
from jinbao.trust.suites import INTL, SUITES, TAG_BYTES
from jinbao.wire.gen.jinbao.wire.v1 import wire_pb2 as wire

OBJECT_TYPE = "application/vnd.jinbao.object.v1+protobuf"
MAGIC = b"JINBAOC1"
BLOCK_BYTES = 1 << 20
END_BYTES = 4 + len(MAGIC)
"""Of the claim's length and the magic behind it."""

CLAIM_BYTES_MAX = 64 << 10
"""Of a claim's envelope: a chain, and a few keys for a few recipients."""

KEY_BYTES = 32
KEYS_MAX = 200
"""Wrapped keys of one claim: a key a year for two recipients is far fewer."""

_WRAPPED_BYTES = 80
_SUITE = hpke.Suite(hpke.KEM.X25519, hpke.KDF.HKDF_SHA256, hpke.AEAD.AES_256_GCM)


@dataclass(frozen=True, slots=True)
class WrappedKey:
    """A zone's `key`, by name, for one `recipient`: `drill` or `escrow`, a colon, and the print of its public key."""

    key: str
    recipient: str
    wrapped: bytes


@dataclass(frozen=True, slots=True)
class Claim:
    """What an object holds: the segment's hash and bytes, its ciphertext's, and by which key of its `holder`.

    `made_at` is UTC, RFC 3339; `keys` are all keys of the holder, for everyone who may open copies.
    """

    holder: Endpoint
    sha256: str
    bytes: int
    sealed_sha256: str
    sealed_bytes: int
    key: str
    keys: tuple[WrappedKey, ...]
    made_at: str
    suite: str = INTL


@dataclass(frozen=True, slots=True)
class Recipient:
    """Someone who may open copies, by the public half of an X25519 key; `purpose` is `drill` or `escrow`."""

    purpose: str
    public: X25519PublicKey

    @property
    def name(self) -> str:
        """What a claim calls it."""
        return recipient_name(self.purpose, self.public)


def recipient_name(purpose: str, public: X25519PublicKey) -> str:
    """Purpose, and the first 16 hex digits of the SHA-256 of a public key."""
    return f"{purpose}:{hashlib.sha256(public.public_bytes_raw()).hexdigest()[:16]}"


def wrap(name: str, key: bytes, recipient: Recipient) -> WrappedKey:
    """A zone's key of that name for one recipient."""
    info = _info(name, recipient.name)
    return WrappedKey(name, recipient.name, _SUITE.encrypt(key, recipient.public, info=info))


def unwrap(wrapped: WrappedKey, private: X25519PrivateKey) -> bytes:
    """The zone's key; raises UnprovableError for another recipient's, or bytes that were changed."""
    try:
        return _SUITE.decrypt(wrapped.wrapped, private, info=_info(wrapped.key, wrapped.recipient))
    except (InvalidTag, ValueError) as exc:
        raise UnprovableError(
            f"key {wrapped.key}", expected="one wrapped for this key", got="other bytes"
        ) from exc


def _info(name: str, recipient: str) -> bytes:
    return f"jinbao-copy-key-v1\n{name}\n{recipient}".encode()


def sealed_size(size: int) -> int:
    """Bytes of the ciphertext of so many."""
    return size + TAG_BYTES * max(1, -(-size // BLOCK_BYTES))


def object_size_max(size: int) -> int:
    """Most bytes an object of a segment of so many may have."""
    return len(MAGIC) + sealed_size(size) + CLAIM_BYTES_MAX + END_BYTES


def _segment_key(key: bytes, sha256: str) -> bytes:
    salt = bytes.fromhex(sha256)
    return HKDF(hashes.SHA256(), KEY_BYTES, salt=salt, info=b"jinbao-object-v1").derive(key)


def _nonce(number: int, *, is_last: bool) -> bytes:
    return bytes(7) + number.to_bytes(4, "big") + bytes([is_last])


def encrypt(key: bytes, sha256: str, blocks: Iterable[bytes]) -> Iterator[bytes]:
    """The ciphertext of a segment by a key of its zone, block by block; `blocks` are whole but for the last."""
    return _through(key, sha256, blocks, SUITES[INTL].encrypt)


def decrypt(key: bytes, sha256: str, blocks: Iterable[bytes]) -> Iterator[bytes]:
    """The segment of a ciphertext given in blocks of `BLOCK_BYTES` with their tags.

    Raises UnprovableError for another key, or blocks that were changed, moved, added or cut off.
    """
    return _through(key, sha256, blocks, SUITES[INTL].decrypt)


def _through(
    key: bytes, sha256: str, blocks: Iterable[bytes], step: Callable[[bytes, bytes, bytes], bytes]
) -> Iterator[bytes]:
    own, number, waiting = _segment_key(key, sha256), 0, b""
    for block in blocks:
        if number:
            yield step(own, _nonce(number - 1, is_last=False), waiting)
        waiting, number = block, number + 1
    yield step(own, _nonce(max(number - 1, 0), is_last=True), waiting)


def seal_claim(claim: Claim, signer: Signer) -> SealedBatch:
    """A claim sealed with the key of its holder."""
    message = wire.ObjectClaim(
        holder=str(claim.holder),
        sha256=claim.sha256,
        bytes=claim.bytes,
        sealed_sha256=claim.sealed_sha256,
        sealed_bytes=claim.sealed_bytes,
        suite=claim.suite,
        key=claim.key,
        keys=[wire.WrappedKey(key=k.key, recipient=k.recipient, wrapped=k.wrapped) for k in claim.keys],
        made_at=claim.made_at,
    )
    return seal_bytes(OBJECT_TYPE, message.SerializeToString(deterministic=True), signer)


def read_claim(sealed: SealedBatch) -> Claim:
    """What a claim says; nothing in it is believed. Raises UnprovableError on anything that is none."""
    try:
        return _claim(wire.ObjectClaim.FromString(sealed.payload))
    except (DecodeError, ValueError) as exc:
        raise UnprovableError(
            "claim of an object",
            expected="a message of the contract",
            got=quoted(str(exc), bounds.CHARACTERS_MAX),
        ) from exc


def _claim(m: wire.ObjectClaim) -> Claim:
    return Claim(
        holder=Endpoint.parse(m.holder),
        sha256=bounds.hash_text(m.sha256),
        bytes=bounds.at_most(m.bytes, bounds.SEGMENT_BYTES_MAX, "bytes"),
        sealed_sha256=bounds.hash_text(m.sealed_sha256),
        sealed_bytes=bounds.at_most(m.sealed_bytes, sealed_size(bounds.SEGMENT_BYTES_MAX), "sealed bytes"),
        key=bounds.run(m.key),
        keys=tuple(map(_wrapped, bounds.few(m.keys, KEYS_MAX, "keys"))),
        made_at=bounds.moment(m.made_at),
        suite=_cipher(m.suite),
    )


def _wrapped(m: wire.WrappedKey) -> WrappedKey:
    if len(m.wrapped) != _WRAPPED_BYTES:
        msg = f"wrapped key: expected {_WRAPPED_BYTES} bytes, got {len(m.wrapped)}"
        raise ValueError(msg)
    return WrappedKey(bounds.run(m.key), bounds.run(m.recipient), m.wrapped)


def _cipher(suite: str) -> str:
    if suite != INTL:
        msg = f"suite: expected {INTL}, got {quoted(suite)}"
        raise ValueError(msg)
    return suite


class ClaimVerifier:
    """Who may say what an object holds: a zone of a node that is protected by `me`."""

    def __init__(
        self,
        me: str,
        book: Callable[[], TrustBook],
        topology: Callable[[], Topology],
        now: Callable[[], datetime],
    ) -> None:
        self._me, self._book, self._topology, self._now = me, book, topology, now
        self._proofs = SignerProofs()

    def verify(self, sealed: SealedBatch) -> Claim:
        """The claim, once its seal and its signer are proved; raises UnprovableError or IdentityError.

        It holds for as long as its object is kept: what counts is that its signer's certificate was in
        force when it says it was made. So the epoch is not held against today's.
        """
        leaf, rest = signer_of(sealed, OBJECT_TYPE)
        claim, topology = read_claim(sealed), self._topology()
        at = moment(claim.made_at, self._now(), thing="claim of an object")
        proof = self._proofs.prove(self._book(), sealed, leaf, rest, at)
        identity = parse_identity(proof.leaf)
        check_issuer(identity, proof.issuer, topology)
        row = topology.row(self._me)
        protected: Sequence[str] = row.protects if row is not None else ()
        if identity.endpoint != claim.holder or claim.holder.node not in protected:
            raise IdentityError(
                "claim of an object: signer",
                expected=f"a zone of {', '.join(protected) or 'nobody'}",
                got=f"{identity.endpoint} for {claim.holder}",
            )
        return claim
