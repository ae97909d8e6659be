"""Grants at an authority: another holder is certified, the one before is not, whatever the sealed topology still says."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509
from tests.authority.parts import CITY, DOMAIN, MUNICIPALITY, NOW, House, row, topology, zone_request
from tests.authority.test_enrolment import LIMITS, listening

from jinbao.appliance.enrolment import EnrolmentService, enrol, read_topology, renew
from jinbao.authority import granting
from jinbao.authority.authority import Authority
from jinbao.authority.demo import DemoAuthorities
from jinbao.authority.identity_files import ZoneIdentity, load_identity
from jinbao.authority.joining import enrol_request, install
from jinbao.authority.ledger import Ledger
from jinbao.authority.tokens import make_token
from jinbao.authority.trust_files import parse
from jinbao.model.batch import SealedBatch
from jinbao.model.errors import (
    IdentityError,
    JinbaoError,
    RevocationUnknownError,
    StaleEpochError,
    UsageError,
)
from jinbao.model.grant import Grant
from jinbao.model.topology import Topology
from jinbao.model.zone import Endpoint, Tier, Zone
from jinbao.trust.book import TrustBook
from jinbao.trust.documents import open_topology, seal_topology
from jinbao.trust.encoding import envelope_message
from jinbao.trust.grants import seal_grant
from jinbao.trust.identity import Use, parse_identity

ROOM = Path(__file__).parents[2]
MINISTRY, PROVINCE = Endpoint("100000", Zone.EXCHANGE), Endpoint("140000", Zone.EXCHANGE)


def enrolled(home: House, endpoint: Endpoint, name: str, of: Topology | None = None) -> ZoneIdentity:
    """A zone certified by its authority; by a topology of the moment, or another."""
    authority = home.ministry if endpoint in {MINISTRY, PROVINCE, MUNICIPALITY} else home.province
    token = make_token(
        authority, endpoint.node, topology=of or home.topology, now=home.clock(), zones=(endpoint.zone,)
    )
    directories = {endpoint.zone: home.zone(name)}
    install(directories, home.enrolling(authority).enrol(enrol_request(token, directories)), home.clock())
    return load_identity(home.zone(name))


def grant(node: str = CITY.node, epoch: int = 2, domain: str = DOMAIN) -> Grant:
    """A grant of now."""
    addresses = ((Zone.EXCHANGE, "10.0.0.9:7100"),)
    return Grant(domain, node, epoch, addresses, (), (), "lost; A and B", f"{NOW:%Y-%m-%dT%H:%M:%SZ}")


def spread(home: House) -> None:
    """Every authority knows the newest documents of the others."""
    for one in (home.root, home.ministry, home.province):
        one.crl(home.clock())
    known = [*home.root.documents(), *home.ministry.documents()]
    home.province.learn(known, home.clock())
    home.ministry.learn(home.root.documents(), home.clock())


def by_province(home: House, what: Grant | None = None) -> SealedBatch:
    """A grant sealed by the province's exchange zone, which the province's authority can prove."""
    if not home.zone("province").exists():
        enrolled(home, PROVINCE, "province")
    spread(home)
    dated = replace(what or grant(), made_at=f"{home.clock():%Y-%m-%dT%H:%M:%SZ}")
    return seal_grant(dated, load_identity(home.zone("province")))


def take_in(home: House, sealed: SealedBatch, *above: SealedBatch) -> granting.Taken:
    """The province's authority takes a grant in."""
    return granting.take_in(home.province, sealed, home.topology, home.clock(), above=above)


def acts(authority: Authority, *kinds: str) -> list[str]:
    """Acts of some kinds in an authority's ledger."""
    with Ledger(authority._ledger._directory).exclusive() as news:
        return [entry.kind for entry in news if entry.kind in kinds]


def epoch_of(identity: ZoneIdentity) -> int:
    """The epoch of both certificates of a zone."""
    [epoch] = {parse_identity(c).epoch for c in (identity.tls_chain[0], identity.seal_chain[0])}
    return epoch


def listed(authority: Authority) -> dict[int, x509.ReasonFlags]:
    """What an authority's newest lists take back, and why."""
    lists = [d for d in map(parse, authority.documents()) if not isinstance(d, x509.Certificate)]
    return {
        entry.serial_number: entry.extensions.get_extension_for_class(x509.CRLReason).value.reason
        for found in lists
        for entry in found
    }


