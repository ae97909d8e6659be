"""Whom an authority certifies and for how long, what it takes back, and how often it says so."""

from __future__ import annotations

from datetime import timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from tests.authority.parts import CITY, DOMAIN, MUNICIPALITY, NOW, House, founded, zone_request

from jinbao.authority.authority import Authority, identity_of
from jinbao.authority.policy import Policy
from jinbao.authority.profile import ROOT
from jinbao.authority.requests import ZoneRequest, prove
from jinbao.authority.rotation import certify_here
from jinbao.authority.state import der
from jinbao.authority.trust_files import read_trust, write_trust
from jinbao.model.errors import IdentityError, LocalError, UnprovableError, UsageError
from jinbao.model.zone import Endpoint, Zone
from jinbao.trust.identity import check_row, parse_identity

BACKUP, PROVINCE = Endpoint("140000-backup", Zone.EXCHANGE), Endpoint("140000", Zone.DECISION)


def test_a_zone_gets_two_certificates_with_its_names(home: House) -> None:
    """Line and seal certificate carry the names of the topology's row, under their authority's own."""
    pair = home.province.issue(CITY, home.topology, zone_request(), now=NOW)

    for leaf, above in (pair.line, pair.seal):
        check_row(parse_identity(leaf), home.topology)
        leaf.verify_directly_issued_by(above)
        above.verify_directly_issued_by(home.root.roots()[0])
        assert leaf.not_valid_after_utc == NOW + timedelta(days=14)


@pytest.mark.parametrize(
    ("endpoint", "authority"),
    [(CITY, "140000"), (MUNICIPALITY, "100000"), (BACKUP, "100000"), (PROVINCE, "100000")],
    ids=["city", "municipality below the ministry", "backup", "province"],
)
def test_only_the_authority_of_a_node_certifies_it(home: House, endpoint: Endpoint, authority: str) -> None:
    """A province certifies its cities and nobody else; all others are the ministry's."""
    authorities = {"100000": home.ministry, "140000": home.province}
    right = authorities.pop(authority)
    [wrong] = authorities.values()

    right.issue(endpoint, home.topology, zone_request(), now=NOW)

    with pytest.raises(IdentityError, match=f"authority of {endpoint.node}: expected authority {authority}"):
        wrong.issue(endpoint, home.topology, zone_request(), now=NOW)
    with pytest.raises(UsageError, match="a root: expected an authority to certify"):
        home.root.issue(endpoint, home.topology, zone_request(), now=NOW)
    assert wrong.issued() == []


def test_a_zone_outside_the_topology_is_refused(home: House) -> None:
    """A node, a zone or a trust domain the topology does not have is not certified."""
    for endpoint in (Endpoint("140900", Zone.EXCHANGE), Endpoint("140000", Zone.PRODUCTION)):
        with pytest.raises(IdentityError, match="expected a zone of the topology"):
            home.province.issue(endpoint, home.topology, zone_request(), now=NOW)
    foreign = type(home.topology)("other.test", 1, home.topology.rows)
    with pytest.raises(IdentityError, match=f"trust domain: expected {DOMAIN}, got other.test"):
        home.province.issue(CITY, foreign, zone_request(), now=NOW)


RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048)


def _forged(request: ZoneRequest) -> ZoneRequest:
    """A request whose signature is changed."""
    return ZoneRequest(request.line[:-1] + bytes([request.line[-1] ^ 1]), request.seal)


@pytest.mark.parametrize(
    ("request_", "got"),
    [
        (zone_request(line=ec.generate_private_key(ec.SECP384R1())), "line request: key: expected P-256, got secp384r1"),
        (zone_request(line=ed25519.Ed25519PrivateKey.generate()), "line request: key: expected P-256"),
        (zone_request(seal=ec.generate_private_key(ec.SECP256R1())), "seal request: key: expected Ed25519"),
        (_forged(zone_request()), "line request: expected a signature by the key in it"),
        (ZoneRequest(b"noise", b"noise"), "line request: expected a certificate request"),
        (ZoneRequest(b"\0" * 5000, b""), "line request: expected at most 4096 bytes, got 5000"),
        (zone_request(names=[x509.DNSName("exchange.100000.jinbao.internal")]), "names in the request: expected none"),
    ],
    ids=["P-384", "Ed25519 on the line", "P-256 for seals", "no possession", "noise", "too long", "other names"],
)  # fmt: skip
def test_a_request_that_proves_nothing_is_refused(home: House, request_: ZoneRequest, got: str) -> None:
    """Only a P-256 and an Ed25519 key that the asker holds are certified, and only under the granted names."""
    with pytest.raises((IdentityError, UnprovableError)) as caught:
        home.province.issue(CITY, home.topology, request_, now=NOW)

    assert got in str(caught.value)
    assert home.province.issued() == []


def test_names_in_a_request_may_be_the_granted_ones(home: House) -> None:
    """A request that carries exactly the zone's names is taken."""
    identity = identity_of(CITY, home.topology)
    names = [x509.UniformResourceIdentifier(identity.uri), x509.DNSName("exchange.140100.jinbao.internal")]

    pair = home.province.issue(CITY, home.topology, zone_request(names=names), now=NOW)

    assert parse_identity(pair.seal[0]) == identity


@pytest.mark.parametrize("days", [6.9, 30.1, 0, -1])
def test_a_leaf_lives_seven_to_thirty_days(home: House, days: float) -> None:
    """A life outside the policy is refused with the bounds in words."""
    with pytest.raises(UsageError, match="life of a certificate: expected 7 to 30 days"):
        home.province.issue(CITY, home.topology, zone_request(), now=NOW, life=timedelta(days=days))


