"""How a zone comes to newer revocation lists by itself: of a real listener, over a real connection."""

from __future__ import annotations

import json
import random
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import grpc
import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from tests.appliance.test_trust_of_a_zone import place_of
from tests.authority.parts import Clock
from tests.cli.harness import command, environment
from tests.cli.test_authorities import until_it_listens
from tests.link.parts import CITY, PROVINCE
from tests.link.wires import wire as wired
from tests.link.zones import Zones, serving, zones
from tests.servers import await_
from tests.trust.authorities import der, root

from jinbao.appliance import asking_authorities
from jinbao.appliance.asking_authorities import Asked, AskingAuthorities, Standing, is_list_due
from jinbao.appliance.assembly import OpenZone, Ports, open_zone, rfc3339
from jinbao.appliance.enrolment import EnrolmentService
from jinbao.appliance.loopback import free_port
from jinbao.appliance.network import AUTHORITIES
from jinbao.appliance.questions import Asked as Asking
from jinbao.appliance.questions import dispatch
from jinbao.appliance.settings import Settings
from jinbao.authority.authority import Authority
from jinbao.authority.demo import DemoAuthorities
from jinbao.authority.identity_files import ENROLMENT
from jinbao.flow.pace import Pace, PaceLimits
from jinbao.link.enrolment import SERVICE, EnrolmentLimits, EnrolmentServer
from jinbao.model.errors import LinkError
from jinbao.model.grant import Grant
from jinbao.model.zone import Zone
from jinbao.trust.encoding import envelope_message
from jinbao.trust.grants import seal_grant
from jinbao.trust.identity import authority_name
from jinbao.trust.revocation import RevocationList, key_id
from jinbao.wire.gen.jinbao.wire.v1 import enrolment_pb2 as wire

DAY, HOUR, MINUTE = timedelta(days=1), timedelta(hours=1), timedelta(minutes=1)
NAME = PROVINCE.node


def lists_of_a_day(directory: Path) -> Authority:
    """A demonstration's authority of the province, whose lists are good for a day as a real one's are."""
    return Authority.at(directory / AUTHORITIES / NAME, policy=replace(DemoAuthorities().policy, crl=DAY))


@dataclass
class Asker:
    """A province's exchange zone that asks its authority, and what it said of it."""

    zone: OpenZone
    clock: Clock
    authority: Authority
    asked: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Over the network, counted."""
        self.asking = AskingAuthorities(self.zone, self._ask)

    def _ask(self, authority: str, address: str, roots: bytes) -> Any:
        self.asked.append(address)
        return asking_authorities.ask(authority, address, roots)

    def held(self) -> RevocationList:
        """The newest list of the province's authority that the zone holds."""
        book = self.zone.trust.book()
        keys = [key_id(c) for c in book.authorities if authority_name(c) == NAME]
        return max((book.crls[key] for key in keys if key in book.crls), key=lambda crl: crl.number)

    def metric(self, name: str) -> list[str]:
        """Samples of a metric as a scrape shows them."""
        text = self.zone.metrics.text().decode()
        return [line for line in text.splitlines() if line.startswith(f"{name}{{")]

    def acts(self) -> int:
        """How many acts the zone recorded."""
        return sum(1 for _ in self.zone.ledger.acts(kind="trust_learned"))


@contextmanager
def asker(directory: Path, address: str, **more: Any) -> Iterator[Asker]:
    """A new network whose province asks at `address`; the clock stands until a test moves it."""
    with zones(directory) as opened:
        clock = Clock(datetime.now(UTC))
        settings = named(opened.settings[NAME], {NAME: address}, **more)
        ports = Ports(now=clock, rng=random.Random(1))
        with closing(open_zone(settings, PROVINCE.zone, ports)) as zone:
            yield Asker(zone, clock, lists_of_a_day(directory))


def named(settings: Settings, authorities: dict[str, str], **pace: float) -> Settings:
    """Settings that name authorities."""
    return settings.model_copy(
        update={"authorities": authorities, "pace": settings.pace.model_copy(update=pace)}
    )


