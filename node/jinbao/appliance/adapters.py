"""Adapters: real rooms in the shapes flow asks for. Wiring only; every decision is in flow or a room."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from datetime import date

import polars as pl

from jinbao.appliance.settings import SourceSettings
from jinbao.flow.ports import Attestation, Captured, Judged, SealedLibrary, SealedTable, Submitted
from jinbao.journal.index import JournalIndex
from jinbao.journal.segments import SegmentShelf, require_space
from jinbao.library.attesting import At, Attesting
from jinbao.library.room import Library
from jinbao.model.acts import CapturedTable
from jinbao.model.batch import SegmentRef
from jinbao.model.receipt import Stage
from jinbao.model.stream import StreamId
from jinbao.model.token import DIGEST, XMIN
from jinbao.source.capture import (
    BY_CONTENT,
    CaptureFiles,
    Trust,
    capture_table,
    find_table,
    key_of,
    require_columns,
)
from jinbao.source.catalogue import TableShape
from jinbao.source.kept import KEY, kept
from jinbao.source.reader import Snapshot, Source
from jinbao.source.state import SourceState


class SourceCapture:
    """The production zone's sources as flow's `Capture`; `today` is the day as its people count it."""

    def __init__(
        self,
        sources: Sequence[SourceSettings],
        needed: Mapping[str, set[str]],
        state: SourceState,
        shelf: SegmentShelf,
        reserve_bytes: int,
        today: Callable[[], date],
    ) -> None:
        self._sources, self._needed, self._state = tuple(sources), needed, state
        self._shelf, self._reserve_bytes, self._today = shelf, reserve_bytes, today

    def run(self, run: int) -> Captured:
        """Read every needed table of every source, each source under one snapshot."""
        require_space(self._shelf.root, self._reserve_bytes)
        previous = {(t.source, t.table): t for t in self._state.captured_tables()}
        tables: list[CapturedTable] = []
        changes: dict[tuple[str, str], SegmentRef] = {}
        lied: dict[tuple[str, str], int] = {}
        with ExitStack() as stack:
            opened = [(s, stack.enter_context(_source(s).snapshot())) for s in self._sources]
            for settings, snapshot in opened:
                for table, files in self._capture(settings, snapshot, previous, run):
                    tables.append(table)
                    place = (table.source, table.table)
                    if files.changes is not None:
                        changes[place] = self._ref(table, files)
                    if files.lied:
                        lied[place] = files.lied
        return Captured(tuple(tables), changes, lied)

    def _capture(
        self,
        settings: SourceSettings,
        snapshot: Snapshot,
        previous: Mapping[tuple[str, str], CapturedTable],
        run: int,
    ) -> Iterator[tuple[CapturedTable, CaptureFiles]]:
        present = snapshot.tables()
        for name in sorted(self._needed):
            shape = find_table(present, settings.name, name)
            require_columns(shape, settings.name, sorted(self._needed[name]))
            key = key_of(shape, settings.name, settings.keys.get(name, ()))
            last = previous.get((settings.name, name))
            trust = self._trust(settings, shape, last)
            before = kept(last, self._shelf.open_path) if last else None
            files = capture_table(snapshot, shape, key, before, self._shelf.incoming, trust)
            yield self._captured(settings.name, name, last, files, run, trust), files

    def _trust(self, settings: SourceSettings, shape: TableShape, last: CapturedTable | None) -> Trust:
        """What stands for a row's content in this run, and whose content is compared all the same."""
        token = settings.token(shape.name)
        if not token:
            return BY_CONTENT
        if token not in (DIGEST, XMIN):
            require_columns(shape, settings.name, (token,))
            token = next(c for c in shape.columns if c.upper() == token.upper())
        if token == DIGEST or last is None or not last.checked:
            return Trust(token)
        days, today = settings.check_days, self._today().toordinal()
        after = date.fromisoformat(last.checked).toordinal()
        due = sorted({day % days for day in range(max(after + 1, today - days + 1), today + 1)})
        return Trust(token, (pl.col(KEY) % pl.lit(days, pl.UInt128)).cast(pl.Int64).is_in(due))

    def _captured(
        self,
        source: str,
        name: str,
        last: CapturedTable | None,
        files: CaptureFiles,
        run: int,
        trust: Trust,
    ) -> CapturedTable:
        """What is kept of a table after this run; its files are on the shelf."""
        changes: tuple[tuple[int, str], ...] = ()
        if files.current is not None:
            current, since = self._shelf.add(files.current)[0], run
        else:
            assert last is not None, "only an earlier file can say it all"
            current, since, changes = last.current, last.since, last.changes
            if files.folded is not None:
                current, since, changes = self._shelf.add(files.folded)[0], last.changes[-1][0], ()
            if files.changes is not None:
                changes = (*changes, (run, self._shelf.add(files.changes)[0]))
        checked = self._today().isoformat() if trust.token else ""
        counts = (files.rows, files.upserts, files.deletes)
        return CapturedTable(source, name, current, *counts, files.findings, since, changes, checked)

    def _ref(self, captured: CapturedTable, files: CaptureFiles) -> SegmentRef:
        """The segment of what changed; of a first capture that is the whole table."""
        if files.current is None:
            sha256 = captured.changes[-1][1]
        elif files.changes is None or files.changes == files.current:
            sha256 = captured.current
        else:
            sha256, _ = self._shelf.add(files.changes)
        size = self._shelf.path(sha256).stat().st_size
        return SegmentRef(captured.table.lower(), sha256, size, files.upserts + files.deletes)