def test_another_holder_enrols_and_the_one_before_ends(home: House) -> None:
    """Over the real listener: after the grant the old holder renews nothing, a new token enrols and renews at epoch 2."""
    old, new = {CITY.zone: home.zone("old")}, {CITY.zone: home.zone("new")}
    with listening(home) as address:
        enrol(home.token(address=address), old, home.clock())
        late = home.token(address=address)
        before = load_identity(home.zone("old"))

        taken = take_in(home, by_province(home))

        with pytest.raises(JinbaoError, match="expected epoch 2, got epoch 1; stop this one"):
            renew(CITY.zone, home.zone("old"), home.clock(), limits=LIMITS)
        with pytest.raises(JinbaoError, match="expected epoch 2, got epoch 1; stop this one"):
            enrol(late, {CITY.zone: home.zone("late")}, home.clock(), LIMITS)
        enrol(home.token(address=address), new, home.clock(), LIMITS)
        first = load_identity(home.zone("new"))
        renew(CITY.zone, home.zone("new"), home.clock(), limits=LIMITS)
    serials = {before.chain[0].serial_number, before.seal_chain[0].serial_number}

    assert (taken.node, taken.epoch, set(taken.revoked)) == ("140100", 2, serials)
    assert listed(home.province) == dict.fromkeys(serials, x509.ReasonFlags.superseded)
    assert (epoch_of(before), epoch_of(first), epoch_of(load_identity(home.zone("new")))) == (1, 2, 2)


def test_a_listener_reads_its_topology_file_while_it_answers(home: House) -> None:
    """An authority in a directory proves the topology file at every request, and folds the grants into it."""
    file = home.directory / "topology.sealed"
    signer = enrolled(home, MINISTRY, "ministry")
    spread(home)
    file.write_bytes(envelope_message(seal_topology(home.topology, signer)).SerializeToString())
    take_in(home, by_province(home))
    service = EnrolmentService(
        home.province,
        "127.0.0.1:0",
        topology=lambda: read_topology(file, home.province, home.clock()),
        now=home.clock,
        limits=LIMITS,
    )
    service.start()
    try:
        token = home.token(address=f"127.0.0.1:{service.server.port}")
        enrol(token, {CITY.zone: home.zone("new")}, home.clock(), LIMITS)
    finally:
        service.stop()

    assert epoch_of(load_identity(home.zone("new"))) == 2


def test_only_the_older_certificates_of_the_node_are_taken_back(home: House) -> None:
    """Other nodes, certificates that ended and those of the granted epoch stand; a second time takes back nothing."""
    other = Endpoint("140200", Zone.EXCHANGE)
    home.topology = Topology(DOMAIN, 1, (*home.topology.rows, row("140200", Tier.CITY, "140000")))
    enrolled(home, CITY, "ended")
    home.clock.pass_by(timedelta(days=15))
    for name, endpoint in (("city", CITY), ("decision", Endpoint("140100", Zone.DECISION)), ("other", other)):
        enrolled(home, endpoint, name)
    sealed = by_province(home)

    first = take_in(home, sealed)
    enrolled(home, CITY, "new")
    second = take_in(home, sealed)

    assert len(first.revoked) == 4
    assert second.revoked == ()
    assert acts(home.province, "granted", "revoked") == ["granted", "revoked"]
    for name, is_listed in (
        ("ended", False),
        ("city", True),
        ("decision", True),
        ("other", False),
        ("new", False),
    ):
        assert (load_identity(home.zone(name)).chain[0].serial_number in listed(home.province)) is is_listed


def test_what_was_sealed_before_stays_believed(home: House) -> None:
    """The old holder's certificate holds for a moment before it was taken back and for none after."""
    old = enrolled(home, CITY, "old")
    home.clock.pass_by(timedelta(hours=1))
    take_in(home, by_province(home))
    book = TrustBook.of(home.province.roots(), home.province.documents())

    book.prove(old.seal_chain[0], old.seal_chain[1:], NOW + timedelta(minutes=59), Use.SEAL)

    with pytest.raises(IdentityError, match="expected one that was not taken back"):
        book.prove(old.seal_chain[0], old.seal_chain[1:], NOW + timedelta(hours=1), Use.SEAL)