@contextmanager
def listening(
    authority: Authority, clock: Clock, address: str, answers: Any = None
) -> Iterator[EnrolmentService]:
    """The listener of an authority; with `answers`, one that says what a test wants it to. A test's days are short."""
    limits = EnrolmentLimits(calls_per_minute=10_000)
    service = EnrolmentService(authority, address, topology=lambda: None, now=clock, limits=limits)
    if answers is not None:
        service.server = answers(service, address)
    service.start()
    try:
        yield service
    finally:
        service.server.stop(grace_s=0.1)


def test_the_list_of_a_day_is_replaced_without_a_carrier(tmp_path: Path) -> None:
    """For four days a province has a list that is in its time, and asks no more than an hourly question and its retries."""
    address = f"127.0.0.1:{free_port()}"
    with asker(tmp_path / "network", address) as one, listening(one.authority, one.clock, address) as service:
        one.authority.crl(one.clock())
        one.asking.step()
        first, began = one.held(), one.clock()

        for _ in range(4 * 24 * 4):
            one.clock.pass_by(HOUR / 4)
            service.look()
            one.asking.step()
            assert one.clock() <= one.held().next_update

        assert first.next_update == began.replace(microsecond=0) + DAY
        assert one.held().number >= first.number + 7
        assert one.clock() > first.next_update + timedelta(days=2)
        assert 4 * 24 * 0.75 <= len(one.asked) <= 4 * 24 * 1.5
        assert one.acts() <= one.held().number - first.number + 1  # what is no news is not recorded


def test_a_revocation_reaches_a_zone_from_an_authoritys_process(tmp_path: Path) -> None:
    """What `jinbao ca revoke` takes back counts at a zone that serves, within its interval, and nobody carried it."""
    address = f"127.0.0.1:{free_port()}"
    with zones(tmp_path / "network") as opened:
        directory = str(opened.network.directory / AUTHORITIES / NAME)
        settings = named(opened.settings[NAME], {NAME: address}, authority_interval_s=0.2)
        served = subprocess.Popen(
            command("ca", "serve", directory, "--listen", address),
            env=environment(LC_ALL="C.UTF-8"),
            stderr=subprocess.DEVNULL,
        )
        try:
            until_it_listens(address)
            zone = open_zone(settings, PROVINCE.zone)
            with serving(zone) as running:
                place = place_of(opened, zone)
                await_(lambda: "authority_answered_timestamp" in zone.metrics.text().decode())
                assert place.is_city_proved()

                line = ("ca", "revoke", directory, "--node", CITY.node, "--reason", "key-compromise")
                subprocess.run(
                    command(*line), env=environment(LC_ALL="C.UTF-8"), check=True, stdout=subprocess.DEVNULL
                )

                await_(lambda: not place.is_city_proved())
                [shown] = dispatch(Asking(zone, running), "trust.list", {}).body["asked"]
                assert (shown["authority"], shown["address"], shown["reason"]) == (NAME, address, "")
        finally:
            served.send_signal(signal.SIGTERM)
            served.wait(20)


def test_a_stranger_at_the_address_is_not_believed(tmp_path: Path) -> None:
    """A listener of another root, of the same name, is refused and counted, and changes nothing."""
    address = f"127.0.0.1:{free_port()}"
    stranger = DemoAuthorities().authority(NAME, "jinbao.demo")
    with asker(tmp_path / "network", address) as one, listening(stranger, one.clock, address):
        before = one.zone.trust.book()

        one.asking.step()

        assert one.asked == [address]
        assert one.zone.trust.book() is before
        failed = 'jinbao_authority_asks_failed_total{authority="140000",code="link"} 1.0'
        assert one.metric("jinbao_authority_asks_failed_total") == [failed]


