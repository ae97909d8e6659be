"""What a neighbour gets over the line: who answers, headers beyond its marks, segments from an offset on."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

import grpc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.link.parts import (
    CITY,
    LIMITS,
    PROVINCE,
    STANDARDS,
    STREAM,
    Listening,
    Network,
    Window,
    batches,
    channel,
    dialling,
    listening,
    random_file,
    utc_now,
)

from jinbao.link.client import LineClient
from jinbao.link.server import SERVICE
from jinbao.model.batch import SealedBatch, SegmentRef
from jinbao.model.errors import CorruptionError, LocalError
from jinbao.model.stream import Lane, Mark
from jinbao.model.zone import Endpoint
from jinbao.trust.encoding import short_of
from jinbao.wire.gen.jinbao.wire.v1 import wire_pb2 as wire

CHUNK = 16 << 10
BYTES = 5 * CHUNK + 77


@dataclass(frozen=True)
class Segment:
    """A file, and the reference a header makes to it."""

    path: Path
    ref: SegmentRef


@pytest.fixture(scope="module")
def segment(tmp_path_factory: pytest.TempPathFactory) -> Segment:
    """Five chunks and a bit."""
    path = tmp_path_factory.mktemp("segment") / "one.parquet"
    return Segment(path, random_file(path, BYTES))


@pytest.fixture(scope="module")
def window(network: Network, segment: Segment) -> Window:
    """Seven batches that name the segment."""
    return Window(batches(network.identity(CITY), 7, segment.ref), {segment.ref.sha256: segment.path})


@pytest.fixture(scope="module")
def city(network: Network, window: Window) -> Iterator[Listening]:
    """A city that listens."""
    with listening(network, CITY, window, limits=replace(LIMITS, chunk_bytes=CHUNK, headers_max=5)) as opened:
        yield opened


@pytest.fixture(scope="module")
def province(network: Network, city: Listening) -> Iterator[LineClient]:
    """The province that calls it."""
    with dialling(network, PROVINCE, CITY, city.address) as client:
        yield client


def test_hello_names_the_zone_and_its_standards(network: Network, city: Listening) -> None:
    """Hello says which zone answers and which standards it holds."""
    request = wire.HelloRequest(nonce=bytes(32), versions=["1"])

    with channel(network, PROVINCE, CITY, city.address) as opened:
        hello = opened.unary_unary(
            f"/{SERVICE}/Hello", wire.HelloRequest.SerializeToString, wire.HelloResponse.FromString
        )
        answer = hello(request, timeout=5)

    assert (answer.version, answer.endpoint) == ("1", "140100/exchange")
    assert tuple(answer.standards) == STANDARDS


def test_hello_wants_a_whole_nonce(network: Network, city: Listening) -> None:
    """A hello whose nonce is too short to be a challenge is not answered."""
    with channel(network, PROVINCE, CITY, city.address) as opened, pytest.raises(grpc.RpcError) as caught:
        opened.unary_unary(f"/{SERVICE}/Hello", wire.HelloRequest.SerializeToString)(
            wire.HelloRequest(nonce=b"short"), timeout=5
        )

    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "expected 32 bytes" in caught.value.details()


def test_hello_needs_a_version_in_common(network: Network, city: Listening) -> None:
    """A caller that speaks only other versions is told which one is spoken here."""
    with channel(network, PROVINCE, CITY, city.address) as opened, pytest.raises(grpc.RpcError) as caught:
        opened.unary_unary(f"/{SERVICE}/Hello", wire.HelloRequest.SerializeToString)(
            wire.HelloRequest(nonce=bytes(32), versions=["2"]), timeout=5
        )

    assert caught.value.code() is grpc.StatusCode.FAILED_PRECONDITION
    assert caught.value.details() == "versions: expected 1, got 2"


def test_follow_goes_on_beyond_the_mark(province: LineClient, window: Window) -> None:
    """A follower that holds three batches gets the fourth and those after it, byte for byte."""
    found = province.headers([Mark(STREAM, "1" * 32, 1, 3, "a" * 64)], 500, 0.0)

    assert found == list(window.batches[3:])


def test_a_mark_that_cannot_be_continued_is_named_over_the_line(network: Network) -> None:
    """What a server says of a mark it cannot continue reaches the follower (clause 2.4)."""
    mark = Mark(STREAM, "1" * 32, 1, 9, "0f" * 32)
    [newest] = batches(network.identity(CITY), 1)
    short = short_of(newest, mark)

    with (
        listening(network, CITY, Window([short])) as opened,
        dialling(network, PROVINCE, CITY, opened.address) as client,
    ):
        assert client.headers([], 5, 0.0) == [short]


@pytest.mark.parametrize(("asked", "got"), [(2, 2), (500, 5), (0, 5)], ids=["fewer", "more", "no limit"])
def test_follow_is_bounded_by_both_sides(province: LineClient, asked: int, got: int) -> None:
    """An answer holds as many headers as the caller asks for, and never more than the server's limit."""
    found = province.headers([], asked, 0.0) if asked else _unlimited(province)

    assert len(found) == got


