"""What is trusted changes while a line is open: certificates end, are taken back and follow one another."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID
from tests.link.parts import CITY, LIMITS, PROVINCE, SIBLING, STREAM, Window, closing, random_file, utc_now
from tests.trust.authorities import DAY, Authority, Leaf, cross, der, root
from tests.trust.example import TOPOLOGY

from jinbao.link.client import LineClient
from jinbao.link.server import LineServer
from jinbao.link.standing import Standing
from jinbao.model.batch import SegmentRef
from jinbao.model.errors import IdentityError, JinbaoError, LinkError
from jinbao.model.stream import Mark
from jinbao.model.zone import Endpoint, Tier
from jinbao.trust.book import TrustBook
from jinbao.trust.identity import Use

STOLEN, REPLACED = x509.ReasonFlags.key_compromise, x509.ReasonFlags.superseded
TIERS = {CITY: Tier.CITY, SIBLING: Tier.CITY, PROVINCE: Tier.PROVINCE}


@dataclass(frozen=True)
class Keys:
    """A zone's two leaves, as the line wants them."""

    line: Leaf
    seals: Leaf

    @property
    def suite(self) -> str:
        """Of the seals."""
        return self.seals.suite

    @property
    def certificates(self) -> tuple[bytes, ...]:
        """Of the seals."""
        return self.seals.certificates

    def sign(self, message: bytes) -> bytes:
        """With the key for seals."""
        return self.seals.sign(message)

    def pem(self, name: str) -> bytes:
        """Of the line."""
        if name == "key.pem":
            return self.line.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        return b"".join(c.public_bytes(Encoding.PEM) for c in (self.line.certificate, *self.line.rest))


@dataclass
class Side:
    """One zone whose trust a test changes while it runs."""

    me: Endpoint
    keys: Keys
    book: TrustBook
    late: timedelta = timedelta()
    refusals: list[JinbaoError] = field(default_factory=list)

    @property
    def standing(self) -> Standing:
        """As the line sees it."""
        return Standing(
            self.me, lambda: self.keys, lambda: self.book, lambda: TOPOLOGY, self.now, self._learn
        )

    def now(self) -> datetime:
        """Its clock."""
        return utc_now() + self.late

    def _learn(self, documents: Sequence[bytes], _peer: Endpoint | None) -> None:
        self.book = self.book.admit(self.book.newer(documents))


class Hierarchy:
    """A root, two issuing authorities, and the sides they certify."""

    def __init__(self) -> None:
        self.root = root(utc_now())
        self.above, self.province = self.root.issuing("100000"), self.root.issuing("140000")

    @property
    def documents(self) -> list[bytes]:
        """What everybody holds."""
        authorities = (self.above, self.province)
        lists = [a.revocations(1) for a in (self.root, *authorities)]
        return [*(der(a.certificate) for a in authorities), *lists]

    def keys(self, endpoint: Endpoint, authority: Authority | None = None, **how: object) -> Keys:
        """New leaves of a zone."""
        issuer = authority or (self.above if endpoint == PROVINCE else self.province)
        line = issuer.leaf(endpoint, Use.LINE, tier=TIERS[endpoint], **how)  # type: ignore[arg-type]
        return Keys(line, issuer.leaf(endpoint, Use.SEAL, tier=TIERS[endpoint]))

    def side(self, endpoint: Endpoint, **how: object) -> Side:
        """A zone that trusts this hierarchy."""
        book = TrustBook.of([self.root.certificate], self.documents)
        return Side(endpoint, self.keys(endpoint, **how), book)


@dataclass
class Line:
    """A city that serves, a province that follows, and a segment to fetch."""

    hierarchy: Hierarchy
    city: Side
    province: Side
    client: LineClient
    ref: SegmentRef
    server: LineServer

    def fetch(self) -> int:
        """Fetch the segment whole; how many bytes came."""
        return sum(map(len, self.client.fetch(STREAM, 1, self.ref, 0)))


def serving(side: Side, window: Window) -> LineServer:
    """A listener of a side."""
    return LineServer(
        side.standing,
        "127.0.0.1:0",
        counter=window,
        standards=(),
        refused=lambda _, exc: side.refusals.append(exc),
        limits=LIMITS,
    )


@pytest.fixture(scope="module")
def hierarchy() -> Hierarchy:
    """Made once: keys take time."""
    return Hierarchy()


@pytest.fixture
def line(hierarchy: Hierarchy, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Line]:
    """A line over which a segment of eight chunks lies ready, or of as many as a test asks for."""
    city, province = hierarchy.side(CITY), hierarchy.side(PROVINCE)
    ref = random_file(tmp_path / "segment", getattr(request, "param", 8) << 20)
    server = serving(city, Window([None], {ref.sha256: tmp_path / "segment"}))  # type: ignore[list-item]
    with closing(server):
        client = LineClient(province.standing, CITY, f"127.0.0.1:{server.port}", limits=LIMITS)
        yield Line(hierarchy, city, province, client, ref, server)
        client.close()


