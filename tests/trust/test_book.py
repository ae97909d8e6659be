"""The trust book: what a zone believes, folded from anchors and documents that prove themselves."""

from __future__ import annotations

import random
from datetime import datetime, timedelta
from itertools import permutations

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from tests.trust.authorities import Authority, Leaf, cross, der, root
from tests.trust.example import CITY, NOW, PROVINCE, TOPOLOGY
from tests.trust.example import ROOT as MINISTRY

from jinbao.model.errors import (
    IdentityError,
    PeerError,
    RevocationUnknownError,
    RevokedError,
    UnprovableError,
)
from jinbao.model.zone import Tier
from jinbao.trust.book import TrustBook
from jinbao.trust.identity import Use, check_issuer, parse_identity

STOLEN, REPLACED = x509.ReasonFlags.key_compromise, x509.ReasonFlags.superseded
OLD, HOUR = root(), timedelta(hours=1)
ABOVE, SHANXI = OLD.issuing("100000"), OLD.issuing("140000")
LISTS = [a.revocations(1) for a in (OLD, ABOVE, SHANXI)]
DOCUMENTS = [der(ABOVE.certificate), der(SHANXI.certificate), *LISTS]
LEAF = SHANXI.leaf(CITY)


def book(*documents: bytes, anchors: tuple[Authority, ...] = (OLD,)) -> TrustBook:
    """A book of the hierarchy above, with more documents."""
    return TrustBook.of([a.certificate for a in anchors], [*DOCUMENTS, *documents])


def prove(held: TrustBook, leaf: Leaf, at: datetime = NOW, use: Use = Use.SEAL) -> None:
    """Ask the book about a leaf with its chain."""
    held.prove(leaf.certificate, leaf.rest, at, use)


def test_a_leaf_leads_over_its_issuer_to_the_root() -> None:
    """The proof of a leaf is the whole way to a root, and says how long all of it holds."""
    proof = book().prove(LEAF.certificate, LEAF.rest, NOW, Use.SEAL)

    assert proof.path == (LEAF.certificate, SHANXI.certificate, OLD.certificate)
    assert proof.last == NOW - HOUR + timedelta(hours=24) + book().grace


def test_the_order_of_documents_does_not_matter() -> None:
    """Certificates and lists come to the same book in whatever order they are folded."""
    shuffled = [random.Random(seed).sample(DOCUMENTS, len(DOCUMENTS)) for seed in range(20)]

    assert {TrustBook.of([OLD.certificate], documents).known for documents in shuffled} == {book().known}


@pytest.mark.fault_row(33)
@pytest.mark.parametrize(
    ("authority", "endpoint", "tier", "allowed"),
    [
        (SHANXI, CITY, Tier.CITY, True),
        (ABOVE, CITY, Tier.CITY, False),
        (ABOVE, PROVINCE, Tier.PROVINCE, True),
        (SHANXI, PROVINCE, Tier.PROVINCE, False),
        (SHANXI, MINISTRY, Tier.MINISTRY, False),
        (OLD.issuing("150000"), CITY, Tier.CITY, False),
        (OLD.issuing("root"), CITY, Tier.CITY, False),
    ],
    ids=[
        "its province",
        "the ministry for a city",
        "the ministry for a province",
        "a province for itself",
        "a province for the ministry",
        "a sibling province",
        "an issuing authority called root",
    ],
)
def test_an_authority_speaks_only_for_its_own_rows(
    authority: Authority, endpoint: object, tier: Tier, allowed: bool
) -> None:
    """The same root is not the same right: a certificate counts only if its row's own authority signed it."""
    held = TrustBook.of([OLD.certificate], [*DOCUMENTS, der(authority.certificate), authority.revocations(2)])
    leaf = authority.leaf(endpoint, Use.LINE, tier=tier)  # type: ignore[arg-type]  # an endpoint

    proof = held.prove(leaf.certificate, leaf.rest, NOW, Use.LINE)

    if allowed:
        check_issuer(parse_identity(leaf.certificate), proof.issuer, TOPOLOGY)
    else:
        with pytest.raises(IdentityError, match=r"issuer of .*: expected authority"):
            check_issuer(parse_identity(leaf.certificate), proof.issuer, TOPOLOGY)


