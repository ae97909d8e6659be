"""What a look at a zone's database finds: the shape of its answer, which the CLI words."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Level = Literal["ok", "note", "wrong"]

RELEASE = r"\d+\.\d+(\.\w+)?"
"""A release as it is asked after, `1.2.0` or `1.2`."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing looked at."""

    thing: str
    expected: str
    got: str
    level: Level
