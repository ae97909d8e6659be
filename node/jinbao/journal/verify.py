"""Verification of a journal: every act, header, chain link and segment read again and held against its hash.

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
from jinbao.journal.tables import ACT, HEADER, SEGMENT, ZONE
from jinbao.model.acts import envelope_of
from jinbao.model.stream import StreamId
from jinbao.model.zone import Endpoint
from jinbao.store.engine import Store
from jinbao.trust.encoding import decode_header

_PAGE = 500


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


def verify_headers(store: Store) -> Iterator[Damage]:
    """Every sealed header against its head and the header before it in its stream."""
    last: dict[tuple[str, str], tuple[int, str]] = {}
    query = sa.select(HEADER).order_by(HEADER.c.stream, HEADER.c.incarnation, HEADER.c.seq)
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
            header = decode_header(payload)
            if (str(header.stream), header.seq) != (row.stream, row.seq):
                yield Damage(thing, "swapped", f"expected this header, got {header.stream}#{header.seq}")
            if before and (header.seq != before[0] + 1 or header.previous != before[1]):
                yield Damage(thing, "missing", f"expected to follow #{before[0]}, the chain is broken")


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


def verify_journal(store: Store, shelf: SegmentShelf) -> list[Damage]:
    """All damage of a journal; empty means every byte is what was written."""
    return [*verify_acts(store), *verify_headers(store), *verify_segments(store, shelf)]
