"""Wording: what a business database's error means for the operator of a source. Decides nothing, repeats nothing.

Every one of these ends the run with nothing recorded, and the run is made again by pace. No
word is taken from a row: what a database quotes of a value is left out.
"""

from __future__ import annotations

from typing import NamedTuple

from jinbao.store.refusals import is_passing_state, sqlstate, without_values

_ALTERED = frozenset({"0A000", "3F000", "42703", "42P01", "42704", "55000", "XX000"})
_ALTERED_TEXTS = ("no such table", "no such column", "database schema has changed")
_DATA_CLASS = "22"
_PERMISSION = "42501"

AGAIN = "capture is made again by itself"


class Words(NamedTuple):
    """The parts of an error that are not its thing."""

    expected: str
    got: str
    next_step: str


ALTERED = Words(
    "the table as it was when the run began",
    "one that was altered, emptied or made anew meanwhile",
    f"{AGAIN}; correct the mapping if it stays so",
)


def worded(exc: BaseException, *, reading: bool = False) -> Words:
    """The parts of an error; `reading` rows, where Arrow hands on the text alone and any of it may be a cell's."""
    state = sqlstate(exc)
    text = str(exc).replace("[libpq] ", "").replace("Execution error [PGRES_FATAL_ERROR]: ", "")
    got = without_values(_DATA_CLASS if reading and not state else state, text)
    if state == _PERMISSION:
        return Words("permission to read", got, "grant the reading account SELECT on it")
    if state in _ALTERED or any(words in text for words in _ALTERED_TEXTS):
        return Words(ALTERED.expected, got, ALTERED.next_step)
    if state.startswith(_DATA_CLASS):
        return Words("values the database itself can word", got, f"mend the row there; {AGAIN}")
    if is_passing_state(state) or reading:
        return Words("a database that answers until all is read", got, AGAIN)
    return Words("a database that answers", got, "jinbao status")
