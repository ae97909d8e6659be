"""The caller of the line: follows one neighbour; every answer is bounded in size and time.

Before anything else it challenges who answered (clause 1.3), and asks itself again before
each call and while an answer runs whether that still holds (clause 1.5). A failure of the
way is a LinkError and retried by pace; a server that is not who it should be is an
IdentityError. The channel is renewed with the certificate it was made with.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime
from typing import Any

import grpc

from jinbao.link.diagnosis import why
from jinbao.link.hello import NONCE_BYTES, VERSION, check_answer
from jinbao.link.limits import LinkLimits
from jinbao.link.server import SERVICE
from jinbao.link.shaping import Shaper, free_line
from jinbao.link.standing import (
    GRANT_METADATA,
    METADATA_BYTES_MAX,
    OPENS_METADATA,
    PROOF_BYTES_MAX,
    Credentials,
    Standing,
)
from jinbao.model.batch import SealedBatch, SegmentRef
from jinbao.model.errors import CorruptionError, IdentityError, LineClosedError, LinkError, PeerError
from jinbao.model.stream import CONTROL, Lane, Mark, StreamId
from jinbao.model.topology import Topology
from jinbao.model.zone import Endpoint
from jinbao.trust.book import Proof, TrustBook
from jinbao.trust.encoding import decode_header, envelope_of, mark_message, stream_message
from jinbao.trust.envelope import check_bounds
from jinbao.trust.identity import check_issuer, check_row, dns_name, parse_identity
from jinbao.wire.gen.jinbao.wire.v1 import wire_pb2 as wire

OPENS_S_MAX = 60.0
"""How long a peer's word that its line is closed is believed: its windows may be set anew."""

STANDARDS_MAX, STANDARD_CHARACTERS_MAX = 300, 80
"""Of a hello: a hundred libraries have two versions each at most, and their ids are short."""