@pytest.mark.parametrize(("use", "other"), [(Use.LINE, Use.SEAL), (Use.SEAL, Use.LINE)], ids=["line", "seal"])
def test_a_key_of_one_use_is_none_of_the_other(use: Use, other: Use) -> None:
    """A certificate for the line seals nothing, and one for seals opens no connection."""
    leaf = SHANXI.leaf(CITY, use)
    prove(book(), leaf, use=use)

    with pytest.raises(IdentityError, match="certificate usage"):
        prove(book(), leaf, use=other)


@pytest.mark.parametrize(
    ("reason", "at", "holds"),
    [
        (REPLACED, NOW - 2 * HOUR, True),
        (REPLACED, NOW - HOUR, False),
        (REPLACED, NOW, False),
        (STOLEN, NOW - 2 * HOUR, False),
        (STOLEN, NOW, False),
    ],
    ids=["before", "at the moment", "after", "stolen, dated before", "stolen, after"],
)
def test_what_was_taken_back_does_not_count(reason: x509.ReasonFlags, at: datetime, holds: bool) -> None:
    """A revoked certificate counts for what was made before; a stolen one for nothing, as a thief dates as he likes."""
    held = book(SHANXI.revocations(2, [(LEAF.certificate, NOW - HOUR, reason)]))

    if holds:
        prove(held, LEAF, at)
    else:
        with pytest.raises(RevokedError, match="expected one that was not taken back"):
            prove(held, LEAF, at)


def test_an_authority_that_was_taken_back_proves_nothing() -> None:
    """The root's list ends an issuing authority, with everything it signed."""
    held = book(OLD.revocations(2, [(SHANXI.certificate, NOW - HOUR, STOLEN)]))

    with pytest.raises(RevokedError):
        prove(held, LEAF)
    assert held.issuers(["140000"], NOW) == held.roots


@pytest.mark.fault_row(37)
@pytest.mark.parametrize(("late", "known"), [(-1, True), (1, False)], ids=["in grace", "after grace"])
def test_a_list_is_believed_for_its_time_and_a_grace(late: int, known: bool) -> None:
    """Beyond its date and the stated grace, nobody is let in on an old list."""
    lapse = NOW - HOUR + timedelta(hours=24) + book().grace + timedelta(seconds=late)
    root_list = OLD.revocations(2, life=timedelta(days=180))

    if known:
        prove(book(root_list), LEAF, lapse)
    else:
        with pytest.raises(RevocationUnknownError, match="number 1, due again at"):
            prove(book(root_list), LEAF, lapse)


@pytest.mark.fault_row(37)
@pytest.mark.parametrize("missing", range(3), ids=["root", "ministry", "province"])
def test_without_a_list_nobody_is_let_in(missing: int) -> None:
    """A missing list is no empty list: whoever it would judge is refused, and no one else."""
    held = TrustBook.of([OLD.certificate], [d for d in DOCUMENTS if d != LISTS[missing]])

    if missing == 1:
        prove(held, LEAF)
    else:
        with pytest.raises(RevocationUnknownError, match="expected one, got none"):
            prove(held, LEAF)


@pytest.mark.fault_row(37)
def test_a_lower_number_is_refused() -> None:
    """A list older than the one held is told as such, and the newer one stays."""
    newer = SHANXI.revocations(7, [(LEAF.certificate, NOW - HOUR, STOLEN)])
    held = book(newer)

    with pytest.raises(UnprovableError, match="expected a number after 7, or that very list, got number 6"):
        held.admit([SHANXI.revocations(6)])
    assert (held.newer([SHANXI.revocations(6), newer]), held.admit([newer])) == ([], held)


@pytest.mark.fault_row(37)
def test_a_list_of_another_signer_is_refused() -> None:
    """A list in an authority's name, signed by another key, changes nothing."""
    thief = root().issuing("140000")

    with pytest.raises(UnprovableError, match="expected the signature of an authority held here"):
        book().admit([thief.revocations(9)])


