"""Enrolment and renewal over a real listener on loopback: what is given, and whom it is refused."""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from tests.authority.parts import CITY, MUNICIPALITY, NOW, House, founded, house, topology
from tests.link.raw_call import call
from tests.link.wires import wire as wired

from jinbao.appliance.enrolment import EnrolmentService, enrol, publish, renew
from jinbao.appliance.trust_drop import read_documents
from jinbao.authority import joining, rotation
from jinbao.authority.demo import DemoAuthorities
from jinbao.authority.enrolling import RENEWAL_TYPE
from jinbao.authority.identity_files import load_identity
from jinbao.authority.joining import enrol_request, install, renew_request, response_of, waiting
from jinbao.authority.profile import enrolment_host
from jinbao.authority.tokens import Token, make_token, read_token, write_token
from jinbao.link.enrolment import SERVICE, EnrolmentClient, EnrolmentLimits, Rate
from jinbao.model.errors import (
    IdentityError,
    JinbaoError,
    LinkError,
    LocalError,
    PeerError,
    SettingsError,
    UnprovableError,
    UsageError,
)
from jinbao.model.zone import Endpoint, Zone
from jinbao.trust.encoding import envelope_message
from jinbao.trust.envelope import seal_bytes
from jinbao.trust.identity import check_row, parse_identity
from jinbao.wire.gen.jinbao.wire.v1 import enrolment_pb2 as wire

LIMITS = EnrolmentLimits(call_s=10.0)


@contextmanager
def listening(home: House, limits: EnrolmentLimits = LIMITS) -> Iterator[str]:
    """The province's listener; gives its address. Certificates of the TLS library need the real clock."""
    service = EnrolmentService(
        home.province, "127.0.0.1:0", topology=lambda: home.topology, now=home.clock, limits=limits
    )
    service.start()
    try:
        yield f"127.0.0.1:{service.server.port}"
    finally:
        service.stop()


@pytest.fixture
def place(home: House) -> dict[Zone, Path]:
    """Where the city's exchange zone keeps its identity."""
    return {CITY.zone: home.zone("city")}


def client(token: Token, address: str = "", limits: EnrolmentLimits = LIMITS) -> EnrolmentClient:
    """A caller that pins a token's root."""
    roots = token.root.public_bytes(Encoding.PEM)
    return EnrolmentClient(address or token.address, enrolment_host(token.authority), roots, limits)


def refusals(home: House) -> list[str]:
    """Alarms in the province's ledger."""
    with home.province.acting() as state:
        return sorted(via.partition(":")[0] for via, _ in state.refusals)


def test_a_zone_enrols_over_the_network(home: House, place: dict[Zone, Path]) -> None:
    """With a token a zone gets an identity that is its topology row's, by keys that never left it."""
    with listening(home) as address:
        enrol(home.token(address=address), place, home.clock())

    identity = load_identity(home.zone("city"))
    for leaf in (identity.tls_chain[0], identity.seal_chain[0]):
        check_row(parse_identity(leaf), home.topology)
    assert identity.suite == "intl-1"
    assert identity.anchors == home.root.roots()
    assert set(identity.trust) == set(home.province.documents())
    assert joining.enrolment_of(identity) == ("140000", address)
    assert waiting(home.zone("city")) is None


def test_a_zones_directory_is_its_owners_alone(home: House, tmp_path: Path) -> None:
    """A zone's directory that enrolment makes is nobody else's to open, as it is for a zone that runs."""
    with listening(home) as address:
        enrol(home.token(address=address), {CITY.zone: tmp_path / "new" / "identity"}, home.clock())

    assert (tmp_path / "new").stat().st_mode & 0o777 == 0o700


