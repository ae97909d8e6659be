"""The caller of the line: follows one neighbour; every answer is bounded in size and time.

Before anything else it challenges who answered (clause 1.3). A failure of the way is a
LinkError and retried by pace; a server that is not who it should be is an IdentityError.
The channel is renewed before the certificate it was made with ends.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any, Protocol

import grpc
from cryptography import x509

from jinbao.link.hello import NONCE_BYTES, VERSION, check_answer
from jinbao.link.limits import LinkLimits
from jinbao.link.server import SERVICE, Credentials
from jinbao.model.batch import SealedBatch, SegmentRef
from jinbao.model.errors import CorruptionError, IdentityError, LinkError
from jinbao.model.stream import Mark, StreamId
from jinbao.model.topology import Topology
from jinbao.model.zone import Endpoint
from jinbao.trust.encoding import envelope_of, mark_message, stream_message
from jinbao.trust.identity import dns_name
from jinbao.wire.gen.jinbao.wire.v1 import wire_pb2 as wire


class AnchoredCredentials(Credentials, Protocol):
    """A zone's identity with the authorities it trusts."""

    @property
    def anchors(self) -> tuple[x509.Certificate, ...]:
        """The authorities."""
        ...


class LineClient:
    """One neighbour, over the line; not shared between threads."""

    def __init__(
        self,
        me: Endpoint,
        peer: Endpoint,
        address: str,
        *,
        credentials: AnchoredCredentials,
        topology: Callable[[], Topology],
        now: Callable[[], datetime],
        limits: LinkLimits,
    ) -> None:
        self.endpoint = peer
        self._me, self._address = me, address
        self._credentials, self._topology, self._now, self._limits = credentials, topology, now, limits
        self._channel: grpc.Channel | None = None
        self._made_at = 0.0
        self._call: Any = None
        self.clock_offset_s = 0.0

    def headers(self, marks: Sequence[Mark], limit: int, wait_s: float) -> list[SealedBatch]:
        """Sealed batches beyond the marks, at most `limit`; waits up to `wait_s` for the first."""
        channel = self._ready()
        request = wire.FollowRequest(
            marks=[mark_message(mark) for mark in marks], limit=limit, wait_ms=int(wait_s * 1000)
        )
        call = channel.unary_stream(
            f"/{SERVICE}/Follow", wire.FollowRequest.SerializeToString, wire.Envelope.FromString
        )
        found: list[SealedBatch] = []
        size = 0
        with self._told("follow"):
            self._call = call(request, timeout=wait_s + self._limits.call_s)
            for message in self._call:
                found.append(envelope_of(message))
                size += message.ByteSize()
                if len(found) >= limit or size > self._limits.answer_bytes_max:
                    break
        return found

    def fetch(self, stream: StreamId, seq: int, ref: SegmentRef, offset: int) -> Iterator[bytes]:
        """Bytes of a segment from `offset` on; every chunk has `call_s` to arrive."""
        channel = self._ready()
        request = wire.FetchRequest(stream=stream_message(stream), seq=seq, sha256=ref.sha256, offset=offset)
        call = channel.unary_stream(
            f"/{SERVICE}/Fetch", wire.FetchRequest.SerializeToString, wire.Chunk.FromString
        )
        chunks_max = (ref.bytes - offset) // self._limits.chunk_bytes + 1
        with self._told("fetch"):
            self._call = call(request, timeout=self._limits.call_s * chunks_max)
            while chunk := self._within(self._call):
                yield chunk.body

    def _within(self, call: Any) -> wire.Chunk | None:
        """The next chunk; a peer that stalls is cut off long before the deadline of the whole call."""
        stalled = threading.Timer(self._limits.call_s, call.cancel)
        stalled.daemon = True
        stalled.start()
        try:
            chunk: wire.Chunk | None = next(call, None)
        finally:
            stalled.cancel()
        return chunk

    def _ready(self) -> grpc.Channel:
        """A channel whose other end has proved who it is, not older than one connection may be."""
        age = time.monotonic() - self._made_at
        if self._channel is not None and age < self._limits.connection_age_s:
            return self._channel
        self.close()
        channel = self._dial()
        try:
            self._hello(channel)
        except BaseException:
            channel.close()
            raise
        self._channel, self._made_at = channel, time.monotonic()
        return channel

    def _dial(self) -> grpc.Channel:
        tls = grpc.ssl_channel_credentials(
            self._credentials.pem("anchors.pem"),
            self._credentials.pem("key.pem"),
            self._credentials.pem("chain.pem"),
        )
        return grpc.secure_channel(
            self._address,
            tls,
            options=[
                ("grpc.ssl_target_name_override", dns_name(self.endpoint)),
                ("grpc.max_receive_message_length", self._limits.message_bytes_max),
                ("grpc.keepalive_time_ms", int(self._limits.keepalive_s * 1000)),
                ("grpc.keepalive_timeout_ms", 10_000),
                ("grpc.initial_reconnect_backoff_ms", 500),
                ("grpc.use_local_subchannel_pool", 1),
            ],
        )

    def _hello(self, channel: grpc.Channel) -> None:
        nonce = os.urandom(NONCE_BYTES)
        call = channel.unary_unary(
            f"/{SERVICE}/Hello", wire.HelloRequest.SerializeToString, wire.HelloResponse.FromString
        )
        with self._told("hello"):
            request = wire.HelloRequest(nonce=nonce, versions=[VERSION])
            self._call = call.future(request, timeout=self._limits.call_s)
            answer = self._call.result()
        check_answer(
            nonce=nonce,
            signature=answer.signature,
            certificates=list(answer.certificates),
            expected=self.endpoint,
            caller=self._me,
            anchors=self._credentials.anchors,
            topology=self._topology(),
            now=self._now(),
        )
        self._note_clock(answer.now)

    def _note_clock(self, said: str) -> None:
        try:
            self.clock_offset_s = (datetime.fromisoformat(said) - self._now()).total_seconds()
        except (ValueError, TypeError) as exc:
            raise IdentityError("hello: time", expected="RFC 3339", got=said[:40]) from exc

    @contextmanager
    def _told(self, act: str) -> Iterator[None]:
        """Turn gRPC's refusals into ours, and forget the channel."""
        try:
            yield
        except grpc.RpcError as exc:
            self.close()
            raise self._error(act, exc) from exc
        except grpc.FutureCancelledError as exc:
            raise LinkError(f"{act} {self.endpoint}", expected="an answer", got="CANCELLED") from exc

    def _error(self, act: str, exc: grpc.RpcError) -> LinkError | IdentityError | CorruptionError:
        call: Any = exc
        code, details = call.code(), str(call.details()).partition("; last error: ")[0][:300]
        thing = f"{act} {self.endpoint} at {self._address}"
        if code is grpc.StatusCode.PERMISSION_DENIED:
            return IdentityError(thing, expected="to be let in", got=details, next_step="jinbao topology")
        if code in (grpc.StatusCode.NOT_FOUND, grpc.StatusCode.DATA_LOSS):
            return CorruptionError(
                thing,
                expected="the segment its header names",
                got=details,
                next_step="jinbao journal verify, there",
            )
        return LinkError(
            thing, expected="an answer", got=f"{code.name}: {details}", next_step="jinbao line status"
        )

    def cancel(self) -> None:
        """End whatever call waits, from another thread; it fails with a LinkError there."""
        if self._call is not None:
            self._call.cancel()

    def close(self) -> None:
        """Drop the connection; the next call makes another."""
        if self._channel is not None:
            self._channel.close()
            self._channel = None