@pytest.mark.parametrize(
    "junk", [b"", b"0", b"\x30\x00", der(LEAF.certificate)], ids=["nothing", "text", "empty", "a leaf"]
)
def test_what_is_no_document_is_refused(junk: bytes) -> None:
    """Bytes that are neither an authority's certificate nor a list change nothing."""
    with pytest.raises(PeerError):
        book().admit([junk])


def test_an_authority_of_another_root_is_refused() -> None:
    """An authority that leads to no root held here is no authority."""
    with pytest.raises(UnprovableError, match="leads to a root held here"):
        book().admit([der(root().issuing("140000").certificate)])


def test_an_issuing_authority_makes_no_authorities() -> None:
    """A province's authority may sign zones only: what it certifies as an authority is none."""
    below = SHANXI.issuing("100000")
    held = book(der(below.certificate), below.revocations(1))
    leaf = below.leaf(MINISTRY, tier=Tier.MINISTRY)

    with pytest.raises(IdentityError, match="certificate chain"):
        held.prove(leaf.certificate, (below.certificate, SHANXI.certificate), NOW, Use.SEAL)


@pytest.mark.fault_row(38)
def test_a_new_root_is_believed_through_the_old_one() -> None:
    """A zone that trusts the old root comes to trust the new one by its certificate from the old, in any order."""
    new = root()
    documents = [der(cross(new, OLD)), der(cross(OLD, new)), der(new.certificate), new.revocations(1)]

    for order in permutations(documents):
        held = book().admit(list(order))
        assert held.roots == (OLD.certificate, new.certificate)

    below = new.issuing("140000")
    later = held.admit([der(below.certificate), below.revocations(1)])
    prove(later, below.leaf(CITY))
    prove(later, LEAF)


@pytest.mark.fault_row(38)
def test_an_old_root_retires_and_what_it_proved_stays_proved() -> None:
    """Once the new root took back what it gave the old key, the old root is none; older seals still lead to the new one."""
    new = root()
    given = cross(OLD, new)
    following = [der(cross(new, OLD)), der(given), der(new.certificate)]
    retired = new.revocations(2, [(given, NOW, REPLACED)], life=timedelta(days=180))

    held = book(*following, new.revocations(1)).admit([retired])

    assert held.roots == (new.certificate,)
    prove(held, LEAF, NOW - HOUR)
    with pytest.raises(RevokedError):
        prove(held, LEAF, NOW + HOUR)
    assert TrustBook.of([OLD.certificate], held.documents).roots == (new.certificate,)


@pytest.mark.fault_row(38)
def test_a_key_both_roots_certified_outlives_the_old_one() -> None:
    """An authority whose key the new root certified too is proved by it, whatever lies first and leads over the old one."""
    new = root()
    given = cross(OLD, new)
    again = new.certify_authority("140000", SHANXI.key.public_key())
    retired = new.revocations(2, [(given, NOW, REPLACED)], life=timedelta(days=180))
    documents = [der(cross(new, OLD)), der(given), der(new.certificate), der(again), retired]

    for order in permutations(documents):
        held = TrustBook.of([OLD.certificate], [*DOCUMENTS, *order])
        for rest in ((again,), (SHANXI.certificate, again)):
            path = held.prove(LEAF.certificate, rest, NOW + HOUR, Use.SEAL).path
            assert path == (LEAF.certificate, again, new.certificate)
        assert again in held.issuers({"140000"}, NOW + HOUR)


def self_issued(by: Authority, uri: str) -> Authority:
    """An authority of another name that one certifies in its own, which would not count in a path if it were a root's."""
    key = ec.generate_private_key(ec.SECP384R1())
    builder = (
        x509.CertificateBuilder()
        .subject_name(by.certificate.subject)
        .public_key(key.public_key())
        .serial_number(7)
        .not_valid_before(NOW - timedelta(days=1))
        .not_valid_after(NOW + timedelta(days=30))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(
            x509.SubjectAlternativeName([x509.UniformResourceIdentifier(f"spiffe://jinbao.test/{uri}")]),
            critical=False,
        )
    )
    return Authority("forged", key, by.sign(builder))


