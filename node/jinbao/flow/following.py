"""Following: a zone's own acts become batches that the backup site fetches like everything else.

A batch names one segment of acts, exactly as they are hashed, and every segment on the shelf that
those acts name: whoever holds a zone's batches up to one of them can be that zone at that moment. Its
signed cut says which moment that is, and whether anything lacks, to those who may not read the acts.
Acts are sealed once each, in order. Reads no database and asks nobody.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import takewhile
from typing import Any

import polars as pl

from jinbao.flow.ports import Acts, Index, Ledger, Now, SealHeader, Shelf
from jinbao.flow.sealing import StreamSealer
from jinbao.model import acts
from jinbao.model.acts import Entry, envelope_of
from jinbao.model.batch import Header, JournalCut, Kind, SegmentRef
from jinbao.model.errors import UnacceptableError
from jinbao.model.failpoint import declare, hit
from jinbao.model.stream import ACTS_TABLE, JOURNAL, OBJECT_TABLE, SPARE_TABLE, StreamId
from jinbao.trust.encoding import decode_header

SEAL_BEFORE = declare("following.before_seal", "acts are in a durable segment, no batch names it")
SEALED = declare("following.after_seal", "acts are sealed for the backup site, nobody fetched them")

ACTS_MAX = 500
ACTS_BYTES_MAX = 4 << 20
"""What one batch holds: far below what an answer of the line may carry, and decoded in milliseconds."""

RECORD_ACTS_MAX = 20_000
RECORD_BYTES_MAX = 32 << 20
"""What one batch holds of acts that were recorded at once: a submission of as many segments, and half of what is read."""

OBJECTS_MAX = 900
"""Segments one batch names, of the thousand a header may."""

ACTS_ROWS_MAX = 100_000
"""Pieces of all acts of one batch: two hundred times ours, and what a reader has room for."""

CONTINUES = frozenset({"captured"})
"""Acts whose segments the next run compares with, and no later one: a backup need not keep them for good."""

NO_CUT = JournalCut(0, "", "")
"""Of a journal no batch holds anything of."""

PIECE_CHARACTERS = 16_000
"""An act's text is cut into cells of so many characters: less than the 64 KiB a peer takes, whatever they are."""

SCHEMA = {
    "lsn": pl.Int64(),
    "piece": pl.Int64(),
    "kind": pl.String(),
    "at": pl.String(),
    "hash": pl.String(),
    "body": pl.String(),
}


COLUMNS = {name: dtype == pl.String for name, dtype in SCHEMA.items()}
"""Columns of a segment of acts, by whether they are text."""


