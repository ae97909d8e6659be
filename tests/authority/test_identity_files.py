"""Key and certificate files of a zone: what the demo authority writes, and what a zone refuses to start with."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
)
from tests.trust.example import CITY, NOW, SIBLING, TOPOLOGY, with_epoch
from tests.trust.flat import FlatAuthority

from jinbao.authority.identity_files import ANCHORS, CHAIN, KEY, load_identity
from jinbao.model.errors import IdentityError, SettingsError
from jinbao.trust.book import TrustBook
from jinbao.trust.identity import Use, check_row, dns_name, parse_identity
from jinbao.trust.suites import SUITES, check_signature

AUTHORITY = FlatAuthority(now=NOW, life=timedelta(days=7))


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """The identity of the city's production zone."""
    AUTHORITY.issue(CITY, TOPOLOGY, tmp_path / "city" / "identity")
    return tmp_path / "city" / "identity"


def pem(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey, secret: bytes = b"") -> bytes:
    """A private key as a file's contents."""
    how: KeySerializationEncryption = BestAvailableEncryption(secret) if secret else NoEncryption()
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, how)


def mode(path: Path) -> int:
    """Permissions of a file or directory."""
    return stat.S_IMODE(path.stat().st_mode)


def test_every_zone_gets_one_certificate_of_its_own(tmp_path: Path) -> None:
    """Each zone's leaf names that zone and its epoch, leads to the root and carries a key nobody else has."""
    keys = set()

    for endpoint in TOPOLOGY.endpoints():
        AUTHORITY.issue(endpoint, TOPOLOGY, tmp_path / str(endpoint))
        identity = load_identity(tmp_path / str(endpoint))
        [leaf] = identity.chain
        TrustBook.of(identity.anchors).prove(leaf, [], NOW, Use.LINE)
        check_row(parse_identity(leaf), TOPOLOGY)
        assert parse_identity(leaf).endpoint == endpoint
        keys.add(identity.key.private_numbers().private_value)

    assert len(keys) == len(list(TOPOLOGY.endpoints()))


def test_the_names_of_a_leaf_are_the_zones(directory: Path) -> None:
    """A leaf carries exactly the URI of its zone at its epoch, and the DNS name of its zone."""
    [leaf] = load_identity(directory).chain

    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value

    assert [*names] == [
        x509.UniformResourceIdentifier("spiffe://jinbao.test/city/140100/140100/production/e/1"),
        x509.DNSName(dns_name(CITY)),
    ]


def test_a_later_epoch_is_in_the_name(tmp_path: Path) -> None:
    """A certificate carries the epoch the topology grants at its issue."""
    AUTHORITY.issue(CITY, with_epoch("140100", 4), tmp_path)

    assert parse_identity(load_identity(tmp_path).chain[0]).epoch == 4


def test_files_are_their_owners_alone(directory: Path) -> None:
    """The directory is 0700 and every file in it 0600, also where the directory was there and open."""
    directory.chmod(0o755)
    AUTHORITY.issue(CITY, TOPOLOGY, directory)

    assert mode(directory) == 0o700
    assert {path.name: mode(path) for path in directory.iterdir()} == dict.fromkeys(
        (KEY, CHAIN, ANCHORS), 0o600
    )


def test_a_new_key_is_never_laid_open(directory: Path) -> None:
    """A key written over a file that others may read is closed to them before it is there."""
    (directory / KEY).chmod(0o644)

    AUTHORITY.issue(CITY, TOPOLOGY, directory)

    assert mode(directory / KEY) == 0o600


def test_a_certificate_is_in_force_for_its_life(directory: Path) -> None:
    """A leaf holds from its issue for the life that was set, and its root outlives it."""
    identity = load_identity(directory)
    book = TrustBook.of(identity.anchors)

    for at in (NOW, NOW + timedelta(days=7)):
        book.prove(identity.chain[0], [], at, Use.LINE)

    with pytest.raises(IdentityError, match="clock: certificate in force"):
        book.prove(identity.chain[0], [], NOW + timedelta(days=7, seconds=1), Use.LINE)
    assert AUTHORITY.root.not_valid_after_utc > identity.chain[0].not_valid_after_utc


def test_an_identity_signs_with_the_key_of_its_certificate(directory: Path) -> None:
    """What an identity signs is proved by the leaf of its chain, as it lies on disk."""
    identity = load_identity(directory)

    suite, key = SUITES[identity.suite], identity.chain[0].public_key()
    check_signature(suite, key, identity.sign(b"message"), b"message", thing="message")

    assert x509.load_der_x509_certificate(identity.certificates[0]) == identity.chain[0]
    assert identity.pem(CHAIN) == (directory / CHAIN).read_bytes()


@pytest.mark.parametrize("name", [KEY, CHAIN, ANCHORS])
@pytest.mark.parametrize("how", ["missing", "directory", "empty", "noise", "cut"])
def test_a_file_that_is_not_whole_is_refused(directory: Path, name: str, how: str) -> None:
    """A zone with a missing or unreadable identity file does not start, and the file is named."""
    path = directory / name
    whole = path.read_bytes()
    path.unlink()
    if how == "directory":
        path.mkdir(mode=0o700)
    elif how != "missing":
        path.write_bytes({"empty": b"", "noise": os.urandom(64), "cut": whole[: len(whole) // 2]}[how])
        path.chmod(0o600)

    with pytest.raises(SettingsError, match=f"{name}: expected"):
        load_identity(directory)


@pytest.mark.parametrize("open_mode", [0o640, 0o604, 0o660, 0o602, 0o610])
def test_a_key_others_may_open_is_refused(directory: Path, open_mode: int) -> None:
    """A key file that group or others may read, write or run is refused, with the mode that was found."""
    (directory / KEY).chmod(open_mode)

    with pytest.raises(SettingsError, match=f"expected mode 0600, got {open_mode:04o}; chmod 600"):
        load_identity(directory)


@pytest.mark.parametrize(
    ("make", "got"),
    [
        (lambda: pem(rsa.generate_private_key(public_exponent=65537, key_size=2048)), "expected a P-256 key"),
        (lambda: pem(ec.generate_private_key(ec.SECP384R1())), "expected a P-256 key"),
        (lambda: pem(ec.generate_private_key(ec.SECP256R1()), b"secret"), "expected its passphrase"),
        (lambda: pem(ec.generate_private_key(ec.SECP256R1())), "expected the key of the certificate"),
    ],
    ids=["RSA", "P-384", "encrypted", "another"],
)
def test_a_key_that_is_not_the_certificates_is_refused(
    directory: Path, make: Callable[[], bytes], got: str
) -> None:
    """A key of another kind, under a password or of another certificate is refused, and never shown."""
    (directory / KEY).write_bytes(make())

    with pytest.raises(SettingsError, match=f"{KEY}: {got}") as caught:
        load_identity(directory)

    assert "PRIVATE" not in str(caught.value)


def test_the_certificate_of_another_zone_is_refused(directory: Path, tmp_path: Path) -> None:
    """A zone does not start with the chain of another zone beside its own key."""
    AUTHORITY.issue(SIBLING, TOPOLOGY, tmp_path / "sibling")
    (directory / CHAIN).write_bytes((tmp_path / "sibling" / CHAIN).read_bytes())

    with pytest.raises(SettingsError, match="expected the key of the certificate"):
        load_identity(directory)