GRANT_AND_DIE = """
import os, signal, sys
from pathlib import Path
from jinbao.authority import granting
from jinbao.authority.authority import Authority
from jinbao.authority.keys import FileKeys
from jinbao.authority.ledger import Ledger
from jinbao.store.files import Files
from jinbao.trust.encoding import decode_envelope
from tests.authority.parts import topology
from datetime import datetime

class Dying(Files):
    left = int(sys.argv[2])
    def sync(self, path):
        Dying.left -= 1
        if Dying.left < 0 and sys.argv[3] == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        super().sync(path)
        if Dying.left < 0:
            os.kill(os.getpid(), signal.SIGKILL)

place = Path(sys.argv[1])
authority = Authority(Ledger(place, Dying()), FileKeys(place / "keys"))
sealed = decode_envelope((place.parent / "grant").read_bytes())
granting.take_in(authority, sealed, topology(), datetime.fromisoformat(sys.argv[4]))
"""


@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_kill_between_any_two_steps_is_gone_on_from(home: House, moment: str) -> None:
    """Killed around each of its writes and run again, a grant is recorded once, and what is older taken back and listed."""
    old = enrolled(home, CITY, "old")
    sealed = by_province(home)
    (home.directory / "grant").write_bytes(envelope_message(sealed).SerializeToString())
    steps = 3  # the grant, what is taken back, the list
    for left in range(steps):
        place = home.directory / f"{moment}-{left}"
        shutil.copytree(home.directory / "140000", place)
        command = [
            sys.executable,
            "-c",
            GRANT_AND_DIE,
            str(place),
            str(left),
            moment,
            home.clock().isoformat(),
        ]
        environment = os.environ | {"PYTHONPATH": f"{ROOM / 'node'}:{ROOM}"}

        run = subprocess.run(command, env=environment, capture_output=True, timeout=60, check=False)
        home.province = Authority.at(place)
        take_in(home, sealed)

        assert run.returncode == -signal.SIGKILL, run.stderr
        assert acts(home.province, "granted", "revoked") == ["granted", "revoked"]
        assert set(listed(home.province)) == {c[0].serial_number for c in (old.chain, old.seal_chain)}
        with pytest.raises(StaleEpochError, match="expected epoch 2, got epoch 1"), home.province.acting():
            home.province.may_certify(parse_identity(old.chain[0]), home.topology)
        assert epoch_of(enrolled(home, CITY, f"new-{moment}-{left}")) == 2


@pytest.mark.parametrize(
    ("what", "family", "said"),
    [
        (grant(epoch=1), UsageError, "expected an epoch after 1, got epoch 1; have 140000 grant epoch 2"),
        (grant(domain="other.test"), IdentityError, "expected a node of the topology"),
        (grant("140900"), IdentityError, "expected a node of the topology"),
        (grant("310000"), IdentityError, "authority of 310000: expected authority 100000, got authority 140000"),
    ],
    ids=["an epoch that is known", "another domain", "nobody", "another's child"],
)  # fmt: skip
def test_what_the_parent_may_not_grant_is_refused(
    home: House, what: Grant, family: type[JinbaoError], said: str
) -> None:
    """A grant that is not the next one of a child of its signer is refused with what to do, and nothing is recorded."""
    sealed = by_province(home, what)
    before = len(acts(home.province, "granted", "revoked", "crl"))

    with pytest.raises(family, match=said):
        take_in(home, sealed)

    assert len(acts(home.province, "granted", "revoked", "crl")) == before


def test_only_the_parent_grants(home: House) -> None:
    """A grant by the ministry over the province's head, by the city itself or by the province's other zone is refused."""
    signers = [
        enrolled(home, MINISTRY, "ministry"),
        enrolled(home, CITY, "city"),
        enrolled_decision(home),
    ]
    spread(home)

    for signer in signers:
        with pytest.raises(
            IdentityError, match=r"signer: expected 140000/exchange, its parent, got .*; have the"
        ):
            take_in(home, seal_grant(grant(), signer))
    assert acts(home.province, "granted") == []


def enrolled_decision(home: House) -> ZoneIdentity:
    """The province's decision zone."""
    endpoint = Endpoint("140000", Zone.DECISION)
    token = make_token(home.ministry, "140000", topology=home.topology, now=NOW, zones=(endpoint.zone,))
    directories = {endpoint.zone: home.zone("decision")}
    install(directories, home.enrolling(home.ministry).enrol(enrol_request(token, directories)), NOW)
    return load_identity(home.zone("decision"))


