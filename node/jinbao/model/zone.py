"""Where things are: tiers 层级, zones 分区, and the endpoint that names one zone of one node.

Knows nothing about certificates or addresses; `topology` says who is whose parent.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

NODE_PATTERN = re.compile(r"[0-9]{6}(-backup)?")


class Tier(StrEnum):
    """Administrative level of a node (部, 省, 市)."""

    MINISTRY = "ministry"
    PROVINCE = "province"
    CITY = "city"


class Zone(StrEnum):
    """Work zone of a node (生产区, 交换区, 决策区); each is its own process and database."""

    PRODUCTION = "production"
    EXCHANGE = "exchange"
    DECISION = "decision"


class Border(StrEnum):
    """How two neighbouring zones meet: a live line, or files through a carrier (软交换)."""

    LINE = "line"
    CARRIER = "carrier"


@dataclass(frozen=True, slots=True, order=True)
class Endpoint:
    """One zone of one node; the only thing that seals, serves and follows streams."""

    node: str
    zone: Zone

    def __post_init__(self) -> None:
        """Refuse a node name that is not a six-digit region code, optionally a backup's."""
        if not NODE_PATTERN.fullmatch(self.node):
            msg = f"node name: expected six digits or six digits and -backup, got {self.node!r}"
            raise ValueError(msg)

    def __str__(self) -> str:
        """Return `140100/exchange`."""
        return f"{self.node}/{self.zone}"

    @classmethod
    def parse(cls, text: str) -> Endpoint:
        """Read `140100/exchange`; raises ValueError on anything else."""
        node, _, zone = text.partition("/")
        return cls(node, Zone(zone))
