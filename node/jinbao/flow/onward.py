"""Onward: an applied submission is published to the node's own decision zone 决策区.

The package is a sealed batch of the exchange zone that names the same segments the origin
sealed: nothing is written twice, and the decision zone can prove what it computes from.
It travels by carrier only (软交换).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from jinbao.flow.ports import Index, Inspector, Ledger, Now, SealHeader
from jinbao.flow.sealing import StreamSealer
from jinbao.model import acts
from jinbao.model.acts import Act, SegmentUse
from jinbao.model.batch import Header, Kind, SegmentRef, VerifiedBatch
from jinbao.model.errors import UnacceptableError
from jinbao.model.failpoint import declare, hit
from jinbao.model.quoting import quoted
from jinbao.model.standard import Standard
from jinbao.model.stream import PUBLISHED_PREFIX, StreamId

PACKAGE_BEFORE = declare("onward.before_package", "a package is accepted, not taken in")
PACKAGED = declare("onward.after_package", "a decision zone has taken in a package")


class Publisher:
    """Makes the act that publishes an applied submission, recorded with it in one transaction."""

    def __init__(self, *, index: Index, seal: SealHeader, epoch: Callable[[], int], now: Now) -> None:
        self._index, self._seal, self._epoch, self._now = index, seal, epoch, now

    def package(self, closing: VerifiedBatch, uses: Sequence[SegmentUse], kind: Kind) -> Sequence[Act]:
        """Seal one package for the submission `closing` closes; `run` names where it comes from."""
        header = closing.header
        stream = StreamId(self._index.me, PUBLISHED_PREFIX + header.stream.topic, self._index.me.node)
        sealer = StreamSealer(
            self._index.head(stream),
            incarnation=self._index.incarnation(),
            epoch=self._epoch(),
            seal=self._seal,
            now=self._now,
        )
        sealed = sealer.next(
            kind,
            segments=[SegmentRef(use.table, use.sha256, use.bytes, use.rows) for use in uses],
            run=f"{header.stream}#{header.seq}",
            period=header.period,
            standard=header.standard,
        )
        return [acts.sealed(sealed)]


class PackageHandler:
    """Takes published packages into a decision zone; one that cannot be read holds its stream."""

    def __init__(self, ledger: Ledger, standards: Mapping[str, Standard], inspector: Inspector) -> None:
        self._ledger, self._standards, self._inspector = ledger, standards, inspector

    def wants(self, stream: StreamId) -> bool:
        """Every stream of published packages."""
        return stream.topic.startswith(PUBLISHED_PREFIX)

    def apply(self, stream: StreamId, batches: Sequence[VerifiedBatch]) -> bool:
        """Record each package in order."""
        for batch in batches:
            self._check(stream, batch)
            hit(PACKAGE_BEFORE)
            self._ledger.record(_packaged(stream, batch))
            hit(PACKAGED)
        return True

    def _check(self, stream: StreamId, batch: VerifiedBatch) -> None:
        """Refuse a package with a segment that cannot be read here; raises UnacceptableError.

        A package of another version of the standard has its own columns, flat all the same.
        """
        header, library = batch.header, stream.topic.removeprefix(PUBLISHED_PREFIX)
        standard = self._standards.get(library)
        known = {t.id: t.segment_columns for t in standard.tables} if standard else {}
        is_ours = standard is not None and header.standard == standard.id
        for ref in header.segments:
            if is_ours and ref.table not in known:
                objection = f"table {ref.table}"
            else:
                objection = self._inspector.objection(ref, known[ref.table] if is_ours else {})
            if objection:
                place = f"{stream}#{header.seq}"
                raise UnacceptableError(place, expected="a package", got=objection, seq=header.seq)


def _origin_of(stream: StreamId, header: Header) -> tuple[str, int]:
    """Node and seq of the submission a package was made of; raises UnacceptableError if `run` names none."""
    submission, _, seq = header.run.partition("#")
    try:
        return StreamId.parse(submission).origin.node, int(seq)
    except ValueError as exc:
        place = f"{stream}#{header.seq}: run"
        raise UnacceptableError(
            place, expected="a submission", got=quoted(header.run), seq=header.seq
        ) from exc


def _packaged(stream: StreamId, batch: VerifiedBatch) -> Act:
    header = batch.header
    origin, origin_seq = _origin_of(stream, header)
    return acts.packaged(
        stream=stream,
        seq=header.seq,
        head=batch.head,
        library=stream.topic.removeprefix(PUBLISHED_PREFIX),
        standard=header.standard,
        origin=origin,
        origin_seq=origin_seq,
        period=header.period,
        segments=[
            SegmentUse(header.seq, header.kind, ref.table, ref.sha256, ref.rows, ref.bytes)
            for ref in header.segments
        ],
    )