def test_a_zone_renews_over_the_network(home: House, place: dict[Zone, Path]) -> None:
    """A renewal gives new certificates for new keys, in a new generation."""
    with listening(home) as address:
        enrol(home.token(address=address), place, home.clock())
        before = load_identity(home.zone("city"))
        renew(CITY.zone, home.zone("city"), home.clock())
    after = load_identity(home.zone("city"))

    assert (before.directory.name, after.directory.name) == ("g0001", "g0002")
    assert before.key.public_key() != after.key.public_key()
    assert before.seal_chain[0].public_key() != after.seal_chain[0].public_key()


def test_neither_secret_nor_key_goes_over_the_wire(home: House, place: dict[Zone, Path]) -> None:
    """The request holds neither the token's secret nor any private key, and the ledger has only its hash."""
    token = home.token()

    sent = enrol_request(token, place).SerializeToString()

    ledger = (home.directory / "140000" / "ledger.jsonl").read_text()
    held = waiting(home.zone("city"))
    assert held is not None
    private = held.line.private_numbers().private_value.to_bytes(32, "big")
    assert token.secret not in sent
    assert private not in sent
    assert token.secret.hex() not in ledger
    assert token.secret.hex() not in repr(token)


@pytest.mark.fault_row(40)
def test_a_lost_answer_is_given_again(home: House, place: dict[Zone, Path]) -> None:
    """After use, and with the answer lost on the way, the same keys are given the same certificates."""
    with listening(home) as address, wired(address) as line:
        token = home.token(address=line.address)
        with pytest.raises(LinkError):
            _enrol_losing_the_answer(home, token, place, line)
        issued = [one.serial for one in home.province.issued() if one.about == str(CITY)]
        line.heal()
        enrol(token, place, home.clock())

    identity = load_identity(home.zone("city"))
    given = [identity.chain[0].serial_number, identity.seal_chain[0].serial_number]
    assert given == issued
    assert refusals(home) == []


def _enrol_losing_the_answer(home: House, token: Token, place: dict[Zone, Path], line: object) -> None:
    """Ask; as soon as the authority has signed, nothing comes back any more."""
    answer = home.province.sign_pair

    def signing(*arguments: object, **named: object) -> object:
        line.answers_lost = True  # type: ignore[attr-defined]
        return answer(*arguments, **named)  # type: ignore[arg-type]

    home.province.sign_pair = signing  # type: ignore[method-assign,assignment]
    try:
        enrol(token, place, home.clock(), EnrolmentLimits(call_s=2.0))
    finally:
        home.province.sign_pair = answer  # type: ignore[method-assign]


@pytest.mark.fault_row(40)
def test_a_token_serves_one_holder(home: House, place: dict[Zone, Path]) -> None:
    """Other keys with a used token are refused in words, recorded once and alarmed; nothing is issued."""
    token = home.token()
    home.enrolling().enrol(enrol_request(token, place))
    thief = {CITY.zone: home.zone("thief")}

    for _ in range(2):
        with pytest.raises(IdentityError, match="expected the keys it was used with, got others"):
            home.enrolling().enrol(enrol_request(token, thief))

    assert len(home.province.issued()) == 2
    assert refusals(home) == ["token"]
    assert home.events.names().count("enrolment_refused") == 2


@pytest.mark.fault_row(40)
def test_a_token_ends(home: House, place: dict[Zone, Path]) -> None:
    """An expired token enrols nobody, and says when it ended; one that was used in time still answers its keys."""
    used, late = home.token(), home.token()
    home.enrolling().enrol(enrol_request(used, {CITY.zone: home.zone("used")}))
    home.clock.pass_by(timedelta(minutes=10, seconds=1))

    home.enrolling().enrol(enrol_request(used, {CITY.zone: home.zone("used")}))
    with pytest.raises(IdentityError, match=f"expected to be used before {late.expires:%Y-%m-%dT%H:%M:%SZ}"):
        home.enrolling().enrol(enrol_request(late, place))


