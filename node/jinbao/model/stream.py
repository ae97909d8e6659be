"""Streams 流, marks 进度 and topics: what is followed, and how far a receiver has come.

A stream is (origin endpoint, topic, audience). Its batches carry seq 1, 2, 3 …
without gaps. A mark belongs to the receiver, one per stream, and names the head
it has seen, so that a re-created or rolled-back origin cannot pass for the old one.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import IntEnum

from jinbao.model.zone import NODE_PATTERN, Endpoint

LINE = "line"
"""Audience of a stream that travels the whole main line in its topic's direction."""

RECEIPTS = "receipts"
"""Topic of signed receipts; travels down to the node named by the audience."""

NOTICES = "notices"
"""Topic of receipts whose stage release 0.1 does not know; travels as receipts do (why apart: `receipt`)."""

STANDARDS = "standards"
"""Topic of standards; travels down the whole line."""

TRUST, TRUST_UP = "trust", "trust_up"
"""Topics of trust documents: down to all below, and up to all above who judge those below."""

RESOURCE_PREFIX = "resource."
"""Topics of business tables as captured; only the backup site may follow them."""

PUBLISHED_PREFIX = "published."
"""Topics of packages an exchange zone publishes to its own decision zone."""

AUDIT = "audit"
"""Topic of sealed heads of a zone's audit trail; only the backup site may follow them."""

JOURNAL = "journal"
"""Topic of a zone's own acts, with every segment they name: all it takes to be that zone again.

Its audience is the backup site; a zone without a listener hands it to its node's exchange zone.
"""

ACTS_TABLE, OBJECT_TABLE, SPARE_TABLE = "acts", "object", "spare"
"""Tables of the segments of a batch of acts: the acts themselves, and what they name.

Of that, an `object` is what the zone is built again from, and a `spare` what its next run would compare with.
"""

CUTS = "cuts"
"""Topic of a backup site's own word up to where it has each journal; its parent keeps it, and sees it go back."""

DOWNWARD = frozenset({RECEIPTS, NOTICES, STANDARDS, TRUST})

CONTROL = DOWNWARD | {TRUST_UP, CUTS, AUDIT}
"""Topics of what is small and steers: it goes ahead of bulk, and no window of the line limits it."""


class Lane(IntEnum):
    """Which streams one follower asks for (clause 2.10); the numbers are those of the contract."""

    ALL = 0
    CONTROL = 1
    BULK = 2

    def has(self, topic: str) -> bool:
        """Whether streams of a topic are of this lane."""
        return self is Lane.ALL or (topic in CONTROL) == (self is Lane.CONTROL)


_TOPIC_CHARACTERS_MAX = 80
_TOPIC = re.compile(r"[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)*")


def fair_share(limit: int, streams: int) -> int:
    """How many batches of each of so many streams fit in an answer: one that waits starves no other."""
    return max(1, limit // max(1, streams))


@dataclass(frozen=True, slots=True, order=True)
class StreamId:
    """Name of one stream; `audience` is `line` or the name of one node."""

    origin: Endpoint
    topic: str
    audience: str = LINE

    def __post_init__(self) -> None:
        """Refuse a topic or an audience that could not be a file name, a metric label or part of `__str__`."""
        if self.audience != LINE and not NODE_PATTERN.fullmatch(self.audience):
            msg = f"audience: expected line or one node, got {self.audience[:_TOPIC_CHARACTERS_MAX]!r}"
            raise ValueError(msg)
        if not _TOPIC.fullmatch(self.topic) or len(self.topic) > _TOPIC_CHARACTERS_MAX:
            msg = (
                f"topic: expected lower-case words joined by dots, got {self.topic[:_TOPIC_CHARACTERS_MAX]!r}"
            )
            raise ValueError(msg)

    def __str__(self) -> str:
        """Return `140100/production/pension_macro/line`."""
        return f"{self.origin}/{self.topic}/{self.audience}"

    @classmethod
    def parse(cls, text: str) -> StreamId:
        """Read the form `__str__` writes; raises ValueError on anything else."""
        node, zone, topic, audience = text.split("/")
        return cls(Endpoint.parse(f"{node}/{zone}"), topic, audience)


@dataclass(frozen=True, slots=True)
class Mark:
    """How far a receiver has come in one stream: the last header it holds.

    `head` is the SHA-256 of that header's sealed payload, 32 bytes in hex;
    seq 0 with an empty head means nothing was seen yet.
    """

    stream: StreamId
    incarnation: str = ""
    epoch: int = 0
    seq: int = 0
    head: str = ""
