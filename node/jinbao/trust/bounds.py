"""Bounds of what a peer may say in a message of the contract, each with its unit and its reason; and their checks.

A check gives the value back or raises a ValueError that quotes no more of it than a person
needs. Numbers are those a database holds; texts are words, so that none of them can steer
a log, a path, a shell, SQL or a spreadsheet.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from datetime import datetime
from typing import TypeVar

from jinbao.model.quoting import quoted

PAYLOAD_BYTES_MAX = 1 << 20
"""A header names at most thousands of segments; more is not a header."""

SEGMENT_BYTES_MAX = 1 << 34
"""16 GiB: above any table of a province in one segment."""

SEGMENTS_MAX = 1_000
"""Segments of one header: ours have one per table and slice."""

REPLACES_MAX = 1_000
"""Batches one header replaces: a month has a few."""

TABLES_MAX = 200
"""Tables of one manifest: a library has a dozen at most."""

TOTALS_MAX = 100
"""Control totals of one table: one per item that is summed."""

MARKS_MAX = 20_000
"""Marks of one caller: all streams of a province."""

ROWS_MAX = 1 << 40
"""Rows one header or manifest speaks of: beyond any country."""

NUMBER_MAX = (1 << 63) - 1
"""The largest number a database column holds."""

NODES_MAX = 5_000
"""Rows of a topology: every city and county of the country."""

CHARACTERS_MAX = 200
"""Characters of a name for people, of an address, or of a run."""

_HASH = re.compile(r"[0-9a-f]{64}")
_WORD = re.compile(r"[a-z][a-z0-9_]{0,79}")
_ITEM = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,79}")
_INCARNATION = re.compile(r"[0-9A-Za-z-]{1,64}")
_PERIOD = re.compile(r"(?:[0-9]{4}(?:0[1-9]|1[0-2]))?")
_STANDARD = re.compile(r"(?:[a-z][a-z0-9_]{0,79}@[0-9A-Za-z][0-9A-Za-z.-]{0,31})?")
_TIME = re.compile(r"[ -~]{0,40}")
_RUN = re.compile(r"(?:(?![./])(?!.*[.][.])[0-9A-Za-z/_.#@:-]{1,200})?")
_DOMAIN = re.compile(r"[a-z0-9][a-z0-9.-]{0,199}")
_REGION = re.compile(r"[0-9]{6}")
_ADDRESS = re.compile(r"[0-9A-Za-z.:\[\]-]{1,200}:[0-9]{1,5}")

C = TypeVar("C", bound=Collection[object])


def _matching(pattern: re.Pattern[str], text: str, meant: str) -> str:
    if not pattern.fullmatch(text):
        msg = f"expected {meant}, got {quoted(text) or 'nothing'}"
        raise ValueError(msg)
    return text


def hash_text(text: str) -> str:
    """A SHA-256 in lower-case hex."""
    return _matching(_HASH, text, "64 hex digits")


def word(text: str) -> str:
    """The name of a table or class: a lower-case word."""
    return _matching(_WORD, text, "a lower-case word")


def incarnation(text: str) -> str:
    """An incarnation; digits, letters and hyphens."""
    return _matching(_INCARNATION, text, "an incarnation of at most 64 letters and digits")


def period(text: str) -> str:
    """YYYYMM, or empty."""
    return _matching(_PERIOD, text, "a period YYYYMM")


def standard(text: str) -> str:
    """`library@version`, or empty."""
    return _matching(_STANDARD, text, "library@version")


def time_text(text: str) -> str:
    """A printable text no longer than a time; whether it is one is asked where it counts."""
    return _matching(_TIME, text, "RFC 3339")


def moment(text: str) -> str:
    """A time with its zone, as it stands."""
    if datetime.fromisoformat(time_text(text)).tzinfo is None:
        msg = f"expected a time in UTC, got {quoted(text)}"
        raise ValueError(msg)
    return text


def run(text: str) -> str:
    """The name of a run or of the submission a package is made of, or empty."""
    return _matching(_RUN, text, "the name of a run")


def domain(text: str) -> str:
    """A trust domain."""
    return _matching(_DOMAIN, text, "a trust domain")


def region(text: str) -> str:
    """A region code of six digits."""
    return _matching(_REGION, text, "a region of six digits")


def address(text: str) -> str:
    """`host:port`, or empty."""
    return text and _matching(_ADDRESS, text, "host:port")


def label(text: str) -> str:
    """A name for people: one printable line."""
    if len(text) > CHARACTERS_MAX or quoted(text, CHARACTERS_MAX) != text:
        msg = f"expected a name of one line, got {quoted(text)}"
        raise ValueError(msg)
    return text


def positive(number: int) -> int:
    """A seq or an epoch."""
    if not 1 <= number <= NUMBER_MAX:
        msg = f"seq and epoch count from 1 to 2^63, got {number}"
        raise ValueError(msg)
    return number


def at_most(number: int, most: int, thing: str) -> int:
    """A count between 0 and `most`."""
    if not 0 <= number <= most:
        msg = f"{thing}: expected at most {most}, got {number}"
        raise ValueError(msg)
    return number


def few(several: C, most: int, thing: str) -> C:
    """A collection of at most `most`."""
    at_most(len(several), most, thing)
    return several


def totals(sums: Mapping[str, int]) -> dict[str, int]:
    """Control totals by item; 64-bit numbers by the contract."""
    few(sums, TOTALS_MAX, "totals")
    return {_matching(_ITEM, item, "an item's code"): number for item, number in sums.items()}
