"""Witnessing 见证: a backup site says up its line how far it has each journal, and its parent sees it go back.

What a backup says is a manifest of its own stream: a line for each protected zone, with seq and head of
the newest batch of acts it has. A store that was put back to an older one is found twice: its stream
falls short of what the parent holds (clause 2.4), and a journal in it has less than was said.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence

from jinbao.flow.ports import Index, Ledger, Now, Observer, SealHeader
from jinbao.flow.sealing import StreamSealer
from jinbao.model import acts
from jinbao.model.batch import Kind, Manifest, TableTotals, VerifiedBatch
from jinbao.model.errors import UnacceptableError
from jinbao.model.stream import CUTS, JOURNAL, StreamId
from jinbao.model.topology import Topology
from jinbao.model.zone import Endpoint, Zone
from jinbao.standby.cuts import Cut, Witness
from jinbao.trust.encoding import decode_header

LINES_MAX = 200
"""Zones of one manifest, as many as a header may name tables; a province has at most seventy."""

_NAME = re.compile(r"z([0-9]{6})_(production|exchange|decision)")


class CutSealer:
    """Seals what a backup has, for its parent; `above` are the nodes whose own acts that would be."""

    def __init__(
        self,
        *,
        index: Index,
        ledger: Ledger,
        cuts: Callable[[], Sequence[Cut]],
        above: Callable[[], Sequence[Endpoint]],
        seal: SealHeader,
        epoch: Callable[[], int],
        now: Now,
    ) -> None:
        self._index, self._ledger, self._cuts, self._above = index, ledger, cuts, above
        self._seal, self._epoch, self._now = seal, epoch, now
        self.stream = StreamId(index.me, CUTS)

    def step(self) -> bool:
        """Seal the newest cuts unless the last manifest says the same of all that are not above us; whether it did."""
        lines = {_name(cut.stream): TableTotals(_name(cut.stream), cut.seq, cut.head) for cut in self._cuts()}
        if not lines or not self._above():
            return False
        above = {endpoint.node for endpoint in self._above()}
        said = {line.table: line for line in self._said(-(-len(lines) // LINES_MAX))}
        if all(said.get(name) == line or name[1:7] in above for name, line in lines.items()):
            return False
        sealer = StreamSealer(
            self._index.head(self.stream),
            incarnation=self._index.incarnation(),
            epoch=self._epoch(),
            seal=self._seal,
            now=self._now,
        )
        rows = sorted(lines.values(), key=lambda line: line.table)
        batches = [
            sealer.next(Kind.MANIFEST, manifest=Manifest(sealer.seq + 1, tuple(rows[at : at + LINES_MAX])))
            for at in range(0, len(rows), LINES_MAX)
        ]
        self._ledger.record(*map(acts.sealed, batches))
        return True

    def _said(self, manifests: int) -> Iterator[TableTotals]:
        """What the newest manifests say."""
        newest = self._index.head(self.stream).seq
        for seq in range(max(1, newest - manifests + 1), newest + 1):
            batch = self._index.batch(self.stream, seq)
            manifest = decode_header(batch.payload).manifest if batch is not None else None
            yield from manifest.tables if manifest is not None else ()


class CutsHandler:
    """Keeps what backups say, and tells when one has less of a journal than it said; `witnessed` is what is kept."""

    def __init__(
        self,
        *,
        ledger: Ledger,
        witnessed: Callable[[], Sequence[Witness]],
        topology: Callable[[], Topology],
        observer: Observer,
    ) -> None:
        self._ledger, self._witnessed, self._observer = ledger, witnessed, observer
        self._topology = topology

    def wants(self, stream: StreamId) -> bool:
        """The word of any backup below, and of nobody else."""
        return stream.topic == CUTS and bool(self._protected(stream.origin))

    def _protected(self, backup: Endpoint) -> frozenset[str]:
        row = self._topology().row(backup.node)
        return frozenset(row.protects) if row is not None and backup.zone is Zone.EXCHANGE else frozenset()

    def apply(self, stream: StreamId, batches: Sequence[VerifiedBatch]) -> bool:
        """Record each manifest's lines; raises UnacceptableError for one that is none of cuts."""
        for batch in batches:
            known = {w.stream: w for w in self._witnessed() if w.backup == stream.origin.node}
            protected = self._protected(stream.origin)
            lines = [(_stream(line, batch, protected), line.rows, line.digest) for line in _lines(batch)]
            went_back = [
                str(journal)
                for journal, seq, head in lines
                if journal in known and (seq < known[journal].seq or _is_other(known[journal], seq, head))
            ]
            self._ledger.record(
                acts.witnessed(
                    stream=stream,
                    seq=batch.header.seq,
                    head=batch.head,
                    cuts=[(str(journal), seq, head) for journal, seq, head in lines],
                    went_back=went_back,
                )
            )
            for journal in went_back:
                self._observer.event("backup_went_back", backup=stream.origin.node, stream=journal)
        return bool(batches)


def _is_other(known: Witness, seq: int, head: str) -> bool:
    return seq == known.seq and head != known.head


def _lines(batch: VerifiedBatch) -> Sequence[TableTotals]:
    manifest = batch.header.manifest
    if manifest is None:
        place = f"{batch.header.stream}#{batch.header.seq}"
        raise UnacceptableError(
            place, expected="a manifest of cuts", got=str(batch.header.kind), seq=batch.header.seq
        )
    return manifest.tables


def _name(stream: StreamId) -> str:
    return f"z{stream.origin.node}_{stream.origin.zone}"


def _stream(line: TableTotals, batch: VerifiedBatch, protected: frozenset[str]) -> StreamId:
    """The stream of acts a line speaks of: that of a zone, for the backup that says it."""
    found = _NAME.fullmatch(line.table)
    if found is None or found[1] not in protected:
        place = f"{batch.header.stream}#{batch.header.seq}"
        raise UnacceptableError(
            place, expected="a zone that it protects", got=line.table, seq=batch.header.seq
        )
    origin = Endpoint(found[1], Zone(found[2]))
    return StreamId(origin, JOURNAL, batch.header.stream.origin.node)