def _source(settings: SourceSettings) -> Source:
    return Source(settings.name, settings.url, settings.encoding)


class LibraryAdapter:
    """The library room as flow's `LibraryRoom`."""

    def __init__(self, library: Library, attesting: Attesting, index: JournalIndex) -> None:
        self._library, self._attesting, self._index = library, attesting, index

    def attest(self, submitted: Submitted) -> Attestation:
        """Digests of stored rows, table by table."""
        at = At(str(submitted.stream), submitted.seq, submitted.head)
        origin = submitted.stream.origin.node
        found = self._attesting.digests(submitted.library, origin, at, submitted.promised)
        return Attestation(
            {table: digest.rows for table, digest in found.items()},
            {table: digest.root for table, digest in found.items()},
            {table: digest.buckets for table, digest in found.items()},
        )

    def unattested(self) -> list[Submitted]:
        """The newest applied submission of each stream, if this zone has not attested it yet."""
        attested = self._index.answered(Stage.APPLIED)
        found = []
        for row in self._library.newest_applied(attested):
            promised = {t["table"]: (t["rows"], t["digest"]) for t in row["tables"]}
            stream = StreamId.parse(row["stream"])
            found.append(Submitted(stream, row["seq"], row["head"], row["library"], promised))
        return found


class StateAdapter:
    """The source room's state as flow's `SealedState`."""

    def __init__(self, state: SourceState) -> None:
        self._state = state

    def captured_tables(self) -> list[CapturedTable]:
        """The newest capture of every table."""
        return self._state.captured_tables()

    def last_run(self) -> int:
        """Number of the newest capture run."""
        return self._state.last_run()

    def last_sealed(self, library: str) -> SealedLibrary | None:
        """The library as last sealed, or None."""
        rows = self._state.sealed(library)
        if not rows:
            return None
        tables = {row["table"]: SealedTable(row["segment"], row["digest"]) for row in rows}
        run = int(rows[0]["run"].rpartition("-")[2])
        newest = next(v for v in self._state.verdicts() if v["library"] == library)
        if newest["run"] != rows[0]["run"]:
            return SealedLibrary(rows[0]["standard"], rows[0]["period"], tables)
        judged = Judged(newest["way"], run, newest["quarantine"], newest["findings"])
        return SealedLibrary(rows[0]["standard"], rows[0]["period"], tables, judged)