@pytest.mark.fault_row(33)
@pytest.mark.parametrize("uri", ["authority/100000", "authority/root", "authority/140000"])
def test_a_province_cannot_certify_itself_as_another(uri: str) -> None:
    """What a province certifies in its own name, as another authority, is admitted by nobody and proves nothing."""
    forged = self_issued(SHANXI, uri)
    leaf = forged.leaf(MINISTRY, tier=Tier.MINISTRY)

    with pytest.raises(UnprovableError):
        book().admit([der(forged.certificate)])
    with pytest.raises(IdentityError):
        book().prove(leaf.certificate, (forged.certificate, SHANXI.certificate), NOW, Use.SEAL)


@pytest.mark.fault_row(38)
def test_a_retired_root_takes_nobody_back() -> None:
    """Who was retired, and stole away with the key, cannot retire the root that followed."""
    new = root(NOW + HOUR)
    back, given = cross(new, OLD), cross(OLD, new)
    following = [der(back), der(given), der(new.certificate)]
    retired = new.revocations(2, [(given, NOW, STOLEN)], life=timedelta(days=180))
    held = book(*following, new.revocations(1)).admit([retired])

    revenge = held.absorb([OLD.revocations(99, [(back, NOW, STOLEN)]), der(OLD.certificate)])[0]

    assert held.roots == revenge.roots == (new.certificate,)
    assert TrustBook.of([OLD.certificate], revenge.documents).roots == (new.certificate,)


def test_many_certificates_of_one_name_cost_little() -> None:
    """A hundred self-made authorities of one name and key are held against what is proved, never against one another."""
    key = ec.generate_private_key(ec.SECP384R1())
    stranger = Authority("140000", key, SHANXI.certificate)
    junk = [der(stranger.certify_authority("140000", key.public_key())) for _ in range(100)]

    after, refused = book().absorb(junk)

    assert (after.known, len(refused)) == (book().known, 100)


@pytest.mark.parametrize(
    ("number", "life"),
    [(1 << 64, timedelta(days=1)), (2, timedelta(days=365 * 7500))],
    ids=["number", "date"],
)
def test_a_list_beyond_all_bounds_is_none(number: int, life: timedelta) -> None:
    """A number no database holds, or a date no grace can follow, is refused and ends nothing."""
    with pytest.raises(UnprovableError):
        book().admit([SHANXI.revocations(number, life=life)])


def test_one_bad_document_takes_no_good_one_with_it() -> None:
    """Of many documents those that prove themselves are taken, and each other is told."""
    good = [OLD.revocations(5), ABOVE.revocations(5), SHANXI.revocations(5)]
    bad = [root().revocations(9), b"no document"]

    after, refused = book().absorb([bad[0], *good, bad[1]])

    assert set(good) <= after.known
    assert len(refused) == 2


def test_a_stranger_does_not_become_a_root() -> None:
    """A self-signed root is believed only through a root in force; a certificate of its own making is not one."""
    stranger = root()

    with pytest.raises(UnprovableError):
        book().admit([der(stranger.certificate)])
    with pytest.raises(UnprovableError):
        book().admit([der(stranger.certificate), der(cross(OLD, stranger)), stranger.revocations(1)])


def test_an_issuing_authority_cannot_name_a_new_root() -> None:
    """Only a root names the next: a province that certifies a root's key is passed over."""
    stranger = root()

    with pytest.raises(UnprovableError):
        book().admit([der(stranger.certificate), der(cross(stranger, SHANXI))])


@pytest.mark.fault_row(38)
def test_two_issuing_authorities_serve_side_by_side() -> None:
    """While an issuing authority follows another, leaves of both count and a link trusts both."""
    next_one = OLD.issuing("140000")
    held = book(der(next_one.certificate), next_one.revocations(1))

    prove(held, LEAF)
    prove(held, next_one.leaf(CITY))
    assert set(held.issuers(["140000"], NOW)) == {SHANXI.certificate, next_one.certificate}


def test_a_link_trusts_the_authorities_of_its_other_end_alone() -> None:
    """What a handshake trusts is narrowed to the named authorities; the root itself is not among them."""
    assert book().issuers(["140000"], NOW) == (SHANXI.certificate,)
    assert book().issuers(["100000"], NOW) == (ABOVE.certificate,)