@pytest.mark.fault_row(40)
def test_a_token_is_for_its_node(home: House, place: dict[Zone, Path]) -> None:
    """A token asks neither for another node nor for a zone it does not name, not even by a changed file."""
    token = home.token()
    elsewhere = replace(token, node="140200")
    more = replace(token, zones=(CITY.zone, Zone.PRODUCTION))

    for claimed, directories in ((elsewhere, place), (more, {Zone.PRODUCTION: home.zone("production")})):
        with pytest.raises(IdentityError, match="expected 140100 and exchange, got"):
            home.enrolling().enrol(enrol_request(claimed, directories))
    with pytest.raises(UsageError, match="zones of token"):
        enrol_request(token, {Zone.DECISION: home.zone("decision")})
    assert refusals(home) == ["token"]


@pytest.mark.parametrize(
    ("change", "got"),
    [
        (lambda t: replace(t, secret=bytes(32)), "proof: expected by its secret, got another"),
        (lambda t: replace(t, id="0000"), "token: expected one of this authority"),
    ],
    ids=["secret", "id"],
)
def test_a_token_is_not_guessed(home: House, place: dict[Zone, Path], change: object, got: str) -> None:
    """A wrong secret or id is refused; noise of strangers is not recorded."""
    before = (home.directory / "140000" / "ledger.jsonl").stat().st_size
    token = change(home.token())  # type: ignore[operator]

    with pytest.raises(PeerError) as caught:
        home.enrolling().enrol(enrol_request(token, place))

    assert got in str(caught.value)
    assert refusals(home) == []
    assert (home.directory / "140000" / "ledger.jsonl").stat().st_size > before  # the token itself


def test_a_proof_is_of_one_claim(home: House, place: dict[Zone, Path]) -> None:
    """The proof of one claim does not pass for another."""
    token = home.token()
    first, second = enrol_request(token, place), enrol_request(token, {CITY.zone: home.zone("other")})

    with pytest.raises(UnprovableError, match="proof"):
        home.enrolling().enrol(wire.EnrolRequest(claim=second.claim, proof=first.proof))


def test_a_granted_epoch_is_the_topologys(home: House, place: dict[Zone, Path]) -> None:
    """A token made before the topology granted the node a new epoch enrols nobody."""
    token = home.token()
    home.topology = topology(city_epoch=2)

    with pytest.raises(JinbaoError, match="expected epoch 2, got epoch 1"):
        home.enrolling().enrol(enrol_request(token, place))


def test_a_municipality_is_the_ministrys(home: House, place: dict[Zone, Path]) -> None:
    """A province makes no token for a municipality; the ministry does, and enrols it."""
    with pytest.raises(IdentityError, match="authority of 310000: expected authority 100000"):
        make_token(home.province, "310000", topology=home.topology, now=NOW)

    directories = {zone: home.zone(f"m-{zone}") for zone in Zone}
    token = make_token(home.ministry, "310000", topology=home.topology, now=NOW)
    response = home.enrolling(home.ministry).enrol(enrol_request(token, directories))
    install(directories, response, NOW)

    leaf = load_identity(home.zone(f"m-{Zone.EXCHANGE}")).chain[0]
    assert parse_identity(leaf).endpoint == MUNICIPALITY


def test_the_first_zone_needs_no_topology(home: House, place: dict[Zone, Path]) -> None:
    """The ministry's own zone, which signs the first topology, enrols without one; nobody else does."""
    token = make_token(home.ministry, "100000", topology=None, now=NOW)
    home.topology = None  # type: ignore[assignment]

    response = home.enrolling(home.ministry).enrol(enrol_request(token, place))
    install(place, response, NOW)

    assert parse_identity(load_identity(home.zone("city")).chain[0]).endpoint == Endpoint(
        "100000", Zone.EXCHANGE
    )
    with pytest.raises(UsageError, match="expected the signed topology, or the ministry's own node"):
        make_token(home.ministry, "140000", topology=None, now=NOW)
    with pytest.raises(UsageError, match="expected the signed topology, or the ministry's own node"):
        make_token(home.province, "140000", topology=None, now=NOW)


