"""Parquet files written byte by byte, each with one lie: what no writer of a library would make.

`craft` lays down a small true file of a text and a number column; `change` may bend the
pages before they are laid, `bend` the footer after. zstd frames are made by hand too.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from jinbao.trust.parquet import Shape

COLUMNS = {"name": True, "n": False}
ROWS = 3
SHAPE = Shape(ROWS, COLUMNS)


class I32(int):
    """A 32-bit number of thrift; a plain int is one of 64 bits."""


def varint(number: int) -> bytes:
    """A number in as many bytes as it needs."""
    found = b""
    while number > 0x7F:
        found += bytes([number & 0x7F | 0x80])
        number >>= 7
    return found + bytes([number])


def encoded(value: Any) -> tuple[int, bytes]:
    """Thrift's compact type and bytes of a value."""
    match value:
        case bool():
            return (1 if value else 2), b""
        case int():
            return (5 if isinstance(value, I32) else 6), varint((value << 1) ^ (value >> 63))
        case bytes():
            return 8, varint(len(value)) + value
        case list():
            kind = encoded(value[0])[0] if value else 12
            head = (
                bytes([len(value) << 4 | kind])
                if len(value) < 15
                else bytes([0xF0 | kind]) + varint(len(value))
            )
            return 9, head + b"".join(encoded(one)[1] for one in value)
        case Raw():
            return value.kind, value.content
    found, last = b"", 0
    for at, one in sorted(value.items()):
        kind, content = encoded(one)
        found += bytes([(at - last) << 4 | kind]) + content
        last = at
    return 12, found + b"\0"


@dataclass(frozen=True)
class Raw:
    """Bytes that stand for a value of a type, true or not."""

    kind: int
    content: bytes


def frame(
    content: bytes = b"", *, size: int | None = None, window: int = 0x48, blocks: bytes | None = None
) -> bytes:
    """A zstd frame with raw blocks of `content`, or other blocks; `size` is claimed in its header."""
    if blocks is None:
        blocks = struct.pack("<I", len(content) << 3 | 1)[:3] + content
    claim = b"" if size is None else struct.pack("<Q", size)
    return b"\x28\xb5\x2f\xfd" + bytes([0xC0 if claim else 0, window]) + claim + blocks


def rle_blocks(count: int, size: int = 128 << 10) -> bytes:
    """Blocks of one byte that is repeated: four bytes for up to 128 KiB."""
    head = struct.pack("<I", size << 3 | 1 << 1)[:3] + b"\0"
    last = struct.pack("<I", size << 3 | 1 << 1 | 1)[:3] + b"\0"
    return head * (count - 1) + last


@dataclass
class Page:
    """One page: its header by field, and what lies behind it."""

    header: dict[int, Any]
    body: bytes

    @classmethod
    def plain(cls, rows: int, content: bytes) -> Page:
        """A data page of plain values."""
        body = frame(content)
        kinds = {1: I32(rows), 2: I32(0), 3: I32(3), 4: I32(3)}
        return cls({1: I32(0), 2: I32(len(content)), 3: I32(len(body)), 5: kinds}, body)

    @classmethod
    def dictionary(cls, values: int, content: bytes, packed: bytes | None = None) -> Page:
        """A dictionary of plain values."""
        body = packed or frame(content)
        kinds = {1: I32(values), 2: I32(0)}
        return cls({1: I32(2), 2: I32(len(content)), 3: I32(len(body)), 7: kinds}, body)

    @classmethod
    def repeated(cls, rows: int, *, nulls: bool = False) -> Page:
        """A data page in which every row is the first of the dictionary, or null: a few bytes however many rows."""
        run = varint(rows << 1) + b"\0"
        content = struct.pack("<I", len(run)) + run if nulls else b"\x01" + run
        body = frame(content)
        kinds = {1: I32(rows), 2: I32(8 if not nulls else 0), 3: I32(3), 4: I32(3)}
        return cls({1: I32(0), 2: I32(len(content)), 3: I32(len(body)), 5: kinds}, body)


def texts(*values: bytes) -> bytes:
    """Plain text values."""
    return b"".join(struct.pack("<I", len(value)) + value for value in values)


def numbers(*values: int) -> bytes:
    """Plain 64-bit values."""
    return struct.pack(f"<{len(values)}q", *values)


@dataclass
class Draft:
    """A file before it is laid down: pages by column, rows, and the names and types of its columns."""

    rows: int = ROWS
    pages: list[list[Page]] = field(
        default_factory=lambda: [
            [Page.plain(ROWS, texts(b"zhang", b"li", b"wang"))],
            [Page.plain(ROWS, numbers(1, 2, 3))],
        ]
    )
    optional: bool = False
    chunks: list[dict[int, Any]] = field(default_factory=list)


def craft(
    change: Callable[[Draft], None] = lambda _draft: None,
    bend: Callable[[dict[int, Any]], None] = lambda _footer: None,
) -> bytes:
    """A file of the draft `change` leaves, under the footer `bend` leaves."""
    draft = Draft()
    change(draft)
    content = b"PAR1"
    for (name, is_text), pages in zip(COLUMNS.items(), draft.pages, strict=True):
        chunk, laid = _chunk(name, pages, len(content), rows=draft.rows, is_text=is_text)
        draft.chunks.append(chunk)
        content += laid
    footer = _footer(draft)
    bend(footer)
    tail = encoded(footer)[1]
    return content + tail + struct.pack("<I", len(tail)) + b"PAR1"


def _chunk(
    name: str, pages: Sequence[Page], start: int, *, rows: int, is_text: bool
) -> tuple[dict[int, Any], bytes]:
    laid, unpacked = b"", 0
    offsets = []
    for page in pages:
        offsets.append(start + len(laid))
        head = encoded(page.header)[1]
        unpacked += len(head) + page.header[2]
        laid += head + page.body
    meta: dict[int, Any] = {
        1: I32(6 if is_text else 2),
        2: [I32(0), I32(3), I32(8)],
        3: [name.encode()],
        4: I32(6),
        5: rows,
        6: unpacked,
        7: len(laid),
        9: offsets[1 if 7 in pages[0].header else 0],
    }
    if 7 in pages[0].header:
        meta[11] = offsets[0]
    return {2: start, 3: meta}, laid


def _footer(draft: Draft) -> dict[int, Any]:
    kind = I32(1 if draft.optional else 0)
    schema: list[dict[int, Any]] = [
        {4: b"root", 5: I32(len(COLUMNS))},
        {1: I32(6), 3: kind, 4: b"name", 6: I32(0), 10: {1: {}}},
        {1: I32(2), 3: kind, 4: b"n"},
    ]
    group = {1: draft.chunks, 2: 100, 3: draft.rows}
    return {1: I32(1), 2: schema, 3: draft.rows, 4: [group]}


def edit(*path: int, value: Any) -> Callable[[dict[int, Any]], None]:
    """Put a value at a place of the footer: field numbers and indices, the last one the field itself."""

    def bend(footer: dict[int, Any]) -> None:
        at: Any = footer
        for step in path[:-1]:
            at = at[step]
        at[path[-1]] = value

    return bend


def bomb(rows: int, *, cell: int = 60_000) -> bytes:
    """A dictionary of one long text that every row means: kilobytes that decode to gigabytes."""
    value = b"a" * cell

    def change(draft: Draft) -> None:
        draft.rows = rows
        draft.pages = [
            [Page.dictionary(1, texts(value)), Page.repeated(rows)],
            [Page.dictionary(1, numbers(7)), Page.repeated(rows)],
        ]

    return craft(change)
