"""The admin contract's server: two unix sockets; who calls is the kernel's word, not the caller's.

Turns a question into its answer's bytes and a JinbaoError into its parts; knows no question.
Each connection is one call in one thread, of which there are few. Source:
proto/jinbao/admin/v1/admin.proto.
"""

from __future__ import annotations

import json
import socket
import struct
import threading
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from google.protobuf.message import DecodeError

from jinbao.appliance.admin_frames import receive, send
from jinbao.appliance.admin_sockets import socket_name
from jinbao.appliance.callers import caller_of
from jinbao.appliance.questions.registry import Answer
from jinbao.model.audit import Caller, Way
from jinbao.model.errors import JinbaoError, LinkError, LocalError, UsageError
from jinbao.wire.gen.jinbao.admin.v1 import admin_pb2 as admin

PART_BYTES = 1 << 20
CALLS_MAX = 4  # of each socket: people and one console; more would only wait for the database
REQUEST_S = 10.0  # a caller that says nothing holds a thread no longer
SEND_S = 60.0  # nor does one that does not read
_BACKLOG = 16
_RETRY_S = 0.05
_CREDENTIALS = struct.Struct("3i")  # pid, uid, gid: struct ucred of unix(7)

AnswerQuestion = Callable[[str, Mapping[str, Any], Caller], Answer]
"""Question, arguments, and who asks."""


class AdminServer:
    """Both sockets of one zone; `start` binds them, `stop` ends calls and removes the sockets.

    `shared` opens admin.sock to the zone's group: roles are then heard of each caller. `child` is the pid of a process
    that the zone started itself and has not reaped, 0 while there is none: no other process can have that pid.
    """

    def __init__(
        self,
        directory: Path,
        answer: AnswerQuestion,
        *,
        shared: bool = False,
        child: Callable[[], int] = lambda: 0,
    ) -> None:
        self._directory, self._answer, self._child = directory, answer, child
        self._modes = {Way.ADMIN: 0o660 if shared else 0o600, Way.READ: 0o660}
        self._doors: list[_Door] = []

    def start(self) -> None:
        """Listen; raises LocalError when a socket cannot be made."""
        self._directory.mkdir(mode=0o750, parents=True, exist_ok=True)
        for way, mode in self._modes.items():
            door = _Door(self._directory / way, mode, lambda c, w=way: self._call(c, w))  # type: ignore[misc]
            self._doors.append(door)

    def _call(self, connection: socket.socket, way: Way) -> None:
        """One question and its answer, unless the caller leaves."""
        connection.settimeout(REQUEST_S)
        pid, uid, _ = _CREDENTIALS.unpack(
            connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
        )
        if way is Way.ADMIN and pid and pid == self._child():
            way = Way.ZONE
        # A caller that leaves, stalls or speaks something else is nobody's fault here.
        with suppress(LinkError, DecodeError, OSError):
            request = admin.AskRequest.FromString(receive(connection))
            connection.settimeout(SEND_S)
            parts = self._ask(request, caller_of(uid, way, request.claimed))
            try:
                for part in parts:
                    send(connection, part.SerializeToString())
            finally:
                parts.close()
            send(connection, b"")

    def _ask(self, request: admin.AskRequest, caller: Caller) -> Generator[admin.AskResponse]:
        """One answer in parts; a problem ends it (clause 3.2)."""
        try:
            answer = self._answer(request.question, _arguments(request.arguments), caller)
        except JinbaoError as exc:
            yield admin.AskResponse(problem=problem_of(exc))
            return
        except OSError as exc:
            got = f"{exc.strerror or exc} {exc.filename or ''}".strip()
            told = LocalError(f"question {request.question[:80]}", expected="files that can be used", got=got)
            yield admin.AskResponse(problem=problem_of(told))
            return
        try:
            body = json.dumps(answer.body, ensure_ascii=False).encode()
            for at in range(0, len(body), PART_BYTES):
                yield admin.AskResponse(answer=body[at : at + PART_BYTES])
            if answer.attachment is not None:
                yield from _attached(answer.attachment)
        finally:
            if answer.attachment is not None:
                answer.attachment.unlink(missing_ok=True)

    def stop(self, grace_s: float = 1.0) -> None:
        """End calls within the grace; the sockets are gone afterwards."""
        for door in self._doors:
            door.close(grace_s)
        self._doors.clear()


class _Door:
    """One listening socket, and the calls that came through it."""

    def __init__(self, path: Path, mode: int, call: Callable[[socket.socket], None]) -> None:
        self._path, self._serve = path, call
        self._free = threading.Semaphore(CALLS_MAX)
        self._closed = threading.Event()
        self._calls: dict[threading.Thread, socket.socket] = {}
        self._name = socket_name(path)
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        path.unlink(missing_ok=True)  # left by a process that was killed
        try:
            self._listener.bind(self._name.name)
            path.chmod(mode)  # before anybody can connect: nobody listens yet
            self._listener.listen(_BACKLOG)
        except OSError as exc:
            self._listener.close()
            self._name.close()
            raise LocalError(f"socket {path}", expected="to listen there", got=exc.strerror or exc) from exc
        self._thread = threading.Thread(target=self._accept, name=path.stem, daemon=True)
        self._thread.start()

    def _accept(self) -> None:
        while True:
            self._free.acquire()
            if self._closed.is_set():
                return
            try:
                connection, _ = self._listener.accept()
            except OSError:  # closed, or no descriptor is left just now
                self._free.release()
                if self._closed.wait(_RETRY_S):
                    return
                continue
            thread = threading.Thread(target=self._run, args=(connection,), name=self._path.stem, daemon=True)
            self._calls[thread] = connection
            thread.start()

    def _run(self, connection: socket.socket) -> None:
        try:
            with connection:
                self._serve(connection)
        finally:
            self._calls.pop(threading.current_thread(), None)
            self._free.release()

    def close(self, grace_s: float) -> None:
        """Take no more calls, give those there are their time, then cut them."""
        self._closed.set()
        self._path.unlink(missing_ok=True)
        self._listener.shutdown(socket.SHUT_RDWR)  # wakes the thread that accepts; closing alone does not
        self._listener.close()
        self._name.close()
        self._free.release()  # it may be waiting for a free place instead
        self._thread.join()
        deadline = time.monotonic() + grace_s
        for thread, connection in list(self._calls.items()):
            thread.join(max(0.0, deadline - time.monotonic()))
            if thread.is_alive():
                with suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
                thread.join(grace_s)


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