@pytest.mark.parametrize("life", [timedelta(0), timedelta(days=30, seconds=1)])
def test_a_token_lives_thirty_days_at_most(home: House, life: timedelta) -> None:
    """A life that is none, or longer than a hand-carried token needs, is refused."""
    with pytest.raises(UsageError, match="life of a token: expected up to 43200 minutes"):
        home.token(life=life)


def test_an_authority_elsewhere_is_not_believed(home: House, place: dict[Zone, Path]) -> None:
    """A caller that pins one root does not speak to a listener below another."""
    other = founded(home.directory / "x-root", "root", "")
    far = founded(home.directory / "x-140000", "issuing", "140000")
    rotation.certify_here(far, other, NOW)
    real = home.province
    home.province = far
    with listening(home) as address:
        home.province = real
        token = home.token(address=address)
        with pytest.raises(LinkError, match="expected an answer, got"):
            enrol(token, place, home.clock())

    assert far.issued()[0].about == "authority/140000"
    assert len(far.issued()) == 1


def test_a_zone_of_the_old_root_renews_at_a_listener_of_the_new_one(
    home: House, place: dict[Zone, Path]
) -> None:
    """While a root is rotated, who pins the old root and who pins the new one are both served."""
    home.enrolled()
    before = home.token()
    rotation.prepare(home.root, NOW)
    rotation.activate(home.root, NOW)
    rotation.certify_here(home.province, home.root, NOW)
    after = home.token()

    with listening(home) as address:
        renew(CITY.zone, home.zone("city"), home.clock(), address)
        for name, token in (
            ("old", replace(before, address=address)),
            ("new", replace(after, address=address)),
        ):
            enrol(token, {CITY.zone: home.zone(name)}, home.clock())

    old, new = home.root.roots()
    assert load_identity(home.zone("city")).anchors == (old, new)
    assert (before.root, after.root) == (old, new)
    assert set(load_identity(home.zone("new")).anchors) == {
        old,
        new,
    }  # each vouches for the other until retired


def test_a_listener_follows_its_authority(home: House) -> None:
    """A listener whose authority changed its key shows a certificate of the new one at its next look."""
    service = EnrolmentService(home.province, "127.0.0.1:0", topology=lambda: home.topology, now=home.clock)
    first = service._chain
    service.look()
    second = service._chain
    rotation.prepare(home.province, NOW)
    rotation.certify_here(home.province, home.root, NOW)
    rotation.activate(home.province, NOW)

    service.look()
    third = service._chain
    home.clock.pass_by(timedelta(days=8))
    service.look()

    assert first == second
    assert third[1].public_key() != first[1].public_key()
    assert service._chain[0] != third[0]


def test_an_answer_is_held_against_what_was_asked(home: House, place: dict[Zone, Path]) -> None:
    """Certificates of other keys, another zone or without their chain are not installed."""
    request = enrol_request(home.token(), place)
    good = home.enrolling().enrol(request)
    other = home.enrolling().enrol(enrol_request(home.token(), {CITY.zone: home.zone("other")}))
    swapped, short = wire.EnrolResponse(), wire.EnrolResponse()
    swapped.CopyFrom(good)
    swapped.zones[0].line_chain[:] = good.zones[0].seal_chain
    short.CopyFrom(good)
    del short.zones[0].line_chain[1:]

    for answer in (other, swapped, short, wire.EnrolResponse()):
        with pytest.raises((UnprovableError, UsageError)):
            install(place, answer, NOW)
    with pytest.raises(IdentityError, match="clock: answer for 140100/exchange"):
        install(place, good, NOW - timedelta(days=1))
    assert not (home.zone("city") / "current").exists()
    install(place, good, NOW)


# Renewal