def test_an_authority_that_is_away_is_told_and_asked_again(tmp_path: Path) -> None:
    """Pauses grow from a minute to ten, each failure is counted, and the first answer after it is taken in."""
    with ExitStack() as stack:
        behind = f"127.0.0.1:{free_port()}"
        line = stack.enter_context(wired(behind))
        one = stack.enter_context(asker(tmp_path / "network", line.address))
        stack.enter_context(listening(one.authority, one.clock, behind))
        line.part()
        for _ in range(6 * 60):
            one.asking.step()
            one.clock.pass_by(MINUTE / 6)
        failures = len(one.asked)
        counted = one.metric("jinbao_authority_asks_failed_total")
        [made] = one.authority.crl(one.clock())
        line.heal()
        one.clock.pass_by(13 * MINUTE)
        [before] = one.asking.standings()

        assert one.asking.step()

        [after] = one.asking.standings()
        assert (before["answered_at"], "expected an answer, got UNAVAILABLE" in before["reason"]) == (
            "",
            True,
        )
        assert (after["answered_at"], after["reason"]) == (rfc3339(one.clock()), "")
        assert 6 <= failures <= 12
        assert counted == [
            f'jinbao_authority_asks_failed_total{{authority="140000",code="link"}} {failures}.0'
        ]
        assert one.held().der == made.public_bytes(Encoding.DER)
        assert list(one.asking.samples()) == [
            ("jinbao_authority_answered_timestamp_seconds", {"authority": NAME}, one.clock().timestamp())
        ]


class Handlers(grpc.GenericRpcHandler):  # type: ignore[type-arg]  # the stub has parameters, the class has none
    """The methods of an authority without one."""

    def __init__(self, known: grpc.GenericRpcHandler[Any, Any], without: str) -> None:
        self._known, self._without = known, without

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Any:
        """A method's handler, none for one that an earlier release does not have."""
        is_unknown = handler_call_details.method == f"/{SERVICE}/{self._without}"
        return None if is_unknown else self._known.service(handler_call_details)


class Older(EnrolmentServer):
    """The listener of a release that knows enrolment and renewal alone."""

    def _handlers(self) -> grpc.GenericRpcHandler[Any, Any]:
        return Handlers(super()._handlers(), "Trust")


