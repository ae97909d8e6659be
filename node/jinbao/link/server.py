"""The listener of the line: serves this zone's journal to the neighbours the topology names.

Lives on an asyncio loop in a thread of its own; blocking reads go to a bounded pool.
Every call starts with `CallerCheck`; a refused caller is told why in one line and
reported to the observer. Bulk is rationed per peer, so that one starves no other.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO, Protocol, TypeVar

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from jinbao.link.caller import Caller, CallerCheck
from jinbao.link.hello import NONCE_BYTES, VERSION, challenge
from jinbao.link.limits import LinkLimits
from jinbao.link.quota import FETCH, FOLLOW, HELLO, PeerQuota, QuotaError
from jinbao.link.reloading import Material, ReloadingCertificates
from jinbao.link.shaping import SLICE_S, Shaper, free_line
from jinbao.link.standing import GRANT_METADATA, OPENS_METADATA, PROOF_BYTES_MAX, Standing
from jinbao.model.batch import SealedBatch
from jinbao.model.errors import (
    CorruptionError,
    JinbaoError,
    LineClosedError,
    LocalError,
    PeerError,
    RevocationUnknownError,
    StaleEpochError,
    UnknownEpochError,
)
from jinbao.model.quoting import quoted
from jinbao.model.stream import CONTROL, Lane, Mark, StreamId
from jinbao.model.zone import Endpoint
from jinbao.trust.encoding import envelope_message, lane_of, marks_of, place_of
from jinbao.wire.gen.jinbao.wire.v1 import wire_pb2 as wire

SERVICE = "jinbao.wire.v1.LineService"

CHUNK_BYTES_MIN = 256
"""Smaller chunks than this nobody has a use for: each costs a read and a message."""

M = TypeVar("M")
Context = grpc.aio.ServicerContext[Any, Any]


class Offer(Protocol):
    """What callers may take: the journal's counter."""

    def headers(
        self, caller: Endpoint, marks: Sequence[Mark], limit: int, lane: Lane = Lane.ALL
    ) -> list[SealedBatch]:
        """Batches of a lane beyond the marks that the caller may see."""
        ...

    def returned(
        self, caller: Endpoint, marks: Sequence[Mark], limit: int, lane: Lane = Lane.ALL
    ) -> list[SealedBatch]:
        """Batches beyond the marks that had come from the caller's own node, or through it (clause 2.9)."""
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
        gives: Shaper | None = None,
        greeted: Callable[[Endpoint], None] = lambda _: None,
    ) -> None:
        """`gives`: how fast bulk may leave; without one as fast as it is taken. `greeted`: told who said hello."""
        self._standing, self._address, self._counter = standing, address, counter
        self._check = CallerCheck(
            standing.me, book=standing.book, topology=standing.topology, now=standing.now
        )
        self._standards, self._refused, self._limits = tuple(standards), refused, limits
        self._loop = asyncio.new_event_loop()
        self._pool = ThreadPoolExecutor(limits.workers_max, thread_name_prefix="line-read")
        self._thread = threading.Thread(target=self._loop.run_forever, name="line-server", daemon=True)
        self._gives, self._greeted = gives or free_line(), greeted
        self._quota = PeerQuota(limits, self._pool, self._loop.time)
        self._unjudged = asyncio.Semaphore(limits.unjudged_max)
        self._news: asyncio.Condition | None = None
        self._told = 0
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
                ("grpc.max_receive_message_length", limits.request_bytes_max),
                ("grpc.max_concurrent_streams", limits.streams_per_connection_max),
                ("grpc.server_handshake_timeout_ms", int(limits.handshake_s * 1000)),
                ("grpc.max_connection_age_ms", int(limits.connection_age_s * 1000)),
                ("grpc.max_connection_age_grace_ms", int(limits.chunk_s * 1000)),
                ("grpc.keepalive_time_ms", int(limits.keepalive_s * 1000)),
                ("grpc.keepalive_timeout_ms", int(limits.chunk_s * 1000)),
                ("grpc.http2.ping_timeout_ms", int(limits.chunk_s * 1000)),
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

        def material() -> Material:
            mine = standing.identity()
            return mine.pem("key.pem"), mine.pem("chain.pem"), standing.anchors_of(standing.callers())

        return ReloadingCertificates(material).credentials()

    def _handlers(self) -> grpc.GenericRpcHandler[Any, Any]:
        """The methods of the contract, each handled from its first byte on.

        A request is one message on the wire either way; taken as a stream it is read only
        after its caller is known, and within a time.
        """
        handler = grpc.stream_stream_rpc_method_handler
        chunk, envelope = wire.Chunk.SerializeToString, wire.Envelope.SerializeToString
        hello = wire.HelloResponse.SerializeToString
        methods = {
            "Hello": handler(self._hello, wire.HelloRequest.FromString, hello),
            "Follow": handler(self._follow, wire.FollowRequest.FromString, envelope),
            "Fetch": handler(self._fetch, wire.FetchRequest.FromString, chunk),
        }
        return grpc.method_handlers_generic_handler(SERVICE, methods)

    async def _caller(self, context: Context, known: Caller | None = None) -> Caller:
        """The proved caller, or the one that was `known`, proved again; all else is refused, told and recorded."""
        try:
            return self._check.again(known) if known else self._check.identify(context.auth_context())
        except PeerError as exc:
            self._refused(context.peer(), exc)
            await context.abort(grpc.StatusCode.PERMISSION_DENIED, str(exc), self._proof(exc))
            raise AssertionError from exc  # abort raises

    def _proof(self, exc: PeerError) -> tuple[tuple[str, bytes], ...]:
        """What shows the holder of an older epoch that its identity has another (clause 1.7)."""
        caller = exc.values.get("caller")
        grant = self._standing.proof(str(caller)) if isinstance(exc, StaleEpochError) else b""
        return ((GRANT_METADATA, grant),) if 0 < len(grant) <= PROOF_BYTES_MAX else ()

    @asynccontextmanager
    async def _served(self, context: Context, kind: str, message: type[M]) -> AsyncIterator[tuple[Caller, M]]:
        """The proved caller and its request, within its quota; whoever is neither is refused, told and recorded."""
        early = await self._documents(context) if kind == HELLO and self._lacks_documents(context) else None
        caller = await self._caller(context)
        try:
            async with self._quota.place(caller.endpoint, kind):
                request = early if isinstance(early, message) else await self._request(context, message)
                yield caller, request
        except QuotaError as exc:
            await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, str(exc))
        except PeerError as exc:
            self._refused(context.peer(), exc)
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(exc))
        except LocalError as exc:  # ours, and no word of it is the caller's: it tries again by its pace
            await context.abort(
                grpc.StatusCode.UNAVAILABLE, f"{kind}: expected a zone that can answer, got {exc.code}"
            )

    def _lacks_documents(self, context: Context) -> bool:
        """Whether a caller cannot be judged for want of a revocation list that is new enough, or of a grant."""
        try:
            self._check.identify(context.auth_context())
        except PeerError as exc:
            return isinstance(exc, RevocationUnknownError | UnknownEpochError)
        return False

    async def _documents(self, context: Context) -> wire.HelloRequest:
        """The hello of a caller nobody can judge yet, with the documents it brings taken in (clauses 1.6 and 1.7).

        TLS let it in by an authority of ours; few of them at a time, so that they starve nobody.
        """
        async with self._unjudged:
            request = await self._request(context, wire.HelloRequest)
            await self._learn(request, context)
        return request

    async def _learn(self, request: wire.HelloRequest, context: Context) -> None:
        """Take in the documents a hello brings: they prove themselves."""
        documents = list(request.trust)
        if not documents:
            return
        try:
            await self._loop.run_in_executor(self._pool, lambda: self._standing.learn(documents, None))
        except PeerError as exc:
            self._refused(context.peer(), exc)
            await context.abort(grpc.StatusCode.PERMISSION_DENIED, str(exc))

    async def _request(self, context: Context, message: type[M]) -> M:
        """The one message of a call; a caller that trickles it is cut off."""
        request: Any = None
        with suppress(TimeoutError):
            request = await asyncio.wait_for(context.read(), self._limits.request_s)
        if not isinstance(request, message):
            most = f"a request within {self._limits.request_s:g} s"
            await context.abort(grpc.StatusCode.DEADLINE_EXCEEDED, f"call: expected {most}")
        assert isinstance(request, message)  # abort raises
        return request

    async def _send(self, context: Context, message: object) -> None:
        """Send one message; a caller that takes nothing for `call_s`, or a chunk's time, is cut off."""
        limits = self._limits
        within_s = limits.chunk_s if isinstance(message, wire.Chunk) else limits.call_s
        await self._taken(context, context.write(message), within_s)

    async def _let_in(self, context: Context) -> None:
        """Tell the caller that it was let in, and waits for news alone (clause 2.12)."""
        await self._taken(context, context.send_initial_metadata(()), self._limits.call_s)

    @staticmethod
    async def _taken(context: Context, sending: Awaitable[None], within_s: float) -> None:
        try:
            await asyncio.wait_for(sending, within_s)
        except TimeoutError:
            most = f"a caller that takes it within {within_s:g} s"
            await context.abort(grpc.StatusCode.DEADLINE_EXCEEDED, f"answer: expected {most}")

    async def _hello(self, _requests: object, context: Context) -> None:
        async with self._served(context, HELLO, wire.HelloRequest) as (caller, request):
            if len(request.nonce) != NONCE_BYTES:
                await context.abort(grpc.StatusCode.INVALID_ARGUMENT, f"nonce: expected {NONCE_BYTES} bytes")
            if VERSION not in request.versions:
                spoken = quoted(", ".join(request.versions[:4])) or "none"
                await context.abort(
                    grpc.StatusCode.FAILED_PRECONDITION, f"versions: expected {VERSION}, got {spoken}"
                )
            await self._learn(request, context)
            still = await self._caller(context, caller)
            standing, mine = self._standing, self._standing.identity()
            answer = wire.HelloResponse(
                version=VERSION,
                endpoint=str(standing.me),
                suite=mine.suite,
                signature=mine.sign(challenge(request.nonce, standing.me, still.endpoint)),
                certificates=mine.certificates,
                standards=self._standards,
                now=standing.now().isoformat(timespec="milliseconds").replace("+00:00", "Z"),
                trust=standing.staple(),
            )
            await self._send(context, answer)
            self._greeted(still.endpoint)

    async def _follow(self, _requests: object, context: Context) -> None:
        """Answer with what is beyond the marks; wait for news at most as long as was asked."""
        async with self._served(context, FOLLOW, wire.FollowRequest) as (caller, request):
            peer, marks, lane = caller.endpoint, marks_of(request), lane_of(request)
            offered = self._counter.returned if request.returned else self._counter.headers
            limit = min(request.limit or self._limits.headers_max, self._limits.headers_max)
            deadline = self._loop.time() + min(request.wait_ms / 1000, self._limits.follow_wait_s_max)
            found: list[SealedBatch] = []
            is_heard = False
            while not found:
                told = self._told  # news that comes while the journal is read is not waited for again
                found = await self._quota.read(peer, lambda: offered(peer, marks, limit, lane))
                await self._caller(context, caller)
                for sealed in found:
                    await self._send(context, envelope_message(sealed))
                if not found and not is_heard:
                    await self._let_in(context)
                    is_heard = True
                if not found and not await self._news_before(deadline, told):
                    return

    async def _news_before(self, deadline: float, told: int) -> bool:
        """Whether there is news after the first `told`, before the loop's time `deadline`."""
        assert self._news is not None
        left = deadline - self._loop.time()
        if left <= 0:
            return False
        async with self._news:
            try:
                await asyncio.wait_for(self._news.wait_for(lambda: self._told != told), left)
            except TimeoutError:
                return False
        return True

    async def _fetch(self, _requests: object, context: Context) -> None:
        async with self._served(context, FETCH, wire.FetchRequest) as (caller, request):
            peer, (stream, seq, sha256, offset) = caller.endpoint, place_of(request)
            try:
                path = await self._quota.read(
                    peer, lambda: self._counter.open_segment(peer, stream, seq, sha256)
                )
            except CorruptionError as exc:
                self._refused(context.peer(), exc)
                await context.abort(
                    grpc.StatusCode.DATA_LOSS, f"segment: expected to be served, got {exc.code}"
                )
            if path is None:
                await context.abort(grpc.StatusCode.NOT_FOUND, "segment: expected one the caller may see")
            wish = request.chunk_bytes or self._limits.chunk_bytes
            most = max(CHUNK_BYTES_MIN, min(wish, self._limits.chunk_bytes))
            with path.open("rb") as file:
                file.seek(offset)
                if stream.topic in CONTROL or not self._gives.buckets(peer):
                    while body := await self._quota.read(peer, lambda: file.read(most)):
                        await self._caller(context, caller)
                        await self._send(context, wire.Chunk(body=body))
                else:
                    await self._give(context, caller, file, most)

    async def _give(self, context: Context, caller: Caller, file: BinaryIO, most: int) -> None:
        """Send a file as fast as the windows allow; ends the call where they are closed, or after a while (clause 3.5)."""
        peer, until = caller.endpoint, self._loop.time() + self._limits.paced_call_s
        try:
            while body := await self._quota.read(peer, lambda: file.read(self._gives.piece(peer, most))):
                await self._take_turn(peer, len(body))
                await self._caller(context, caller)
                await self._send(context, wire.Chunk(body=body))
                if self._loop.time() > until:
                    await self._abort_paced(
                        context, "a call that goes on later", "one that was long enough", 0
                    )
        except LineClosedError as exc:
            opens_in_s = exc.values["opens_in_s"]
            assert isinstance(opens_in_s, float)
            await self._abort_paced(context, str(exc.expected), str(exc.got), opens_in_s)
        finally:
            self._gives.flush(peer)

    async def _take_turn(self, peer: Endpoint, size: int) -> None:
        for take in self._gives.turn(peer, size):
            while pause := take():
                pause = min(pause, SLICE_S)
                await asyncio.sleep(pause)
                self._gives.note(peer, 0, pause)
        self._gives.note(peer, size, 0.0)

    @staticmethod
    async def _abort_paced(context: Context, expected: str, got: str, opens_in_s: float) -> None:
        await context.abort(
            grpc.StatusCode.RESOURCE_EXHAUSTED,
            f"line: expected {expected}, got {got}",
            ((OPENS_METADATA, f"{opens_in_s:.0f}"),),
        )

    def wake(self) -> None:
        """Tell live followers that there is news; from any thread."""
        if self._loop.is_running():
            asyncio.run_coroutine_threadsafe(self._announce(), self._loop)

    async def _announce(self) -> None:
        if self._news is not None:
            async with self._news:
                self._told += 1
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
