"""Following at the backup site: each batch of a protected zone's acts is kept, and its signed cut with it.

What it holds is ciphertext and stays so: the zone's own word says how far its acts go and whether any
segment lacked. That the acts are those of the chain is found where they are read, by whoever builds
the zone again with a key for it, and each week by a drill. Applies nothing of what the acts mean.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from jinbao.flow.following import cut_of
from jinbao.flow.ports import Ledger
from jinbao.journal.ledger import act_hash
from jinbao.model import acts
from jinbao.model.acts import Entry
from jinbao.model.batch import VerifiedBatch
from jinbao.model.errors import UnacceptableError, UnprovableError
from jinbao.model.failpoint import declare, hit
from jinbao.model.stream import ACTS_TABLE, JOURNAL, OBJECT_TABLE, StreamId
from jinbao.standby.cuts import Cut

CUT_BEFORE = declare("standby.before_cut", "a batch of acts is accepted, no cut says so")
CUT_AFTER = declare("standby.after_cut", "a cut is recorded, the next batch is not looked at")


class Kept(Protocol):
    """A shelf that knows which of its segments it cannot read."""

    def has(self, sha256: str) -> bool:
        """Whether a segment lies here."""
        ...

    def is_sealed(self, sha256: str) -> bool:
        """Whether a segment lies here as ciphertext."""
        ...


class JournalHandler:
    """Keeps the journals this node is the audience of; `cut_of` gives the last cut of a stream."""

    def __init__(
        self,
        *,
        me: str,
        ledger: Ledger,
        shelf: Kept,
        cut_of: Callable[[StreamId], Cut],
        absent: Callable[[Sequence[str]], None],
    ) -> None:
        """`absent` is told of segments that a zone is built from and that did not come."""
        self._me, self._ledger, self._shelf = me, ledger, shelf
        self._cut_of, self._absent = cut_of, absent

    def wants(self, stream: StreamId) -> bool:
        """Journals of the zones we protect; of others only the way is ours."""
        return stream.topic == JOURNAL and stream.audience == self._me

    def apply(self, stream: StreamId, batches: Sequence[VerifiedBatch]) -> bool:
        """Record the cut of every batch.

        Raises UnacceptableError for a batch that says none or whose acts anybody could read here,
        UnprovableError for a cut that goes back: the stream is held, and the cut before stays the one to build from.
        """
        cut = self._cut_of(stream)
        for batch in batches:
            cut = self._next(cut, batch)
            named = (ref.sha256 for ref in batch.header.segments if ref.table == OBJECT_TABLE)
            if gone := [sha256 for sha256 in named if not self._shelf.has(sha256)]:
                self._absent(gone)
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

    def _next(self, last: Cut, batch: VerifiedBatch) -> Cut:
        header, said = batch.header, cut_of(batch.header)
        place = f"{header.stream}#{header.seq}"
        for ref in header.segments:
            if ref.table == ACTS_TABLE and not self._shelf.is_sealed(ref.sha256):
                raise UnacceptableError(
                    f"{place}: acts", expected="ciphertext", got="what anybody can read", seq=header.seq
                )
        is_same = said.lsn == last.lsn and said.hash == last.hash
        if said.lsn < last.lsn or (said.lsn == last.lsn and not is_same):
            raise UnprovableError(
                f"{place}: cut",
                expected=f"act {last.lsn} as it was, or a later one",
                got=said.lsn,
                seq=header.seq,
            )
        missing = last.missing + said.missing
        return Cut(
            header.stream, header.seq, batch.head, said.lsn, said.hash, said.at, said.captured_at, missing
        )


def chained(lsn: int, digest: str, entry: Entry, seq: int) -> tuple[int, str]:
    """Place and hash after an act that follows. Raises UnprovableError for one that does not."""
    if entry.lsn != lsn + 1:
        raise UnprovableError("act", expected=f"act {lsn + 1}", got=entry.lsn, seq=seq)
    if act_hash(digest, entry.lsn, entry.kind, entry.body, entry.at) != entry.hash:
        raise UnprovableError(
            f"act {entry.lsn}", expected="one that follows the act before it", got="another hash", seq=seq
        )
    return entry.lsn, entry.hash