def test_a_renewal_brings_new_keys(home: House) -> None:
    """Keys that had a certificate are not certified again."""
    identity = home.enrolled()
    request = renew_request(identity, home.zone("city"))
    claim = wire.RenewClaim.FromString(request.envelope.payload)
    with home.province.acting():
        asked = joining.Waiting(
            joining.Context("x", parse_identity(identity.chain[0]), "140000", "", ()),
            identity.key,
            identity.seal_key,  # type: ignore[arg-type]
        ).requests()
    claim.keys.CopyFrom(asked)

    with pytest.raises(IdentityError, match="expected new keys, got keys that had a certificate"):
        home.enrolling().renew(_sealed(identity, claim))


def _sealed(identity: object, claim: wire.RenewClaim) -> wire.RenewRequest:
    """A claim sealed by a zone."""
    sealed = seal_bytes(RENEWAL_TYPE, claim.SerializeToString(), identity)  # type: ignore[arg-type]
    return wire.RenewRequest(envelope=envelope_message(replace(sealed, suite="intl-1")))


def test_a_lost_renewal_is_given_again(home: House) -> None:
    """The same renewal asked for twice gives one pair of certificates; other keys are refused and alarmed."""
    identity = home.enrolled()
    first = home.enrolling().renew(renew_request(identity, home.zone("city")))

    again = home.enrolling().renew(renew_request(identity, home.zone("city")))
    with pytest.raises(IdentityError, match="expected the keys it was used with"):
        home.enrolling().renew(renew_request(identity, home.zone("thief")))

    assert first.zones == again.zones
    assert refusals(home) == ["renewal"]


def test_who_may_not_renew(home: House) -> None:
    """A revoked, an ended and an outdated identity renews nothing, and is told why."""
    identity = home.enrolled()
    request = renew_request(identity, home.zone("city"))

    home.topology = topology(city_epoch=2)
    with pytest.raises(JinbaoError, match="expected epoch 2, got epoch 1"):
        home.enrolling().renew(request)
    home.topology = topology()
    home.clock.pass_by(timedelta(days=14, seconds=1))
    with pytest.raises(IdentityError, match="expected one that is in force, got ended at "):
        home.enrolling().renew(request)
    home.clock.at = NOW
    home.province.revoke([identity.chain[0].serial_number], "key-compromise", NOW)
    with pytest.raises(IdentityError, match="expected one that was not taken back"):
        home.enrolling().renew(request)


@pytest.mark.parametrize("part", ["payload", "signature", "suite", "payload_type", "certificates"])
def test_a_changed_renewal_is_refused(home: House, part: str) -> None:
    """No part of a sealed renewal can be changed."""
    request = renew_request(home.enrolled(), home.zone("city"))
    other = home.enrolled("other")
    changes: dict[str, object] = {
        "payload": request.envelope.payload + b"\x22\x00",
        "signature": bytes(64),
        "suite": "p256-sha256",
        "payload_type": "application/vnd.jinbao.header.v1+protobuf",
    }
    if part == "certificates":
        request.envelope.certificates[:] = other.certificates
    else:
        setattr(request.envelope, part, changes[part])

    with pytest.raises(UnprovableError):
        home.enrolling().renew(request)


def test_a_foreign_authoritys_zone_renews_nothing(home: House, tmp_path: Path) -> None:
    """A zone with the right names of another network's authority is a stranger."""
    stranger = house(tmp_path / "elsewhere")
    request = renew_request(stranger.enrolled(), stranger.zone("city"))

    with pytest.raises(IdentityError, match="renewal: signer: expected a certificate of this authority"):
        home.enrolling().renew(request)


# By file


