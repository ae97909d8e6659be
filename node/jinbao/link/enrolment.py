"""Enrolment over the network (clause 9): the listener of an issuing authority, and the caller of a node.

Knows messages, not certificates: what is asked is answered by three functions it is given. TLS 1.3,
the caller without a certificate and pinning a root; sizes, calls at once, handshakes and calls per
minute and address are bounded, because anybody may dial.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import grpc

from jinbao.link.reloading import ReloadingCertificates
from jinbao.model.errors import (
    IdentityError,
    JinbaoError,
    LinkError,
    LocalError,
    PeerError,
    UnprovableError,
)
from jinbao.wire.gen.jinbao.wire.v1 import enrolment_pb2 as wire

SERVICE = "jinbao.wire.v1.EnrolmentService"
M = TypeVar("M", wire.EnrolRequest, wire.RenewRequest, wire.TrustRequest)
A = TypeVar("A", wire.EnrolResponse, wire.TrustResponse)


@dataclass(frozen=True, slots=True)
class EnrolmentLimits:
    """Bounds of the listener and of a call.

    `request_bytes_max` 64 KiB: three zones ask with 4. `answer_bytes_max` 8 MiB: revocation lists are in
    it. `documents_max` 600: 300 authorities, each with a list. `handshake_s` 5: slow handshakes starve
    nobody. `calls_per_minute` 30 per address: a zone asks once a minute at most, and a node has two that
    ask. `addresses_max` 4096: what is remembered of callers is bounded too.
    `calls_at_once_max` 16, `workers` 4: signing is short. `connection_age_s` 60: nobody stays.
    `call_s` 40: longer than a person at a signing device takes.
    """

    request_bytes_max: int = 64 << 10
    answer_bytes_max: int = 8 << 20
    documents_max: int = 600
    handshake_s: float = 5.0
    calls_per_minute: int = 30
    addresses_max: int = 4096
    calls_at_once_max: int = 16
    workers: int = 4
    connection_age_s: float = 60.0
    call_s: float = 40.0


class Rate:
    """Calls per minute and address; pure but for what it remembers, `now` in seconds of any steady clock."""

    def __init__(self, per_minute: int, addresses_max: int) -> None:
        self._per_minute, self._addresses_max = per_minute, addresses_max
        self._calls: OrderedDict[str, deque[float]] = OrderedDict()

    def allows(self, address: str, now: float) -> bool:
        """Whether one more call of this address is within its rate; counts it if so."""
        calls = self._calls.setdefault(address, deque())
        self._calls.move_to_end(address)
        if len(self._calls) > self._addresses_max:
            self._calls.popitem(last=False)
        while calls and now - calls[0] >= 60:  # noqa: PLR2004  # a minute
            calls.popleft()
        if len(calls) >= self._per_minute:
            return False
        calls.append(now)
        return True


class Answers(Protocol):
    """Who answers: raises PeerError to refuse, LocalError where the authority cannot."""

    def enrol(self, request: wire.EnrolRequest) -> wire.EnrolResponse:
        """Clauses 9.1 to 9.3."""
        ...

    def renew(self, request: wire.RenewRequest) -> wire.EnrolResponse:
        """Clause 9.4."""
        ...

    def trust(self, request: wire.TrustRequest) -> wire.TrustResponse:
        """Clause 9.6."""
        ...


class EnrolmentServer:
    """One listener. `pair` gives key and chain (PEM) for the next handshake; `refused` is told of every refusal."""

    def __init__(
        self,
        address: str,
        *,
        answers: Answers,
        pair: Callable[[], tuple[bytes, bytes]],
        refused: Callable[[str, JinbaoError], None],
        limits: EnrolmentLimits | None = None,
    ) -> None:
        self._address, self._answers, self._pair, self._refused = address, answers, pair, refused
        self._limits = limits or EnrolmentLimits()
        self._rate = Rate(self._limits.calls_per_minute, self._limits.addresses_max)
        self._lock = threading.Lock()
        self._server: grpc.Server | None = None
        self.port = 0

    def start(self) -> None:
        """Bind and serve; raises LocalError when the address is taken."""
        limits = self._limits
        server = grpc.server(
            ThreadPoolExecutor(limits.workers, thread_name_prefix="enrolment"),
            maximum_concurrent_rpcs=limits.calls_at_once_max,
            options=[
                ("grpc.so_reuseport", 0),
                ("grpc.max_receive_message_length", limits.request_bytes_max),
                ("grpc.max_send_message_length", limits.answer_bytes_max),
                ("grpc.server_handshake_timeout_ms", int(limits.handshake_s * 1000)),
                ("grpc.max_connection_age_ms", int(limits.connection_age_s * 1000)),
                ("grpc.max_connection_age_grace_ms", int(limits.call_s * 1000)),
                ("grpc.compression_enabled_algorithms_bitset", 1),
            ],
        )
        server.add_generic_rpc_handlers((self._handlers(),))
        try:
            self.port = server.add_secure_port(self._address, self._tls())
        except RuntimeError as exc:
            raise LocalError(
                f"enrolment listener {self._address}",
                expected="a free address",
                got=str(exc),
                next_step="stop what listens there, or choose another with --listen",
            ) from exc
        server.start()
        self._server = server

    def _tls(self) -> grpc.ServerCredentials:
        return ReloadingCertificates(lambda: (*self._pair(), None)).credentials()

    def _handlers(self) -> grpc.GenericRpcHandler[Any, Any]:
        methods = {
            "Enrol": grpc.unary_unary_rpc_method_handler(
                self._answering(self._answers.enrol),
                wire.EnrolRequest.FromString,
                wire.EnrolResponse.SerializeToString,
            ),
            "Renew": grpc.unary_unary_rpc_method_handler(
                self._answering(self._answers.renew),
                wire.RenewRequest.FromString,
                wire.EnrolResponse.SerializeToString,
            ),
            "Trust": grpc.unary_unary_rpc_method_handler(
                self._answering(self._answers.trust),
                wire.TrustRequest.FromString,
                wire.TrustResponse.SerializeToString,
            ),
        }
        return grpc.method_handlers_generic_handler(SERVICE, methods)

    def _answering(self, answer: Callable[[M], A]) -> Callable[[M, grpc.ServicerContext], A]:
        """A method that lets in, answers, and words what went wrong."""

        def method(request: M, context: grpc.ServicerContext) -> A:
            self._let_in(context)
            try:
                return answer(request)
            except PeerError as exc:
                self._refused(context.peer(), exc)
                context.abort(grpc.StatusCode.PERMISSION_DENIED, str(exc))
            except JinbaoError as exc:
                self._refused(context.peer(), exc)
                context.abort(
                    grpc.StatusCode.UNAVAILABLE, "authority: expected to sign, got an error of its own"
                )
            raise AssertionError  # abort raises

        return method

    def _let_in(self, context: grpc.ServicerContext) -> None:
        session: Mapping[str, Any] = context.auth_context()
        spoken = [v.decode("ascii", "replace") for v in session.get("ssl_tls_version", [])]
        if spoken != ["TLSv1.3"]:
            context.abort(
                grpc.StatusCode.PERMISSION_DENIED, f"TLS version: expected TLSv1.3, got {', '.join(spoken)}"
            )
        address = context.peer().rpartition(":")[0]
        with self._lock:
            allowed = self._rate.allows(address, time.monotonic())
        if not allowed:
            most = self._limits.calls_per_minute
            context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, f"calls: expected at most {most} a minute")

    def stop(self, grace_s: float = 2.0) -> None:
        """End all calls within the grace and free the address."""
        if self._server is not None:
            self._server.stop(grace_s).wait(grace_s + self._limits.call_s)


class EnrolmentClient:
    """Asks one authority; `roots` (PEM) are pinned, `host` is the name its certificate must carry."""

    def __init__(self, address: str, host: str, roots: bytes, limits: EnrolmentLimits | None = None) -> None:
        self._address, self._host, self._roots = address, host, roots
        self._limits = limits or EnrolmentLimits()

    def enrol(self, request: wire.EnrolRequest) -> wire.EnrolResponse:
        """Clauses 9.1 to 9.3; raises LinkError, or IdentityError with the authority's words."""
        return self._call("Enrol", request, wire.EnrolResponse)

    def renew(self, request: wire.RenewRequest) -> wire.EnrolResponse:
        """Clause 9.4; raises LinkError, or IdentityError with the authority's words."""
        return self._call("Renew", request, wire.EnrolResponse)

    def trust(self) -> tuple[bytes, ...] | None:
        """Clause 9.6: documents as they came, nothing of them read; None where the authority does not know the call.

        Raises LinkError, IdentityError with the authority's words, or UnprovableError for more than it may say.
        """
        try:
            found = self._call("Trust", wire.TrustRequest(), wire.TrustResponse)
        except LinkError as exc:
            cause = exc.__cause__
            if isinstance(cause, grpc.RpcError) and cause.code() is grpc.StatusCode.UNIMPLEMENTED:
                return None
            raise
        most = self._limits.documents_max
        if len(found.trust) > most:
            raise UnprovableError(
                f"authority at {self._address}", expected=f"at most {most} documents", got=len(found.trust)
            )
        return tuple(found.trust)

    def _call(self, method: str, request: M, kind: type[A]) -> A:
        with self._channel() as channel:
            call = channel.unary_unary(
                f"/{SERVICE}/{method}", lambda message: bytes(message.SerializeToString()), kind.FromString
            )
            try:
                answered: A = call(request, timeout=self._limits.call_s)
            except grpc.RpcError as exc:
                raise self._worded(exc) from exc
            return answered

    @contextmanager
    def _channel(self) -> Iterator[grpc.Channel]:
        options = [
            ("grpc.ssl_target_name_override", self._host),
            ("grpc.max_receive_message_length", self._limits.answer_bytes_max),
            ("grpc.use_local_subchannel_pool", 1),
            ("grpc.enable_http_proxy", 0),
        ]
        credentials = grpc.ssl_channel_credentials(self._roots)
        with grpc.secure_channel(self._address, credentials, options=options) as channel:
            yield channel

    def _worded(self, exc: grpc.RpcError) -> JinbaoError:
        """What the authority or the way says, in the house's families."""
        code, said = exc.code(), (exc.details() or "")[:300]
        thing = f"authority at {self._address}"
        if code is grpc.StatusCode.PERMISSION_DENIED:
            return IdentityError(thing, expected="to be served", got=said)
        return LinkError(
            thing, expected="an answer", got=f"{code.name}: {said}", next_step="try again, or ask by file"
        )
