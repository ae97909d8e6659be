"""Frames of the admin contract: four bytes of length, then a message; an empty frame ends an answer (clause 1.4)."""

from __future__ import annotations

import socket
import struct

from jinbao.model.errors import LinkError

FRAME_BYTES_MAX = 2 << 20
_LENGTH = struct.Struct("!I")


def send(connection: socket.socket, content: bytes) -> None:
    """One frame, whole."""
    connection.sendall(_LENGTH.pack(len(content)) + content)


def receive(connection: socket.socket) -> bytes:
    """One frame; raises LinkError when the other side ends in the middle, or means to send too much."""
    (size,) = _LENGTH.unpack(_exactly(connection, _LENGTH.size))
    if size > FRAME_BYTES_MAX:
        raise LinkError("admin frame", expected=f"at most {FRAME_BYTES_MAX} bytes", got=size)
    return _exactly(connection, size)


def _exactly(connection: socket.socket, size: int) -> bytes:
    found = bytearray()
    while len(found) < size:
        part = connection.recv(min(size - len(found), 1 << 16))
        if not part:
            raise LinkError("admin frame", expected=f"{size} bytes", got=f"an end after {len(found)}")
        found += part
    return bytes(found)
