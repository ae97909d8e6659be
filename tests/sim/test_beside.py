"""Batches on their way in while those before them become durable: accepted in order, or not at all."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest
from tests.sim.order import OneByOne
from tests.sim.small import HEADERS_MAX, Showing, SmallZone
from tests.trust.example import CITY, Network

from jinbao.flow.ports import Beside
from jinbao.model.acts import Act, envelope_json
from jinbao.model.batch import SealedBatch, SegmentRef
from jinbao.model.errors import LinkError, SpaceError, UnavailableError
from jinbao.model.stream import StreamId
from jinbao.model.zone import Endpoint, Zone
from jinbao.store.ahead import SideBySide
from jinbao.trust.encoding import decode_header

EXCHANGE = Endpoint("140100", Zone.EXCHANGE)
STREAM, OTHER = StreamId(CITY, "pension_macro"), StreamId(CITY, "unemployment_monitor")


class Serving(Showing):
    """A neighbour that serves segments of a zone, but for those in `wrong`, and breaks off before `until`."""

    def __init__(self, zone: SmallZone, batches: Sequence[SealedBatch], until: str = "") -> None:
        super().__init__(zone.me, lambda _marks: batches)
        self._zone, self._until = zone, until
        self.wrong: set[str] = set()

    def fetch(self, stream: StreamId, seq: int, ref: SegmentRef, offset: int) -> Iterator[bytes]:
        """Bytes of the segment."""
        del stream, seq
        if ref.sha256 == self._until:
            raise LinkError("line", expected="an answer", got="a cut")
        content = self._zone.shelf.open_path(ref.sha256).read_bytes()[offset:]
        yield bytes(len(content)) if ref.sha256 in self.wrong else content


@pytest.fixture(params=[OneByOne, SideBySide], ids=["one by one", "side by side"])
def zones(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[SmallZone, SmallZone]]:
    """Who sealed, and who takes in, with a thread or without."""
    network, beside = Network(tmp_path / "network"), request.param
    origin, receiver = open_pair(network, tmp_path, beside)
    yield origin, receiver
    origin.store.close()
    receiver.store.close()


def open_pair(network: Network, directory: Path, beside: Callable[[], Beside]) -> tuple[SmallZone, SmallZone]:
    """A production zone and its exchange zone."""
    return SmallZone(CITY, network, directory / "p"), SmallZone(EXCHANGE, network, directory / "x", beside)


def publish(origin: SmallZone, stream: StreamId, batches: int) -> tuple[list[SealedBatch], list[str]]:
    """Batches of two segments each, and the hash of each one's first."""
    sealed, firsts = [], []
    for at in range(batches):
        refs = []
        for half in range(2):
            rows = pl.DataFrame({"AAC001": [f"{stream} {at} {half}"]})
            refs.append(SegmentRef("person", *origin.shelf.write(rows), 1))
        sealed.append(origin.publish(stream, segments=tuple(refs)))
        firsts.append(refs[0].sha256)
    return sealed, firsts


def mark(receiver: SmallZone, stream: StreamId) -> int:
    """The seq accepted last."""
    return receiver.index.mark(stream).seq


def test_batches_are_accepted_in_order(zones: tuple[SmallZone, SmallZone]) -> None:
    """Batches of two streams, mixed, are all accepted in one round, each once, each stream in its order."""
    origin, receiver = zones
    (mine, _), (others, _) = publish(origin, STREAM, 5), publish(origin, OTHER, 3)
    shown = [mine[0], others[0], mine[1], mine[2], others[1], others[2], mine[3], mine[4], mine[1]]

    assert receiver.inbound.step(Serving(origin, shown)) == 8

    assert receiver.chain(STREAM) == origin.chain(STREAM)
    assert receiver.chain(OTHER) == origin.chain(OTHER)
    assert receiver.index.held() == {}


