"""What trust costs: identity checks and seals beside fetching and accepting a segment, and what an idle peer weighs.

Prints, judges nothing. A city serves a segment of 65 536 rows of 40 columns over real mutual
TLS on loopback; its province fetches and accepts it. CPU-seconds are of this process, which
is both ends. Then a listener in a process of its own gets so many idle followers, each with
its own certificate; and while they wait, one more neighbour hammers it and another fetches,
the listener on one core and all callers on the other.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

import grpc
import numpy as np
import polars as pl
import psutil

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.link.parts import (
    CITY,
    LIMITS,
    PROVINCE,
    STREAM,
    Network,
    Window,
    batches,
    dialling,
    listening,
    random_file,
)

from jinbao.appliance.network import DEMO_NODES, PlannedNode, make_network, plan_topology
from jinbao.authority.demo import DemoAuthorities
from jinbao.authority.identity_files import load_identity
from jinbao.journal.segments import SegmentShelf, hash_of
from jinbao.link.caller import CallerCheck
from jinbao.link.client import LineClient
from jinbao.link.server import SERVICE, LineServer
from jinbao.link.standing import Standing
from jinbao.model.batch import Header, Kind, SegmentRef
from jinbao.model.errors import JinbaoError
from jinbao.model.stream import Mark
from jinbao.model.zone import Endpoint, Tier, Zone
from jinbao.store.files import Files
from jinbao.trust.book import TrustBook
from jinbao.trust.envelope import seal
from jinbao.trust.identity import dns_name
from jinbao.trust.verify import Verifier
from jinbao.wire.gen.jinbao.wire.v1 import wire_pb2 as wire

ROWS, COLUMNS, FETCHES, CHECKS, SEALS = 65_536, 40, 10, 5_000, 500
PEERS, IDLE_S = 502, 10.0
GOOD, HOSTILE = f"14{PEERS - 1:04d}", f"14{PEERS:04d}"
"""The last two are not idle: one fetches, one hammers."""


def cpu(act: Callable[[], object], times: int) -> float:
    """CPU-seconds of one of so many."""
    began = time.process_time()
    for _ in range(times):
        act()
    return (time.process_time() - began) / times


def segment(directory: Path) -> tuple[SegmentRef, Path]:
    """A segment of numbers that compress as records do, about half."""
    rng = np.random.default_rng(1)
    frame = pl.DataFrame({f"C{n:02d}": rng.integers(0, 100_000, ROWS) for n in range(COLUMNS)})
    shelf = SegmentShelf(directory, Files())
    sha256, size = shelf.write(frame)
    return SegmentRef("person", sha256, size, ROWS), shelf.path(sha256)


def costs(network: Network, directory: Path) -> None:
    """Checks and seals beside fetching and accepting."""
    ref, path = segment(directory / "offered")
    window = Window(batches(network.identity(CITY), 1, ref), {ref.sha256: path})
    with (
        listening(network, CITY, window) as server,
        dialling(network, PROVINCE, CITY, server.address) as client,
    ):

        def accept() -> None:
            with tempfile.TemporaryDirectory() as scratch:
                shelf = SegmentShelf(Path(scratch), Files())
                shelf.receive(ref, lambda offset: client.fetch(STREAM, 1, ref, offset))

        accept()
        whole = cpu(accept, FETCHES)
    identity = network.identity(PROVINCE)
    book = TrustBook.of(identity.anchors, identity.trust)
    check = CallerCheck(
        CITY, book=lambda: book, topology=lambda: network.topology, now=lambda: datetime.now(UTC)
    )
    chain = [identity.pem("chain.pem")]
    session = {"x509_pem_cert": chain[:1], "ssl_tls_version": [b"TLSv1.3"]}
    first, again = cpu(lambda: _fresh(check, session), 200), cpu(lambda: check.identify(session), CHECKS)
    chunks = ref.bytes // LIMITS.chunk_bytes + 1
    checks = (1 + chunks) * again
    mine = network.identity(CITY)
    header = Header(STREAM, 1, "1" * 32, 1, "", Kind.CHANGE, datetime.now(UTC).isoformat(), segments=(ref,))
    verifier = Verifier(lambda: book, lambda: network.topology, lambda: datetime.now(UTC))
    sealed = seal(header, mine)
    seals = cpu(lambda: verifier.verify(seal(header, mine), Mark), SEALS)
    assert verifier.verify(sealed, Mark) is not None
    print(f"fetch and accept {ROWS} rows, {ref.bytes >> 20} MiB: {whole * 1000:.1f} ms of CPU")
    print(f"identity: first look {first * 1e6:.0f} us, again {again * 1e6:.1f} us, {1 + chunks} a fetch")
    print(f"  ratio to fetch and accept: {checks / whole:.4f}  (goal <= 0.03)")
    print(f"seal and verify a header: {seals * 1e6:.0f} us")
    print(f"  ratio to fetch and accept: {seals / whole:.4f}  (goal <= 0.02)")


def _fresh(check: CallerCheck, session: dict[str, list[bytes]]) -> None:
    check._known.clear()  # noqa: SLF001  # what a verdict costs that is not remembered
    check.identify(session)


def plan(directory: Path) -> tuple[list[PlannedNode], Path]:
    """A province with many cities."""
    cities = [
        PlannedNode(f"14{n:04d}", f"市{n}", f"City {n}", Tier.CITY, "140000") for n in range(1, PEERS + 1)
    ]
    return [*DEMO_NODES[:2], *cities], directory


def standing(directory: Path, me: Endpoint) -> Standing:
    """What one zone of the large network stands on."""
    nodes, _ = plan(directory)
    topology, identity = plan_topology(nodes), load_identity(directory / me.node)
    book = TrustBook.of(identity.anchors, identity.trust)
    return Standing(
        me, lambda: identity, lambda: book, lambda: topology, lambda: datetime.now(UTC), lambda *_: None
    )


def serve(directory: Path) -> None:
    """The province's listener; says its port, then waits to be ended."""
    file = directory / "segment"
    window = Window([None], {hash_of(file)[0]: file})  # type: ignore[list-item]  # only its place is asked for
    server = LineServer(
        standing(directory, PROVINCE),
        "127.0.0.1:0",
        counter=window,
        standards=(),
        refused=lambda *_: None,
        limits=LIMITS,
    )
    server.start()
    print(server.port, flush=True)
    sys.stdin.read()


