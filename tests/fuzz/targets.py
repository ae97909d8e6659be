"""What is fuzzed: all that turns a stranger's bytes into something. Each gives a value or a JinbaoError, nothing else.

`TARGETS` maps a name to a function of bytes. Inputs that once broke one lie in
`corpus/<name>/` and are run by every `make test`.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from jinbao.appliance.settings import load
from jinbao.authority.tokens import read_token
from jinbao.model.errors import JinbaoError
from jinbao.trust.book import TrustBook
from jinbao.trust.encoding import (
    HEADER_TYPE,
    decode_envelope,
    decode_header,
    decode_marks,
    decode_topology,
)
from jinbao.trust.envelope import head_of, parse_certificate, signer_of
from jinbao.trust.identity import authority_name, parse_identity
from jinbao.trust.parquet import ParquetLimits, Shape, check_parquet
from jinbao.trust.revocation import read_list
from jinbao.wire.gen.jinbao.wire.v1 import wire_pb2 as wire

CORPUS = Path(__file__).with_name("corpus")
TARGETS: dict[str, Callable[[bytes], None]] = {}

_MANIFEST_TAG = b"\x7a"  # field 15 of a header, length-delimited
_MADE = wire.Header(
    stream=wire.StreamId(node="140100", zone="production", topic="pension_macro", audience="line"),
    seq=4,
    epoch=1,
    incarnation="1" * 32,
    kind="manifest",
    made_at="2026-11-20T07:00:00Z",
).SerializeToString()


_ROWS_BYTES = 2  # before a segment, what its header says of it


@contextmanager
def _file(content: bytes, suffix: str) -> Iterator[Path]:
    """A file of the content that its owner alone may read; in memory, not on disk."""
    with tempfile.NamedTemporaryFile(dir="/dev/shm", suffix=suffix) as file:
        file.write(content)
        file.flush()
        yield Path(file.name)


def target(function: Callable[[bytes], None]) -> Callable[[bytes], None]:
    """Register a target under its name; whatever a person could act on is an answer."""

    def guarded(content: bytes) -> None:
        try:
            function(content)
        except JinbaoError:
            return

    TARGETS[function.__name__] = guarded
    return guarded


@target
def envelope(content: bytes) -> None:
    """A sealed batch as it comes over the line or lies in a package."""
    sealed = decode_envelope(content)
    assert len(head_of(sealed)) == 64
    signer_of(sealed, HEADER_TYPE)


@target
def header(content: bytes) -> None:
    """The payload of a batch."""
    assert str(decode_header(content).stream)


@target
def manifest(content: bytes) -> None:
    """What closes a submission, inside a header."""
    length = len(content)
    varint = bytes([length & 0x7F | 0x80, length >> 7 & 0x7F | 0x80, length >> 14 & 0x7F])
    decode_header(_MADE + _MANIFEST_TAG + varint + content)


@target
def marks(content: bytes) -> None:
    """A receiver's marks, from a call or a carrier."""
    decode_marks(content)


@target
def topology(content: bytes) -> None:
    """Who is whose parent."""
    found = decode_topology(content)
    assert found.root in found.by_node


@target
def certificate(content: bytes) -> None:
    """A certificate of a peer, down to the names in it."""
    found = parse_certificate(content)
    authority_name(found)
    parse_identity(found)


@target
def crl(content: bytes) -> None:
    """A revocation list."""
    assert read_list(content).number >= 0


@target
def book(content: bytes) -> None:
    """A document for the trust book."""
    TrustBook.of([]).admit([content])


@target
def configuration(content: bytes) -> None:
    """A node's settings file."""
    with _file(content, ".toml") as path:
        load(path)


@target
def token(content: bytes) -> None:
    """The file that lets a node enrol."""
    with _file(content, ".json") as path:
        assert read_token(path).zones is not None


@target
def segment(content: bytes) -> None:
    """A peer's Parquet file, its rows as its header might say; the decoder behind this check is a process of its own."""
    rows = int.from_bytes(content[:_ROWS_BYTES], "little")
    check_parquet(content[_ROWS_BYTES:], Shape(rows, {}), ParquetLimits())
