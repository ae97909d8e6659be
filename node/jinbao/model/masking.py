"""Masking of personal identifiers for every surface that is not the authorised one."""

from __future__ import annotations

import re

_ID_NUMBER = re.compile(r"(?<![0-9A-Za-z])([0-9]{17}[0-9Xx]|[0-9]{15})(?![0-9A-Za-z])")
_KEEP_HEAD, _KEEP_TAIL, _FULL_ID = 6, 4, 15


def mask(value: str) -> str:
    """Return `140105********1234` for an id number, `张**` for anything shorter; never the value itself."""
    if len(value) >= _FULL_ID:
        hidden = len(value) - _KEEP_HEAD - _KEEP_TAIL
        return value[:_KEEP_HEAD] + "*" * hidden + value[-_KEEP_TAIL:]
    return value[:1] + "*" * max(len(value) - 1, 2)


def mask_numbers(text: str) -> str:
    """The text with every identity number in it masked."""
    return _ID_NUMBER.sub(lambda found: mask(found[0]), text)
