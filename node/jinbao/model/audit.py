"""Words of the audit trail 审计: roles, callers, entries. Three roles apart 三员分立.

An entry says who, what, whose, why and how it ended. It never holds a person's number: `persons`
are keyed hashes with masked forms. What an entry is chained to is the trail's, not the entry's.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

ENTRY_TABLE = "audit_entry"
"""In a sealed head: how many entries there ever were, and the hash of the newest."""

CUT_TABLE = "audit_cut"
"""In a sealed head that permits a cut: how many entries are cut away, and the hash of the last of them."""

GENESIS = ""


class Role(StrEnum):
    """What an account may do beyond masked reads; with separation no account has two."""

    SYSTEM = "system"  # 系统管理员: lines, captures, media, shelves
    SECURITY = "security"  # 安全管理员: trust, keys, personal data in clear
    AUDIT = "audit"  # 安全审计员: reads the trail, and does nothing else


class Way(StrEnum):
    """How a caller came."""

    ADMIN = "admin.sock"
    READ = "read.sock"
    PROCESS = "process"  # opened the stopped zone itself
    LINE = "line"  # a peer that was refused or held
    ZONE = "zone"  # the zone by itself, or a process it started by the calendar


class Outcome(StrEnum):
    """How far a thing has come when the entry is made."""

    ASKED = "asked"  # before it is done
    DONE = "done"
    REFUSED = "refused"
    FAILED = "failed"
    COUNTED = "counted"  # so many of one kind within one minute


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks: account and groups follow from the uid, which is the kernel's word; `claimed` is the caller's own."""

    account: str
    uid: int
    way: Way
    groups: tuple[str, ...] = ()
    claimed: str = ""

    @property
    def authorised(self) -> bool:
        """Whether the way is one on which roles are heard."""
        return self.way in {Way.ADMIN, Way.PROCESS, Way.ZONE}


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the trail; `about` names the entry whose outcome this one tells."""

    id: str
    outcome: Outcome
    account: str
    uid: int
    way: Way
    roles: tuple[str, ...]
    action: str
    claimed: str = ""
    arguments: str = ""
    reason: str = ""
    about: str = ""
    detail: str = ""
    count: int = 1
    persons: tuple[tuple[str, str], ...] = ()
    """Keyed hash and masked form of each number of each person."""
    everyone: str = ""
    """The place, when more persons were shown than are named one by one."""

    def body(self) -> Mapping[str, Any]:
        """The entry as JSON."""
        return asdict(self)


def body_text(body: Mapping[str, Any]) -> str:
    """An entry's body as the text that is hashed: JSON, sorted keys, no spaces."""
    return json.dumps(body, ensure_ascii=False, sort_keys=True, separators=(",", ":"))


def entry_hash(previous: str, number: int, at: str, body: str) -> str:
    """SHA-256 over an entry, its place and the hash before it."""
    return hashlib.sha256("\n".join([previous, str(number), at, body]).encode()).hexdigest()
