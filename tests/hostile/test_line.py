"""Hostile neighbours of the line: messages too large, bombs, silence, trickles, hammers; the others are served."""

from __future__ import annotations

import os
import socket
import ssl
import threading
import time
import zlib
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

import grpc
import psutil
import pytest
from tests.link import raw_call
from tests.link.parts import (
    CITY,
    LIMITS,
    PROVINCE,
    STREAM,
    Listening,
    Network,
    Window,
    batches,
    channel,
    dialling,
    listening,
    random_file,
)

from jinbao.link.limits import LinkLimits
from jinbao.link.quota import FETCH, PeerQuota, QuotaError
from jinbao.link.server import SERVICE
from jinbao.model.batch import SegmentRef
from jinbao.model.zone import Endpoint, Zone
from jinbao.trust.encoding import stream_message
from jinbao.wire.gen.jinbao.wire.v1 import wire_pb2 as wire

PRODUCTION = Endpoint(CITY.node, Zone.PRODUCTION)
SHORT = replace(LIMITS, handshake_s=1.0, request_s=1.0, call_s=1.0, line_bytes_per_s_min=5e5)
MiB = 1 << 20
FOLLOW, FETCHES = f"/{SERVICE}/Follow", f"/{SERVICE}/Fetch"


@contextmanager
def offering(
    network: Network, directory: Path, size: int, limits: LinkLimits
) -> Iterator[tuple[Listening, SegmentRef]]:
    """A city that offers one segment of so many bytes."""
    path = directory / "segment"
    ref = replace(random_file(path, 1), bytes=size)
    os.truncate(path, size)
    offer = Window(batches(network.identity(CITY), 1), {ref.sha256: path})
    with listening(network, CITY, offer, limits=limits) as server:
        yield server, ref


def request(ref: SegmentRef) -> bytes:
    """A fetch of a whole segment."""
    return wire.FetchRequest(stream=stream_message(STREAM), seq=1, sha256=ref.sha256).SerializeToString()


def resident() -> int:
    """Bytes of memory this process, and so the server in it, holds."""
    return psutil.Process().memory_info().rss


# Row 42: messages.


@pytest.mark.fault_row(42)
def test_a_message_beyond_the_limit_is_refused(network: Network) -> None:
    """Five megabytes where a request fits in four end the call; the next one is answered."""
    with listening(network, CITY) as server, channel(network, PROVINCE, CITY, server.address) as opened:
        call = opened.unary_stream(FOLLOW)
        with pytest.raises(grpc.RpcError) as caught:
            list(call(b"\x0a" + b"\xff\xff\xff\x02" + bytes(5 * MiB), timeout=10))

        assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert list(call(b"", timeout=10)) == []


@pytest.mark.fault_row(42)
def test_a_message_within_the_limit_is_read(network: Network) -> None:
    """With the limit above it the same message arrives, and is refused for what it says instead."""
    wide = replace(LIMITS, request_bytes_max=8 * MiB)
    with (
        listening(network, CITY, limits=wide) as server,
        channel(network, PROVINCE, CITY, server.address) as opened,
        pytest.raises(grpc.RpcError) as caught,
    ):
        list(opened.unary_stream(FOLLOW)(b"\x0a" + b"\xff\xff\xff\x02" + bytes(5 * MiB), timeout=10))

    assert caught.value.code() is not grpc.StatusCode.RESOURCE_EXHAUSTED


