"""Verification of a journal: every act, header, chain link, mark and segment held against what it must be.

Names each thing that is not what was written: altered, swapped, truncated, missing or stray.
Repairs nothing and deletes nothing.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator

import sqlalchemy as sa

from jinbao.journal.ledger import GENESIS, act_hash
from jinbao.journal.retention import is_kept
from jinbao.journal.segments import Damage, SegmentShelf
from jinbao.journal.tables import ACT, HEADER, MARK, SEGMENT, STREAM, ZONE
from jinbao.model.acts import envelope_of
from jinbao.model.quoting import quoted
from jinbao.model.stream import StreamId
from jinbao.model.zone import Endpoint
from jinbao.store.engine import Store
from jinbao.store.soundness import first_fault
from jinbao.trust.encoding import decode_header

_PAGE = 500
_COLUMNS = ("incarnation", "epoch", "kind", "period", "standard", "made_at")
"""What a header's row repeats of the header."""


def verify_acts(store: Store) -> Iterator[Damage]:
    """Every act against the chain: a changed, missing or moved act is named by its place."""
    previous, expected = GENESIS, 1
    with store.read() as connection:
        for row in connection.execute(sa.select(ACT).order_by(ACT.c.lsn)).yield_per(_PAGE):
            if row.lsn != expected:
                yield Damage(f"act {expected}", "missing", f"expected act {expected}, got act {row.lsn}")
            elif row.previous != previous:
                yield Damage(
                    f"act {row.lsn}", "altered", "expected the hash of the act before it, got another"
                )
            if act_hash(row.previous, row.lsn, row.kind, row.body, row.at) != row.hash:
                yield Damage(f"act {row.lsn}", "altered", "expected its own hash, got other contents")
            previous, expected = row.hash, row.lsn + 1


def verify_database(store: Store, *, indexes: bool) -> Iterator[Damage]:
    """The file of a SQLite database, its indexes held against its tables if asked for; the first thing that is wrong."""
    fault = first_fault(store, indexes=indexes)
    if fault:
        yield Damage("database", "altered", f"expected every page as it was written, got {fault}")


def verify_headers(store: Store) -> Iterator[Damage]:
    """Every sealed header against its head, the act that recorded it, and the header before it in its stream."""
    last: dict[tuple[str, str], tuple[int, str]] = {}
    recorded = HEADER.join(ACT, ACT.c.lsn == HEADER.c.lsn, isouter=True)
    query = sa.select(HEADER, ACT.c.body).select_from(recorded)
    query = query.order_by(HEADER.c.stream, HEADER.c.incarnation, HEADER.c.seq)
    with store.read() as connection:
        for row in connection.execute(query).yield_per(_PAGE):
            thing = f"header {row.stream}#{row.seq}"
            try:
                payload = envelope_of(json.loads(row.envelope)).payload
            except (ValueError, KeyError, TypeError):
                payload = b""  # not even an envelope: it has another head, and is named by it
            head = hashlib.sha256(payload).hexdigest()
            before = last.get((row.stream, row.incarnation))
            last[row.stream, row.incarnation] = (row.seq, row.head)
            if head != row.head:
                yield Damage(thing, "altered", f"expected head {row.head[:12]}, got {head[:12]}")
                continue
            if row.body is not None and not _is_recorded(row.body, row.envelope):
                yield Damage(thing, "altered", "expected the envelope that was recorded, got another")
                continue
            header = decode_header(payload)
            if (str(header.stream), header.seq) != (row.stream, row.seq):
                yield Damage(thing, "swapped", f"expected this header, got {header.stream}#{header.seq}")
            elif any(str(getattr(header, name)) != str(getattr(row, name)) for name in _COLUMNS):
                yield Damage(thing, "altered", "expected its columns as they were sealed, got others")
            if before and (header.seq != before[0] + 1 or header.previous != before[1]):
                yield Damage(thing, "missing", f"expected to follow #{before[0]}, the chain is broken")


def _is_recorded(body: str, envelope: str) -> bool:
    """Whether an act's body has this envelope; of a body nobody can read `verify_acts` speaks."""
    try:
        return bool(json.loads(body)["envelope"] == json.loads(envelope))
    except (ValueError, KeyError, TypeError):
        return True


def verify_marks(store: Store) -> Iterator[Damage]:
    """Every mark, and every stream's newest header, against the header or the re-base it points to."""
    with store.read() as connection:
        for table, what in ((MARK, "mark"), (STREAM, "stream")):
            at = sa.and_(HEADER.c.stream == table.c.stream, HEADER.c.lsn == table.c.lsn)
            same = sa.and_(
                at,
                *(HEADER.c[name] == table.c[name] for name in ("incarnation", "epoch", "seq", "head")),
            )
            rebased = sa.exists().where(ACT.c.lsn == table.c.lsn, ACT.c.kind == "rebased")
            query = sa.select(table.c.stream).where(~sa.exists().where(same), ~rebased)
            for stream in connection.execute(query.order_by(table.c.stream)).scalars():
                yield Damage(
                    f"{what} of {quoted(str(stream), 120)}", "altered", "expected a batch that is here"
                )


def verify_segments(store: Store, shelf: SegmentShelf) -> Iterator[Damage]:
    """Every segment a header names, read from disk and hashed; then every file that can be no segment.

    What only acts for another node name may be gone: that node has it. So may a copy's spare segment.
    """
    columns = SEGMENT.c.sha256, SEGMENT.c.bytes, SEGMENT.c.stream, SEGMENT.c.table
    with store.read() as connection:
        me = connection.scalar(sa.select(ZONE.c.endpoint))
        rows = connection.execute(sa.select(*columns).order_by(SEGMENT.c.sha256)).all()
    passing = {
        (stream, table)
        for stream, table in {(row.stream, row.table) for row in rows}
        if me and not is_kept(Endpoint.parse(me), StreamId.parse(stream), table)
    }
    kept = {row.sha256 for row in rows if (row.stream, row.table) not in passing}
    for sha256, size in sorted({(row.sha256, row.bytes) for row in rows}):
        damage = shelf.examine(sha256, size) if sha256 in kept or shelf.has(sha256) else None
        if damage:
            yield damage
    for path in shelf.strays():
        name = path.relative_to(shelf.root)
        yield Damage(f"file {name}", "stray", "expected segments under their hashes, got another file")


def verify_journal(store: Store, shelf: SegmentShelf, *, indexes: bool = False) -> list[Damage]:
    """All damage of a journal; empty means every byte is what was written.

    `indexes`: hold those of a SQLite database against their tables too, ten times as long as its pages alone.
    """
    return [
        *verify_database(store, indexes=indexes),
        *verify_acts(store),
        *verify_headers(store),
        *verify_marks(store),
        *verify_segments(store, shelf),
    ]
