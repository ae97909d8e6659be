"""What a node once sealed is given back to itself over real TLS, and to nobody else (clause 2.9)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import pytest
from tests.link.parts import (
    CITY,
    LIMITS,
    PROVINCE,
    SIBLING,
    Listening,
    listening,
    utc_now,
)
from tests.link.zones import TOPICS, Zones, seal, zones

from jinbao.appliance.promoting import Beyond
from jinbao.flow.healing import Healing
from jinbao.link.client import LineClient
from jinbao.model.batch import Header, SegmentRef
from jinbao.model.errors import CorruptionError, IdentityError, LinkError
from jinbao.model.stream import Mark, StreamId
from jinbao.model.zone import Endpoint, Zone
from jinbao.trust.encoding import decode_header

PRODUCTION = Endpoint(CITY.node, Zone.PRODUCTION)
BATCHES = 3
UP = "unemployment_monitor"
"""What the exchange zones seal themselves; production seals both topics."""


@dataclass(frozen=True)
class Line:
    """A city's two zones, its sibling and their province, all listening; everything is in the province."""

    zones: Zones
    servers: dict[Endpoint, Listening]
    refs: dict[Endpoint, list[SegmentRef]]

    @contextmanager
    def dial(self, me: Endpoint, peer: Endpoint, *, returned: bool = True) -> Iterator[LineClient]:
        """A zone's line to another, asking for its own."""
        standing = self.zones.network.standing(me, utc_now)
        client = LineClient(standing, peer, self.servers[peer].address, limits=LIMITS, returned=returned)
        try:
            yield client
        finally:
            client.close()

    def given_back(self, me: Endpoint, peer: Endpoint, marks: Sequence[Mark] = ()) -> list[Header]:
        """Everything a zone is given back by another, page after page as marks go on."""
        known, found = {mark.stream: mark for mark in marks}, list[Header]()
        with self.dial(me, peer) as client:
            while page := client.headers(list(known.values()), 5, 0.0):
                for sealed in page:
                    header = decode_header(sealed.payload)
                    place = header.stream, header.incarnation, header.epoch, header.seq
                    known[header.stream] = Mark(*place, "")
                    found.append(header)
        return found

    def follow(self, me: Endpoint, peer: Endpoint) -> None:
        """A zone takes all that is for it from another."""
        with self.dial(me, peer, returned=False) as client:
            while self.zones[me].inbound.step(client):
                pass


@pytest.fixture(scope="module")
def line(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Line]:
    """Every zone below sealed a few batches, and the province has them all, by the one line there is."""
    below = (PRODUCTION, CITY, SIBLING)
    with ExitStack() as stack:
        directory = tmp_path_factory.mktemp("returned") / "net"
        opened = stack.enter_context(zones(directory, *below, PROVINCE, epoch=2))
        refs = {e: seal(opened[e], BATCHES, TOPICS if e == PRODUCTION else (UP,)) for e in below}
        serving = {
            e: stack.enter_context(listening(opened.network, e, opened[e].counter))
            for e in (*below, PROVINCE)
        }
        made = Line(opened, serving, refs)
        for me, peer in ((CITY, PRODUCTION), (PROVINCE, CITY), (PROVINCE, SIBLING)):
            made.follow(me, peer)
        seal(opened[PROVINCE], BATCHES, ("standards",))
        made.follow(CITY, PROVINCE)
        yield made


def streams(headers: Sequence[Header]) -> dict[str, list[int]]:
    """Seqs by stream, in the order they came."""
    found: dict[str, list[int]] = {}
    for header in headers:
        found.setdefault(f"{header.stream.origin}/{header.stream.topic}", []).append(header.seq)
    return found


SEQS = list(range(1, BATCHES + 1))
OF_PRODUCTION = {f"{PRODUCTION}/{topic}": SEQS for topic in TOPICS}


@pytest.mark.fault_row(53)
@pytest.mark.parametrize(
    ("caller", "holder", "expected"),
    [
        (CITY, PROVINCE, {f"{CITY}/{UP}": SEQS} | OF_PRODUCTION),
        (SIBLING, PROVINCE, {f"{SIBLING}/{UP}": SEQS}),
        (PRODUCTION, CITY, OF_PRODUCTION),
        (PROVINCE, CITY, {f"{PROVINCE}/standards": SEQS}),
        (CITY, PRODUCTION, {}),
        (PROVINCE, SIBLING, {}),
    ],
    ids=[
        "a city by its parent, production's with it",
        "a sibling by the same parent",
        "production by its exchange zone",
        "a parent by its child",
        "exchange by production, which has nothing",
        "a parent by a child that never heard of it",
    ],
)
def test_each_is_given_back_its_own(
    line: Line, caller: Endpoint, holder: Endpoint, expected: dict[str, list[int]]
) -> None:
    """Whoever asks is given every batch its own node had sent there, in order, and none of another's."""
    found = line.given_back(caller, holder)

    assert streams(found) == expected
    assert line.servers[holder].refusals == []


