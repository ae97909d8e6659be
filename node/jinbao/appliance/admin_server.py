"""The admin contract's server: two unix sockets, told apart by file permission.

Turns a question into its answer's bytes and a JinbaoError into its parts; knows no question.
Source: proto/jinbao/admin/v1/admin.proto.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc

from jinbao.appliance.admin_sockets import ADMIN, READ, SocketName, socket_name
from jinbao.appliance.questions.registry import Answer
from jinbao.model.errors import JinbaoError, LocalError, UsageError
from jinbao.wire.gen.jinbao.admin.v1 import admin_pb2 as admin

SERVICE = "jinbao.admin.v1.AdminService"
PART_BYTES = 1 << 20
WORKERS_MAX = 4  # people and one console: more would only wait for the database

_MODES = {ADMIN: 0o600, READ: 0o660}

AnswerQuestion = Callable[[str, Mapping[str, Any], bool], Answer]
"""Question, arguments, and whether the caller came through admin.sock."""


class AdminServer:
    """Both sockets of one zone; `start` binds them, `stop` ends calls and removes the sockets."""

    def __init__(self, directory: Path, answer: AnswerQuestion) -> None:
        self._directory, self._answer = directory, answer
        self._servers: list[grpc.Server] = []
        self._names: list[SocketName] = []

    def start(self) -> None:
        """Listen; raises LocalError when a socket cannot be made."""
        self._directory.mkdir(mode=0o750, parents=True, exist_ok=True)
        for name, mode in _MODES.items():
            self._servers.append(self._serve(self._directory / name, mode, authorised=name == ADMIN))

    def _serve(self, path: Path, mode: int, *, authorised: bool) -> grpc.Server:
        server = grpc.server(
            ThreadPoolExecutor(WORKERS_MAX, thread_name_prefix=path.stem),
            options=[("grpc.max_receive_message_length", 2 * PART_BYTES)],
        )
        method = grpc.unary_stream_rpc_method_handler(
            lambda request, _context: self._ask(request, authorised),
            admin.AskRequest.FromString,
            admin.AskResponse.SerializeToString,
        )
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, {"Ask": method}),))
        name = socket_name(path)
        self._names.append(name)
        try:
            server.add_insecure_port(f"unix:{name.name}")
        except RuntimeError as exc:
            raise LocalError(f"socket {path}", expected="to listen there", got=str(exc)) from exc
        path.chmod(mode)
        server.start()
        return server

    def _ask(self, request: admin.AskRequest, authorised: bool) -> Iterator[admin.AskResponse]:
        """One answer in parts; a problem ends it (clause 3.2)."""
        try:
            answer = self._answer(request.question, _arguments(request.arguments), authorised)
        except JinbaoError as exc:
            yield admin.AskResponse(problem=problem_of(exc))
            return
        body = json.dumps(answer.body, ensure_ascii=False).encode()
        for at in range(0, len(body), PART_BYTES):
            yield admin.AskResponse(answer=body[at : at + PART_BYTES])
        if answer.attachment is not None:
            try:
                yield from _attached(answer.attachment)
            finally:
                answer.attachment.unlink(missing_ok=True)

    def stop(self, grace_s: float = 1.0) -> None:
        """End calls within the grace; the sockets are gone afterwards."""
        for stopping in [server.stop(grace_s) for server in self._servers]:
            stopping.wait()
        for name in self._names:
            name.close()
        for file in _MODES:
            (self._directory / file).unlink(missing_ok=True)


def _arguments(raw: bytes) -> Mapping[str, Any]:
    try:
        found = json.loads(raw or b"{}")
    except ValueError as exc:
        raise UsageError("arguments", expected="one JSON object", got=str(exc)) from exc
    if not isinstance(found, dict):
        raise UsageError("arguments", expected="one JSON object", got=type(found).__name__)
    return found


def _attached(path: Path) -> Iterator[admin.AskResponse]:
    with path.open("rb") as file:
        while part := file.read(PART_BYTES):
            yield admin.AskResponse(attachment=part)


def problem_of(exc: JinbaoError) -> admin.Problem:
    """An error's parts, as they travel."""
    return admin.Problem(
        code=exc.code,
        thing=exc.thing,
        expected=str(exc.expected),
        got=str(exc.got),
        next_step=exc.next_step,
        exit_code=exc.exit_code,
    )
