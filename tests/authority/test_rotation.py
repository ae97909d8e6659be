"""Keys of authorities change one step at a time, and at every step whoever trusted the old one still can."""

from __future__ import annotations

from datetime import timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from tests.authority.parts import CITY, DOMAIN, NOW, House, founded, zone_request

from jinbao.authority import profile, rotation
from jinbao.authority.authority import Authority
from jinbao.authority.joining import enrol_request, install, renew_request
from jinbao.authority.state import Stage, der
from jinbao.authority.trust_files import parse, roots_in_force
from jinbao.model.errors import IdentityError, PeerError, UsageError
from jinbao.trust.book import TrustBook
from jinbao.trust.chain import issued
from jinbao.trust.identity import Use


def stages(authority: Authority) -> list[Stage]:
    """Stages of its keys, oldest first."""
    with authority.acting() as state:
        return [key.stage for key in state.keys.values()]


def certificates(authority: Authority) -> list[x509.Certificate]:
    """All certificates it hands on."""
    return [one for one in map(parse, authority.documents()) if isinstance(one, x509.Certificate)]


def lists(authority: Authority) -> list[x509.CertificateRevocationList]:
    """All lists it hands on."""
    return [one for one in map(parse, authority.documents()) if not isinstance(one, x509.Certificate)]


def _book(authority: Authority) -> TrustBook:
    """What trusts an authority with all it hands on."""
    return TrustBook.of(authority.roots(), authority.documents())


def rotate_root(home: House) -> None:
    """Prepare and activate a new root, and have it certify both authorities."""
    rotation.prepare(home.root, NOW)
    rotation.activate(home.root, NOW)
    for authority in (home.ministry, home.province):
        rotation.certify_here(authority, home.root, NOW)


def test_both_roots_certify_each_other(home: House) -> None:
    """After prepare the old root has certified the new key and the new root the old, under one name."""
    [old] = home.root.roots()

    rotation.prepare(home.root, NOW)

    _, new = home.root.roots()
    crosses = [c for c in certificates(home.root) if c.subject == old.subject]
    [new_with_old] = [c for c in crosses if c != old and issued(c, old)]
    [old_with_new] = [c for c in crosses if c != new and issued(c, new)]
    assert new_with_old.public_key() == new.public_key()
    assert old_with_new.public_key() == old.public_key()
    assert len(crosses) == 4
    assert stages(home.root) == [Stage.ACTIVE, Stage.PREPARED]
    assert len(home.root.crl(NOW)) == 2


def test_a_prepared_root_signs_nothing_else(home: House) -> None:
    """Until it is activated, the old root certifies authorities; afterwards the new one."""
    rotation.prepare(home.root, NOW)
    old, new = home.root.roots()
    key = ec.generate_private_key(ec.SECP384R1()).public_key()

    before = home.root.certify("150000", key, NOW)
    rotation.activate(home.root, NOW)
    after = home.root.certify("150000", key, NOW)

    assert issued(before, old)
    assert issued(after, new)


def test_a_retired_root_is_known_by_the_new_ones_list(home: House) -> None:
    """Once every authority has a certificate of the new root, the old one goes, and documents alone say so."""
    rotate_root(home)
    old, new = home.root.roots()

    rotation.retire(home.root, NOW)

    assert home.root.roots() == roots_in_force(home.root.documents()) == (new,)
    assert stages(home.root) == [Stage.RETIRED, Stage.ACTIVE]
    assert old in certificates(home.root)


def test_a_root_somebody_needs_is_not_retired(home: House) -> None:
    """The old root stays while an authority has no certificate of the new one, and the authority is named."""
    rotation.prepare(home.root, NOW)
    rotation.activate(home.root, NOW)
    rotation.certify_here(home.ministry, home.root, NOW)

    with pytest.raises(UsageError, match="nothing that hangs on it alone, got authority/140000"):
        rotation.retire(home.root, NOW)

    assert stages(home.root) == [Stage.SUPERSEDED, Stage.ACTIVE]


def test_a_zone_of_the_old_root_comes_to_the_new_one(home: House) -> None:
    """A zone that pinned the old root renews through both, and then anchors the new one alone."""
    [old] = home.root.roots()
    home.enrolled()
    rotate_root(home)
    _, new = home.root.roots()

    both = home.renewed()
    rotation.retire(home.root, NOW)
    home.province.learn(home.root.documents(), NOW)
    alone = home.renewed()

    assert both.anchors == (old, new)
    assert alone.anchors == (new,)
    assert issued(alone.chain[1], new)


