"""The one way CLI and console ask a zone: over its socket, or of the zone itself while it is stopped.

A stopped zone is opened under its lock, so that never two processes have it open. The answer
is the same either way. Does not word errors; it raises them.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

from google.protobuf.message import DecodeError

from jinbao.appliance.admin_frames import receive, send
from jinbao.appliance.admin_sockets import ADMIN, READ, listening, socket_name
from jinbao.appliance.settings import Settings
from jinbao.appliance.zone_lock import LockedError, Purpose, require_owner
from jinbao.model.errors import JinbaoError, LinkError, LocalError
from jinbao.model.zone import Zone
from jinbao.wire.gen.jinbao.admin.v1 import admin_pb2 as admin

TIMEOUT_S = 600.0  # verifying a large journal reads every byte of it
STARTING_S = 20.0  # from opening the database to listening, migrations included


class AskedError(JinbaoError):
    """A problem the zone told; code and exit code are the zone's."""

    def __init__(
        self, thing: str, *, expected: str, got: str, next_step: str, code: str, exit_code: int
    ) -> None:
        super().__init__(thing, expected=expected, got=got, next_step=next_step)
        self.code = code  # type: ignore[misc]  # an instance speaks for the zone's class
        self.exit_code = exit_code  # type: ignore[misc]  # as above


def ask(
    settings: Settings,
    zone: Zone,
    question: str,
    arguments: Mapping[str, Any] | None = None,
    *,
    attachment: BinaryIO | None = None,
) -> dict[str, Any]:
    """The zone's answer; an attached file is written to `attachment`.

    Raises LinkError when the zone can neither be asked nor opened, UsageError for a question it
    does not know, and whatever the question itself raises.
    """
    settings.endpoint(zone)
    deadline = time.monotonic() + STARTING_S
    while True:
        path = _socket(settings, zone)
        if path is not None:
            return _ask_socket(path, question, arguments or {}, attachment)
        try:
            return _ask_stopped(settings, zone, question, arguments or {}, attachment)
        except LockedError as exc:
            if time.monotonic() >= deadline:
                raise LinkError(
                    f"zone {settings.node}/{zone}",
                    expected=f"an answer within {STARTING_S:.0f} s",
                    got=f"none: {exc.got} has it open, and is not listening",
                    next_step="see the zone's log",
                ) from exc


def is_running(settings: Settings, zone: Zone) -> bool:
    """Whether the zone's process answers on this host."""
    return _socket(settings, zone) is not None


def _socket(settings: Settings, zone: Zone) -> Path | None:
    """The socket of a running zone this account may use; None when nobody listens."""
    directory = settings.run_directory(zone)
    for name in (ADMIN, READ):
        try:
            if listening(directory / name):
                return directory / name
        except PermissionError:
            continue
    return None


def _ask_socket(
    path: Path, question: str, arguments: Mapping[str, Any], attachment: BinaryIO | None
) -> dict[str, Any]:
    request = admin.AskRequest(
        question=question, arguments=json.dumps(dict(arguments)).encode(), claimed=_claim()
    )
    body = bytearray()
    name = socket_name(path)
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(TIMEOUT_S)
            connection.connect(name.name)
            send(connection, request.SerializeToString())
            while frame := receive(connection):  # an empty one ends the answer
                part = admin.AskResponse.FromString(frame)
                if part.HasField("problem"):
                    _raise(part.problem)
                body += part.answer
                if attachment is not None and part.attachment:
                    attachment.write(part.attachment)
    except (LinkError, ConnectionError, TimeoutError, DecodeError) as exc:
        got = str(exc) or type(exc).__name__
        raise LinkError(
            f"zone at {path}", expected="an answer", got=got, next_step="see the zone's log"
        ) from exc
    finally:
        name.close()
    answer: dict[str, Any] = json.loads(body)
    return answer


def _claim() -> str:
    """Whom this process says it acts for: recorded, never believed."""
    return os.environ.get("SUDO_USER", "")


def _raise(problem: Any) -> NoReturn:  # the generated message
    raise AskedError(
        problem.thing,
        expected=problem.expected,
        got=problem.got,
        next_step=problem.next_step,
        code=problem.code,
        exit_code=problem.exit_code,
    )


def _ask_stopped(
    settings: Settings,
    zone: Zone,
    question: str,
    arguments: Mapping[str, Any],
    attachment: BinaryIO | None,
) -> dict[str, Any]:
    """Open the stopped zone, ask it, and close it again."""
    directory = settings.directory(zone)
    if not (directory / "identity").is_dir():
        raise LocalError(
            f"zone {settings.node}/{zone}",
            expected=f"a zone at {directory}",
            got="none" if not directory.exists() else "no identity in it",
            next_step="check data_directory, or run as the account that owns the zone",
        )
    from jinbao.appliance.assembly import open_zone  # noqa: PLC0415  # all rooms: only when needed
    from jinbao.appliance.callers import own  # noqa: PLC0415  # as above
    from jinbao.appliance.observers import log_beside  # noqa: PLC0415  # as above
    from jinbao.appliance.questions import Asked, dispatch  # noqa: PLC0415  # as above

    require_owner(directory)
    log_beside()
    opened = open_zone(settings, zone, purpose=Purpose.QUESTION)
    try:
        answer = dispatch(Asked(opened, caller=own(_claim())), question, arguments)
        if answer.attachment is not None:
            if attachment is not None:
                with answer.attachment.open("rb") as file:
                    shutil.copyfileobj(file, attachment)
            answer.attachment.unlink(missing_ok=True)
    finally:
        opened.close()
    return answer.body