def test_only_the_authority_of_the_node_takes_a_grant_in(home: House) -> None:
    """The ministry's authority sends the grant of a city to the province's, and a root certifies no node."""
    sealed = by_province(home)

    with pytest.raises(
        IdentityError, match="expected authority 140000, got authority 100000; ask the authority"
    ):
        granting.take_in(home.ministry, sealed, home.topology, NOW)
    with pytest.raises(UsageError, match="a root: expected an authority to certify"):
        granting.take_in(home.root, sealed, home.topology, NOW)
    with pytest.raises(
        UsageError, match="expected none: the root node has no parent, got one; jinbao ca grant DIR --root"
    ):
        granting.take_in(home.ministry, by_province(home, grant("100000")), home.topology, NOW)


def test_an_authority_without_the_parents_lists_says_which(home: House) -> None:
    """Where the list of the authority that certified the parent is not known, the way to import it is named."""
    signer = enrolled(home, PROVINCE, "province")

    with pytest.raises(RevocationUnknownError, match=r"list of authority .*; jinbao ca import"):
        take_in(home, seal_grant(grant(), signer))


def test_one_epoch_is_granted_once(home: House) -> None:
    """Another grant of an epoch that was taken in is refused; a later one follows."""
    take_in(home, by_province(home))
    other = by_province(home, replace(grant(), declaration="other words"))

    with pytest.raises(UsageError, match="expected an epoch after 2, got epoch 2; have 140000 grant epoch 3"):
        take_in(home, other)
    take_in(home, by_province(home, grant(epoch=3)))

    assert epoch_of(enrolled(home, CITY, "third")) == 3


def test_a_topology_that_says_more_stands(home: House) -> None:
    """Where the topology's own row is at a later epoch than the grant, the row counts."""
    take_in(home, by_province(home))
    home.topology = topology(city_epoch=3)

    assert epoch_of(enrolled(home, CITY, "third")) == 3


def test_a_promoted_parent_grants_with_its_own_grant_beside(home: House) -> None:
    """A province at epoch 2 is believed by its authority once the ministry's grant of it comes along; it is kept."""
    ministry = enrolled(home, MINISTRY, "ministry")
    spread(home)
    of_province = seal_grant(grant("140000"), ministry)
    granting.take_in(home.ministry, of_province, home.topology, NOW)
    of_city = by_province(home)

    with pytest.raises(JinbaoError, match="expected epoch 1, got epoch 2"):
        take_in(home, of_city)
    take_in(home, of_city, of_province)
    take_in(home, by_province(home, grant(epoch=3)))

    assert epoch_of(load_identity(home.zone("province"))) == 2
    assert epoch_of(enrolled(home, CITY, "city")) == 3


def test_a_grant_beside_must_be_of_a_node_above(home: House) -> None:
    """What the signer's right does not rest on is not recorded along."""
    beside = seal_grant(grant("310000"), enrolled(home, MINISTRY, "ministry"))

    with pytest.raises(UsageError, match="expected those of nodes above 140100, got one of 310000"):
        take_in(home, by_province(home), beside)
    assert acts(home.province, "granted") == []


def test_an_older_release_still_takes_back(home: House) -> None:
    """The certificates are taken back by an act of a known kind, so that a release without grants lists them too."""
    old = enrolled(home, CITY, "old")
    take_in(home, by_province(home))

    with Ledger(home.directory / "140000").exclusive() as news:
        revoked = [entry.body for entry in news if entry.kind == "revoked"]

    serials = {f"{c[0].serial_number:x}" for c in (old.chain, old.seal_chain)}
    assert [set(body["serials"]) for body in revoked] == [serials]


# The root node


def test_the_ministrys_new_holder_signs_the_topology_that_says_so(home: House) -> None:
    """The root's next topology is believed from its new holder, and under that version from nobody who held it before."""
    old = enrolled(home, MINISTRY, "old")
    home.clock.pass_by(timedelta(minutes=1))

    taken = granting.succeed(home.ministry, 2, home.clock(), home.topology)
    new = enrolled(home, MINISTRY, "new")
    rows = [replace(r, epoch=2) if r.node == "100000" else r for r in home.topology.rows]
    said = Topology(DOMAIN, 2, tuple(rows), made_at=f"{home.clock():%Y-%m-%dT%H:%M:%SZ}")
    book = TrustBook.of(home.root.roots(), home.ministry.documents())

    assert len(taken.revoked) == 2
    assert epoch_of(new) == 2
    assert open_topology(seal_topology(said, new), book, home.clock()) == said
    with pytest.raises(IdentityError, match="expected one that was not taken back"):
        open_topology(seal_topology(said, old), book, home.clock())
    for made_at in ("", f"{NOW:%Y-%m-%dT%H:%M:%SZ}"):
        with pytest.raises(JinbaoError, match="expected epoch 2, got epoch 1"):
            open_topology(seal_topology(replace(said, made_at=made_at), old), book, NOW)


