"""The seal: every byte counts, and nothing a stranger puts into an envelope is another error than ours."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.trust.certificates import certify
from tests.trust.example import CITY, FIRST, PROVINCE, SIBLING, Network

from jinbao.model.errors import IdentityError, UnprovableError
from jinbao.trust.documents import MARKS_TYPE, seal_marks
from jinbao.trust.encoding import HEADER_TYPE, PAYLOAD_BYTES_MAX, TOPOLOGY_TYPE, encode_header
from jinbao.trust.envelope import head_of, pae, seal, seal_bytes, signer_of
from jinbao.trust.suites import P256

bounded = settings(max_examples=60, deadline=None)


def flipped(content: bytes, at: int, mask: int) -> bytes:
    """The bytes with one of them changed."""
    altered = bytearray(content)
    altered[at % len(content)] ^= mask
    return bytes(altered)


def test_the_signed_bytes_are_those_of_dsse() -> None:
    """The pre-authentication encoding is DSSE's own example, byte for byte."""
    signed = pae("http://example.com/HelloWorld", b"hello world")

    assert signed == b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"


def test_a_seal_names_its_signer(network: Network) -> None:
    """What a zone sealed is proved to be signed by that zone's certificate, and carries the header verbatim."""
    sealed = network.seal(FIRST)

    leaf, rest = signer_of(sealed, HEADER_TYPE)

    assert (leaf, rest) == (network.identity(CITY).chain[0], [])
    assert (sealed.suite, sealed.payload) == (P256, encode_header(FIRST))


@bounded
@given(st.sampled_from(["payload", "signature"]), st.integers(0, 5000), st.integers(1, 255))
def test_any_changed_byte_breaks_the_seal(network: Network, part: str, at: int, mask: int) -> None:
    """One changed byte of payload or signature, wherever, is unprovable."""
    sealed = network.seal(FIRST)
    altered = flipped(getattr(sealed, part), at, mask)

    with pytest.raises(UnprovableError, match="seal: expected the signer's over these bytes"):
        signer_of(replace(sealed, **{part: altered}), HEADER_TYPE)


@pytest.mark.filterwarnings("ignore::cryptography.utils.CryptographyDeprecationWarning")
@bounded
@given(st.integers(0, 5000), st.integers(1, 255))
def test_any_changed_byte_of_a_certificate_is_seen(network: Network, at: int, mask: int) -> None:
    """One changed byte of what the authority signed leaves a batch that nobody can prove, and no other error."""
    sealed = network.seal(FIRST)
    [certificate] = sealed.certificates
    signed = x509.load_der_x509_certificate(certificate).tbs_certificate_bytes
    first = certificate.index(signed)

    altered = replace(sealed, certificates=(flipped(certificate, first + at % len(signed), mask),))

    with pytest.raises((UnprovableError, IdentityError)):
        network.verifier().prove(altered)


@pytest.mark.parametrize(
    ("part", "value", "got"),
    [
        ("suite", "", "suite: expected p256-sha256"),
        ("suite", "none", "suite: expected p256-sha256"),
        ("suite", "P256-SHA256", "suite: expected p256-sha256"),
        ("payload_type", "", "payload type: expected "),
        ("payload_type", HEADER_TYPE + " ", "payload type: expected "),
        ("payload_type", TOPOLOGY_TYPE, "payload type: expected "),
        ("signature", b"", "seal: expected the signer's"),
        ("signature", b"\x30\x06\x02\x01\x00\x02\x01\x00", "seal: expected the signer's"),
        ("signature", b"\0" * 129, "signature: expected at most 128"),
        ("payload", b"", "seal: expected the signer's"),
        ("payload", b"\0" * (PAYLOAD_BYTES_MAX + 1), f"payload: expected at most {PAYLOAD_BYTES_MAX}"),
        ("certificates", (), "certificate chain: expected at least the signer's"),
        ("certificates", (b"",), "certificate: expected DER"),
        ("certificates", (b"\0" * 8193,), "certificate: expected at most 8192"),
        ("certificates", (b"0",) * 5, "certificate chain: expected at most 4"),
    ],
)
def test_an_envelope_with_one_wrong_part_is_unprovable(
    network: Network, part: str, value: object, got: str
) -> None:
    """Another suite or type, a part too large, empty or not what it should be, is unprovable for that reason."""
    sealed = replace(network.seal(FIRST), **{part: value})

    with pytest.raises(UnprovableError) as caught:
        signer_of(sealed, HEADER_TYPE)

    assert got in str(caught.value)