def _unlimited(client: LineClient) -> list[object]:
    """Ask with a limit the wire carries as zero: the server's own."""
    follow = client._ready().unary_stream(f"/{SERVICE}/Follow", wire.FollowRequest.SerializeToString)
    return list(follow(wire.FollowRequest(), timeout=5))


def test_a_follower_that_waits_is_woken_by_news(network: Network) -> None:
    """A follow call with nothing to tell waits, and answers as soon as something was journalled."""
    window, found = Window(), []
    with listening(network, CITY, window) as city, dialling(network, PROVINCE, CITY, city.address) as client:
        follower = threading.Thread(target=lambda: found.extend(client.headers([], 500, 4.0)))
        follower.start()
        while not window.asked:
            time.sleep(0.01)
        time.sleep(0.1)
        assert follower.is_alive()
        began = time.monotonic()
        window.batches = batches(network.identity(CITY), 1)
        city.server.wake()
        follower.join(5)

    assert found == window.batches
    assert time.monotonic() - began < 3


def test_news_that_comes_while_the_journal_is_read_is_not_missed(network: Network) -> None:
    """A batch recorded between the look at the journal and the wait for news is told at once, not after the wait."""

    class Late(Window):
        """Records a batch and tells of it after the first look, before its answer is known."""

        def headers(
            self, caller: Endpoint, marks: Sequence[Mark], limit: int, lane: Lane = Lane.ALL
        ) -> list[SealedBatch]:
            found = super().headers(caller, marks, limit, lane)
            if not self.batches:
                self.batches = batches(network.identity(CITY), 1)
                server.server.wake()
                time.sleep(0.3)
            return found

    with (
        listening(network, CITY, Late()) as server,
        dialling(network, PROVINCE, CITY, server.address) as client,
    ):
        began = time.monotonic()

        found = client.headers([], 10, wait_s=20.0)

        assert len(found) == 1
        assert time.monotonic() - began < 10.0


def test_a_follower_waits_no_longer_than_it_asked(network: Network) -> None:
    """Without news a follow call ends, empty, when the time it asked for is over."""
    with listening(network, CITY) as city, dialling(network, PROVINCE, CITY, city.address) as client:
        client.headers([], 500, 0.0)
        began = time.monotonic()
        found = client.headers([], 500, 0.4)

    assert found == []
    assert 0.4 <= time.monotonic() - began < 2


@settings(max_examples=25, deadline=None)
@given(offset=st.integers(0, BYTES) | st.sampled_from([CHUNK - 1, CHUNK, CHUNK + 1]))
def test_fetch_goes_on_from_any_offset(province: LineClient, segment: Segment, offset: int) -> None:
    """A fetch brings exactly the bytes from its offset to the end, in chunks of bounded size."""
    chunks = list(province.fetch(STREAM, 1, segment.ref, offset))

    assert b"".join(chunks) == segment.path.read_bytes()[offset:]
    assert max(map(len, chunks), default=0) <= CHUNK


def test_a_segment_nobody_offers_is_not_served(province: LineClient, segment: Segment) -> None:
    """A segment the caller may not see is answered as one that does not exist."""
    unknown = replace(segment.ref, sha256="f" * 64)

    with pytest.raises(CorruptionError, match="expected one the caller may see"):
        list(province.fetch(STREAM, 1, unknown, 0))


@pytest.mark.parametrize("minutes", [-3, 0, 90], ids=["behind", "equal", "ahead"])
def test_the_offset_of_clocks_is_measured(network: Network, minutes: int) -> None:
    """Every hello measures how far the neighbour's clock is from ours."""
    shifted = timedelta(minutes=minutes)
    with (
        listening(network, CITY, now=lambda: utc_now() + shifted) as city,
        dialling(network, PROVINCE, CITY, city.address) as client,
    ):
        client.headers([], 500, 0.0)

    assert client.clock_offset_s == pytest.approx(shifted.total_seconds(), abs=3)


def test_a_connection_proves_itself_again_when_it_is_old(network: Network) -> None:
    """A connection older than its limit is made anew, and the neighbour challenged again."""
    short = replace(LIMITS, connection_age_s=0.3)
    with (
        listening(network, CITY) as city,
        dialling(network, PROVINCE, CITY, city.address, limits=short) as client,
    ):
        first = client._ready()
        assert client._ready() is first
        time.sleep(0.3)

        assert client._ready() is not first


def test_an_address_that_is_taken_is_named(network: Network) -> None:
    """A listener whose address is taken does not start, and its error names the address."""
    with listening(network, CITY) as first:
        refusal = pytest.raises(LocalError, match=f"line listener {first.address}: expected a free address")

        with refusal, listening(network, CITY, address=first.address):
            pass