def test_a_topology_lets_the_ministrys_authority_certify_its_epoch(home: House) -> None:
    """Given a topology at the next epoch the authority certifies the root node at it, without any further word."""
    rows = [replace(r, epoch=2) if r.node == "100000" else r for r in home.topology.rows]
    home.topology = Topology(DOMAIN, 2, tuple(rows))

    assert epoch_of(enrolled(home, MINISTRY, "new")) == 2


def test_the_first_zone_of_a_new_holder_needs_no_topology(home: House) -> None:
    """Also without a topology a token for the ministry's node is for its new epoch, and older ones enrol nobody."""
    old = make_token(home.ministry, "100000", topology=None, now=NOW)
    granting.succeed(home.ministry, 2, NOW)
    new = make_token(home.ministry, "100000", topology=None, now=NOW)
    home.topology = None  # type: ignore[assignment]
    directories = {Zone.EXCHANGE: home.zone("new")}

    with pytest.raises(StaleEpochError, match="expected epoch 2, got epoch 1"):
        home.enrolling(home.ministry).enrol(enrol_request(old, {Zone.EXCHANGE: home.zone("old")}))
    install(directories, home.enrolling(home.ministry).enrol(enrol_request(new, directories)), NOW)

    assert epoch_of(load_identity(home.zone("new"))) == 2


def test_who_may_say_that_the_root_node_has_another_holder(home: House) -> None:
    """Only the root node's authority, only of a later epoch than it ever certified; the same word again changes nothing."""
    with pytest.raises(UsageError, match="expected authority 100000, for the root node"):
        granting.succeed(home.province, 2, NOW)
    for epoch in (1, 0, 10**9):
        with pytest.raises(UsageError, match=f"epoch of 100000: expected one after 1, got {epoch}; epoch 2"):
            granting.succeed(home.ministry, epoch, NOW, home.topology)

    granting.succeed(home.ministry, 3, NOW)
    granting.succeed(home.ministry, 3, NOW)
    with pytest.raises(UsageError, match="expected one after 3, got 2"):
        granting.succeed(home.ministry, 2, NOW)

    assert acts(home.ministry, "granted") == ["granted"]


# A demonstration


def test_a_demonstration_promotes_a_city_of_a_promoted_province(tmp_path: Path) -> None:
    """The demonstration's authorities take in grants of province and city, and issue both at their new epochs."""
    authorities, known = DemoAuthorities(now=NOW), topology()
    for endpoint in (MINISTRY, PROVINCE, CITY):
        authorities.issue(endpoint, known, tmp_path / endpoint.node)
    of_province = seal_grant(grant("140000"), load_identity(tmp_path / "100000"))
    authorities.grant(of_province, known)
    authorities.issue(PROVINCE, known, tmp_path / "140000")

    taken = authorities.grant(seal_grant(grant(), load_identity(tmp_path / "140000")), known)
    authorities.issue(CITY, known, tmp_path / "140100")

    assert (taken.node, taken.epoch, len(taken.revoked)) == ("140100", 2, 2)
    assert [epoch_of(load_identity(tmp_path / e.node)) for e in (MINISTRY, PROVINCE, CITY)] == [1, 2, 2]


def test_a_certificate_taken_back_without_a_list_is_listed_at_the_next_look(home: House) -> None:
    """After a crash between taking back and listing, whoever makes due lists makes this one, though it is not due."""
    pair = home.province.issue(CITY, home.topology, zone_request(), now=NOW)
    home.province.crl(NOW)
    home.province.revoke([pair.line[0].serial_number], "superseded", NOW)

    assert len(home.province.crl(NOW, due_only=True)) == 1
    assert home.province.crl(NOW, due_only=True) == []
    assert pair.line[0].serial_number in listed(home.province)
