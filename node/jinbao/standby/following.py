"""Following at the backup site: each batch of a protected zone's acts is read, chained and cut.

The acts are held against the zone's own hash chain, from the last cut on, so that a copy that is
not that journal is found before anybody needs it. Applies nothing of what the acts mean.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime

import polars as pl

from jinbao.flow.following import ACTS_ROWS_MAX, COLUMNS, lsn_of, needed, of_frame
from jinbao.flow.ports import Inspector, Ledger, Shelf
from jinbao.journal.ledger import act_hash
from jinbao.model import acts
from jinbao.model.acts import Entry
from jinbao.model.batch import VerifiedBatch
from jinbao.model.errors import UnacceptableError, UnprovableError
from jinbao.model.failpoint import declare, hit
from jinbao.model.quoting import quoted
from jinbao.model.stream import ACTS_TABLE, JOURNAL, StreamId
from jinbao.standby.cuts import Cut
from jinbao.trust.bounds import hash_text

CUT_BEFORE = declare("standby.before_cut", "a batch of acts is accepted and chained, no cut says so")
CUT_AFTER = declare("standby.after_cut", "a cut is recorded, the next batch is not looked at")


class JournalHandler:
    """Reads the journals this node is the audience of; `cut_of` gives the last cut of a stream."""

    def __init__(
        self,
        *,
        me: str,
        ledger: Ledger,
        shelf: Shelf,
        inspector: Inspector,
        cut_of: Callable[[StreamId], Cut],
    ) -> None:
        self._me, self._ledger, self._shelf, self._inspector = me, ledger, shelf, inspector
        self._cut_of = cut_of

    def wants(self, stream: StreamId) -> bool:
        """Journals of the zones we protect; of others only the way is ours."""
        return stream.topic == JOURNAL and stream.audience == self._me

    def apply(self, stream: StreamId, batches: Sequence[VerifiedBatch]) -> bool:
        """Chain every batch to the last cut and record its own.

        Raises UnacceptableError for one that holds no acts that can be read, UnprovableError for acts
        that do not follow: the stream is held, and the cut before stays the one to build from.
        """
        cut = self._cut_of(stream)
        for batch in batches:
            cut = self._cut(cut, batch)
            hit(CUT_BEFORE)
            self._ledger.record(
                acts.followed(
                    stream=stream,
                    seq=cut.seq,
                    head=cut.head,
                    lsn=cut.lsn,
                    digest=cut.hash,
                    at=cut.at,
                    captured_at=cut.captured_at,
                    missing=cut.missing,
                )
            )
            hit(CUT_AFTER)
        return bool(batches)

    def _cut(self, cut: Cut, batch: VerifiedBatch) -> Cut:
        header, lsn, digest = batch.header, cut.lsn, cut.hash
        at, captured_at, missing = cut.at, cut.captured_at, cut.missing
        try:
            for entry in entries_of(batch, self._shelf, self._inspector):
                lsn, digest = chained(lsn, digest, entry, header.seq)
                at = _moment(entry.at)
                captured_at = at if entry.kind == "captured" else captured_at
                named = map(hash_text, needed(entry.kind, json.loads(entry.body)))
                missing += sum(self._shelf.size(sha256) is None for sha256 in named)
        except _UNREADABLE as exc:
            raise UnacceptableError(
                f"{header.stream}#{header.seq}: act {lsn}",
                expected="one that a zone records",
                got=quoted(str(exc)) or type(exc).__name__,
                seq=header.seq,
            ) from exc
        if lsn != lsn_of(header):
            raise UnprovableError(
                f"{header.stream}#{header.seq}",
                expected=f"acts up to {lsn_of(header)}",
                got=lsn,
                seq=header.seq,
            )
        return Cut(header.stream, header.seq, batch.head, lsn, digest, at, captured_at, missing)


_UNREADABLE = (ValueError, KeyError, TypeError, AttributeError, RecursionError, pl.exceptions.PolarsError)
"""What reading an act may raise that its zone chained, and that is none: the zone is to be held, not we to end."""


def _moment(at: str) -> str:
    """A time with its zone, as it stands; raises ValueError for any other text."""
    if datetime.fromisoformat(at).tzinfo is None:
        msg = f"expected a time in UTC, got {at}"
        raise ValueError(msg)
    return at


def entries_of(batch: VerifiedBatch, shelf: Shelf, inspector: Inspector) -> Iterator[Entry]:
    """The acts of a batch, in order. Raises UnacceptableError, with the batch's seq, for any it cannot hold."""
    for ref in batch.header.segments:
        if ref.table != ACTS_TABLE:
            continue
        many = f"{ref.rows} rows" if ref.rows > ACTS_ROWS_MAX else ""
        objection = many or inspector.objection(ref, COLUMNS)
        if objection:
            place = f"{batch.header.stream}#{batch.header.seq}"
            raise UnacceptableError(place, expected="acts", got=objection, seq=batch.header.seq)
        yield from of_frame(shelf.read(ref.sha256))


def chained(lsn: int, digest: str, entry: Entry, seq: int) -> tuple[int, str]:
    """Place and hash after an act that follows. Raises UnprovableError for one that does not."""
    if entry.lsn != lsn + 1:
        raise UnprovableError("act", expected=f"act {lsn + 1}", got=entry.lsn, seq=seq)
    if act_hash(digest, entry.lsn, entry.kind, entry.body, entry.at) != entry.hash:
        raise UnprovableError(
            f"act {entry.lsn}", expected="one that follows the act before it", got="another hash", seq=seq
        )
    return entry.lsn, entry.hash