class JournalSealer:
    """Seals the acts of one zone for the node that protects it; `backup` names it, or is empty."""

    def __init__(
        self,
        *,
        index: Index,
        ledger: Ledger,
        recorded: Acts,
        shelf: Shelf,
        seal: SealHeader,
        epoch: Callable[[], int],
        backup: Callable[[], str],
        now: Now,
    ) -> None:
        self._index, self._ledger, self._recorded, self._shelf = index, ledger, recorded, shelf
        self._seal, self._epoch, self._backup, self._now = seal, epoch, backup, now

    @property
    def stream(self) -> StreamId | None:
        """The stream of this zone's acts, None while nobody protects it."""
        backup = self._backup()
        return StreamId(self._index.me, JOURNAL, backup) if backup else None

    def step(self) -> bool:
        """Seal the oldest acts no batch covers; whether there were any beside the seals of such batches."""
        stream = self.stream
        if stream is None:
            return False
        last = self._index.head(stream)
        if self.waiting(stream, last.seq) is None:
            return False
        before = self.cut(stream, last.seq)
        found = self._recorded.entries(before.lsn, ACTS_MAX, ACTS_BYTES_MAX)
        chosen, objects = self._chosen(found, stream)
        whole = self._recorded_whole(chosen) or self._record(found[0], before.lsn)
        if len(whole) != len(chosen):
            chosen, objects = whole, self._objects_of(whole, stream)
        frame = to_frame(chosen)
        sha256, size = self._shelf.write(frame)
        sealer = StreamSealer(
            last,
            incarnation=self._index.incarnation(),
            epoch=self._epoch(),
            seal=self._seal,
            now=self._now,
        )
        batches = [
            sealer.next(Kind.CHANGE, segments=objects[at : at + OBJECTS_MAX], cut=replace(before, missing=0))
            for at in range(0, len(objects) - OBJECTS_MAX, OBJECTS_MAX)
        ]
        mine = SegmentRef(ACTS_TABLE, sha256, size, frame.height)
        rest = objects[len(batches) * OBJECTS_MAX :]
        cut = self._cut(chosen, before)
        batches.append(sealer.next(Kind.CHANGE, segments=[mine, *rest], cut=cut))
        hit(SEAL_BEFORE)
        self._ledger.record(*map(acts.sealed, batches))
        hit(SEALED)
        return True

    def cut(self, stream: StreamId, seq: int) -> JournalCut:
        """How far batch `seq` and those before it go; act 0 for none."""
        batch = self._index.batch(stream, seq) if seq else None
        return cut_of(decode_header(batch.payload)) if batch is not None else NO_CUT

    def waiting(self, stream: StreamId, seq: int) -> Entry | None:
        """The oldest act that batches up to `seq` do not hold, seals of such batches apart."""
        after = self.cut(stream, seq).lsn
        while found := self._recorded.entries(after, ACTS_MAX, ACTS_BYTES_MAX):
            news = next((entry for entry in found if is_news(entry, stream)), None)
            if news is not None:
                return news
            after = found[-1].lsn  # a backlog leaves as many seals in a row as it took batches
        return None

    def _chosen(self, found: Sequence[Entry], stream: StreamId) -> tuple[list[Entry], list[SegmentRef]]:
        """As many of the acts as one batch has room for the segments of, or one that has more; and those segments."""
        chosen: list[Entry] = []
        objects: dict[str, SegmentRef] = {}
        for entry in found:
            more = self._beyond(objects, entry, stream)
            if objects and len(objects) + len(more) > OBJECTS_MAX:
                break
            chosen.append(entry)
            objects |= more
        return chosen, list(objects.values())

    def _objects_of(self, chosen: Sequence[Entry], stream: StreamId) -> list[SegmentRef]:
        """The segments of acts, however many: what no header has room for goes before, in batches of its own."""
        objects: dict[str, SegmentRef] = {}
        for entry in chosen:
            objects |= self._beyond(objects, entry, stream)
        return list(objects.values())

    def _beyond(
        self, objects: Mapping[str, SegmentRef], entry: Entry, stream: StreamId
    ) -> dict[str, SegmentRef]:
        """The segments an act names that are not among `objects`, or only as a spare."""
        return {
            sha256: ref
            for sha256, ref in self._objects(entry, stream)
            if sha256 not in objects or objects[sha256].table == SPARE_TABLE
        }

    def _recorded_whole(self, chosen: Sequence[Entry]) -> list[Entry]:
        """The chosen acts without those that were recorded at once with the one after them; none where that is all.

        What is recorded at once has one time: whoever builds from a copy is never between a batch and what it means.
        """
        last = chosen[-1]
        after = self._recorded.entries(last.lsn, 1, 1)
        if not after or after[0].at != last.at:
            return list(chosen)
        return [entry for entry in chosen if entry.at != last.at]

    def _record(self, first: Entry, after: int) -> list[Entry]:
        """Every act that was recorded at once with the first, which are more than a batch holds else.

        Beyond what is ever recorded at once, as far as a batch may go: better a copy that ends there than none.
        """
        found = self._recorded.entries(after, RECORD_ACTS_MAX, RECORD_BYTES_MAX)
        return list(takewhile(lambda entry: entry.at == first.at, found))

    def _cut(self, chosen: Sequence[Entry], before: JournalCut) -> JournalCut:
        """How far the chosen acts go."""
        last = chosen[-1]
        captured_at = next((e.at for e in reversed(chosen) if e.kind == "captured"), before.captured_at)
        wanted = (sha256 for entry in chosen for sha256 in needed(entry.kind, json.loads(entry.body)))
        missing = sum(self._shelf.size(sha256) is None for sha256 in wanted)
        return JournalCut(last.lsn, last.hash, last.at, captured_at, missing)

    def _objects(self, entry: Entry, stream: StreamId) -> Iterator[tuple[str, SegmentRef]]:
        """What an act names and is still on the shelf: retention removed what nothing needs any more.

        What a batch of acts names was named by that batch.
        """
        if is_news(entry, stream):
            yield from ((ref.sha256, ref) for ref in on_shelf(entry, self._shelf.size))