@pytest.mark.fault_row(39)
def test_an_unreachable_authority_is_reached_by_file(home: House, place: dict[Zone, Path]) -> None:
    """With the listener down until an hour before the end, a renewal carried as files works, and in time."""
    with listening(home) as address, wired(address) as line:
        enrol(home.token(address=line.address), place, home.clock())
        before = load_identity(home.zone("city"))
        line.part()
        home.clock.at = before.chain[0].not_valid_after_utc - timedelta(hours=1)
        with pytest.raises(LinkError, match="or ask by file"):
            renew(CITY.zone, home.zone("city"), home.clock(), limits=EnrolmentLimits(call_s=2.0))
        asked = renew_request(before, home.zone("city"))

    carried = wire.EnrolmentFile(renew=asked).SerializeToString()
    answer = home.enrolling().answer_file(carried)
    install(place, response_of(answer), home.clock())

    after = load_identity(home.zone("city"))
    assert after.chain[0].not_valid_after_utc == home.clock() + timedelta(days=14)
    assert after.key.public_key() != before.key.public_key()


def test_an_enrolment_travels_as_files(home: House, place: dict[Zone, Path]) -> None:
    """A request file answered by the authority and carried back installs what the network would have."""
    asked = wire.EnrolmentFile(enrol=enrol_request(home.token(), place)).SerializeToString()

    answer = home.enrolling().answer_file(asked)
    install(place, response_of(answer), home.clock())

    assert load_identity(home.zone("city")).suite == "intl-1"


@pytest.mark.parametrize(
    "content", [b"", b"noise", b"\xff" * 64, bytes(40_000)], ids=["empty", "noise", "bytes", "long"]
)
def test_a_file_that_is_no_request_is_refused(home: House, content: bytes) -> None:
    """Whatever is no request or answer is refused in words."""
    with pytest.raises(UnprovableError, match="expected"):
        home.enrolling().answer_file(content)
    with pytest.raises(UnprovableError, match="answer file: expected"):
        response_of(content)


def test_an_answer_nobody_asked_for_is_refused(home: House, place: dict[Zone, Path]) -> None:
    """Without keys that wait there is nothing to install, and the way to ask is named."""
    response = home.enrolling().enrol(enrol_request(home.token(), {CITY.zone: home.zone("other")}))

    with pytest.raises(UsageError, match="expected keys that wait for this answer"):
        install(place, response, NOW)


# The token file


def test_a_token_file_is_read_back(home: House, tmp_path: Path) -> None:
    """A token is written 0600, read back whole, never over another file, and never from one others may read."""
    token, path = home.token(), tmp_path / "t.token"
    write_token(token, path)

    assert read_token(path) == token
    assert path.stat().st_mode & 0o777 == 0o600
    with pytest.raises(UsageError, match="expected a new name"):
        write_token(token, path)
    path.chmod(0o644)
    with pytest.raises(SettingsError, match="expected mode 0600, got 0644"):
        read_token(path)
    path.chmod(0o600)
    path.write_text(path.read_text().replace('"format": 1', '"format": 2'))
    with pytest.raises(SettingsError, match="expected a token of this release") as caught:
        read_token(path)
    assert token.secret.hex() not in str(caught.value)


def test_many_open_tokens_are_bounded(home: House) -> None:
    """So many tokens may wait at once; the next is made when one was used or has ended."""
    home.province.policy = replace(home.province.policy, tokens_open_max=2)
    home.token()
    home.token()

    with pytest.raises(UsageError, match="tokens: expected at most 2 that wait, got 2"):
        home.token()
    home.clock.pass_by(timedelta(minutes=11))
    home.token()


# The listener


def test_calls_are_bounded_in_size_and_number(home: House, place: dict[Zone, Path]) -> None:
    """A request beyond its bound, and a caller beyond its rate, is refused by the listener itself."""
    limits = EnrolmentLimits(calls_per_minute=3, call_s=10.0)
    with listening(home, limits) as address:
        token = home.token(address=address)
        request = enrol_request(token, place)
        with pytest.raises(LinkError, match="RESOURCE_EXHAUSTED"):
            client(token).enrol(wire.EnrolRequest(claim=bytes(70_000), proof=request.proof))
        for _ in range(3):
            client(token).enrol(request)
        with pytest.raises(LinkError, match="calls: expected at most 3 a minute"):
            client(token).enrol(request)


