"""How results are shown: tables for people, JSON for programs, CSV that no spreadsheet executes.

Results go to stdout, talk to stderr.
"""

from __future__ import annotations

import csv
import io
import json
import re
import sys
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any

from jinbao.cli.words import t
from jinbao.model.errors import JinbaoError

_FORMULA = re.compile(r"[\t\r\n']|[\s\ufeff\u200b-\u200f\u2060]*[=+\-@＝＋－＠]")
"""A formula's beginning, behind whatever a spreadsheet passes over; full width too: East Asian ones take it.

An apostrophe gets another, so that taking one away is always right.
"""


def talk(text: str) -> None:
    """Say something that is no result."""
    sys.stderr.write(text + "\n")


def result(text: str) -> None:
    """Say the result."""
    sys.stdout.write(text + "\n")


def as_json(value: Any) -> None:  # whatever was answered
    """The whole answer as one JSON value."""
    result(json.dumps(value, ensure_ascii=False, indent=1, default=str))


def width(text: str) -> int:
    """Columns on a terminal: a Chinese character takes two."""
    return sum(2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)


def table(rows: Sequence[Mapping[str, Any]], columns: Mapping[str, str]) -> None:
    """Rows as an aligned table; `columns` maps a key to its title."""
    if not rows:
        result(t("(nothing)", "（无）"))
        return
    lines = [list(columns.values()), *([_cell(row.get(key)) for key in columns] for row in rows)]
    widths = [max(width(line[at]) for line in lines) for at in range(len(columns))]
    for line in lines:
        result(
            "  ".join(cell + " " * (w - width(cell)) for cell, w in zip(line, widths, strict=True)).rstrip()
        )


def _cell(value: Any) -> str:
    """One value on one line; what would steer the terminal is shown, not sent."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return t("yes", "是") if value else t("no", "否")
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return "".join(c if unicodedata.category(c)[0] != "C" else repr(c)[1:-1] for c in str(value))


def pairs(value: Mapping[str, Any], names: Mapping[str, str]) -> None:
    """One `name: value` per line."""
    longest = max(width(name) for name in names.values())
    for key, name in names.items():
        result(f"{name}{' ' * (longest - width(name))}  {_cell(value.get(key))}")


def as_csv(rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> str:
    """CSV with a header line; a text a spreadsheet would take for a formula gets an apostrophe before it."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    quoting = csv.writer(file, lineterminator="\n", quoting=csv.QUOTE_ALL)
    writer.writerow(columns)
    for row in rows:
        cells = [_harmless(row.get(column)) for column in columns]
        # Python's writer leaves a lone CR unquoted, and readers take it for the end of the line.
        (quoting if any("\r" in str(cell) for cell in cells) else writer).writerow(cells)
    return file.getvalue()


def _harmless(value: Any) -> Any:
    """The value, or a text with one apostrophe before it; whoever takes one away again has the text as it was."""
    return f"'{value}" if isinstance(value, str) and _FORMULA.match(value) else value


def worded(exc: JinbaoError) -> str:
    """An error in the reader's language: thing, expected, got, what to do next."""
    tail = f"; {exc.next_step}" if exc.next_step else ""
    english = f"{exc.thing}: expected {exc.expected}, got {exc.got}{tail}"
    return t(english, f"{exc.thing}：应为 {exc.expected}，实为 {exc.got}{tail.replace('; ', '；')}")