def on_shelf(entry: Entry, size: Callable[[str], int | None]) -> Iterator[SegmentRef]:
    """Every segment an act names and a shelf has, in its order; `size` gives bytes by hash, None for what is not there.

    What only a zone's next run compares with is a spare.
    """
    body = json.loads(entry.body)
    wanted = set(needed(entry.kind, body))
    for sha256 in named(entry.kind, body):
        there = size(sha256)
        if there is not None:
            is_spare = entry.kind in CONTINUES and sha256 not in wanted
            yield SegmentRef(SPARE_TABLE if is_spare else OBJECT_TABLE, sha256, there, 0)


def is_news(entry: Entry, stream: StreamId) -> bool:
    """Whether an act is more than the seal of a batch of acts: those alone call for no further batch."""
    return sealed_stream(entry) != stream


def sealed_stream(entry: Entry) -> StreamId | None:
    """The stream of the batch that an act sealed; None for any other act."""
    if entry.kind != "sealed":
        return None
    return decode_header(envelope_of(json.loads(entry.body)["envelope"]).payload).stream


def seals_acts(entry: Entry) -> bool:
    """Whether an act sealed a batch of acts: what that names, the acts in it name."""
    stream = sealed_stream(entry)
    return stream is not None and stream.topic == JOURNAL


def named(kind: str, body: Mapping[str, Any]) -> Iterable[str]:
    """Hashes of every segment an act names, in its order."""
    match kind:
        case "sealed" | "accepted":
            header = decode_header(envelope_of(body["envelope"]).payload)
            return [ref.sha256 for ref in header.segments]
        case "applied" | "packaged":
            return [use["sha256"] for use in body["segments"]]
        case "receipts_kept":
            return list(body["sha256"])
        case "captured":
            return [
                sha256
                for table in body["tables"]
                for sha256 in (table["current"], *(change for _, change in table.get("changes", ())))
            ]
        case "converted":
            lines = [table["sha256"] for table in body["tables"]]
            return [sha256 for sha256 in (*lines, body["quarantine"], body["findings"]) if sha256]
    return ()


def needed(kind: str, body: Mapping[str, Any]) -> tuple[str, ...]:
    """Segments that must be there to replay an act; of others the header in the act is all that is kept."""
    match kind:
        case "applied":
            return tuple(use["sha256"] for use in body["segments"])
        case "converted":
            return tuple(body[name] for name in ("quarantine", "findings") if body[name])
        case "receipts_kept":
            return tuple(body["sha256"])
    return ()


def cut_of(header: Header) -> JournalCut:
    """How far a batch of acts, and those before it, go. Raises UnacceptableError if it does not say."""
    if header.cut is None:
        raise UnacceptableError(
            f"{header.stream}#{header.seq}", expected="a cut: how far its acts go", got="none", seq=header.seq
        )
    return header.cut


def to_frame(entries: Sequence[Entry]) -> pl.DataFrame:
    """Acts as the columns of `SCHEMA`, texts cut into pieces."""
    rows = [
        (entry.lsn, piece, entry.kind, entry.at, entry.hash, entry.body[at : at + PIECE_CHARACTERS])
        for entry in entries
        for piece, at in enumerate(range(0, len(entry.body), PIECE_CHARACTERS))
    ]
    return pl.DataFrame(rows, schema=SCHEMA, orient="row")


def of_frame(frame: pl.DataFrame) -> list[Entry]:
    """Acts again, in order, of the columns `to_frame` gave."""
    joined = (
        frame.sort("lsn", "piece")
        .group_by("lsn", maintain_order=True)
        .agg(pl.col("kind", "at", "hash").first(), pl.col("body").str.join(""))
    )
    return [Entry(*row) for row in joined.select("lsn", "kind", "body", "at", "hash").iter_rows()]
