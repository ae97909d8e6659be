"""The listener of the line: serves this zone's journal to the neighbours the topology names.

Lives on an asyncio loop in a thread of its own; blocking reads go to a bounded pool.
Every call starts with `CallerCheck`; a refused caller is told why in one line and
reported to the observer. Bulk is rationed per peer, so that one starves no other.
"""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Protocol

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from jinbao.link.caller import Caller, CallerCheck
from jinbao.link.hello import NONCE_BYTES, VERSION, challenge
from jinbao.link.limits import LinkLimits
from jinbao.link.standing import Standing
from jinbao.model.batch import SealedBatch
from jinbao.model.errors import JinbaoError, LocalError, PeerError
from jinbao.model.stream import Mark, StreamId
from jinbao.model.zone import Endpoint
from jinbao.trust.encoding import envelope_message, mark_of, stream_of
from jinbao.wire.gen.jinbao.wire.v1 import wire_pb2 as wire

SERVICE = "jinbao.wire.v1.LineService"


class Offer(Protocol):
    """What callers may take: the journal's counter."""

    def headers(self, caller: Endpoint, marks: Sequence[Mark], limit: int) -> list[SealedBatch]:
        """Batches beyond the marks that the caller may see."""
        ...

    def open_segment(self, caller: Endpoint, stream: StreamId, seq: int, sha256: str) -> Path | None:
        """The file of a segment the caller may see, or None."""
        ...