def test_what_was_sealed_before_a_rotation_stays_provable(home: House) -> None:
    """A seal made below the old root is proved by who trusts the new one alone, as of when it was made."""
    [old] = home.root.roots()
    sealed_by = home.enrolled().seal_chain
    made_at = NOW + timedelta(days=1)
    home.clock.pass_by(timedelta(days=400))
    for step in (rotation.prepare, rotation.activate):
        step(home.root, home.clock())
    for authority in (home.ministry, home.province):
        rotation.certify_here(authority, home.root, home.clock())
    rotation.retire(home.root, home.clock())
    home.province.crl(home.clock())
    home.province.learn(home.root.documents(), home.clock())
    [new] = home.root.roots()

    late = TrustBook.of([new], home.province.documents())
    followed = TrustBook.of([old], home.province.documents())

    for book in (late, followed):
        assert book.roots == (new,)
        book.prove(sealed_by[0], sealed_by[1:], made_at, Use.SEAL)


def test_a_root_nobody_vouched_for_is_not_anchored(home: House) -> None:
    """An answer whose root neither is the pinned one nor was certified by it is refused, and nothing is written."""
    other = founded(home.directory / "other-root", "root", "")
    before = home.enrolled()
    request = renew_request(before, home.zone("city"))
    response = home.enrolling().renew(request)
    del response.anchors[:]
    response.anchors.append(der(other.roots()[0]))

    with pytest.raises(IdentityError, match="answer: roots: expected the pinned one, or one it certified"):
        install({CITY.zone: home.zone("city")}, response, NOW)

    assert not (home.zone("city") / "g0002").exists()


def test_an_issuing_authority_changes_its_key(home: House) -> None:
    """Prepare certifies a successor that signs nothing, activate lets it sign, both keep listing what they signed."""
    old = home.province.issue(CITY, home.topology, zone_request(), now=NOW).line[1]

    rotation.prepare(home.province, NOW)
    rotation.certify_here(home.province, home.root, NOW)
    between = home.province.issue(CITY, home.topology, zone_request(), now=NOW).line[1]
    rotation.activate(home.province, NOW)
    after = home.province.issue(CITY, home.topology, zone_request(), now=NOW).line[1]

    assert between == old
    assert after.public_key() != old.public_key()
    assert stages(home.province) == [Stage.SUPERSEDED, Stage.ACTIVE]
    assert len(home.province.crl(NOW)) == 2


def test_a_taint_is_told_by_the_old_keys_own_list(home: House) -> None:
    """After taint the old key's list names its own certificate, so that its zones renew at once; nobody else's does."""
    old = home.enrolled().chain[1]
    rotation.prepare(home.province, NOW)
    rotation.certify_here(home.province, home.root, NOW)
    rotation.activate(home.province, NOW)
    before = _book(home.province).is_tainted(old)

    rotation.taint(home.province, NOW)

    new = home.renewed().chain[1]
    assert not before
    assert _book(home.province).is_tainted(old)
    assert not _book(home.province).is_tainted(new)
    with pytest.raises(UsageError, match="nothing that hangs on it alone, got 140100/exchange"):
        rotation.retire(home.province, NOW)
    rotation.retire(home.province, NOW + timedelta(days=15))
    assert stages(home.province) == [Stage.RETIRED, Stage.ACTIVE]


@pytest.mark.parametrize(
    ("step", "got"),
    [
        (rotation.activate, "expected a prepared key, got none"),
        (rotation.taint, "expected a key that is superseded, got none"),
        (rotation.retire, "expected a key that is superseded or tainted, got none"),
    ],
    ids=["activate", "taint", "retire"],
)
def test_a_step_out_of_order_is_refused(home: House, step: object, got: str) -> None:
    """A step without the one before it says which one is missing."""
    with pytest.raises(UsageError) as caught:
        step(home.province, NOW)  # type: ignore[operator]

    assert got in str(caught.value)


def test_a_second_successor_is_refused(home: House) -> None:
    """While one successor waits, no other is made."""
    rotation.prepare(home.root, NOW)

    with pytest.raises(UsageError, match="expected no successor yet"):
        rotation.prepare(home.root, NOW)