@pytest.mark.fault_row(35)
def test_a_certificate_that_ends_ends_the_next_call(line: Line) -> None:
    """On a connection that is open, a caller whose certificate has ended is let in no more."""
    assert line.fetch() == line.ref.bytes

    line.city.late = 15 * DAY
    line.city.book = line.city.book.admit([a.revocations(2, life=30 * DAY) for a in _all(line.hierarchy)])

    with pytest.raises(IdentityError, match="clock: certificate in force"):
        line.fetch()
    assert [exc.code for exc in line.city.refusals] == ["identity"]


@pytest.mark.fault_row(35)
def test_a_server_whose_certificate_ended_is_not_used_again(line: Line) -> None:
    """The caller, too, asks again: a connection that was proved once does not outlive the proof."""
    assert line.fetch() == line.ref.bytes

    line.province.late = 15 * DAY
    line.province.book = line.province.book.admit(
        [a.revocations(2, life=30 * DAY) for a in _all(line.hierarchy)]
    )

    with pytest.raises(IdentityError, match="clock: certificate in force"):
        line.fetch()


def _all(hierarchy: Hierarchy) -> tuple[Authority, ...]:
    return hierarchy.root, hierarchy.above, hierarchy.province


@pytest.mark.fault_row(36)
@pytest.mark.parametrize("judge", ["server", "client"])
@pytest.mark.parametrize("line", [32], indirect=True, ids=["longer than what is on its way"])
def test_what_is_taken_back_ends_a_running_fetch(line: Line, judge: str) -> None:
    """A revocation that arrives in the middle of an answer ends it at the next chunk, on whichever side it arrives."""
    other = line.province.keys.line if judge == "server" else line.city.keys.seals
    authority = line.hierarchy.above if judge == "server" else line.hierarchy.province
    taken_back = authority.revocations(2, [(other.certificate, utc_now() - DAY, STOLEN)])
    running = line.client.fetch(STREAM, 1, line.ref, 0)
    got = len(next(running))

    side = line.city if judge == "server" else line.province
    side.book = side.book.admit([taken_back])

    with pytest.raises(IdentityError, match="revoked by"):
        got += sum(map(len, running))
    assert got < line.ref.bytes


@pytest.mark.fault_row(36)
def test_what_is_taken_back_ends_a_wait_for_news(line: Line) -> None:
    """A caller that waits for news when it is revoked is refused there and then, with nothing more told."""
    failures: list[Exception] = []

    def wait() -> None:
        try:
            line.client.headers([Mark(STREAM, "1" * 32, 1, 99, "0" * 64)], 10, 20.0)
        except JinbaoError as exc:
            failures.append(exc)

    waiting = threading.Thread(target=wait)
    waiting.start()
    time.sleep(0.4)
    gone = line.province.keys.line.certificate
    line.city.book = line.city.book.admit(
        [line.hierarchy.above.revocations(2, [(gone, utc_now() - DAY, STOLEN)])]
    )
    line.server.wake()  # as a zone does whenever it learned something
    waiting.join(10)

    assert [type(exc) for exc in failures] == [IdentityError]
    assert [exc.code for exc in line.city.refusals] == ["revoked"]


@pytest.mark.fault_row(37)
def test_a_list_too_old_lets_nobody_in_until_a_newer_one_comes_with_the_hello(line: Line) -> None:
    """A zone cut off for longer than its lists hold is not lost: its neighbour's hello brings the newer ones."""
    line.city.late = line.province.late = 10 * DAY
    with pytest.raises(IdentityError, match="revocation list of"):
        line.fetch()

    newer = [a.revocations(5, made_at=utc_now() + 10 * DAY, life=DAY) for a in _all(line.hierarchy)]
    line.province.book = line.province.book.admit(newer)

    assert line.fetch() == line.ref.bytes
    assert all(crl.number == 5 for crl in line.city.book.crls.values() if crl.authority != _name(line))


def _name(line: Line) -> x509.Name:
    """The authority nobody on this line needed a list of."""
    return line.hierarchy.province.certificate.subject


