"""Thrift's compact protocol, read with every size bounded: what the footers and page headers of Parquet are made of.

Bytes become dictionaries by field number, or a ValueError; nothing is skipped unread and
nothing is believed about a size before the bytes are there. Knows nothing of Parquet.
"""

from __future__ import annotations

from typing import Any

DEPTH_MAX = 8
"""Parquet nests six deep: file, row groups, chunk, meta data, statistics, value."""

_STOP, _TRUE, _FALSE, _BYTE, _INT16, _INT32, _INT64, _DOUBLE, _BINARY, _LIST, _SET, _, _STRUCT = range(13)
_INTEGERS = {_INT16: 16, _INT32: 32, _INT64: 64}
_VARINT_BYTES_MAX = 10
_DOUBLE_BYTES = 8
_LONG_LIST = 15

Struct = dict[int, Any]


class CompactReader:
    """A cursor over bytes; `values_max` bounds how many values it will ever build."""

    def __init__(self, content: bytes, *, values_max: int) -> None:
        self._content, self._left = content, values_max
        self.at = 0

    def struct(self, depth: int = 0) -> Struct:
        """One structure from where the cursor stands; raises ValueError on anything that is none."""
        if depth >= DEPTH_MAX:
            msg = f"nesting deeper than {DEPTH_MAX}"
            raise ValueError(msg)
        found: Struct = {}
        field = 0
        while (head := self._byte()) & 0x0F != _STOP:
            step = head >> 4
            field = field + step if step else self._signed(16)
            if field in found:
                msg = f"field {field} twice"
                raise ValueError(msg)
            found[field] = self._value(head & 0x0F, depth)
        if head:
            msg = "a stop that is none"
            raise ValueError(msg)
        return found

    def _value(self, kind: int, depth: int) -> Any:
        """One value of a field, of any type; a boolean is its type."""
        self._spend()
        if kind in {_TRUE, _FALSE}:
            return kind == _TRUE
        if kind in {_LIST, _SET}:
            return self._list(depth)
        if kind == _STRUCT:
            return self.struct(depth + 1)
        return self._scalar(kind)

    def _scalar(self, kind: int) -> int | bytes:
        if kind == _BYTE:
            return self._byte()
        if kind in _INTEGERS:
            return self._signed(_INTEGERS[kind])
        if kind in {_DOUBLE, _BINARY}:
            return self._take(_DOUBLE_BYTES if kind == _DOUBLE else self._unsigned())
        msg = f"type {kind}"  # a map, or none at all: Parquet has no maps
        raise ValueError(msg)

    def _list(self, depth: int) -> list[Any]:
        head = self._byte()
        size = head >> 4
        if size == _LONG_LIST:
            size = self._unsigned()
        # Every element takes a byte at least, so that no list is longer than what is left.
        if size > len(self._content) - self.at:
            msg = f"a list of {size} in {len(self._content) - self.at} bytes"
            raise ValueError(msg)
        kind = head & 0x0F
        if kind in {_TRUE, _FALSE}:
            return [self._byte() == _TRUE for _ in range(size)]
        return [self._value(kind, depth + 1) for _ in range(size)]

    def _spend(self) -> None:
        self._left -= 1
        if self._left < 0:
            msg = "more values than such a structure has"
            raise ValueError(msg)

    def _byte(self) -> int:
        if self.at >= len(self._content):
            msg = "an end inside a structure"
            raise ValueError(msg)
        self.at += 1
        return self._content[self.at - 1]

    def _take(self, size: int) -> bytes:
        if size > len(self._content) - self.at:
            msg = f"{size} bytes where {len(self._content) - self.at} are left"
            raise ValueError(msg)
        self.at += size
        return self._content[self.at - size : self.at]

    def _unsigned(self) -> int:
        number = 0
        for place in range(_VARINT_BYTES_MAX):
            byte = self._byte()
            number |= (byte & 0x7F) << (7 * place)
            if byte < 0x80:  # noqa: PLR2004  # the eighth bit says that more follows
                return number
        msg = f"a number of more than {_VARINT_BYTES_MAX} bytes"
        raise ValueError(msg)

    def _signed(self, bits: int) -> int:
        number = self._unsigned()
        value = (number >> 1) ^ -(number & 1)
        if not -(1 << (bits - 1)) <= value < 1 << (bits - 1):
            msg = f"a number beyond {bits} bits"
            raise ValueError(msg)
        return value
