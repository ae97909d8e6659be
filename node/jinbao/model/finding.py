"""Findings 问题 and verdicts: what the quality gate 质量关 says. A finding is a value, not an exception."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum


class Scope(StrEnum):
    """How much a rule must see before it can judge."""

    ROW = "row"
    BATCH = "batch"
    SUBMISSION = "submission"
    LIBRARY = "library"


class Severity(StrEnum):
    """What a finding does: an error quarantines its row, a warning only reports."""

    ERROR = "error"
    WARNING = "warning"


class Verdict(StrEnum):
    """The gate's word on a whole table or submission."""

    ACCEPTED = "accepted"
    WITH_QUARANTINE = "accepted-with-quarantine"
    REFUSED = "refused"

    @classmethod
    def worst(cls, verdicts: Iterable[Verdict]) -> Verdict:
        """Of several tables: what holds for all of them; accepted if there is none."""
        order = list(cls)
        return max(verdicts, key=order.index, default=cls.ACCEPTED)


@dataclass(frozen=True, slots=True)
class RuleCount:
    """How many rows one rule found in one table; `key_min`/`key_max` bound them for people."""

    table: str
    rule: str
    severity: Severity
    rows: int


FINDING_COLUMNS = ("table", "key", "item", "rule", "severity", "value")
"""Columns of a frame of findings, all text: one line per broken rule and row.

`key` is the values of the key joined by `|`; `value` may be personal and never leaves the zone.
"""