@pytest.mark.fault_row(38)
def test_leaf_issuer_and_root_follow_one_another_without_a_failed_fetch(line: Line) -> None:
    """Every rotation under load, each prepared before it counts: no fetch fails, and the new root is all that is left."""
    failures: list[Exception] = []
    fetched: list[int] = []
    ended = threading.Event()

    def load() -> None:
        while not ended.is_set():
            try:
                fetched.append(line.fetch())
                assert fetched[-1] == line.ref.bytes
            except (JinbaoError, AssertionError) as exc:
                failures.append(exc)

    loading = threading.Thread(target=load)
    loading.start()
    for step in _rotations(line):
        step()
        before, deadline = len(fetched), time.monotonic() + 20
        # The first may have begun before the step: what follows it stands on what is known now.
        while len(fetched) < before + 3 and time.monotonic() < deadline:
            time.sleep(0.02)
    ended.set()
    loading.join(30)

    assert not failures
    assert len(fetched) >= 3 * 8
    assert len(line.city.book.roots) == 1
    assert line.city.book.roots[0] != line.hierarchy.root.certificate
    assert line.city.refusals == []


def _rotations(line: Line) -> Iterator[object]:
    """Leaf; then issuing: prepare, activate, revoke; then root: prepare, activate, retire."""
    h, sides = line.hierarchy, (line.city, line.province)

    def tell(*documents: bytes) -> None:
        for side in sides:
            side.book = side.book.admit(side.book.newer(list(documents)))

    def renew(province: Authority, above: Authority) -> None:
        line.city.keys = h.keys(CITY, province)
        line.province.keys = h.keys(PROVINCE, above)

    province, above = h.root.issuing("140000"), h.root.issuing("100000")
    yield lambda: renew(h.province, h.above)
    yield lambda: tell(
        der(province.certificate), der(above.certificate), province.revocations(1), above.revocations(1)
    )
    yield lambda: renew(province, above)
    gone = [(a.certificate, utc_now(), REPLACED) for a in (h.province, h.above)]
    yield lambda: tell(h.root.revocations(2, gone))
    new = root(utc_now())
    given = cross(h.root, new)
    yield lambda: tell(der(new.certificate), der(cross(new, h.root)), der(given), new.revocations(1))
    last, top = new.issuing("140000"), new.issuing("100000")
    yield lambda: tell(der(last.certificate), der(top.certificate), last.revocations(1), top.revocations(1))
    yield lambda: renew(last, top)
    yield lambda: tell(new.revocations(2, [(given, utc_now(), REPLACED)]))


@pytest.mark.fault_row(33)
def test_a_sibling_authority_cannot_make_a_parent(hierarchy: Hierarchy, line: Line) -> None:
    """A province's authority that certifies "the province above a city" of another makes no connection at all."""
    forged = replace(line.province, keys=hierarchy.keys(PROVINCE, hierarchy.province))
    client = LineClient(forged.standing, CITY, line.client.address, limits=LIMITS)

    with pytest.raises((LinkError, IdentityError)):
        sum(map(len, client.fetch(STREAM, 1, line.ref, 0)))
    client.close()


@pytest.mark.fault_row(32)
@pytest.mark.parametrize(
    "how",
    [
        {"first": utc_now() - 9 * DAY, "last": utc_now() - DAY},
        {"first": utc_now() + DAY, "last": utc_now() + 9 * DAY},
        {"usages": (ExtendedKeyUsageOID.SERVER_AUTH,)},
        {"usages": (ExtendedKeyUsageOID.CLIENT_AUTH,)},
        {"usages": (ExtendedKeyUsageOID.CODE_SIGNING,)},
        {"usages": None},
    ],
    ids=["expired", "not yet", "server only", "client only", "another use", "no use named"],
)
def test_a_caller_with_a_wrong_certificate_is_refused(line: Line, how: dict[str, object]) -> None:
    """A certificate out of force, or not for both sides of a line, gets nothing, whoever notices first."""
    wrong = replace(line.province, keys=line.hierarchy.keys(PROVINCE, **how))
    client = LineClient(wrong.standing, CITY, line.client.address, limits=LIMITS)

    with pytest.raises((LinkError, IdentityError)):
        sum(map(len, client.fetch(STREAM, 1, line.ref, 0)))
    client.close()


@pytest.mark.fault_row(29)
@pytest.mark.parametrize("days", [-400, 400], ids=["behind", "ahead"])
def test_a_clock_far_off_is_told_as_a_clock(hierarchy: Hierarchy, days: int) -> None:
    """A server whose certificates are of another year is refused with words about clocks, not about certificates."""
    away = timedelta(days=days)
    city = hierarchy.side(CITY, first=utc_now() + away - DAY, last=utc_now() + away + DAY)
    server = serving(city, Window())
    with closing(server):
        province = hierarchy.side(PROVINCE)
        client = LineClient(province.standing, CITY, f"127.0.0.1:{server.port}", limits=LIMITS)

        with pytest.raises(LinkError, match="clock: certificate in force: expected a time from"):
            client.headers([], 10, 0.0)
        client.close()
