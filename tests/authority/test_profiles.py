"""What stands in each kind of certificate, and that whoever holds the key may be elsewhere."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.x509.oid import ExtendedKeyUsageOID
from tests.authority.parts import CITY, DOMAIN, NOW, House, stub_argv, topology, zone_request

from jinbao.authority import profile
from jinbao.authority import signer as signing
from jinbao.authority.authority import Authority, identity_of
from jinbao.authority.joining import private_pem
from jinbao.authority.keys import FileKeys, command_spec
from jinbao.authority.ledger import Ledger
from jinbao.authority.profile import Issuer, Revocation
from jinbao.authority.rotation import certify_here
from jinbao.authority.signer import CommandSigner, FileSigner, KeySigner, PrivateKey
from jinbao.model.errors import LocalError, SettingsError

IDENTITY = identity_of(CITY, topology())
ROOT_SIGNER = KeySigner(ec.generate_private_key(ec.SECP384R1()))
ROOT_CERTIFICATE = profile.root(DOMAIN, ROOT_SIGNER, NOW, timedelta(days=7305))
ROOT_ISSUER = Issuer(ROOT_CERTIFICATE, ROOT_SIGNER)
ISSUING_SIGNER = KeySigner(ec.generate_private_key(ec.SECP384R1()))
ISSUING = Issuer(
    profile.issuing(DOMAIN, "140000", ISSUING_SIGNER.public_key, ROOT_ISSUER, NOW, timedelta(days=1096)),
    ISSUING_SIGNER,
)
P256 = ec.generate_private_key(ec.SECP256R1()).public_key()
ED25519 = ed25519.Ed25519PrivateKey.generate().public_key()
FORTNIGHT = timedelta(days=14)
MADE = {
    "root": (ROOT_CERTIFICATE, ROOT_CERTIFICATE),
    "issuing": (ISSUING.certificate, ROOT_CERTIFICATE),
    "line": (profile.line_leaf(IDENTITY, P256, ISSUING, NOW, FORTNIGHT), ISSUING.certificate),
    "seal": (profile.seal_leaf(IDENTITY, ED25519, ISSUING, NOW, FORTNIGHT), ISSUING.certificate),
    "enrolment": (
        profile.enrolment_leaf(DOMAIN, "140000", P256, ISSUING, NOW, FORTNIGHT),
        ISSUING.certificate,
    ),
}
LEAF_NAMES = [
    "spiffe://jinbao.test/city/140100/140100/exchange/e/1",
    "exchange.140100.jinbao.internal",
]
NAMES = {
    "root": ["spiffe://jinbao.test/authority/root"],
    "issuing": ["spiffe://jinbao.test/authority/140000"],
    "line": LEAF_NAMES,
    "seal": LEAF_NAMES,
    "enrolment": ["spiffe://jinbao.test/authority/140000/enrolment", "enrolment.140000.jinbao.internal"],
}
USAGES = {
    "line": {ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH},
    "seal": {x509.ObjectIdentifier("1.3.6.1.5.5.7.3.36")},
    "enrolment": {ExtendedKeyUsageOID.SERVER_AUTH},
}


@pytest.mark.parametrize("kind", MADE)
def test_a_certificate_names_its_holder_and_its_keys(kind: str) -> None:
    """Every profile carries exactly its names, its own and its issuer's key identifier, and verifies."""
    made, above = MADE[kind]

    names = made.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    own = made.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    issuer = made.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value

    made.verify_directly_issued_by(above)
    assert [name.value for name in names] == NAMES[kind]
    assert own == x509.SubjectKeyIdentifier.from_public_key(made.public_key())
    assert issuer.key_identifier == x509.SubjectKeyIdentifier.from_public_key(above.public_key()).digest
    assert made.not_valid_before_utc == NOW - timedelta(minutes=5)


@pytest.mark.parametrize(("kind", "length"), [("root", 1), ("issuing", 0)])
def test_an_authority_signs_only_so_far_down(kind: str, length: int) -> None:
    """A root allows one authority below it, an issuing authority none; both sign certificates and lists alone."""
    made, _ = MADE[kind]

    constraints = made.extensions.get_extension_for_class(x509.BasicConstraints)
    usage = made.extensions.get_extension_for_class(x509.KeyUsage).value

    assert constraints.critical
    assert (constraints.value.ca, constraints.value.path_length) == (True, length)
    assert (usage.key_cert_sign, usage.crl_sign, usage.digital_signature) == (True, True, False)


@pytest.mark.parametrize("kind", USAGES)
def test_a_leaf_is_for_one_use(kind: str) -> None:
    """The key of the line is for TLS, that of seals for documents, and neither for anything else."""
    made, _ = MADE[kind]

    constraints = made.extensions.get_extension_for_class(x509.BasicConstraints).value
    usage = made.extensions.get_extension_for_class(x509.KeyUsage).value
    extended = made.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value

    assert not constraints.ca
    assert (usage.digital_signature, usage.content_commitment) == (True, kind == "seal")
    assert not usage.key_cert_sign
    assert set(extended) == USAGES[kind]


