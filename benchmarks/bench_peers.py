"""What a hostile neighbour costs the others, and what examining a segment costs beside accepting it; as ratios.

Prints, judges nothing. One city serves over real mutual TLS on loopback; its province fetches a
segment again and again, first alone, then while the city's own production zone hammers the listener
from several connections. Then a segment of 65 536 rows of 40 columns is received, and examined by a
decoder in a process of its own.
"""

from __future__ import annotations

import os
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import grpc
import numpy as np
import polars as pl

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.link.parts import (  # the line's own test network
    CITY,
    LIMITS,
    PROVINCE,
    STREAM,
    Network,
    Window,
    batches,
    channel,
    dialling,
    listening,
    random_file,
)

from jinbao.appliance.network import DEMO_NODES, make_network
from jinbao.journal.decoding import InspectLimits
from jinbao.journal.inspector import DecoderProcess
from jinbao.journal.segments import SegmentShelf
from jinbao.link.client import LineClient
from jinbao.link.server import SERVICE
from jinbao.model.batch import SegmentRef
from jinbao.model.zone import Endpoint, Zone
from jinbao.store.files import Files
from jinbao.trust.encoding import stream_message
from jinbao.trust.parquet import Shape
from jinbao.wire.gen.jinbao.wire.v1 import wire_pb2 as wire

SIZE, FETCHES, HAMMERS, ROWS = 16 << 20, 10, 4, 65_536
PRODUCTION = Endpoint(CITY.node, Zone.PRODUCTION)


def rate(client: LineClient, ref: SegmentRef) -> float:
    """Bytes a second of a few whole fetches."""
    began = time.perf_counter()
    got = sum(len(chunk) for _ in range(FETCHES) for chunk in client.fetch(STREAM, 1, ref, 0))
    return got / (time.perf_counter() - began)


@contextmanager
def hammering(network: Network, address: str, ref: SegmentRef) -> Iterator[list[int]]:
    """Several connections of another neighbour that fetch without rest; how many calls they made."""
    stopped, calls = threading.Event(), [0]
    request = wire.FetchRequest(stream=stream_message(STREAM), seq=1, sha256=ref.sha256).SerializeToString()

    def hammer() -> None:
        with channel(network, PRODUCTION, CITY, address) as opened:
            call = opened.unary_stream(f"/{SERVICE}/Fetch")
            while not stopped.is_set():
                for running in [call(request, timeout=5) for _ in range(8)]:
                    calls[0] += 1
                    try:
                        next(running)
                    except grpc.RpcError:
                        continue
                    running.cancel()

    threads = [threading.Thread(target=hammer) for _ in range(HAMMERS)]
    for thread in threads:
        thread.start()
    try:
        yield calls
    finally:
        stopped.set()
        for thread in threads:
            thread.join()


def peers(directory: Path) -> None:
    """Fetch alone, then beside a hammer."""
    topology, _ = make_network(directory / "network", DEMO_NODES)
    network = Network(directory / "network", topology)
    path = directory / "segment"
    ref = replace(random_file(path, 1), bytes=SIZE)
    os.truncate(path, SIZE)
    offer = Window(batches(network.identity(CITY), 1), {ref.sha256: path})
    with (
        listening(network, CITY, offer) as server,
        dialling(network, PROVINCE, CITY, server.address, limits=LIMITS) as client,
    ):
        alone = rate(client, ref)
        with hammering(network, server.address, ref) as calls:
            beside = rate(client, ref)
    print(f"fetch alone            {alone / 1e6:8.0f} MB/s")
    print(
        f"fetch beside a hammer  {beside / 1e6:8.0f} MB/s   {beside / alone:.2f} of it; {calls[0]} hostile calls"
    )


def segment() -> pl.DataFrame:
    """Rows as a city has them: ids, names with gaps, amounts."""
    rng = np.random.default_rng(1)
    columns: dict[str, object] = {}
    columns |= {f"A{n}": [f"{x:018d}" for x in rng.integers(0, 10**17, ROWS)] for n in range(5)}
    columns |= {
        f"B{n}": [None if x % 7 == 0 else f"name {x}" for x in rng.integers(0, 50, ROWS)] for n in range(14)
    }
    columns |= {f"C{n}": rng.integers(0, 10**9, ROWS) for n in range(20)}
    return pl.DataFrame(columns | {"op": ["U"] * ROWS})


def examining(directory: Path) -> None:
    """Receive a segment, then examine it in a process of its own."""
    frame, path = segment(), directory / "rows"
    frame.write_parquet(path, compression="zstd", compression_level=1)
    content = path.read_bytes()
    taken = []
    for at in range(FETCHES):
        shelf = SegmentShelf(directory / f"shelf-{at}", Files())
        sha256 = SegmentShelf(directory / "other", Files()).add(_copy(path))[0]
        ref = SegmentRef("person", sha256, len(content), ROWS)
        began = time.perf_counter()
        shelf.receive(ref, lambda offset: iter([content[offset:]]))
        taken.append(time.perf_counter() - began)
    decoder = DecoderProcess(InspectLimits(), lambda _segment, _cause: None)
    shape = Shape(ROWS, {name: dtype == pl.String for name, dtype in frame.schema.items()})
    decoder.examine(path, shape, "")  # the start of the process is paid once
    began = time.perf_counter()
    for _ in range(FETCHES):
        decoder.examine(path, shape, "")
    examined = (time.perf_counter() - began) / FETCHES
    decoder.close()
    print(
        f"accept a segment       {sum(taken) / FETCHES * 1e3:8.1f} ms     {len(content) / 1e6:.1f} MB, {ROWS} rows"
    )
    print(
        f"examine it             {examined * 1e3:8.1f} ms     {examined / (sum(taken) / FETCHES):.1f} times that"
    )


def _copy(path: Path) -> Path:
    copy = path.with_suffix(".copy")
    copy.write_bytes(path.read_bytes())
    return copy


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as made:
        peers(Path(made))
        examining(Path(made))
