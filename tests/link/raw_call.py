"""One gRPC call spoken by hand over Python's own TLS, for what no gRPC client would offer: an older TLS."""

from __future__ import annotations

import socket
import ssl
import struct
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from jinbao.authority.identity_files import ZoneIdentity

_HEADERS, _DATA, _SETTINGS = 1, 0, 4
_END_STREAM, _END_HEADERS = 1, 4


def _frame(kind: int, flags: int, stream: int, body: bytes = b"") -> bytes:
    return struct.pack(">I", len(body))[1:] + struct.pack(">BBI", kind, flags, stream) + body


def _literal(name: str, value: str) -> bytes:
    """A header field that needs no table: RFC 7541, 6.2.2."""
    return b"\x00" + bytes([len(name)]) + name.encode() + bytes([len(value)]) + value.encode()


def opening(path: str, **more: str) -> bytes:
    """A connection's first bytes and the headers of a call that has no message yet."""
    fields: Mapping[str, str] = {
        ":method": "POST",
        ":scheme": "https",
        ":path": path,
        ":authority": "line",
        "content-type": "application/grpc",
        "te": "trailers",
    } | {name.replace("_", "-"): value for name, value in more.items()}
    block = b"".join(_literal(name, value) for name, value in fields.items())
    return (
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
        + _frame(_SETTINGS, 0, 0)
        + _frame(_HEADERS, _END_HEADERS, 1, block)
    )


def message_frame(message: bytes, *, packed: bool = False) -> bytes:
    """The one message of a call, and its end."""
    return _frame(_DATA, _END_STREAM, 1, struct.pack(">BI", packed, len(message)) + message)


def part(content: bytes) -> bytes:
    """Some bytes of a message that does not end."""
    return _frame(_DATA, 0, 1, content)


def call(
    address: str, identity: ZoneIdentity, version: ssl.TLSVersion, path: str, message: bytes
) -> tuple[str, bytes]:
    """The version of TLS that was agreed, and what came back until the call ended."""
    with dialled(address, identity, version) as secured:
        secured.sendall(opening(path) + message_frame(message))
        return str(secured.version()), answer(secured)


@contextmanager
def dialled(address: str, identity: ZoneIdentity, version: ssl.TLSVersion) -> Iterator[ssl.SSLSocket]:
    """A connection on which nothing was said yet."""
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    tls.check_hostname = False
    tls.load_verify_locations(cafile=str(identity.directory / "anchors.pem"))
    tls.load_cert_chain(identity.directory / "chain.pem", identity.directory / "key.pem")
    tls.minimum_version = tls.maximum_version = version
    tls.set_alpn_protocols(["h2"])
    host, _, port = address.rpartition(":")
    with socket.create_connection((host, int(port)), 5) as plain, tls.wrap_socket(plain) as secured:
        yield secured


def answer(secured: ssl.SSLSocket) -> bytes:
    """Everything up to the frame that ends stream 1."""
    got = b""
    while block := secured.recv(1 << 16):
        got += block
        if _is_ended(got):
            break
    return got


def _is_ended(got: bytes) -> bool:
    at = 0
    while at + 9 <= len(got):
        size = int.from_bytes(got[at : at + 3], "big")
        if int.from_bytes(got[at + 5 : at + 9], "big") == 1 and got[at + 4] & _END_STREAM:
            return True
        at += 9 + size
    return False