class LineClient:
    """One neighbour, over the line; not shared between threads. A new `address` counts from the next call on."""

    def __init__(
        self,
        standing: Standing,
        peer: Endpoint,
        address: str,
        *,
        limits: LinkLimits,
        returned: bool = False,
        lane: Lane = Lane.ALL,
        takes: Shaper | None = None,
        sleep: Callable[[float], None] = time.sleep,
        heard: Callable[[], None] = lambda: None,
    ) -> None:
        """`returned` asks for what our own node once sent there, instead of what is for us (clause 2.9).

        `lane`: which streams (clause 2.10), another one counts from the next call on; `takes`: how fast bulk may come,
        and `sleep` waits for that, or raises LinkError. `heard` is called where it was hello or the call for headers that
        failed last, once the other end lets one in, before the wait for news (clause 2.12).
        """
        self.lane, self._takes, self._sleep = lane, takes or free_line(), sleep
        self._heard, self._failed_in, self._opens_monotonic = heard, "", 0.0
        self.endpoint = peer
        self._returned = returned
        self.address = address
        self._standing, self._limits = standing, limits
        self._channel: grpc.Channel | None = None
        self._made_at = 0.0
        self._made_with: tuple[Credentials, str] | None = None
        self._proof: tuple[Proof, TrustBook, Topology] | None = None
        self._call: Any = None
        self.clock_offset_s = 0.0
        self.standards: tuple[str, ...] = ()
        """`library@version` of each standard the peer held at the last hello."""

    def hello(self) -> tuple[str, ...]:
        """Let the other end prove who it is; the standards it holds, as `library@version`. Its clock is noted.

        Raises LinkError where nobody answers, IdentityError for one that is not who it should be, or refuses us.
        """
        self._ready()
        return self.standards

    def headers(self, marks: Sequence[Mark], limit: int, wait_s: float) -> list[SealedBatch]:
        """Sealed batches beyond the marks, at most `limit`; waits up to `wait_s` for the first."""
        channel = self._ready()
        request = wire.FollowRequest(
            marks=[mark_message(mark) for mark in marks],
            limit=limit,
            wait_ms=int(wait_s * 1000),
            returned=self._returned,
            lane=wire.Lane.Name(int(self.lane)),
        )
        call = channel.unary_stream(
            f"/{SERVICE}/Follow", wire.FollowRequest.SerializeToString, wire.Envelope.FromString
        )
        found: list[SealedBatch] = []
        size = 0
        with self._told("follow"):
            self._call = call(request, timeout=wait_s + self._limits.call_s)
            self._call.initial_metadata()
            if self._call.is_active() and self._failed_in in {"hello", "follow"}:
                self._failed_in = ""
                self._heard()
            for message in self._call:
                found.append(envelope_of(message))
                size += message.ByteSize()
                if len(found) >= limit or size > self._limits.answer_bytes_max:
                    break
        return [sealed for sealed in found if self._is_mine(sealed)]

    def _is_mine(self, sealed: SealedBatch) -> bool:
        """Whether a batch is of our lane: a server of 0.1 knows none. What nobody can read is told of in one lane."""
        if self.lane is Lane.ALL:
            return True
        try:
            check_bounds(sealed)
            return self.lane.has(decode_header(sealed.payload).stream.topic)
        except PeerError:
            return self.lane is Lane.CONTROL

    @property
    def is_closed(self) -> bool:
        """Whether bulk waits for later: a window here is closed, or the other end said that one there is."""
        mine = self._takes.limit(self.endpoint).allowed
        return mine.is_closed or time.monotonic() < self._opens_monotonic

    def fetch(self, stream: StreamId, seq: int, ref: SegmentRef, offset: int) -> Iterator[bytes]:
        """Bytes of a segment from `offset` on; every chunk has `chunk_s` to arrive.

        Bulk comes as fast as the windows allow, over several calls where that takes long. Raises LineClosedError
        where one is closed, here or there.
        """
        limited = stream.topic not in CONTROL and bool(self._takes.buckets(self.endpoint))
        at: int | None = offset
        try:
            while at is not None:
                at = yield from self._one_call(stream, seq, ref, at, limited=limited)
        finally:
            if limited:
                self._takes.flush(self.endpoint)

    def _one_call(
        self, stream: StreamId, seq: int, ref: SegmentRef, offset: int, *, limited: bool
    ) -> Generator[bytes, None, int | None]:
        """The bytes of one call. Returns where to go on, where it was broken off for its length; None at the end."""
        channel, limits, began, begun_at = self._ready(), self._limits, time.monotonic(), offset
        piece = self._takes.piece(self.endpoint, limits.chunk_bytes) if limited else 0
        request = wire.FetchRequest(
            stream=stream_message(stream), seq=seq, sha256=ref.sha256, offset=offset, chunk_bytes=piece
        )
        call = channel.unary_stream(
            f"/{SERVICE}/Fetch", wire.FetchRequest.SerializeToString, wire.Chunk.FromString
        )
        chunks_max = max(ref.bytes - offset, 0) // limits.chunk_bytes + 2  # a ciphertext is a little more
        try:
            with self._told("fetch"):
                self._call = call(request, timeout=limits.chunk_s * chunks_max)
                while chunk := self._within(self._call):
                    self._check_again()
                    if limited:
                        self._takes.wait(self.endpoint, len(chunk.body), self._sleep)
                    offset += len(chunk.body)
                    yield chunk.body
                    if limited and time.monotonic() - began > limits.paced_call_s:
                        self._call.cancel()
                        return offset
        except LineClosedError as exc:
            self._call.cancel()
            if exc.values.get("opens_in_s") or offset == begun_at:
                raise
            return offset
        return None

    def _within(self, call: Any) -> wire.Chunk | None:
        """The next chunk; a peer that stalls is cut off long before the deadline of the whole call."""
        stalled = threading.Timer(self._limits.chunk_s, call.cancel)
        stalled.daemon = True
        stalled.start()
        try:
            chunk: wire.Chunk | None = next(call, None)
        finally:
            stalled.cancel()
        return chunk

    def _ready(self) -> grpc.Channel:
        """A channel whose other end has proved who it is, made with our present certificate, not too old."""
        age, mine = time.monotonic() - self._made_at, self._standing.identity()
        same = self._made_with == (mine, self.address)
        if self._channel is not None and age < self._limits.connection_age_s and same:
            self._check_again()
            return self._channel
        self.close()
        channel = self._dial(mine)
        try:
            self._hello(channel)
        except BaseException:
            channel.close()
            raise
        self._channel, self._made_at, self._made_with = channel, time.monotonic(), (mine, self.address)
        return channel

    def _check_again(self) -> None:
        """Raise IdentityError, and forget the channel, once the server's proof no longer holds."""
        assert self._proof is not None, "a channel is used after its hello"
        proof, book, topology = self._proof
        standing, now = self._standing, self._standing.now()
        if standing.book() is book and standing.topology() is topology and now <= proof.last:
            return
        try:
            book, topology = standing.book(), standing.topology()
            proof = book.prove(proof.leaf, proof.path[1:], now, proof.use)
            identity = parse_identity(proof.leaf)
            check_row(identity, topology)
            check_issuer(identity, proof.issuer, topology)
        except PeerError:
            self.close()
            raise
        self._proof = proof, book, topology

    def _dial(self, mine: Credentials) -> grpc.Channel:
        anchors = self._standing.anchors_of([self.endpoint])
        tls = grpc.ssl_channel_credentials(anchors, mine.pem("key.pem"), mine.pem("chain.pem"))
        return grpc.secure_channel(
            self.address,
            tls,
            options=[
                ("grpc.ssl_target_name_override", dns_name(self.endpoint)),
                ("grpc.max_receive_message_length", self._limits.message_bytes_max),
                ("grpc.max_metadata_size", METADATA_BYTES_MAX),
                ("grpc.absolute_max_metadata_size", METADATA_BYTES_MAX),
                ("grpc.keepalive_time_ms", int(self._limits.keepalive_s * 1000)),
                ("grpc.keepalive_timeout_ms", int(self._limits.chunk_s * 1000)),
                ("grpc.http2.ping_timeout_ms", int(self._limits.chunk_s * 1000)),
                ("grpc.initial_reconnect_backoff_ms", 500),
                ("grpc.use_local_subchannel_pool", 1),
            ],
        )

    def _hello(self, channel: grpc.Channel) -> None:
        nonce, standing = os.urandom(NONCE_BYTES), self._standing
        call = channel.unary_unary(
            f"/{SERVICE}/Hello", wire.HelloRequest.SerializeToString, wire.HelloResponse.FromString
        )
        with self._told("hello"):
            request = wire.HelloRequest(nonce=nonce, versions=[VERSION], trust=standing.staple())
            self._call = call.future(request, timeout=self._limits.call_s)
            answer = self._call.result()
        # The lists come from whoever answered, and prove themselves: without them a zone whose own
        # are too old could never be told anything again.
        standing.learn(list(answer.trust), self.endpoint)
        book, topology = standing.book(), standing.topology()
        proof = check_answer(
            nonce=nonce,
            suite_id=answer.suite,
            signature=answer.signature,
            certificates=list(answer.certificates),
            expected=self.endpoint,
            caller=standing.me,
            book=book,
            topology=topology,
            now=standing.now(),
        )
        self._proof = proof, book, topology
        self._note_clock(answer.now)
        self.standards = tuple(name[:STANDARD_CHARACTERS_MAX] for name in answer.standards[:STANDARDS_MAX])

    def _note_clock(self, said: str) -> None:
        try:
            self.clock_offset_s = (datetime.fromisoformat(said) - self._standing.now()).total_seconds()
        except (ValueError, TypeError) as exc:
            raise IdentityError("hello: time", expected="RFC 3339", got=said[:40]) from exc

    @contextmanager
    def _told(self, act: str) -> Iterator[None]:
        """Turn gRPC's refusals into ours, and forget the channel."""
        try:
            yield
        except grpc.RpcError as exc:
            self._failed_in = act
            self.close()
            raise self._error(act, exc) from exc
        except grpc.FutureCancelledError as exc:
            raise LinkError(f"{act} {self.endpoint}", expected="an answer", got="CANCELLED") from exc

    def _error(self, act: str, exc: grpc.RpcError) -> LinkError | IdentityError | CorruptionError:
        call: Any = exc
        code, details = call.code(), str(call.details()).partition("; last error: ")[0][:300]
        thing = f"{act} {self.endpoint} at {self.address}"
        if code is grpc.StatusCode.RESOURCE_EXHAUSTED and act == "fetch":
            opens = dict(call.trailing_metadata() or ()).get(OPENS_METADATA)
            if isinstance(opens, str) and opens.isdecimal():
                return self._closed(thing, details, min(float(opens[:9]), OPENS_S_MAX))
        if code is grpc.StatusCode.PERMISSION_DENIED:
            self._take_proof(call)
            return IdentityError(thing, expected="to be let in", got=details, next_step="jinbao topology")
        if code in (grpc.StatusCode.NOT_FOUND, grpc.StatusCode.DATA_LOSS):
            return CorruptionError(
                thing,
                expected="the segment its header names",
                got=details,
                next_step="jinbao journal verify, there",
            )
        if code is grpc.StatusCode.UNAVAILABLE and act == "hello":
            details = self._why() or details
        return LinkError(
            thing, expected="an answer", got=f"{code.name}: {details}", next_step="jinbao line status"
        )

    def _closed(self, thing: str, details: str, opens_in_s: float) -> LineClosedError:
        """That the other end gives no bulk now; what it says of when is believed for a while."""
        self._opens_monotonic = time.monotonic() + opens_in_s
        return LineClosedError(thing, expected="an open line", got=details, opens_in_s=opens_in_s)

    def _take_proof(self, call: Any) -> None:
        """Learn why we are refused, if it is because our identity has another holder; a grant proves itself."""
        found = dict(call.trailing_metadata() or ()).get(GRANT_METADATA)
        if isinstance(found, bytes) and len(found) <= PROOF_BYTES_MAX:
            with suppress(PeerError):  # no grant: we are refused all the same, and say so
                self._standing.learn([found], self.endpoint)

    def _why(self) -> str:
        """What keeps a first contact from succeeding, as far as the other end shows it."""
        standing = self._standing
        anchors = standing.book().issuers([standing.topology().issuer(self.endpoint.node)], standing.now())
        return why(self.address, dns_name(self.endpoint), anchors, standing.now())

    def cancel(self) -> None:
        """End whatever call waits, from another thread; it fails with a LinkError there."""
        if self._call is not None:
            self._call.cancel()

    def close(self) -> None:
        """Drop the connection; the next call makes another."""
        if self._channel is not None:
            self._channel.close()
            self._channel = None
