"""Lines that are bad and not dead: lossy, late, slow, or dead one by one and alive again in another order."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import pytest
from tests.link.parts import (
    CITY,
    LIMITS,
    MINISTRY,
    PROVINCE,
    SIBLING,
    STREAM,
    Network,
    Window,
    batches,
    dialling,
    listening,
    random_file,
)
from tests.link.wires import Wire, wire
from tests.link.zones import TOPICS, Zones, accepted, seal, zones
from tests.servers import await_

from jinbao.flow.pace import Pace, PaceLimits, Worker
from jinbao.journal.segments import SegmentShelf
from jinbao.link.client import LineClient
from jinbao.model import acts
from jinbao.model.batch import SegmentRef
from jinbao.model.errors import LinkError
from jinbao.model.stream import StreamId
from jinbao.model.zone import Endpoint
from jinbao.store.files import Files
from jinbao.trust.encoding import decode_header

LATE_S, LOST_S = 0.004, 0.2
"""Jitter of a block, and how long TCP waits before it sends a lost one again."""


def bad_weather(way: Wire, seed: int) -> None:
    """From now on three blocks of ten are lost, so that they come late, and the others come when they like."""
    rng = random.Random(seed)
    way.delay_s = lambda: LOST_S if rng.random() < 0.3 else rng.uniform(0, LATE_S)


@pytest.mark.fault_row(22)
@pytest.mark.parametrize("seed", [1, 2])
def test_a_lossy_line_is_slower_and_nothing_else(tmp_path: Path, seed: int) -> None:
    """With a third of the blocks lost, and connections that break of it, every batch arrives once and in order."""
    rng = random.Random(seed)
    with zones(tmp_path / "network", CITY, PROVINCE) as opened:
        city, province = opened[CITY], opened[PROVINCE]
        refs = seal(city, 4)
        with (
            listening(opened.network, CITY, city.counter) as server,
            wire(server.address, [rng.randint(6_000, 12_000) for _ in range(4)]) as way,
            dialling(opened.network, PROVINCE, CITY, way.address) as client,
        ):
            bad_weather(way, seed)
            for _ in range(20):
                with suppress(LinkError):
                    if province.inbound.step(client) == 0:
                        break

        assert accepted(province) == {topic: [1, 2, 3, 4] for topic in TOPICS}
        assert all(province.shelf.examine(ref.sha256, ref.bytes) is None for ref in refs)


@pytest.mark.fault_row(22)
def test_a_segment_longer_than_any_connection_lives_still_arrives(network: Network, tmp_path: Path) -> None:
    """On a line whose connections break after a quarter of a segment, what came is kept, and it ends whole."""
    size, rng = 120_000, random.Random(3)
    limits = replace(LIMITS, chunk_bytes=4096)
    path = tmp_path / "one.parquet"
    ref = random_file(path, size)
    offer = Window(batches(network.identity(CITY), 1, ref), {ref.sha256: path})
    shelf = SegmentShelf(tmp_path / "shelf", Files())
    with (
        listening(network, CITY, offer, limits=limits) as server,
        wire(server.address, [rng.randint(size // 6, size // 4) for _ in range(40)]) as way,
        dialling(network, PROVINCE, CITY, way.address, limits=limits) as client,
    ):
        bad_weather(way, 3)
        for _ in range(12):
            with suppress(LinkError):
                shelf.receive(ref, lambda offset: client.fetch(STREAM, 1, ref, offset))
            if shelf.has(ref.sha256):
                break

    assert shelf.examine(ref.sha256, ref.bytes) is None


QUICK = replace(LIMITS, call_s=1.0, line_bytes_per_s_min=2e6)
LINKS = ((CITY, PROVINCE), (SIBLING, PROVINCE), (PROVINCE, MINISTRY))
"""Who listens, and who follows there."""


@contextmanager
def following(opened: Zones) -> Iterator[list[Wire]]:
    """Every link of a small network over a wire of its own, each followed by a worker, as a zone does it."""
    with ExitStack() as stack:
        ways = []
        for at, (child, parent) in enumerate(LINKS):
            network, zone = opened.network, opened[parent]
            server = stack.enter_context(listening(network, child, opened[child].counter, limits=QUICK))
            ways.append(stack.enter_context(wire(server.address)))
            client = stack.enter_context(dialling(network, parent, child, ways[-1].address, limits=QUICK))
            pace = Pace(PaceLimits(0.05, 0.1, 0.5), random.Random(at))
            step = _stepping(opened, parent, client)
            worker = Worker(f"{child}", step, pace=pace, observer=zone.observer, on_bug=_raise)
            worker.start()
            stack.callback(worker.stop, 10)
            stack.callback(client.cancel)
            stack.callback(worker.ask_to_stop)
        yield ways


def _stepping(opened: Zones, parent: Endpoint, client: LineClient) -> Callable[[], bool]:
    return lambda: opened[parent].inbound.step(client, 0.1) > 0


def _raise(exc: BaseException) -> None:
    raise exc


@pytest.mark.fault_row(26)
@pytest.mark.parametrize("seed", [1, 2])
def test_links_that_die_one_by_one_and_heal_in_another_order_converge(tmp_path: Path, seed: int) -> None:
    """Routes are lost one after the other and come back in random order: afterwards everybody has everything, once."""
    rng = random.Random(seed)
    with zones(tmp_path / "network", CITY, SIBLING, PROVINCE, MINISTRY) as opened, following(opened) as ways:
        sealed = 0
        for act in (Wire.clog, Wire.heal):
            for way in rng.sample(ways, len(ways)):
                act(way)
                for city in (CITY, SIBLING):
                    seal(opened[city], 1)
                sealed += 1
                time.sleep(rng.uniform(0.05, 0.4))

        whole = list(range(1, sealed + 1))
        await_(lambda: all(_taken(opened, at) == [whole] * 4 for at in (PROVINCE, MINISTRY)), 15)
        assert opened[PROVINCE].index.held() == opened[MINISTRY].index.held() == {}


def _taken(opened: Zones, receiver: Endpoint) -> list[list[int]]:
    """Batches a receiver accepted of every city and topic, in its order."""
    found: dict[StreamId, list[int]] = {}
    for recorded in opened[receiver].ledger.acts(kind="accepted"):
        header = decode_header(acts.envelope_of(recorded.act.body["envelope"]).payload)
        found.setdefault(header.stream, []).append(header.seq)
    return list(found.values())


@pytest.fixture(scope="module")
def bulk(network: Network, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, SegmentRef]:
    """A segment of a chunk and a half."""
    path = tmp_path_factory.mktemp("bulk") / "one.parquet"
    return path, random_file(path, 3 << 19)


@pytest.mark.fault_row(27)
def test_a_slow_line_makes_progress_and_starves_no_small_call(
    network: Network, bulk: tuple[Path, SegmentRef], tmp_path: Path
) -> None:
    """Where a chunk takes longer than any call may, it arrives all the same, and a question is answered meanwhile.

    Ten times as fast as 256 kbit/s with a tenth of the time for a call: the shares are those of the real line.
    """
    path, ref = bulk
    limits = replace(LIMITS, call_s=3.0, line_bytes_per_s_min=160_000.0)
    offer = Window(batches(network.identity(CITY), 1, ref), {ref.sha256: path})
    shelf = SegmentShelf(tmp_path / "shelf", Files())
    answered: list[float] = []
    with (
        listening(network, CITY, offer, limits=limits) as server,
        wire(server.address) as way,
        dialling(network, PROVINCE, CITY, way.address, limits=limits) as client,
        dialling(network, PROVINCE, CITY, way.address, limits=limits) as asking,
    ):
        way.bytes_per_s = 256_000.0

        def chunks(offset: int) -> Iterator[bytes]:
            for chunk in client.fetch(STREAM, 1, ref, offset):
                began = time.monotonic()
                assert len(asking.headers([], 10, 0.0)) == 1
                answered.append(time.monotonic() - began)
                yield chunk

        began = time.monotonic()
        shelf.receive(ref, chunks)
        took_s = time.monotonic() - began

    assert shelf.examine(ref.sha256, ref.bytes) is None
    assert took_s > ref.bytes / 256_000
    assert answered
    assert max(answered) < limits.call_s / 2
