"""Adapters: real rooms in the shapes flow asks for. Wiring only; every decision is in flow or a room."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack

from jinbao.appliance.settings import SourceSettings
from jinbao.flow.ports import Attestation, Captured, SealedLibrary, Submitted
from jinbao.journal.index import JournalIndex
from jinbao.journal.segments import SegmentShelf, require_space
from jinbao.library.room import Library
from jinbao.model.acts import CapturedTable
from jinbao.model.batch import SegmentRef
from jinbao.model.receipt import Stage
from jinbao.model.stream import StreamId
from jinbao.source.capture import CaptureFiles, capture_table, find_table, key_of, require_columns
from jinbao.source.reader import Snapshot, Source
from jinbao.source.state import SourceState


class SourceCapture:
    """The production zone's sources as flow's `Capture`."""

    def __init__(
        self,
        sources: Sequence[SourceSettings],
        needed: Mapping[str, set[str]],
        state: SourceState,
        shelf: SegmentShelf,
        reserve_bytes: int,
    ) -> None:
        self._sources, self._needed, self._state = tuple(sources), needed, state
        self._shelf, self._reserve_bytes = shelf, reserve_bytes

    def run(self, run: str) -> Captured:
        """Read every needed table of every source, each source under one snapshot."""
        del run
        require_space(self._shelf.root, self._reserve_bytes)
        previous = {(t.source, t.table): t for t in self._state.captured_tables()}
        tables: list[CapturedTable] = []
        changes: dict[tuple[str, str], SegmentRef] = {}
        with ExitStack() as stack:
            opened = [(s, stack.enter_context(_source(s).snapshot())) for s in self._sources]
            for settings, snapshot in opened:
                for table, ref in self._capture(settings, snapshot, previous):
                    tables.append(table)
                    if ref is not None:
                        changes[table.source, table.table] = ref
        return Captured(tuple(tables), changes)

    def _capture(
        self, settings: SourceSettings, snapshot: Snapshot, previous: Mapping[tuple[str, str], CapturedTable]
    ) -> Iterator[tuple[CapturedTable, SegmentRef | None]]:
        present = snapshot.tables()
        for name in sorted(self._needed):
            shape = find_table(present, settings.name, name)
            require_columns(shape, settings.name, sorted(self._needed[name]))
            key = key_of(shape, settings.name, settings.keys.get(name, ()))
            last = previous.get((settings.name, name))
            before = self._shelf.open_path(last.current) if last else None
            files = capture_table(snapshot, shape, key, before, self._shelf.incoming)
            current = self._shelf.add(files.current)[0] if files.current else None
            if current is None:
                assert last is not None  # only an earlier file can say it all
                current = last.current
            captured = CapturedTable(
                settings.name, name, current, files.rows, files.upserts, files.deletes, files.findings
            )
            yield captured, self._ref(captured, files)

    def _ref(self, captured: CapturedTable, files: CaptureFiles) -> SegmentRef | None:
        """The segment of what changed; of a first capture that is the whole table, on the shelf already."""
        if files.changes is None:
            return None
        if files.changes == files.current:
            sha256, size = captured.current, self._shelf.path(captured.current).stat().st_size
        else:
            sha256, size = self._shelf.add(files.changes)
        return SegmentRef(captured.table.lower(), sha256, size, files.upserts + files.deletes)


def _source(settings: SourceSettings) -> Source:
    return Source(settings.name, settings.url, settings.encoding)


class LibraryAdapter:
    """The library room as flow's `LibraryRoom`."""

    def __init__(self, library: Library, index: JournalIndex) -> None:
        self._library, self._index = library, index

    def attest(self, library: str, origin: str) -> Attestation:
        """Digests of stored rows, table by table."""
        found = self._library.digests(library, origin)
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
        return SealedLibrary(rows[0]["standard"], rows[0]["period"], {r["table"]: r["segment"] for r in rows})