class LineServer:
    """One listener; `start` binds it or says why it cannot, `stop` ends it within its grace."""

    def __init__(
        self,
        standing: Standing,
        address: str,
        *,
        counter: Offer,
        standards: Sequence[str],
        refused: Callable[[str, JinbaoError], None],
        limits: LinkLimits,
    ) -> None:
        self._standing, self._address, self._counter = standing, address, counter
        self._check = CallerCheck(
            standing.me, book=standing.book, topology=standing.topology, now=standing.now
        )
        self._standards, self._refused, self._limits = tuple(standards), refused, limits
        self._loop = asyncio.new_event_loop()
        self._pool = ThreadPoolExecutor(limits.workers_max, thread_name_prefix="line-read")
        self._thread = threading.Thread(target=self._loop.run_forever, name="line-server", daemon=True)
        self._fetches: Counter[Endpoint] = Counter()
        self._news: asyncio.Condition | None = None
        self._server: grpc.aio.Server | None = None
        self.port = 0

    def start(self) -> None:
        """Bind and serve; raises LocalError when the address is taken."""
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._start(), self._loop).result(self._limits.call_s)

    async def _start(self) -> None:
        self._news = asyncio.Condition()
        limits = self._limits
        server = grpc.aio.server(
            options=[
                ("grpc.so_reuseport", 0),
                ("grpc.max_receive_message_length", limits.message_bytes_max),
                ("grpc.server_handshake_timeout_ms", int(limits.handshake_s * 1000)),
                ("grpc.max_connection_age_ms", int(limits.connection_age_s * 1000)),
                ("grpc.max_connection_age_grace_ms", int(limits.call_s * 1000)),
                ("grpc.keepalive_time_ms", int(limits.keepalive_s * 1000)),
                ("grpc.http2.min_ping_interval_without_data_ms", 5000),
                ("grpc.compression_enabled_algorithms_bitset", 1),
            ]
        )
        server.add_generic_rpc_handlers((self._handlers(),))
        checks = health.aio.HealthServicer()  # type: ignore[attr-defined]  # stubs lack it
        health_pb2_grpc.add_HealthServicer_to_server(checks, server)
        try:
            self.port = server.add_secure_port(self._address, self._tls())
        except RuntimeError as exc:
            raise LocalError(
                f"line listener {self._address}",
                expected="a free address",
                got=str(exc),
                next_step="stop what listens there, or change the address in topology and settings",
            ) from exc
        await server.start()
        await checks.set("", health_pb2.HealthCheckResponse.SERVING)
        self._server = server

    def _tls(self) -> grpc.ServerCredentials:
        standing = self._standing

        def configuration() -> grpc.ServerCertificateConfiguration:
            mine = standing.identity()
            pair = (mine.pem("key.pem"), mine.pem("chain.pem"))
            return grpc.ssl_server_certificate_configuration([pair], standing.anchors_of(standing.callers()))

        return grpc.dynamic_ssl_server_credentials(
            configuration(), configuration, require_client_authentication=True
        )

    def _handlers(self) -> grpc.GenericRpcHandler[Any, Any]:
        methods = {
            "Hello": grpc.unary_unary_rpc_method_handler(
                self._hello, wire.HelloRequest.FromString, wire.HelloResponse.SerializeToString
            ),
            "Follow": grpc.unary_stream_rpc_method_handler(
                self._follow, wire.FollowRequest.FromString, wire.Envelope.SerializeToString
            ),
            "Fetch": grpc.unary_stream_rpc_method_handler(
                self._fetch, wire.FetchRequest.FromString, wire.Chunk.SerializeToString
            ),
        }
        return grpc.method_handlers_generic_handler(SERVICE, methods)

    async def _caller(
        self, context: grpc.aio.ServicerContext[Any, Any], known: Caller | None = None
    ) -> Caller:
        """The proved caller, or the one that was `known`, proved again; anything else is refused, told and recorded."""
        try:
            return self._check.again(known) if known else self._check.identify(context.auth_context())
        except PeerError as exc:
            self._refused(context.peer(), exc)
            await context.abort(grpc.StatusCode.PERMISSION_DENIED, str(exc))
            raise AssertionError from exc  # abort raises

    async def _blocking(self, call: Callable[[], Any]) -> Any:
        return await self._loop.run_in_executor(self._pool, call)

    async def _hello(
        self, request: wire.HelloRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> wire.HelloResponse:
        await self._learn(request, context)
        caller = await self._caller(context)
        if len(request.nonce) != NONCE_BYTES:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, f"nonce: expected {NONCE_BYTES} bytes")
        if VERSION not in request.versions:
            spoken = ", ".join(request.versions)[:80] or "none"
            await context.abort(
                grpc.StatusCode.FAILED_PRECONDITION, f"versions: expected {VERSION}, got {spoken}"
            )
        standing, mine = self._standing, self._standing.identity()
        return wire.HelloResponse(
            version=VERSION,
            endpoint=str(standing.me),
            suite=mine.suite,
            signature=mine.sign(challenge(request.nonce, standing.me, caller.endpoint)),
            certificates=mine.certificates,
            standards=self._standards,
            now=standing.now().isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            trust=standing.staple(),
        )

    async def _learn(self, request: wire.HelloRequest, context: grpc.aio.ServicerContext[Any, Any]) -> None:
        """Take the lists a caller brings before it is judged by them: they prove themselves (clause 1.6)."""
        documents = list(request.trust)
        if not documents:
            return
        try:
            await self._blocking(lambda: self._standing.learn(documents, None))
        except PeerError as exc:
            self._refused(context.peer(), exc)
            await context.abort(grpc.StatusCode.PERMISSION_DENIED, str(exc))

    async def _follow(
        self, request: wire.FollowRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> AsyncIterator[wire.Envelope]:
        """Answer with what is beyond the marks; wait for news at most as long as was asked."""
        caller = await self._caller(context)
        try:
            marks = [mark_of(mark) for mark in request.marks]
        except PeerError as exc:
            self._refused(context.peer(), exc)
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(exc))
        peer = caller.endpoint
        limit = min(request.limit or self._limits.headers_max, self._limits.headers_max)
        wait_s = min(request.wait_ms / 1000, self._limits.follow_wait_s_max)
        deadline = self._loop.time() + wait_s
        while True:
            found: list[SealedBatch] = await self._blocking(lambda: self._counter.headers(peer, marks, limit))
            caller = await self._caller(context, caller)
            for sealed in found:
                yield envelope_message(sealed)
            if found or not await self._news_before(deadline):
                return

    async def _news_before(self, deadline: float) -> bool:
        """Whether something new was journalled before the loop's time `deadline`."""
        assert self._news is not None
        left = deadline - self._loop.time()
        if left <= 0:
            return False
        async with self._news:
            try:
                await asyncio.wait_for(self._news.wait(), left)
            except TimeoutError:
                return False
        return True

    async def _fetch(
        self, request: wire.FetchRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> AsyncIterator[wire.Chunk]:
        caller = await self._caller(context)
        peer = caller.endpoint
        if self._fetches[peer] >= self._limits.fetches_per_peer_max:
            most = f"at most {self._limits.fetches_per_peer_max} at once"
            await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, f"fetches: expected {most}")
        self._fetches[peer] += 1
        try:
            async for chunk in self._chunks(caller, request, context):
                yield chunk
        finally:
            self._fetches[peer] -= 1

    async def _chunks(
        self, caller: Caller, request: wire.FetchRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> AsyncIterator[wire.Chunk]:
        try:
            stream = stream_of(request.stream)
            path = await self._blocking(
                lambda: self._counter.open_segment(caller.endpoint, stream, request.seq, request.sha256)
            )
        except JinbaoError as exc:
            self._refused(context.peer(), exc)
            await context.abort(grpc.StatusCode.DATA_LOSS, f"segment: expected to be served, got {exc.code}")
        if path is None:
            await context.abort(grpc.StatusCode.NOT_FOUND, "segment: expected one the caller may see")
        with path.open("rb") as file:
            file.seek(request.offset)
            while body := await self._blocking(lambda: file.read(self._limits.chunk_bytes)):
                caller = await self._caller(context, caller)
                yield wire.Chunk(body=body)

    def wake(self) -> None:
        """Tell live followers that there is news; from any thread."""
        if self._loop.is_running():
            asyncio.run_coroutine_threadsafe(self._announce(), self._loop)

    async def _announce(self) -> None:
        if self._news is not None:
            async with self._news:
                self._news.notify_all()

    def stop(self, grace_s: float = 2.0) -> None:
        """End all calls within the grace and free the address."""
        if self._server is not None:
            ending = asyncio.run_coroutine_threadsafe(self._end(self._server, grace_s), self._loop)
            ending.result(grace_s + self._limits.call_s)
        self._loop.call_soon_threadsafe(self._loop.stop)
        if self._thread.is_alive():
            self._thread.join()
        self._loop.close()
        self._pool.shutdown(wait=False, cancel_futures=True)

    @staticmethod
    async def _end(server: grpc.aio.Server, grace_s: float) -> None:
        """Stop the server, then whatever still runs on its loop."""
        await server.stop(grace_s)
        rest = asyncio.all_tasks() - {asyncio.current_task()}
        for task in rest:
            task.cancel()
        await asyncio.gather(*rest, return_exceptions=True)