def test_what_follows_a_broken_segment_waits(zones: tuple[SmallZone, SmallZone]) -> None:
    """Where a segment is not what was promised, what is on its way behind it is not accepted, and later all is."""
    origin, receiver = zones
    (mine, firsts), (others, _) = publish(origin, STREAM, 5), publish(origin, OTHER, 1)
    serving = Serving(origin, [*mine, *others])
    serving.wrong = {firsts[1]}

    assert receiver.inbound.step(serving) == 2
    held = receiver.index.held()
    serving.wrong = set()
    receiver.inbound.step(serving)

    assert {stream: (seq, code) for stream, (seq, code, _) in held.items()} == {STREAM: (2, "corruption")}
    assert receiver.chain(STREAM) == origin.chain(STREAM)
    assert (mark(receiver, STREAM), mark(receiver, OTHER)) == (5, 1)
    assert list(receiver.shelf.incoming.iterdir()) == []


def test_a_cut_line_keeps_what_was_fetched(zones: tuple[SmallZone, SmallZone]) -> None:
    """Batches that were whole when the line broke are accepted; the next round goes on after them."""
    origin, receiver = zones
    mine, firsts = publish(origin, STREAM, 4)

    with pytest.raises(LinkError):
        receiver.inbound.step(Serving(origin, mine, until=firsts[2]))

    assert mark(receiver, STREAM) == 2
    assert receiver.inbound.step(Serving(origin, mine[2:])) == 2


def test_what_follows_a_batch_that_could_not_be_recorded_waits(
    zones: tuple[SmallZone, SmallZone], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the database is away for one batch alone, what is on its way behind it leaves no gap."""
    origin, receiver = zones
    mine, _ = publish(origin, STREAM, 3)
    away, real = [False, True], receiver.ledger.record

    def record(*made: Act) -> None:
        if away and away.pop(0):
            raise UnavailableError("database", expected="an answer", got="none")
        real(*made)

    monkeypatch.setattr(receiver.ledger, "record", record)
    with pytest.raises(UnavailableError):
        receiver.inbound.step(Serving(origin, mine))

    assert mark(receiver, STREAM) == 1
    assert receiver.inbound.step(Serving(origin, mine[1:])) == 2
    assert receiver.chain(STREAM) == origin.chain(STREAM)


@pytest.mark.parametrize("full", [1, 2])
def test_what_follows_a_segment_there_was_no_room_for_waits(
    zones: tuple[SmallZone, SmallZone], monkeypatch: pytest.MonkeyPatch, full: int
) -> None:
    """Where the disk is full for one segment alone, its batch and those behind it wait, and later all is there."""
    origin, receiver = zones
    mine, _ = publish(origin, STREAM, 3)
    real, tries = receiver.shelf.add_expected, [0]

    def add_expected(temporary: Path, sha256: str, size: int) -> None:
        tries[0] += 1
        if tries[0] == 2 + full:  # of the second batch
            raise SpaceError("disk", expected="room", got="none")
        real(temporary, sha256, size)

    monkeypatch.setattr(receiver.shelf, "add_expected", add_expected)
    with pytest.raises(SpaceError):
        receiver.inbound.step(Serving(origin, mine))

    assert mark(receiver, STREAM) == 1
    assert receiver.inbound.step(Serving(origin, mine[1:])) == 2
    assert receiver.chain(STREAM) == origin.chain(STREAM)
    assert list(receiver.shelf.incoming.iterdir()) == []


def test_a_contradiction_on_its_way_has_both_its_sides(zones: tuple[SmallZone, SmallZone]) -> None:
    """Two batches of one place in one answer are found to contradict each other, with both kept."""
    origin, receiver = zones
    mine, _ = publish(origin, STREAM, HEADERS_MAX - 1)
    other = origin.forge(replace(decode_header(mine[1].payload), run="another"))

    receiver.inbound.step(Serving(origin, [*mine, other]))

    [hold] = receiver.ledger.acts(kind="held")
    assert hold.act.body["code"] == "equivocation"
    assert hold.act.body["evidence"] == [envelope_json(mine[1]), envelope_json(other)]
    assert mark(receiver, STREAM) == len(mine)


def test_a_batch_behind_a_gap_is_held(zones: tuple[SmallZone, SmallZone]) -> None:
    """A batch that does not follow the one on its way before it is held, and that one is accepted."""
    origin, receiver = zones
    mine, _ = publish(origin, STREAM, 3)

    assert receiver.inbound.step(Serving(origin, [mine[0], mine[2]])) == 1

    assert {code for _, code, _ in receiver.index.held().values()} == {"sequence_gap"}
    assert mark(receiver, STREAM) == 1