def test_what_others_need_to_trust_is_told_to_whoever_asks(home: House) -> None:
    """A caller without a token or certificate is given every document, and nothing is signed or recorded for it."""
    home.province.crl(home.clock())
    token = home.token()
    with listening(home, EnrolmentLimits(calls_per_minute=2, call_s=10.0)) as address:
        ledger = (home.directory / "140000" / "ledger.jsonl").read_bytes()
        home.clock.pass_by(timedelta(days=30))  # a list is long due

        told = client(token, address).trust()

        assert told == home.province.documents()
        assert (home.directory / "140000" / "ledger.jsonl").read_bytes() == ledger
        client(token, address).trust()
        with pytest.raises(LinkError, match="calls: expected at most 2 a minute"):
            client(token, address).trust()


def test_an_answer_has_so_many_documents_at_most(home: House) -> None:
    """A caller reads nothing of an answer with more documents than an authority has to tell."""
    limits = EnrolmentLimits(documents_max=1, call_s=10.0)
    with (
        listening(home) as address,
        pytest.raises(UnprovableError, match="expected at most 1 documents, got"),
    ):
        client(home.token(), address, limits).trust()


def test_a_rate_is_per_address_and_minute() -> None:
    """An address is let in again after a minute; others are not kept out; what is remembered is bounded."""
    rate = Rate(2, addresses_max=2)

    allowed = [rate.allows("a", now) for now in (0, 1, 2, 59.9, 60.1)]
    others = [rate.allows(name, 61) for name in "bcd"]

    assert allowed == [True, True, False, False, True]
    assert others == [True] * 3
    assert len(rate._calls) == 2


def test_a_silent_caller_is_hung_up_on(home: House) -> None:
    """A connection without a handshake is closed within its time, and others are served meanwhile."""
    with listening(home, EnrolmentLimits(handshake_s=1.0, call_s=10.0)) as address:
        host, _, port = address.rpartition(":")
        began = time.monotonic()
        with socket.create_connection((host, int(port))) as silent:
            silent.settimeout(10)
            token = home.token(address=address)
            client(token).enrol(enrol_request(token, {CITY.zone: home.zone("city")}))
            while silent.recv(1024):
                pass
        assert time.monotonic() - began < 8


def test_older_tls_is_refused(home: House) -> None:
    """A caller that speaks TLS 1.2 is told which version to speak, and served nothing."""
    identity = home.enrolled()

    with listening(home) as address:
        version, answer = call(address, identity, ssl.TLSVersion.TLSv1_2, f"/{SERVICE}/Enrol", b"")

    assert version == "TLSv1.2"
    assert b"TLSv1.3" in answer


def test_a_taken_address_is_named(home: House) -> None:
    """A listener that cannot bind says where, and what to do."""
    with listening(home) as address, pytest.raises(LocalError, match=f"enrolment listener {address}"):
        EnrolmentService(home.province, address, topology=lambda: None, now=home.clock).start()


def test_the_service_has_the_contracts_name() -> None:
    """Listener and caller speak the service the contract names."""
    descriptor = wire.DESCRIPTOR.services_by_name["EnrolmentService"]

    assert descriptor.full_name == SERVICE
    assert [method.name for method in descriptor.methods] == ["Enrol", "Renew", "Trust"]


def test_what_others_trust_is_laid_down_once(tmp_path: Path) -> None:
    """A published file holds every document, may be read by all, and is written again only when it changed."""
    authorities = DemoAuthorities()
    authority = authorities.authority("140000", "jinbao.test")
    path = tmp_path / "140000.pem"

    first, again = publish(authority, path), publish(authority, path)
    authority.crl(datetime.now(UTC))
    changed = publish(authority, path)

    assert (first, again, changed) == (True, False, True)
    assert {d.body for d in read_documents(path)} == set(authority.documents())
    assert path.stat().st_mode & 0o777 == 0o644
