"""Suites: the closed list of algorithms, held by published vectors."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from jinbao.model.errors import UnprovableError
from jinbao.trust.suites import INTL, NATIONAL, P256, SUITES, check_signature, sealing_suite


@pytest.mark.parametrize(
    ("suite", "message", "digest"),
    [
        (INTL, b"abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
        (NATIONAL, b"abc", "66c7f0f462eeedd9d1f2d46bdc10e4e24167c4875cf2f7a2297da02b8f4ba8e0"),
        (NATIONAL, b"abcd" * 16, "debe9ff92275b8a138604889c18e5a4d6fdb70e5387e5765293dcba39c0c5732"),
    ],
    ids=["SHA-256, FIPS 180-4", "SM3, GB/T 32905 example 1", "SM3, GB/T 32905 example 2"],
)
def test_a_hash_is_the_standards(suite: str, message: bytes, digest: str) -> None:
    """Each suite's hash gives the digest its standard prints."""
    assert SUITES[suite].digest(message).hex() == digest


SM4_GCM = {
    "key": "0123456789abcdeffedcba9876543210",
    "nonce": "00001234567800000000abcd",
    "associated": "feedfacedeadbeeffeedfacedeadbeefabaddad2",
    "content": "aaaaaaaaaaaaaaaabbbbbbbbbbbbbbbbccccccccccccccccdddddddddddddddd"
    "eeeeeeeeeeeeeeeeffffffffffffffffeeeeeeeeeeeeeeeeaaaaaaaaaaaaaaaa",
    "sealed": "17f399f08c67d5ee19d0dc9969c4bb7d5fd46fd3756489069157b282bb200735"
    "d82710ca5c22f0ccfa7cbf93d496ac15a56834cbcf98c397b4024a2691233b8d"
    "83de3541e4c2b58177e065a9bf7b62ec",
}
"""RFC 8998, appendix A.1."""

AES_GCM = {
    "key": "feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308",
    "nonce": "cafebabefacedbaddecaf888",
    "associated": "feedfacedeadbeeffeedfacedeadbeefabaddad2",
    "content": "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a72"
    "1c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39",
    "sealed": "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa"
    "8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0abcc9f66276fc6ece0f4e1768cddf8853bb2d551b",
}
"""The GCM specification, test case 16."""


@pytest.mark.parametrize(
    ("suite", "vector"), [(INTL, AES_GCM), (NATIONAL, SM4_GCM)], ids=["AES-256-GCM", "SM4-GCM"]
)
def test_a_cipher_is_the_standards(suite: str, vector: dict[str, str]) -> None:
    """Each suite's encryption gives the bytes its standard prints, reads them back, and notices a changed bit."""
    parts = {name: bytes.fromhex(text) for name, text in vector.items()}
    key, nonce, associated, sealed = (parts[n] for n in ("key", "nonce", "associated", "sealed"))

    assert SUITES[suite].encrypt(key, nonce, parts["content"], associated) == sealed
    assert SUITES[suite].decrypt(key, nonce, sealed, associated) == parts["content"]
    for altered in (sealed[:-1] + bytes([sealed[-1] ^ 1]), bytes([sealed[0] ^ 1]) + sealed[1:], b"short"):
        with pytest.raises(UnprovableError, match="expected what this key encrypted"):
            SUITES[suite].decrypt(key, nonce, altered, associated)


@pytest.mark.parametrize("named", [NATIONAL, "none", "", "P256-SHA256", "intl-1 "], ids=repr)
def test_a_suite_without_seals_is_refused(named: str) -> None:
    """What this release cannot check it does not believe, and says what it can."""
    with pytest.raises(UnprovableError, match="suite: expected p256-sha256 or intl-1"):
        sealing_suite(named, thing="envelope")


@pytest.mark.parametrize(
    ("suite", "kind"), [(INTL, "Ed25519"), (P256, "P-256")], ids=["a P-256 key", "an Ed25519 key"]
)
def test_a_key_of_another_suite_signs_nothing(suite: str, kind: str) -> None:
    """A suite believes its own kind of key, so that no key chooses how it is checked."""
    message = b"message"
    curve, edwards = ec.generate_private_key(ec.SECP256R1()), ed25519.Ed25519PrivateKey.generate()
    key = curve.public_key() if suite == INTL else edwards.public_key()

    with pytest.raises(UnprovableError, match=f"seal: key: expected {kind}, got"):
        check_signature(SUITES[suite], key, edwards.sign(message), message, thing="seal")