def caller(directory: Path, node: str, address: str) -> LineClient:
    """A city's client of the province."""
    return LineClient(standing(directory, Endpoint(node, Zone.EXCHANGE)), PROVINCE, address, limits=LIMITS)


def fetch(directory: Path, address: str) -> None:
    """Fetch the segment a few times; prints the CPU-seconds of one megabyte."""
    file = directory / "segment"
    ref, client = SegmentRef("person", *hash_of(file), rows=1), caller(directory, GOOD, address)
    sum(map(len, client.fetch(STREAM, 1, ref, 0)))
    spent = cpu(lambda: sum(map(len, client.fetch(STREAM, 1, ref, 0))), FETCHES)
    print(spent / (ref.bytes / 1e6))
    client.close()


def hammer(directory: Path, address: str) -> None:
    """Fetch without rest and drop every answer, until ended."""
    file = directory / "segment"
    ref, client = SegmentRef("person", *hash_of(file), rows=1), caller(directory, HOSTILE, address)
    while True:
        try:
            next(iter(client.fetch(STREAM, 1, ref, 0)))
        except JinbaoError:
            continue


def alone_and_beside(directory: Path, address: str) -> tuple[float, float]:
    """CPU-seconds a megabyte costs a good peer, alone and beside one that hammers; all callers on the second core."""
    first = _called("fetch", directory, address)
    with subprocess.Popen([sys.executable, __file__, "hammer", str(directory), address]) as process:
        psutil.Process(process.pid).cpu_affinity([1])
        time.sleep(3.0)
        second = _called("fetch", directory, address)
        process.kill()
    return first, second


def _called(what: str, directory: Path, address: str) -> float:
    command = ["taskset", "-c", "1", sys.executable, __file__, what, str(directory), address]
    return min(
        float(subprocess.run(command, capture_output=True, text=True, check=True).stdout) for _ in range(3)
    )


@contextmanager
def listener(directory: Path) -> Iterator[tuple[str, psutil.Process]]:
    """The province in a process of its own."""
    command = [sys.executable, __file__, "serve", str(directory)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield f"127.0.0.1:{process.stdout.readline().strip()}", psutil.Process(process.pid)
        process.terminate()


def idle(directory: Path) -> None:
    """Memory and CPU of a listener whose followers wait for news."""
    nodes, _ = plan(directory)
    directory.mkdir()
    random_file(directory / "segment", 16 << 20)
    topology, authorities = plan_topology(nodes), DemoAuthorities()
    for node in nodes[1:]:
        authorities.issue(Endpoint(node.node, Zone.EXCHANGE), topology, directory / node.node)
    request = wire.FollowRequest(wait_ms=20_000)
    with listener(directory) as (address, process), ExitStack() as opened:
        figures = []
        for at, node in enumerate(nodes[2:-2]):
            if at in {0, PEERS // 2}:
                figures.append((at, process.memory_info().rss))
            identity = load_identity(directory / node.node)
            tls = grpc.ssl_channel_credentials(
                *(identity.pem(n) for n in ("anchors.pem", "key.pem", "chain.pem"))
            )
            options = [
                ("grpc.ssl_target_name_override", dns_name(PROVINCE)),
                ("grpc.use_local_subchannel_pool", 1),
            ]
            channel = opened.enter_context(grpc.secure_channel(address, tls, options=options))
            grpc.channel_ready_future(channel).result(20)
            channel.unary_stream(
                f"/{SERVICE}/Follow", wire.FollowRequest.SerializeToString, wire.Envelope.FromString
            )(request)
        time.sleep(1.0)
        figures.append((PEERS - 2, process.memory_info().rss))
        before = sum(process.cpu_times()[:2])
        time.sleep(IDLE_S)
        spent = sum(process.cpu_times()[:2]) - before
        process.cpu_affinity([0])
        alone, beside = alone_and_beside(directory, address)
    halves = [(b[1] - a[1]) / (b[0] - a[0]) / 1024 for a, b in pairwise(figures)]
    print(f"{PEERS - 2} idle followers on one process, each with its own certificate:")
    print(f"  {halves[0]:.0f} KiB a peer, then {halves[1]:.0f}: ratio {halves[1] / halves[0]:.2f}")
    print(f"  {spent / IDLE_S / (PEERS - 2) * 100:.4f} % of a core a peer")
    print(f"one more that hammers: a good peer's CPU per fetched MB is {beside / alone:.3f} times that alone")
    print(f"  ({alone * 1000:.2f} and {beside * 1000:.2f} ms; goal <= 1.10)")


def main() -> None:
    """Costs, then weight."""
    if len(sys.argv) > 1:
        what, *given = sys.argv[1:]
        {"serve": serve, "fetch": fetch, "hammer": hammer}[what](Path(given[0]), *given[1:])
        return
    with tempfile.TemporaryDirectory() as scratch:
        directory = Path(scratch)
        topology, _ = make_network(directory / "network", DEMO_NODES)
        costs(Network(directory / "network", topology), directory)
        idle(directory / "many")


if __name__ == "__main__":
    main()