def test_a_list_carries_number_reason_and_end() -> None:
    """A revocation list has its number, its authority's key identifier, and of each certificate when and why."""
    line = Revocation(77, NOW, x509.ReasonFlags.key_compromise)

    made = profile.revocation_list(ISSUING, 5, [line], NOW, timedelta(hours=24))

    [entry] = made
    assert made.is_signature_valid(ISSUING_SIGNER.key.public_key())
    assert made.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number == 5
    assert made.next_update_utc == NOW + timedelta(hours=24)
    assert entry.serial_number == 77
    assert entry.extensions.get_extension_for_class(x509.CRLReason).value.reason is line.reason


@pytest.mark.parametrize(
    "key",
    [ec.generate_private_key(ec.SECP384R1()), ed25519.Ed25519PrivateKey.generate()],
    ids=["P-384", "Ed25519"],
)
def test_a_program_signs_as_a_file_does(tmp_path: Path, key: PrivateKey) -> None:
    """Certificate, list and request signed by a process that holds the key verify by its public key."""
    (tmp_path / "key.pem").write_bytes(private_pem(key))
    signer = CommandSigner(key.public_key(), stub_argv(tmp_path / "key.pem"))

    root = profile.root(DOMAIN, signer, NOW, timedelta(days=7305))
    listed = profile.revocation_list(Issuer(root, signer), 1, [], NOW, timedelta(days=1))
    subject, names = profile.authority_subject(DOMAIN, "140000"), profile.authority_names(DOMAIN, "140000")
    request = x509.load_der_x509_csr(signing.request(subject, names, signer))

    root.verify_directly_issued_by(root)
    assert listed.is_signature_valid(key.public_key())
    assert request.is_signature_valid
    assert request.public_key() == key.public_key()
    assert request.extensions.get_extension_for_class(x509.SubjectAlternativeName).value == names


def test_an_authority_works_with_a_signing_program(home: House, tmp_path: Path) -> None:
    """An issuing authority whose key is in another process is certified, issues, and is found again."""
    key = ec.generate_private_key(ec.SECP384R1())
    (tmp_path / "hsm.pem").write_bytes(private_pem(key))
    (tmp_path / "hsm.pub").write_bytes(signing.public_pem(key.public_key()))
    spec = command_spec(tmp_path / "hsm.pub", stub_argv(tmp_path / "hsm.pem"))
    place = tmp_path / "far"
    authority = Authority(Ledger(place), FileKeys(place / "keys"))

    authority.found("issuing", DOMAIN, "140000", NOW, spec)
    certify_here(authority, home.root, NOW)
    pair = Authority.at(place).issue(CITY, topology(), zone_request(), now=NOW)

    pair.line[0].verify_directly_issued_by(pair.line[1])
    assert pair.line[1].public_key() == key.public_key()
    assert not (place / "keys").exists()


@pytest.mark.parametrize(
    ("program", "got"),
    [
        (["false"], "got exit code 1 and 0 bytes"),
        (["cat"], "expected a signature by its public key"),
        (["no-such-program-here"], "got FileNotFoundError"),
    ],
    ids=["fails", "signs nothing", "is not there"],
)
def test_a_signer_that_errs_is_found_at_once(program: list[str], got: str) -> None:
    """Nothing is certified by a program that does not sign with the key it should."""
    key = ec.generate_private_key(ec.SECP384R1()).public_key()

    with pytest.raises(LocalError, match="sign") as caught:
        profile.root(DOMAIN, CommandSigner(key, program), NOW, timedelta(days=7305))

    assert got in str(caught.value)


def test_a_key_under_a_passphrase_is_opened_by_it_alone(tmp_path: Path) -> None:
    """A key file lies encrypted, 0600, and opens with its passphrase only."""
    spec, signer = FileKeys(tmp_path / "keys", b"open sesame").make()
    path = tmp_path / "keys" / spec["name"]

    assert FileSigner(path, b"open sesame").public_key == signer.public_key
    assert b"ENCRYPTED" in path.read_bytes()
    assert path.stat().st_mode & 0o777 == 0o600
    for wrong in (b"", b"another"):
        with pytest.raises(SettingsError, match="expected a key this passphrase opens") as caught:
            FileSigner(path, wrong)
        assert "sesame" not in str(caught.value)
    path.chmod(0o640)
    with pytest.raises(SettingsError, match="expected mode 0600, got 0640"):
        FileSigner(path, b"open sesame")


def test_an_authoritys_files_are_its_owners(home: House) -> None:
    """Directory 0700, ledger and keys 0600; no private key is in the ledger."""
    place = home.directory / "140000"

    modes = {path.name: path.stat().st_mode & 0o777 for path in place.rglob("*")}

    assert place.stat().st_mode & 0o777 == 0o700
    assert modes.pop("keys") == 0o700
    assert set(modes.values()) == {0o600}
    assert "PRIVATE" not in (place / "ledger.jsonl").read_text()