@pytest.mark.parametrize("kind", [TOPOLOGY_TYPE, MARKS_TYPE])
def test_a_seal_of_one_kind_passes_for_no_other(network: Network, kind: str) -> None:
    """The signature of the same bytes as another kind of document does not seal a header."""
    other = seal_bytes(kind, encode_header(FIRST), network.identity(CITY))

    with pytest.raises(UnprovableError, match="seal: expected the signer's over these bytes"):
        signer_of(replace(other, payload_type=HEADER_TYPE), HEADER_TYPE)


def test_a_seal_is_its_signers_alone(network: Network) -> None:
    """A batch under another zone's certificate, or with another batch's signature, is unprovable."""
    sealed, later = network.seal(FIRST), network.seal(replace(FIRST, seq=2))
    foreign = network.identity(SIBLING).certificates

    for wrong in (replace(sealed, certificates=foreign), replace(sealed, signature=later.signature)):
        with pytest.raises(UnprovableError, match="seal: expected the signer's"):
            signer_of(wrong, HEADER_TYPE)


def test_a_head_is_the_hash_of_the_payload_alone(network: Network) -> None:
    """Sealing with two keys gives two signatures and one head, and another header another head."""
    once, twice = network.seal(FIRST), seal(FIRST, network.identity(SIBLING))

    assert once.signature != twice.signature
    assert head_of(once) == head_of(twice) != head_of(network.seal(replace(FIRST, seq=2)))


def test_a_key_of_another_curve_seals_nothing() -> None:
    """A seal made by a P-384 key is refused though its signature holds: the suite says P-256."""
    stranger = certify(curve=ec.SECP384R1())

    with pytest.raises(UnprovableError, match="key: expected P-256, got secp384r1"):
        signer_of(seal(FIRST, stranger), HEADER_TYPE)


def _swap(old: bytes, new: bytes) -> Callable[[bytes], bytes]:
    def change(der: bytes) -> bytes:
        assert der.count(old) >= 1, "the certificate no longer has these bytes"
        return der.replace(old, new)

    return change


@pytest.mark.parametrize(
    "change",
    [
        _swap(b"\x55\x1d\x25", b"\x55\x1d\x11"),
        _swap(b"\xa0\x03\x02\x01\x02", b"\xa0\x03\x02\x01\x07"),
        _swap(b"\x86\x36spiffe", b"\xa3\x36spiffe"),
        _swap(b"\x86\x36spiffe", b"\x86\x36spiff\xff"),
        _swap(b"\x2a\x86\x48\xce\x3d\x03\x01\x07", b"\x2a\x86\x48\xce\x3d\x03\x01\x63"),
        _swap(b"\x03\x42\x00\x04", b"\x03\x42\x00\x05"),
        _swap(b"\x03\x42\x00\x04", b"\x03\x42\x07\x04"),
        _swap(b"\x2a\x86\x48\xce\x3d\x02\x01", b"\x2a\x86\x48\xce\x3d\x02\x63"),
        _swap(b"\x0c\x06a zone", b"\x0c\x06\xff zone"),
        _swap(b"\x2a\x86\x48\xce\x3d\x04\x03\x02", b"\x2a\x86\x48\xce\x3d\x04\x03\x63"),
        lambda der: der[:-1],
        lambda der: der + b"\0",
    ],
    ids=[
        "an extension twice",
        "a version that is none",
        "a name of unknown kind",
        "a name not in ASCII",
        "an unknown curve",
        "a point of unknown form",
        "a bit string with a tail",
        "an unknown kind of key",
        "a subject not in UTF-8",
        "an unknown signature",
        "a byte short",
        "a byte long",
    ],
)
@pytest.mark.parametrize("place", ["leaf", "issuer"])
def test_a_malformed_certificate_is_unprovable(
    network: Network, change: Callable[[bytes], bytes], place: str
) -> None:
    """Whatever a stranger's certificate breaks, as signer or in its chain, the batch is refused as the peer's fault."""
    authority = certify(subject="jinbao demo authority")
    stranger = certify(authority)
    leaf, issuer = stranger.certificates
    chain = (change(leaf), issuer) if place == "leaf" else (leaf, change(certify().certificates[0]))
    sealed = replace(seal(FIRST, stranger), certificates=chain)

    with pytest.raises((UnprovableError, IdentityError)):
        network.verifier().prove(sealed)


def test_marks_are_no_header(network: Network) -> None:
    """Marks of another zone sealed as marks are no header, whoever asks."""
    sealed = seal_marks([], network.identity(PROVINCE))

    with pytest.raises(UnprovableError, match="payload type"):
        network.verifier().prove(sealed)
