"""Verification of a trail: its own chain, and the heads that were sealed of it.

Pure: given rows and heads, it names each entry that is altered or missing, a tail that was cut,
a chain that was written anew, a cut that no seal permits. Whether a head's seal holds is proved
by whoever read it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from jinbao.model.audit import GENESIS, body_text, entry_hash

_TAKEN_OUT = ("id", "about", "outcome", "account", "action")


@dataclass(frozen=True, slots=True)
class SealedHead:
    """What one seal says: `number` entries there ever were, the last with `hash`; up to `cut` they may be gone."""

    seq: int
    number: int
    hash: str
    cut: int = 0
    cut_hash: str = GENESIS


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is not what was written."""

    thing: str
    kind: str
    detail: str


def verify(
    rows: Iterable[Mapping[str, Any]], heads: Iterable[SealedHead], cut: tuple[int, str] = (0, GENESIS)
) -> Iterator[Fault]:
    """All faults of a trail whose entries up to `cut` were cut away, in the order of its entries."""
    sealed = {head.number: head for head in heads}
    start, link = cut
    permits = {head.cut: head.cut_hash for head in sealed.values()} | {0: GENESIS}
    if permits.get(start) != link:
        yield Fault(f"entries 1–{start}", "cut", "expected a sealed head that permits the cut, got none")
    last = start, link
    for row in rows:
        yield from _entry(row, last)
        last = row["number"], row["hash"]
        head = sealed.get(row["number"])
        if head and head.hash != row["hash"]:
            detail = f"expected hash {head.hash[:12]} as sealed in #{head.seq}, got {row['hash'][:12]}"
            yield Fault(f"entries up to {row['number']}", "rewritten", detail)
    newest = max(sealed, default=0)
    if newest > last[0]:
        detail = f"expected {newest} entries as sealed in #{sealed[newest].seq}, got {last[0]}"
        yield Fault(f"entries {last[0] + 1}–{newest}", "cut tail", detail)


def _entry(row: Mapping[str, Any], last: tuple[int, str]) -> Iterator[Fault]:
    number, (before, previous) = row["number"], last
    thing = f"entry {number}"
    if number != before + 1:
        yield Fault(f"entry {before + 1}", "missing", f"expected entry {before + 1}, got entry {number}")
    elif row["previous"] != previous:
        yield Fault(thing, "altered", "expected the hash of the entry before it, got another")
    if entry_hash(row["previous"], number, row["at"], row["body"]) != row["hash"]:
        yield Fault(thing, "altered", "expected its own hash, got other contents")
    elif not _is_taken_out_of(row):
        yield Fault(thing, "altered", "expected the columns of its contents, got others")


def _is_taken_out_of(row: Mapping[str, Any]) -> bool:
    """Whether the columns that are searched are those of the body; an export has none."""
    body = json.loads(row["body"])
    return body_text(body) == row["body"] and all(row.get(n, body[n]) == body[n] for n in _TAKEN_OUT)
