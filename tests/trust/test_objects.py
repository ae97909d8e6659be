"""Ciphertext objects: what comes out is what went in, or nothing; and who may open them, or say what they hold."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from hypothesis import given, settings
from hypothesis import strategies as st

from jinbao.model.batch import SealedBatch
from jinbao.model.errors import UnprovableError
from jinbao.model.zone import Endpoint, Zone
from jinbao.trust.objects import (
    BLOCK_BYTES,
    OBJECT_TYPE,
    Claim,
    Recipient,
    WrappedKey,
    decrypt,
    encrypt,
    read_claim,
    seal_claim,
    sealed_size,
    unwrap,
    wrap,
)
from jinbao.trust.suites import TAG_BYTES
from jinbao.wire.gen.jinbao.wire.v1 import wire_pb2 as wire

KEY, NAME = bytes(range(32)), "140100/exchange#1-630dcd2966c4"
HOLDER = Endpoint("140100", Zone.EXCHANGE)


def blocks(content: bytes, size: int = BLOCK_BYTES) -> Iterator[bytes]:
    """Content in pieces."""
    return (content[at : at + size] for at in range(0, len(content), size))


def sealed(content: bytes, key: bytes = KEY) -> tuple[str, list[bytes]]:
    """Name and ciphertext of a segment."""
    sha256 = hashlib.sha256(content).hexdigest()
    return sha256, list(encrypt(key, sha256, blocks(content)))


@pytest.mark.parametrize("size", [0, 1, BLOCK_BYTES - 1, BLOCK_BYTES, BLOCK_BYTES + 1, 3 * BLOCK_BYTES])
def test_what_was_encrypted_is_read_as_it_was(size: int) -> None:
    """A segment of any size comes out of its ciphertext, which is larger by one tag a block."""
    content = (b"jinbao" * (size // 6 + 1))[:size]
    sha256, found = sealed(content)

    assert b"".join(decrypt(KEY, sha256, found)) == content
    assert sum(map(len, found)) == sealed_size(size)
    assert content[:64] not in b"".join(found) or not content


def test_a_ciphertext_is_what_the_contract_says() -> None:
    """The key of a segment, the nonces and the cipher are those of clause 3.4, for anyone who reads copies later."""
    content = b"two blocks" * 110_000
    sha256, found = sealed(content)

    own = HKDF(SHA256(), 32, salt=bytes.fromhex(sha256), info=b"jinbao-object-v1").derive(KEY)
    first, last = bytes(7) + b"\0\0\0\0" + b"\0", bytes(7) + b"\0\0\0\1" + b"\1"
    assert found == [
        AESGCM(own).encrypt(first, content[:BLOCK_BYTES], None),
        AESGCM(own).encrypt(last, content[BLOCK_BYTES:], None),
    ]


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_a_ciphertext_that_was_touched_is_refused(data: st.DataObject) -> None:
    """One bit changed, a block moved, repeated, left out or cut off anywhere: nothing is taken for the segment."""
    sha256, found = sealed(bytes(range(256)) * (BLOCK_BYTES // 256) * 2 + b"the last")
    match data.draw(st.sampled_from(["bit", "swap", "repeat", "drop", "cut"])):
        case "bit":
            at = data.draw(st.integers(0, len(found) - 1))
            where, bit = data.draw(st.integers(0, len(found[at]) - 1)), 1 << data.draw(st.integers(0, 7))
            found[at] = found[at][:where] + bytes([found[at][where] ^ bit]) + found[at][where + 1 :]
        case "swap":
            found[0], found[1] = found[1], found[0]
        case "repeat":
            found.insert(1, found[0])
        case "drop":
            del found[data.draw(st.integers(0, len(found) - 1))]
        case _:
            found[-1] = found[-1][: data.draw(st.integers(0, len(found[-1]) - 1))]

    with pytest.raises(UnprovableError):
        list(decrypt(KEY, sha256, found))


def test_neither_another_key_nor_another_name_opens_a_segment() -> None:
    """The ciphertext of one segment is that of no other, though one key of a zone made both."""
    sha256, found = sealed(b"a person")
    other = hashlib.sha256(b"another").hexdigest()

    for key, name in ((bytes(32), sha256), (KEY, other)):
        with pytest.raises(UnprovableError, match="what this key encrypted"):
            list(decrypt(key, name, found))
    assert found != sealed(b"a person", bytes(32))[1]


def test_a_wrapped_key_opens_for_its_recipient_and_purpose_alone() -> None:
    """Another's key, another purpose or another name opens nothing."""
    mine, other = X25519PrivateKey.generate(), X25519PrivateKey.generate()
    wrapped = wrap(NAME, KEY, Recipient("drill", mine.public_key()))

    assert unwrap(wrapped, mine) == KEY
    as_escrow = replace(wrapped, recipient=Recipient("escrow", mine.public_key()).name)
    for one, key in ((wrapped, other), (as_escrow, mine), (replace(wrapped, key="another"), mine)):
        with pytest.raises(UnprovableError):
            unwrap(one, key)


CLAIM = Claim(
    HOLDER,
    "1" * 64,
    100,
    "2" * 64,
    116,
    NAME,
    (WrappedKey(NAME, "drill:" + "0" * 16, bytes(80)),),
    "2024-11-05T00:00:00Z",
)


class Signer:
    """Signs nothing anybody would believe."""

    suite, certificates = "intl-1", (b"x",)

    def sign(self, message: bytes) -> bytes:
        """Sixty-four bytes."""
        return bytes(64) if message else b""


def test_a_claim_is_read_as_it_was_sealed() -> None:
    """Every field of a claim survives its bytes."""
    assert read_claim(seal_claim(CLAIM, Signer())) == CLAIM
    assert seal_claim(CLAIM, Signer()).payload_type == OBJECT_TYPE


@pytest.mark.parametrize(
    "alter",
    [
        {"holder": "nobody"},
        {"holder": "140100/kitchen"},
        {"sha256": "../../etc"},
        {"bytes": 1 << 40},
        {"sealed_bytes": 1 << 40},
        {"suite": "national-1"},
        {"key": "a key\nand more"},
        {"made_at": "2024-11-05T00:00:00"},
        {"made_at": "x" * 41},
        {"keys": [wire.WrappedKey(key="k", recipient="drill:1", wrapped=b"short")]},
        {"keys": [wire.WrappedKey(key="k", recipient="drill:1", wrapped=bytes(80))] * 201},
    ],
    ids=str,
)
def test_a_claim_beyond_its_bounds_is_refused(alter: dict[str, object]) -> None:
    """Whatever a peer writes into a claim that none of ours says is refused before anything is done with it."""
    message = wire.ObjectClaim.FromString(seal_claim(CLAIM, Signer()).payload)
    for name, value in alter.items():
        if name == "keys":
            del message.keys[:]
            message.keys.extend(value)  # type: ignore[arg-type]
        else:
            setattr(message, name, value)
    hostile = SealedBatch("intl-1", OBJECT_TYPE, message.SerializeToString(), b"", (b"x",))

    with pytest.raises(UnprovableError, match="claim of an object"):
        read_claim(hostile)


def test_a_tag_is_sixteen_bytes() -> None:
    """The size of a ciphertext is known before it is fetched."""
    assert sealed_size(0) == TAG_BYTES
    assert sealed_size(BLOCK_BYTES + 1) == BLOCK_BYTES + 1 + 2 * TAG_BYTES