@pytest.mark.fault_row(53)
def test_it_goes_on_beyond_what_is_here(line: Line) -> None:
    """A mark counts: what the caller has of its own streams is not sent again."""
    own = line.zones[CITY].index.head(StreamId(CITY, UP))
    [first] = [h for h in line.given_back(CITY, PROVINCE) if h.stream == own.stream and h.seq == 1]
    mark = Mark(own.stream, first.incarnation, first.epoch, 1, "")

    found = line.given_back(CITY, PROVINCE, [mark, Mark(StreamId(PRODUCTION, TOPICS[0]))])

    assert streams(found)[f"{CITY}/{UP}"] == SEQS[1:]
    assert streams(line.given_back(CITY, PROVINCE, [own])) == OF_PRODUCTION


def test_production_has_no_line_to_the_parent(line: Line) -> None:
    """Only an exchange zone is given anything back by another node: production is nobody's neighbour there."""
    with line.dial(PRODUCTION, PROVINCE) as client, pytest.raises(IdentityError, match="a zone that is none"):
        client.headers([], 10, 0.0)


@pytest.mark.fault_row(53)
@pytest.mark.parametrize(
    ("caller", "holder", "origin", "topic"),
    [(CITY, PROVINCE, CITY, UP), (CITY, PROVINCE, PRODUCTION, TOPICS[0]), (PRODUCTION, CITY, PRODUCTION, UP)],
    ids=["its own", "its production zone's", "production's by exchange"],
)
def test_its_segments_come_with_it(
    line: Line, caller: Endpoint, holder: Endpoint, origin: Endpoint, topic: str
) -> None:
    """The bytes of a segment are fetched through the header that was given back."""
    stream, ref = (
        StreamId(origin, topic),
        line.refs[origin][TOPICS.index(topic) if origin == PRODUCTION else 0],
    )

    with line.dial(caller, holder) as client:
        content = b"".join(client.fetch(stream, 1, ref, 0))

    assert content == line.zones[origin].shelf.path(ref.sha256).read_bytes()


@pytest.mark.parametrize(
    ("caller", "holder", "origin"),
    [(SIBLING, PROVINCE, CITY), (SIBLING, PROVINCE, PRODUCTION), (PRODUCTION, CITY, CITY)],
    ids=["a city's by its sibling", "its production's by its sibling", "exchange's by production"],
)
def test_nobody_elses_segments_are_given(
    line: Line, caller: Endpoint, holder: Endpoint, origin: Endpoint
) -> None:
    """Who can name stream, number and hash of another's segment is told there is none it may see."""
    stream = StreamId(origin, TOPICS[0] if origin == PRODUCTION else UP)

    with (
        line.dial(caller, holder) as client,
        pytest.raises(CorruptionError, match="expected one the caller may see"),
    ):
        list(client.fetch(stream, 1, line.refs[origin][0], 0))


class Forgetful:
    """A zone's counter as release 0.1 has it: what it is asked beside marks and limit it does not know."""

    def __init__(self, zone_counter: object) -> None:
        self.headers = self.returned = zone_counter.headers  # type: ignore[attr-defined]
        self.open_segment = zone_counter.open_segment  # type: ignore[attr-defined]


def healing(line: Line, me: Endpoint) -> Healing:
    """What a zone takes back its own by; nothing is sealed with it."""
    zone = line.zones[me]
    return Healing(
        index=zone.index,
        ledger=zone.ledger,
        shelf=zone.shelf,
        verify=lambda sealed, last: zone.verifier.verify(sealed, last, zone.index.place),
        stream_of=lambda sealed: decode_header(sealed.payload).stream,
        gives=lambda peer, stream: zone.topology.may_take_back(holder=peer, caller=zone.me, stream=stream),
        accept=lambda _peer: 0,
        libraries=(),
        seal=zone.seal,
        epoch=2,
        observer=zone.observer,
        now=zone.ports.now_text,
        headers_max=5,
        room=lambda _bytes: None,
    )


@pytest.mark.parametrize(
    ("caller", "holder", "another"), [(CITY, PROVINCE, PROVINCE), (PROVINCE, CITY, CITY)], ids=["up", "down"]
)
def test_release_0_1_is_told_apart_from_nothing(
    line: Line, caller: Endpoint, holder: Endpoint, another: Endpoint
) -> None:
    """A server that does not know the field answers with what is for the caller, and is refused as what it is."""
    counter = Forgetful(line.zones[holder].counter)
    with (
        listening(line.zones.network, holder, counter) as old,
        _asking(line, caller, holder, old.address) as client,
        pytest.raises(
            LinkError, match=f"batches that came from {caller.node}, got {another.node}/.*upgrade it"
        ),
    ):
        healing(line, caller).take(client)

    with line.dial(caller, holder) as client:
        assert healing(line, caller).take(client).batches == 0


@contextmanager
def _asking(line: Line, me: Endpoint, peer: Endpoint, address: str) -> Iterator[LineClient]:
    client = LineClient(line.zones.network.standing(me, utc_now), peer, address, limits=LIMITS, returned=True)
    try:
        yield client
    finally:
        client.close()


def test_what_is_known_of_other_zones_is_not_sent_again(line: Line) -> None:
    """An exchange zone that has all its node's streams names them, and is given nothing."""
    zone = line.zones[CITY]
    own = [head for head in zone.index.streams() if head.stream.origin == CITY]
    with line.dial(CITY, PROVINCE) as client:
        beyond = Beyond(client, own)

        assert beyond.headers(zone.index.marks(nodes=[CITY.node]), 10, 0.0) == []
