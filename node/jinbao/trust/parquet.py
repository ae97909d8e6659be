"""The shape of a peer's Parquet file, checked before any decoder sees it: only what our own writer makes.

Reads the footer and every page header, each with its sizes bounded by the file, by the
limits and by what the signed header said; values are not decoded here. Whatever is not
such a file is an UnacceptableError, whatever the bytes. Source: the Parquet format's
`parquet.thrift`, whose field numbers are named below.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from jinbao.model.errors import UnacceptableError
from jinbao.model.quoting import quoted
from jinbao.trust.compact import CompactReader, Struct
from jinbao.trust.zstd import check_frame

MAGIC = b"PAR1"
_TAIL_BYTES = 8
PAGE_HEADER_BYTES_MAX = 256 << 10
"""A page header carries its least and its greatest text, each one cell."""

COLUMNS_MAX = 500
"""More than any table of a standard."""

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,79}")
_TEXT, _INT64, _OPTIONAL = 6, 2, 1  # physical types BYTE_ARRAY and INT64; repetition
_ZSTD = 6
_ENCODINGS = frozenset({0, 2, 3, 8})  # plain, dictionary (old and new), run lengths
_DATA_PAGE, _DICTIONARY_PAGE = 0, 2
_NOT_OURS = {1: "a file path", 8: "encryption", 9: "encryption"}

T = TypeVar("T")


class Content(Protocol):
    """Bytes, or a file that is mapped."""

    def __len__(self) -> int:
        """Bytes in all."""
        ...

    def __getitem__(self, at: slice, /) -> bytes:
        """A copy of some of them."""
        ...


@dataclass(frozen=True, slots=True)
class ParquetLimits:
    """Bounds of one file; each is a setting of the same name under `limits`, with its reason there."""

    footer_bytes_max: int = 4 << 20
    row_groups_max: int = 256
    pages_max: int = 20_000
    page_bytes_max: int = 64 << 20
    decoded_bytes_max: int = 512 << 20
    decoded_ratio_max: int = 500
    window_bytes_max: int = 8 << 20
    cell_bytes_max: int = 64 << 10


_RATIO_FLOOR_BYTES = 16 << 20
"""Below this a ratio says nothing: a column of one value is a few bytes."""


@dataclass(frozen=True, slots=True)
class Shape:
    """What a file must hold: rows as the signed header says, columns as the standard does, by whether they are text.

    Without columns: whichever the file names, as long as each is flat text or a 64-bit integer.
    """

    rows: int
    columns: Mapping[str, bool]


def check_parquet(content: Content, shape: Shape, limits: ParquetLimits) -> None:
    """Check that the bytes are a Parquet file of exactly this shape; raises UnacceptableError and nothing else."""
    footer, end = _footer(content, limits)
    checked = _Checked(content, shape, limits, end)
    _parsed("footer", lambda: checked.footer(footer))


def _footer(content: Content, limits: ParquetLimits) -> tuple[Struct, int]:
    """The footer as a structure, and where it begins."""
    size = len(content)
    if size < len(MAGIC) + _TAIL_BYTES or content[:4] != MAGIC or content[size - 4 : size] != MAGIC:
        raise UnacceptableError("segment: magic", expected="a Parquet file", got=f"{size} other bytes")
    length = int.from_bytes(content[size - _TAIL_BYTES : size - 4], "little")
    most = min(limits.footer_bytes_max, size - len(MAGIC) - _TAIL_BYTES)
    if length > most:
        raise UnacceptableError("segment: footer", expected=f"at most {most} bytes", got=length)
    end = size - _TAIL_BYTES - length
    # No value is shorter than a byte.
    return _parsed("footer", CompactReader(content[end : size - _TAIL_BYTES], values_max=length).struct), end


def _parsed(thing: str, read: Callable[[], T]) -> T:
    """What `read` gives; whatever the bytes break on the way is the peer's fault."""
    try:
        return read()
    except (ValueError, KeyError, TypeError, IndexError, AttributeError) as exc:
        raise UnacceptableError(
            f"segment: {thing}", expected="a structure of Parquet", got=quoted(str(exc))
        ) from exc


def _same(thing: str, expected: Any, got: Any) -> None:
    if got != expected:
        shown = quoted(got.decode("utf-8", "replace") if isinstance(got, bytes) else str(got))
        raise UnacceptableError(f"segment: {thing}", expected=expected, got=shown)


def _most(thing: str, most: int, got: int) -> None:
    if not 0 <= got <= most:
        raise UnacceptableError(f"segment: {thing}", expected=f"0 to {most}", got=got)


def _named(leaves: Sequence[Struct]) -> dict[str, bool]:
    """Columns as a file names them, where nobody else does."""
    names = [leaf[4].decode() for leaf in leaves]
    for name in names:
        if not _NAME.fullmatch(name):
            raise UnacceptableError("segment: column", expected="a word", got=quoted(name))
    return {name: leaf.get(1) == _TEXT for name, leaf in zip(names, leaves, strict=True)}