def test_an_authority_of_an_earlier_release_is_no_alarm(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who does not know the question is told of once, counts as no failure, and is asked again once an hour."""
    address = f"127.0.0.1:{free_port()}"

    def older(service: EnrolmentService, at: str) -> EnrolmentServer:
        return Older(at, answers=service.server._answers, pair=service._pair, refused=service._refused)

    with asker(tmp_path / "network", address) as one, listening(one.authority, one.clock, address, older):
        told, tell = list[str](), one.zone.observer.event
        monkeypatch.setattr(
            one.zone.observer, "event", lambda name, **v: (told.append(name), tell(name, **v))
        )
        for _ in range(4 * 12):
            one.asking.step()
            one.clock.pass_by(5 * MINUTE)

        assert told == ["authority_outdated"]
        assert 3 <= len(one.asked) <= 6
        assert one.metric("jinbao_authority_asks_failed_total") == []


@dataclass
class Says:
    """Answers with what a test wants."""

    answer: wire.TrustResponse

    def enrol(self, request: wire.EnrolRequest) -> wire.EnrolResponse:
        """Nothing."""
        raise AssertionError(request)

    def renew(self, request: wire.RenewRequest) -> wire.EnrolResponse:
        """Nothing."""
        raise AssertionError(request)

    def trust(self, request: wire.TrustRequest) -> wire.TrustResponse:
        """The answer."""
        del request
        return self.answer


def _tampered(one: Asker) -> list[bytes]:
    [made] = one.authority.crl(one.clock())
    body = bytearray(made.public_bytes(Encoding.DER))
    body[-1] ^= 1
    return [bytes(body)]


def _grant(one: Asker) -> list[bytes]:
    """What a zone may believe of its parent by another way, and of no authority by this one."""
    made = Grant(
        one.zone.topology.trust_domain, CITY.node, 2, ((Zone.EXCHANGE, "10.9.0.5:7443"),), (), (), "{}",
        one.zone.ports.now_text(),
    )  # fmt: skip
    return [envelope_message(seal_grant(made, one.zone.identity)).SerializeToString()]


HOSTILE: dict[str, tuple[Callable[[Asker], list[bytes]], str]] = {
    "too many": (lambda one: list(one.authority.documents()) * 200, "unprovable"),
    "too large": (lambda _: [b"\x30" + bytes(9 << 20)], "link"),
    "junk": (lambda _: [b"\x30\x03junk"], "unprovable"),
    "empty": (lambda _: [b""], "unprovable"),
    "a topology": (lambda one: [one.zone.settings.topology_file.read_bytes()], "unprovable"),
    "a grant": (_grant, "unprovable"),
    "a stranger's authority": (lambda _: [der(root().certificate)], "unprovable"),
    "a list nobody signed": (_tampered, "unprovable"),
    "junk beside good": (lambda one: [*_new(one), b"\x30\x03junk"], "unprovable"),
}


def _new(one: Asker) -> tuple[bytes, ...]:
    one.authority.crl(one.clock())
    return one.authority.documents()


@pytest.mark.parametrize("kind", HOSTILE)
def test_an_answer_that_proves_nothing_is_refused_whole(tmp_path: Path, kind: str) -> None:
    """Of an answer beyond its bounds, or with one document that does not hold, nothing is believed or recorded."""
    address, (made, code) = f"127.0.0.1:{free_port()}", HOSTILE[kind]
    with asker(tmp_path / "network", address) as one:
        answer = wire.TrustResponse(trust=made(one))

        def hostile(service: EnrolmentService, at: str) -> EnrolmentServer:
            limits = EnrolmentLimits(answer_bytes_max=64 << 20)
            return EnrolmentServer(
                at, answers=Says(answer), pair=service._pair, refused=service._refused, limits=limits
            )

        before, acts = one.zone.trust.book(), one.acts()
        with listening(one.authority, one.clock, address, hostile):
            one.asking.step()

        assert one.zone.trust.book() is before
        assert one.acts() == acts
        assert one.metric("jinbao_authority_asks_failed_total") == [
            f'jinbao_authority_asks_failed_total{{authority="140000",code="{code}"}} 1.0'
        ]


def test_an_older_list_of_another_authority_is_no_refusal(tmp_path: Path) -> None:
    """An authority that was brought the ministry's list long ago still gives its own, and the newer one held here stays."""
    address = f"127.0.0.1:{free_port()}"
    with asker(tmp_path / "network", address) as one, listening(one.authority, one.clock, address):
        ministry = Authority.at(
            tmp_path / "network" / AUTHORITIES / "100000", policy=DemoAuthorities().policy
        )
        one.authority.learn(ministry.documents(), one.clock())
        [newer] = ministry.crl(one.clock())
        one.zone.trust.learn_stapled([newer.public_bytes(Encoding.DER)], CITY)
        own = one.authority.crl(one.clock())[0]

        assert one.asking.step()

        held = {crl.der for crl in one.zone.trust.book().crls.values()}
        assert {found.public_bytes(Encoding.DER) for found in (newer, own)} <= held
        assert one.metric("jinbao_authority_asks_failed_total") == []


def test_what_a_named_authority_says_is_passed_on(tmp_path: Path) -> None:
    """A list of the authority the settings name is the zone's own word, also where a city had brought it first."""
    address = f"127.0.0.1:{free_port()}"
    with asker(tmp_path / "network", address) as one, listening(one.authority, one.clock, address):
        [made] = one.authority.crl(one.clock())
        body = made.public_bytes(Encoding.DER)
        one.zone.trust.learn_stapled([body], CITY)
        assert body not in {d.body for d in one.zone.documents.local()}

        one.asking.step()

        assert body in {d.body for d in one.zone.documents.local()}
        recorded = one.acts()
        one.clock.pass_by(2 * HOUR)
        one.asking.step()
        assert (len(one.asked), one.acts()) == (2, recorded)


def test_what_only_certified_a_zone_is_not_passed_on(tmp_path: Path) -> None:
    """A city believes the authority it enrolled at, and leaves it to the province to pass its lists on."""
    address = f"127.0.0.1:{free_port()}"
    with zones(tmp_path / "network") as opened:
        settings = enrolled_at(opened, CITY.node, Zone.EXCHANGE, NAME, address)
        authority, clock = lists_of_a_day(opened.network.directory), Clock(datetime.now(UTC))
        with closing(open_zone(settings, CITY.zone)) as zone, listening(authority, clock, address):
            [made] = authority.crl(clock())
            body = made.public_bytes(Encoding.DER)

            assert AskingAuthorities(zone).step()

            assert body in zone.trust.book().known
            assert body not in {d.body for d in zone.documents.local()}


def enrolled_at(opened: Zones, node: str, zone: Zone, authority: str, address: str) -> Settings:
    """Settings of a node of which one zone knows where it enrolled."""
    settings = opened.settings[node]
    said = {"authority": authority, "address": address}
    (settings.directory(zone) / "identity" / "current" / ENROLMENT).write_text(json.dumps(said))
    return settings


@pytest.mark.parametrize(
    ("zone", "named_too", "expected"),
    [
        (Zone.EXCHANGE, {}, [Asked("140000", "10.14.0.7:7443", is_ours=False)]),
        (Zone.PRODUCTION, {}, [Asked("140000", "10.14.0.7:7443", is_ours=False)]),
        (
            Zone.EXCHANGE,
            {"100000": "10.10.0.7:7443"},
            [
                Asked("100000", "10.10.0.7:7443", is_ours=True),
                Asked("140000", "10.14.0.7:7443", is_ours=False),
            ],
        ),
        (
            Zone.EXCHANGE,
            {"140000": "10.14.0.8:7443"},
            [Asked("140000", "10.14.0.8:7443", is_ours=True)],
        ),
        (Zone.DECISION, {"140000": "10.14.0.8:7443"}, []),
    ],
    ids=["exchange", "production", "two", "the settings' address", "decision asks nobody"],
)
def test_whom_a_zone_asks(
    tmp_path: Path, zone: Zone, named_too: dict[str, str], expected: list[Asked]
) -> None:
    """A zone asks where it enrolled and whom the settings name, each once; a decision zone opens no connection."""
    with zones(tmp_path / "network") as opened:
        settings = named(enrolled_at(opened, CITY.node, zone, "140000", "10.14.0.7:7443"), named_too)
        with closing(open_zone(settings, zone)) as city:
            assert AskingAuthorities(city).asked() == expected


def test_the_ministrys_own_authority_is_passed_on(tmp_path: Path) -> None:
    """The authority of a node's own name is its own to pass on, without a setting."""
    with zones(tmp_path / "network") as opened:
        settings = enrolled_at(opened, "100000", Zone.EXCHANGE, "100000", "10.10.0.7:7443")
        with closing(open_zone(settings, Zone.EXCHANGE)) as zone:
            assert AskingAuthorities(zone).asked() == [Asked("100000", "10.10.0.7:7443", is_ours=True)]


def test_one_authority_is_asked_at_a_time(tmp_path: Path) -> None:
    """Of two that are due each has its turn, whichever fails: no round waits for more than one answer."""
    with zones(tmp_path / "network") as opened:
        settings = named(opened.settings[NAME], {"100000": "127.0.0.1:1", NAME: "127.0.0.1:1"})
        clock, asked = Clock(datetime.now(UTC)), list[str]()

        def away(authority: str, address: str, roots: bytes) -> None:
            del roots
            asked.append(authority)
            raise LinkError(f"authority at {address}", expected="an answer", got="none")

        with closing(open_zone(settings, PROVINCE.zone, Ports(now=clock))) as zone:
            asking = AskingAuthorities(zone, away)
            rounds = [asking.step() for _ in range(3)]
            clock.pass_by(2 * MINUTE)
            rounds += [asking.step() for _ in range(3)]

    assert rounds == [True, True, False] * 2
    assert asked == ["100000", "140000"] * 2


def test_a_clock_that_goes_back_delays_no_question() -> None:
    """An authority is asked anew when the last question lies in the future, and not while its pause lasts."""
    limits, now = PaceLimits(interval_s=3600.0), datetime(2026, 3, 1, tzinfo=UTC)
    standing = Standing(Pace(limits, random.Random(1)), asked_at=now, wait_s=3600.0)

    due = [standing.is_due(now + at, is_list_due=False) for at in (MINUTE, -MINUTE, HOUR)]

    assert due == [False, True, True]
    assert standing.is_due(now + MINUTE, is_list_due=True)
    assert not standing.is_due(now + MINUTE / 2, is_list_due=True)


def test_an_authority_nobody_knows_has_no_list_that_is_due(tmp_path: Path) -> None:
    """Of a name no certificate here has, no list is waited for; of one without a list, one is."""
    with zones(tmp_path / "network", PROVINCE) as opened:
        book, now = opened[PROVINCE].trust.book(), opened[PROVINCE].ports.now()

        assert not is_list_due(book, "650000", now)
        assert not is_list_due(book, NAME, now)
        assert is_list_due(replace(book, crls={}), NAME, now)
        assert is_list_due(book, NAME, now + timedelta(days=8))