def test_an_authority_is_certified_by_files(home: House) -> None:
    """A request carried to the root and its answer carried back make an authority that issues; before, it does not."""
    far = founded(home.directory / "far", "issuing", "140000")
    with pytest.raises(UsageError, match="expected a key with a certificate, got one that waits"):
        far.issue(CITY, home.topology, zone_request(), now=NOW)

    made = rotation.certify_request(home.root, rotation.certificate_request(far), NOW)
    rotation.install(far, (der(made), *home.root.documents()), NOW)

    pair = far.issue(CITY, home.topology, zone_request(), now=NOW)
    pair.seal[1].verify_directly_issued_by(home.root.roots()[0])


def test_a_government_root_may_stand_above(home: House) -> None:
    """An authority certified by a root of another make, with other names, issues and hands that root on."""
    key = ec.generate_private_key(ec.SECP521R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "Government Root")])
    far = founded(home.directory / "far", "issuing", "140000")
    request = x509.load_der_x509_csr(rotation.certificate_request(far))
    ca = x509.BasicConstraints(ca=True, path_length=None)

    def by_government(subject: x509.Name, public: object) -> x509.Certificate:
        builder = x509.CertificateBuilder().subject_name(subject).issuer_name(name).public_key(public)  # type: ignore[arg-type]
        builder = builder.serial_number(x509.random_serial_number()).add_extension(ca, critical=True)
        builder = builder.not_valid_before(NOW).not_valid_after(NOW + timedelta(days=2000))
        ski = x509.SubjectKeyIdentifier.from_public_key(public)  # type: ignore[arg-type]
        return builder.add_extension(ski, critical=False).sign(key, hashes.SHA512())

    root, above = by_government(name, key.public_key()), by_government(request.subject, request.public_key())

    rotation.install(far, (der(above), der(root)), NOW)

    pair = far.issue(CITY, home.topology, zone_request(), now=NOW)
    pair.line[0].verify_directly_issued_by(above)
    assert far.roots() == (root,)


@pytest.mark.parametrize("case", ["another root", "a leaf's", "noise"])
def test_a_certificate_that_makes_no_authority_is_refused(home: House, case: str) -> None:
    """A certificate that leads to no known root, or that may not sign, is not taken over."""
    far = founded(home.directory / "far", "issuing", "140000")
    other = founded(home.directory / "other", "root", "")
    request = rotation.certificate_request(far)
    made = rotation.certify_request(other, request, NOW)

    documents = {
        "another root": (der(made), *home.root.documents()),
        "a leaf's": (_as_leaf(other, x509.load_der_x509_csr(request)), *other.documents()),
        "noise": (b"noise",),
    }[case]

    with pytest.raises(
        PeerError, match=r"certificate of authority 140000: expected|trust document: expected"
    ):
        rotation.install(far, documents, NOW)
    assert stages(far) == [Stage.MADE]


def _as_leaf(root: Authority, request: x509.CertificateSigningRequest) -> bytes:
    """The key of a request certified as a leaf."""
    with root.acting():
        made = profile.enrolment_leaf(
            DOMAIN,
            "140000",
            request.public_key(),
            root.issuer(),
            NOW,
            timedelta(days=14),  # type: ignore[arg-type]
        )
    return made.public_bytes(Encoding.DER)


def test_a_request_without_our_name_is_not_certified(home: House) -> None:
    """A root certifies authorities under the names of its own trust domain only."""
    request = zone_request(line=ec.generate_private_key(ec.SECP384R1())).line

    with pytest.raises(IdentityError, match="name in the request: expected spiffe:"):
        rotation.certify_request(home.root, request, NOW)


def test_a_used_token_after_rotation_gives_the_same(home: House) -> None:
    """A lost answer asked for again after the key changed gives the old certificates with the old authority."""
    token = home.token()
    directories = {CITY.zone: home.zone("city")}
    first = home.enrolling().enrol(enrol_request(token, directories))
    rotation.prepare(home.province, NOW)
    rotation.certify_here(home.province, home.root, NOW)
    rotation.activate(home.province, NOW)

    again = home.enrolling().enrol(enrol_request(token, directories))

    assert again.zones == first.zones
    install(directories, again, NOW)