class _Checked:
    """One file under check: how far its chunks have come, and what its pages claim in all."""

    def __init__(self, content: Content, shape: Shape, limits: ParquetLimits, end: int) -> None:
        self._content, self._shape, self._limits, self._end = content, shape, limits, end
        self._columns = shape.columns
        self._at = len(MAGIC)
        self._pages = self._decoded = 0

    def footer(self, footer: Struct) -> None:
        """FileMetaData: 2 schema, 3 num_rows, 4 row_groups, 8 and 9 encryption."""
        limits = self._limits
        if footer.keys() & {8, 9}:
            raise UnacceptableError("segment: footer", expected="a file in the clear", got="encryption")
        self._schema(footer[2])
        _same("rows", self._shape.rows, footer[3])
        # A run of nulls is a few bytes however long it is: what it decodes to is bounded here.
        _most("cells", limits.decoded_bytes_max // 8, self._shape.rows * len(self._columns))
        groups = footer[4]
        _most("row groups", limits.row_groups_max, len(groups))
        _same("rows of all row groups", self._shape.rows, sum(group[3] for group in groups))
        for group in groups:
            self._row_group(group)
        most = limits.decoded_ratio_max * max(len(self._content), 1)
        if self._decoded > _RATIO_FLOOR_BYTES:
            _most("bytes in all pages, by those of the file", most, self._decoded)

    def _schema(self, elements: Sequence[Struct]) -> None:
        """SchemaElement: 1 type, 3 repetition, 4 name, 5 children, 6 converted and 10 logical type."""
        root, *leaves = elements
        _most("columns", COLUMNS_MAX, len(leaves))
        columns = self._columns = self._shape.columns or _named(leaves)
        _same("columns", len(columns), root.get(5))
        _same("columns", list(columns), [leaf[4].decode() for leaf in leaves])
        for leaf, (name, is_text) in zip(leaves, columns.items(), strict=True):
            _same(f"column {name}: children", 0, leaf.get(5, 0))
            _same(f"column {name}: type", _TEXT if is_text else _INT64, leaf.get(1))
            _most(f"column {name}: repetition", _OPTIONAL, leaf.get(3, 0))
            meant = (
                {6: 0, 10: {1: {}}} if is_text else {6: None, 10: None}
            )  # UTF-8 text; nothing but a number
            _same(f"column {name}: meaning", meant, {key: leaf.get(key, meant[key]) for key in meant})

    def _row_group(self, group: Struct) -> None:
        """RowGroup: 1 columns, 3 num_rows."""
        chunks, rows = group[1], group[3]
        _most("rows of a row group", self._shape.rows, rows)
        _same("chunks of a row group", len(self._columns), len(chunks))
        for chunk, (name, is_text) in zip(chunks, self._columns.items(), strict=True):
            for field, meaning in _NOT_OURS.items():
                if field in chunk:
                    raise UnacceptableError(f"segment: column {name}", expected="a plain chunk", got=meaning)
            self._chunk(name, chunk[3], rows, is_text=is_text)

    def _chunk(self, name: str, meta: Struct, rows: int, *, is_text: bool) -> None:
        """ColumnMetaData: 1 type, 2 encodings, 3 path, 4 codec, 5 values, 6 and 7 sizes, 9 and 11 offsets, 14 bloom."""
        _same(f"column {name}: type of a chunk", _TEXT if is_text else _INT64, meta[1])
        _same(f"column {name}: path", [name.encode()], meta[3])
        _same(f"column {name}: codec", _ZSTD, meta[4])
        _same(f"column {name}: values", rows, meta[5])
        _same(f"column {name}: filter", None, meta.get(14))
        if not _ENCODINGS.issuperset(meta[2]):
            raise UnacceptableError(f"segment: column {name}", expected="known encodings", got=meta[2])
        start: int = meta.get(11, 0) or meta[9]
        # Chunks lie one after the other: bytes that two of them share would be decoded twice.
        if not self._at <= start <= self._end:
            where = f"{self._at} to {self._end}"
            raise UnacceptableError(f"segment: column {name}: offset", expected=where, got=start)
        _most(f"column {name}: bytes", self._end - start, meta[7])
        before = self._decoded
        self._at = start + meta[7]
        _same(f"column {name}: values in pages", rows, self._pages_of(name, start, self._at))
        _same(f"column {name}: bytes in pages", meta[6], self._decoded - before)

    def _pages_of(self, name: str, at: int, end: int) -> int:
        """Values in the data pages of a chunk, each page checked."""
        values, is_first = 0, True
        while at < end:
            self._pages += 1
            _most("pages", self._limits.pages_max, self._pages)
            reader = CompactReader(self._content[at : min(end, at + PAGE_HEADER_BYTES_MAX)], values_max=64)
            header = _parsed(f"column {name}: page", reader.struct)
            body = at + reader.at
            values += self._page(name, header, body, end, is_first=is_first)
            self._decoded += reader.at + header[2]
            _most("bytes in all pages", self._limits.decoded_bytes_max, self._decoded)
            at, is_first = body + header[3], False
        return values

    def _page(self, name: str, header: Struct, at: int, end: int, *, is_first: bool) -> int:
        """PageHeader: 1 type, 2 and 3 sizes, 5 data page, 7 dictionary page; returns the values of a data page."""
        kind, size, packed = header[1], header[2], header[3]
        _most(f"column {name}: bytes of a page", self._limits.page_bytes_max, size)
        _most(f"column {name}: packed bytes of a page", end - at, packed)
        check_frame(
            self._content[at : at + packed], size=size, window_bytes_max=self._limits.window_bytes_max
        )
        if kind == _DICTIONARY_PAGE and is_first:
            _most(f"column {name}: dictionary", self._shape.rows, header[7][1])
            return 0
        _same(f"column {name}: page type", _DATA_PAGE, kind)
        page = header[5]
        _most(f"column {name}: values of a page", self._shape.rows, page[1])
        if not _ENCODINGS.issuperset({page[2], page[3], page[4]}):
            raise UnacceptableError(f"segment: column {name}", expected="known encodings", got=page[2])
        return int(page[1])