def gzip_bomb(size: int) -> bytes:
    """So many zeros, a thousandth of it."""
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    return b"".join(packer.compress(bytes(MiB)) for _ in range(size // MiB)) + packer.flush()


@pytest.mark.fault_row(42)
def test_a_packed_bomb_is_not_unpacked(network: Network) -> None:
    """A gzip message of 600 MB in 600 KB ends the call without a byte of it being unpacked."""
    bomb = gzip_bomb(600 * MiB)
    with listening(network, CITY) as server, listening_memory() as grown:
        with raw_call.dialled(server.address, network.identity(PROVINCE), ssl.TLSVersion.TLSv1_3) as opened:
            opened.settimeout(20)
            opened.sendall(raw_call.opening(FOLLOW, grpc_encoding="gzip"))
            answer = threading.Thread(target=raw_call.answer, args=(opened,))
            answer.start()
            send_in_frames(opened, b"\x01" + len(bomb).to_bytes(4, "big") + bomb)
            answer.join(20)

        assert grown() < 64 * MiB
        with dialling(network, PROVINCE, CITY, server.address) as client:
            assert client.headers([], 10, 0.0) == []


@pytest.mark.fault_row(42)
def test_a_packed_message_is_refused_whatever_is_in_it(network: Network) -> None:
    """Even a small packed message ends its call: the contract has none, so nothing is ever unpacked."""
    content = wire.FollowRequest(marks=[wire.Mark(head="0" * 64)] * 50).SerializeToString()
    with (
        listening(network, CITY) as server,
        channel(network, PROVINCE, CITY, server.address) as opened,
        pytest.raises(grpc.RpcError) as caught,
    ):
        list(opened.unary_stream(FOLLOW)(content, timeout=10, compression=grpc.Compression.Gzip))

    assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED


@contextmanager
def listening_memory() -> Iterator[object]:
    """How much more memory is held than at the beginning, at most, so far."""
    before, most = resident(), [0]
    stopped = threading.Event()

    def watch() -> None:
        while not stopped.wait(0.02):
            most[0] = max(most[0], resident() - before)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield lambda: most[0]
    finally:
        stopped.set()
        watcher.join()


def send_in_frames(opened: ssl.SSLSocket, content: bytes) -> None:
    """Send as much of a message as the other side lets through."""
    try:
        for at in range(0, len(content), 16_000):
            opened.sendall(raw_call.part(content[at : at + 16_000]))
    except OSError:
        pass  # the other side has heard enough


# Row 49: silence and trickles.


@pytest.mark.fault_row(49)
def test_silent_connections_end_and_starve_nobody(network: Network, tmp_path: Path) -> None:
    """Three hundred connections that say nothing are closed in time; a neighbour fetches meanwhile."""
    with offering(network, tmp_path, 8 * MiB, SHORT) as (server, ref), ExitStack() as stack:
        host, _, port = server.address.rpartition(":")
        silent = [stack.enter_context(socket.create_connection((host, int(port)), 10)) for _ in range(300)]
        with dialling(network, PROVINCE, CITY, server.address) as client:
            got = sum(len(chunk) for chunk in client.fetch(STREAM, 1, ref, 0))

        assert got == 8 * MiB
        for one in silent:
            one.settimeout(30)
            assert one.recv(1) == b""


def trickle(opened: ssl.SSLSocket, stopped: threading.Event) -> bytes:
    """Send a byte of a request at a time until the call is ended; what came back."""
    opened.sendall(raw_call.opening(FOLLOW) + raw_call.part(b"\0" + (1000).to_bytes(4, "big")))
    opened.settimeout(0.2)
    got = b""
    while not stopped.is_set() and b"grpc-status" not in got:
        try:
            opened.sendall(raw_call.part(b"\x0a"))
            got += opened.recv(1 << 16)
        except TimeoutError:
            continue
        except OSError:
            break
    return got


@pytest.mark.fault_row(49)
def test_a_request_that_never_ends_is_cut_off(network: Network, tmp_path: Path) -> None:
    """Eight uploads that trickle are ended in time, each one, while another neighbour is served."""
    ended: list[bytes] = []
    stopped = threading.Event()

    def upload(address: str) -> None:
        with raw_call.dialled(address, network.identity(PRODUCTION), ssl.TLSVersion.TLSv1_3) as opened:
            ended.append(trickle(opened, stopped))

    with offering(network, tmp_path, 4 * MiB, replace(SHORT, follows_per_peer_max=8)) as (server, ref):
        uploads = [threading.Thread(target=upload, args=(server.address,)) for _ in range(8)]
        for one in uploads:
            one.start()
        with dialling(network, PROVINCE, CITY, server.address) as client:
            got = sum(len(chunk) for chunk in client.fetch(STREAM, 1, ref, 0))
        by = time.monotonic() + 30
        for one in uploads:
            one.join(max(0.0, by - time.monotonic()))
        stopped.set()

        assert got == 4 * MiB
        assert len(ended) == 8
        assert all(b"expected a request within 1 s" in said for said in ended)
        deadline = time.monotonic() + 20
        while server.server._quota.running(PRODUCTION, "follows") and time.monotonic() < deadline:
            time.sleep(0.05)
        assert server.server._quota.running(PRODUCTION, "follows") == 0


@pytest.mark.fault_row(49)
def test_a_reader_that_takes_nothing_is_cut_off(network: Network, tmp_path: Path) -> None:
    """A fetch whose answer nobody reads gives its place back after the time of a call."""
    limits = replace(SHORT, fetches_per_peer_max=1)
    with (
        offering(network, tmp_path, 64 * MiB, limits) as (server, ref),
        raw_call.dialled(server.address, network.identity(PROVINCE), ssl.TLSVersion.TLSv1_3) as opened,
    ):
        opened.sendall(raw_call.opening(FETCHES) + raw_call.message_frame(request(ref)))
        began = time.monotonic()
        places = [server.server._quota.running(PROVINCE, FETCH)]
        while time.monotonic() < began + 10 and (places[-1] or 1 not in places):
            time.sleep(0.05)
            places.append(server.server._quota.running(PROVINCE, FETCH))

        assert 1 in places
        assert places[-1] == 0
        with dialling(network, PROVINCE, CITY, server.address) as client:
            assert next(client.fetch(STREAM, 1, ref, 63 * MiB))


def hammer(
    network: Network,
    address: str,
    ref: SegmentRef,
    stopped: threading.Event,
    codes: Counter[grpc.StatusCode | None],
) -> None:
    """Fetch without reading much, again and again, as fast as the other side allows."""
    with channel(network, PRODUCTION, CITY, address) as opened:
        call = opened.unary_stream(FETCHES)
        while not stopped.is_set():
            running = [call(request(ref), timeout=5) for _ in range(8)]
            for one in running:
                try:
                    next(one)
                    codes[None] += 1
                except grpc.RpcError:
                    codes[one.code()] += 1
                one.cancel()


@pytest.mark.fault_row(49)
def test_a_neighbour_that_hammers_starves_itself_alone(network: Network, tmp_path: Path) -> None:
    """While one neighbour calls without rest, another's whole fetch arrives; the first is told its own limit."""
    codes: Counter[grpc.StatusCode | None] = Counter()
    stopped = threading.Event()
    with offering(network, tmp_path, 16 * MiB, replace(LIMITS, fetches_per_peer_max=2)) as (server, ref):
        hammers = [
            threading.Thread(target=hammer, args=(network, server.address, ref, stopped, codes))
            for _ in range(3)
        ]
        for one in hammers:
            one.start()
        try:
            with dialling(network, PROVINCE, CITY, server.address) as client:
                for _ in range(3):
                    assert sum(len(chunk) for chunk in client.fetch(STREAM, 1, ref, 0)) == 16 * MiB
        finally:
            stopped.set()
            for one in hammers:
                one.join(20)

    assert codes[grpc.StatusCode.RESOURCE_EXHAUSTED] > 0
    assert server.server._quota.running(PROVINCE, FETCH) == 0


def test_a_quota_is_each_peers_own() -> None:
    """Places, turns and reads of one peer say nothing of another's; with no limit nobody is refused."""
    import asyncio
    from concurrent.futures import ThreadPoolExecutor

    async def places(most: int) -> list[str]:
        said = []
        with ThreadPoolExecutor(4) as pool:
            limits = LinkLimits(fetches_per_peer_max=most, refusal_s=0.01)
            quota = PeerQuota(limits, pool, asyncio.get_running_loop().time)
            async with quota.place(PRODUCTION, FETCH):
                for peer in (PRODUCTION, PROVINCE):
                    try:
                        async with quota.place(peer, FETCH):
                            said.append(await quota.read(peer, lambda: "read"))
                    except QuotaError as exc:
                        said.append(str(exc))
        return said

    assert asyncio.run(places(1)) == ["fetches: expected at most 1 at once, got 2", "read"]
    assert asyncio.run(places(9)) == ["read", "read"]


def test_a_pace_lets_a_burst_through_and_then_waits() -> None:
    """A peer that was quiet makes its burst at once; what comes after waits its turn."""
    import asyncio
    from concurrent.futures import ThreadPoolExecutor

    async def took(calls: int) -> float:
        with ThreadPoolExecutor(1) as pool:
            limits = LinkLimits(calls_per_s_max=50, calls_burst=20)
            clock = asyncio.get_running_loop().time
            quota = PeerQuota(limits, pool, clock)
            began = clock()
            for _ in range(calls):
                async with quota.place(PROVINCE, FETCH):
                    pass
            return clock() - began

    assert asyncio.run(took(20)) < 0.2
    assert 0.15 < asyncio.run(took(30)) < 2