def test_a_parent_outlives_six_children(home: House) -> None:
    """An authority that does not live more than six times its child certifies nothing, and says why."""
    with pytest.raises(
        LocalError, match="life of authority 150000: expected less than a 6th of its authority's"
    ):
        home.root.certify(
            "150000", ec.generate_private_key(ec.SECP384R1()).public_key(), NOW, timedelta(days=1218)
        )
    short = founded(home.directory / "150000", "issuing", "150000")
    certify_here(short, home.root, NOW, timedelta(days=80))
    with pytest.raises(LocalError, match="life of 140100/exchange: expected less than a 6th"):
        _as_its_own(short, home)
    with pytest.raises(UsageError, match="life of a root: expected more than 6 times 1096 days"):
        founded(home.directory / "young", ROOT, "", Policy(root=timedelta(days=1096 * 6)))


def _as_its_own(authority: Authority, home: House) -> None:
    """Sign a pair without asking whose zone it is: only lives are looked at."""
    identity = identity_of(CITY, home.topology)
    with authority.acting():
        authority.sign_pair(identity, prove(zone_request(), identity), now=NOW, life=None, via="operator")


def test_nothing_outlives_its_authority(home: House) -> None:
    """In its last fortnight an authority issues nothing that would end after it."""
    late = NOW + timedelta(days=1096 - 13)

    with pytest.raises(LocalError, match="expected an end before its authority's") as caught:
        home.province.issue(CITY, home.topology, zone_request(), now=late)

    assert "jinbao ca rotate" in str(caught.value)


def test_what_is_taken_back_is_listed(home: House) -> None:
    """Revoked certificates stand on every list, with moment and reason, also when they ended; numbers only go up."""
    home.province.issue(CITY, home.topology, zone_request(), now=NOW)
    [first] = home.province.crl(NOW)
    serials = home.province.serials_of("140100", "exchange", now=NOW)

    taken = home.province.revoke(serials, "key-compromise", NOW + timedelta(hours=1))
    again = home.province.revoke(serials, "superseded", NOW + timedelta(hours=2))
    [second] = home.province.crl(NOW + timedelta(hours=3))
    [late] = home.province.crl(NOW + timedelta(days=15))

    numbers = [
        found.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number
        for found in (first, second, late)
    ]
    assert (len(first), len(second), len(late)) == (0, 2, 2)
    assert numbers == [1, 2, 3]
    assert (len(taken), again) == (2, [])
    for entry in second:
        assert entry.revocation_date_utc == NOW + timedelta(hours=1)
        reason = entry.extensions.get_extension_for_class(x509.CRLReason).value.reason
        assert reason is x509.ReasonFlags.key_compromise
    assert second.next_update_utc == NOW + timedelta(hours=27)


def test_only_its_own_certificates_are_taken_back(home: House) -> None:
    """A serial this authority did not issue, or a reason there is not, is refused in words."""
    with pytest.raises(UsageError, match="certificate: expected one this authority issued, got 4d"):
        home.province.revoke([77], "superseded", NOW)
    with pytest.raises(UsageError, match="got none"):
        home.province.revoke([], "superseded", NOW)
    with pytest.raises(UsageError, match="reason: expected key-compromise or"):
        home.province.revoke([77], "because", NOW)


def test_lists_are_made_before_they_are_due(home: House) -> None:
    """Asked for what is due, an authority makes a list when half of the last one's time is over, not before."""
    assert len(home.province.crl(NOW, due_only=True)) == 1
    assert home.province.crl(NOW + timedelta(hours=11), due_only=True) == []
    assert len(home.province.crl(NOW + timedelta(hours=12), due_only=True)) == 1


def test_what_others_trust_comes_as_one_file(home: House) -> None:
    """An export holds root, authority and the newest lists, and reads back as what it was."""
    home.province.crl(NOW)
    home.province.crl(NOW)

    documents = home.province.documents()
    again = read_trust(write_trust(documents))

    certificates = {
        der(home.root.roots()[0]),
        der(home.province.issue(CITY, home.topology, zone_request(), now=NOW).line[1]),
    }
    assert again == documents
    assert certificates <= set(documents)
    assert len(documents) == 5  # root, two authorities, two lists


@pytest.mark.parametrize(
    "content", [b"noise", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"]
)
def test_a_file_that_is_no_trust_is_refused(content: bytes) -> None:
    """A file without a readable certificate or list is refused, not taken for an empty one."""
    with pytest.raises(UnprovableError, match=r"trust\.pem: expected"):
        read_trust(content)


@pytest.mark.parametrize(("domain", "node"), [("Jinbao", ""), ("", ""), ("a/b", ""), ("jinbao.test", "14")])
def test_an_authority_is_founded_under_names_that_can_be(home: House, domain: str, node: str) -> None:
    """A trust domain or node that no certificate could carry founds nothing."""
    fresh = Authority.at(home.directory / "fresh")

    with pytest.raises(UsageError, match="expected a trust domain and a node"):
        fresh.found("issuing" if node else ROOT, domain, node, NOW)


def test_a_directory_holds_one_authority(home: House) -> None:
    """Founding another authority where one is, is refused."""
    with pytest.raises(UsageError, match="expected none yet, got authority 140000"):
        home.province.found("issuing", DOMAIN, "150000", NOW)
