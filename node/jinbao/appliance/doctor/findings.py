"""What a check says: findings, each with its state, what was expected, what is, and the command that mends it.

A finding's `code` is stable and `numbers` hold no text: these alone leave the node in a support bundle.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple


class State(StrEnum):
    """How a thing is; `unknown` where it cannot be looked at."""

    OK = "ok"
    WARNING = "warning"
    RED = "red"
    UNKNOWN = "unknown"


class Words(NamedTuple):
    """One text in two languages."""

    en: str
    zh: str


def same(text: object) -> Words:
    """A name, a number or somebody else's words: the same in both languages."""
    return Words(str(text), str(text))


NOTHING = same("")


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing looked at. `fix` is a command as it is typed, `advice` what a person does where none is enough.

    `code` begins with the name of its check: `clock.behind`, or `clock.ok`.
    """

    code: str
    state: State
    expected: Words = NOTHING
    got: Words = NOTHING
    thing: str = ""
    fix: str = ""
    advice: Words = NOTHING
    numbers: Mapping[str, float] = field(default_factory=dict)


class UnknownError(Exception):
    """A check cannot be made here; says why. No error of the node: the check's finding is `unknown`."""

    def __init__(self, why: Words, fix: str = "", code: str = "unknown") -> None:
        super().__init__(why.en)
        self.why, self.fix, self.code = why, fix, code
