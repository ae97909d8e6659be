"""A received submission is judged while it is written: it is stored whole, or not at all and for every reason there is."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from tests.library.parts import AT, PERIOD, STANDARD, Row, frame, open_library, stream_of
from tests.postgres import fresh_database
from tests.sim.order import in_turn

from jinbao.appliance.judging import ConvertAndJudge
from jinbao.flow.apply import SubmissionHandler
from jinbao.flow.ports import Ahead
from jinbao.journal.decoding import InspectLimits
from jinbao.journal.index import JournalIndex
from jinbao.journal.inspector import InProcess, Inspector
from jinbao.journal.ledger import Ledger
from jinbao.journal.projection import JournalProjection
from jinbao.library.room import LibraryProjection
from jinbao.model import acts
from jinbao.model.batch import Header, Kind, Manifest, SealedBatch, SegmentRef, TableTotals, VerifiedBatch
from jinbao.model.errors import LocalError
from jinbao.model.finding import Scope, Severity
from jinbao.model.standard import Rule
from jinbao.model.zone import Endpoint, Zone
from jinbao.store.ahead import ahead
from jinbao.trust.encoding import encode_header
from jinbao.trust.envelope import head_of
from jinbao.trust.parquet import Shape

CITY, ME = "140100", Endpoint("140000", Zone.EXCHANGE)
STREAM = stream_of(CITY)
UNIQUE = Rule("R1", "person", "unique", Scope.BATCH, Severity.ERROR, ("AAC001",), "", "")
PAY = replace(
    STANDARD,
    tables=tuple(
        replace(
            table,
            items=tuple(replace(item, length=12) for item in table.items),
            rules=(UNIQUE,) if table.id == "person" else (),
        )
        for table in STANDARD.tables
    ),
)
LONG = "x" * 13
"""A name the standard has no room for."""


class Slow:
    """An examiner that needs longer than it is given, `times` times; `asked` is what it was given."""

    def __init__(self, times: int = 0) -> None:
        self.times, self.asked = times, list[float]()
        self._real = InProcess(InspectLimits(), lambda _segment, _cause: None)

    def examine(self, path: Path, shape: Shape, segment: str, within_s: float) -> str:
        """What the real one says, in time or not."""
        self.asked.append(within_s)
        if within_s < math.inf and self.times:
            self.times -= 1
            raise TimeoutError
        return self._real.examine(path, shape, segment, within_s)

    def close(self) -> None:
        """Nothing to end."""


class Province:
    """A library, and the handler that applies to it what a city sealed."""

    def __init__(self, url: str, directory: Path, ahead: Ahead) -> None:
        self.applied = opened = open_library(url, directory)
        projections = JournalProjection(opened.shelf), LibraryProjection({PAY.library: PAY}, opened.shelf)
        self.ledger = opened.ledger = Ledger(opened.store, projections, lambda: AT)
        self.examiner, self.events = Slow(), list[tuple[str, dict[str, Any]]]()
        self.handler = SubmissionHandler(
            me=JournalIndex(ME, opened.store, opened.shelf),
            ledger=self.ledger,
            room=None,  # type: ignore[arg-type]  # nothing is read back here
            judge=ConvertAndJudge({}, opened.shelf),
            inspector=Inspector(opened.shelf.open_path, self.examiner),
            standards={PAY.library: PAY},
            onward=lambda _closing, _uses, _kind: (),
            observer=self,
            now=lambda: AT,
            rows_max=1_000_000,
            ahead=ahead,
        )
        self.seq, self.head = 0, ""
        self.ledger.record(acts.created(ME, "2" * 32))

    def event(self, name: str, **values: Any) -> None:
        """Keep what happened."""
        self.events.append((name, values))

    def take(self, kind: Kind, *slices: pl.DataFrame) -> None:
        """Apply or refuse one submission of persons, a segment for each slice."""
        first, batches = self.seq + 1, []
        for rows in slices:
            ref = SegmentRef("person", *self.applied.shelf.write(rows), rows.height)
            batches.append(self._batch(kind, segments=(ref,)))
        totals = TableTotals("person", 1, "d" * 64, {})
        batches.append(self._batch(Kind.MANIFEST, manifest=Manifest(first, (totals,))))
        self.handler.apply(STREAM, batches)

    def _batch(self, kind: Kind, **parts: Any) -> VerifiedBatch:
        self.seq += 1
        header = Header(
            STREAM, self.seq, "1" * 32, 1, self.head, kind, AT, period=PERIOD, standard=PAY.id, **parts
        )
        sealed = SealedBatch("", "", encode_header(header), b"", ())
        batch = VerifiedBatch(sealed, header, head_of(sealed))
        self.head = batch.head
        self.ledger.record(acts.accepted(batch, ME))
        return batch

    def reasons(self) -> list[str]:
        """Why submissions were refused."""
        return [values["reason"] for name, values in self.events if name == "submission_refused"]

    def stored(self) -> dict[str, str]:
        """Names by key."""
        rows = self.applied.library.frame(PAY.library, "person", origin=CITY)
        return dict(rows.select("AAC001", "AAC003").sort("AAC001").iter_rows())


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty database of each kind."""
    return f"sqlite:///{tmp_path / 'zone.db'}" if request.param == "sqlite" else fresh_database()


@pytest.fixture(params=[in_turn, ahead], ids=["in turn", "ahead"])
def province(request: pytest.FixtureRequest, database: str, tmp_path: Path) -> Iterator[Province]:
    """A province with or without threads."""
    opened = Province(database, tmp_path, request.param)
    yield opened
    opened.applied.store.close()


def rows(*keys: str, name: str = "n") -> pl.DataFrame:
    """A segment of persons who are all called `name`."""
    given: dict[str, Row | None] = dict.fromkeys(keys, (name, 1))
    return frame(given)


@pytest.mark.parametrize("kind", [Kind.SNAPSHOT, Kind.CHANGE])
def test_every_segment_is_judged_when_one_is_refused(province: Province, kind: Kind) -> None:
    """Bad rows in the first, a middle and the last of many segments are all counted, and no row is stored."""
    province.take(Kind.SNAPSHOT, rows("a", "b"))
    bad = {0, 3, 8}

    province.take(kind, *(rows(f"k{at}", f"l{at}", name=LONG if at in bad else "n") for at in range(9)))

    [reason] = province.reasons()
    assert reason.startswith("table person: expected rows that pass pay@1.0, got 6 that break ")
    assert province.stored() == {"a": "n", "b": "n"}
    assert [one["status"] for one in province.applied.library.submissions()] == ["refused", "applied"]
    assert list((province.applied.store._stage_directory).iterdir()) == []


@pytest.mark.parametrize("month", [202410, 202409], ids=["of one key", "of two keys"])
@pytest.mark.parametrize("kind", [Kind.SNAPSHOT, Kind.CHANGE])
def test_rows_that_contradict_each_other_are_refused_in_the_words_of_the_rule(
    province: Province, kind: Kind, month: int
) -> None:
    """A person in two segments is refused by the rule, whether the database would take the rows or not."""
    province.take(Kind.SNAPSHOT, rows("a"))
    again = rows("b").with_columns(pl.lit(month, pl.Int64).alias("AAE003"))

    province.take(kind, rows("b", "c"), rows("d"), again)

    assert province.reasons() == ["table person: expected rows that pass pay@1.0, got 2 that break R1"]
    assert province.stored() == {"a": "n"}


def test_a_segment_that_may_not_be_read_is_refused_by_name(province: Province) -> None:
    """A segment of other columns in the middle is not read, and nothing is stored."""
    strange = rows("x").rename({"AAC003": "AAC999"})

    province.take(Kind.SNAPSHOT, rows("a"), rows("b"), strange, rows("c"))

    [reason] = province.reasons()
    assert reason.startswith("table person: segment ")
    assert province.stored() == {}


@pytest.mark.parametrize("bad", [False, True], ids=["right", "wrong"])
def test_what_decodes_slowly_is_decoded_before_the_transaction(province: Province, *, bad: bool) -> None:
    """A segment that takes too long while the database waits is decoded without haste, then stored or refused."""
    province.examiner.times = 1

    province.take(Kind.SNAPSHOT, rows("a"), rows("b", name=LONG if bad else "n"))

    assert [given < math.inf for given in province.examiner.asked] == [False, True, False]
    assert province.stored() == ({} if bad else {"a": "n", "b": "n"})
    assert len(province.reasons()) == bad


def test_what_the_database_alone_refuses_is_tried_again(
    province: Province, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows the gate lets through and the database does not are not the city's fault: nothing is refused or stored."""
    monkeypatch.setattr(LibraryProjection, "project", _fail)

    with pytest.raises(LocalError, match="this very database"):
        province.take(Kind.SNAPSHOT, rows("a"), rows("b"))

    assert province.reasons() == []
    assert province.applied.library.submissions() == []


def _fail(*_: object) -> None:
    raise LocalError("rows", expected="a database that takes them", got="this very database")


def test_only_a_few_segments_are_in_memory(database: str, tmp_path: Path) -> None:
    """Segments are decoded a few before they are written, however many there are."""
    counts, most = {"made": 0, "taken": 0}, [0]

    def counted(pieces: Iterator[Any], thread: str) -> Iterator[Any]:
        made = _counting(pieces, counts, "made") if thread == "judge" else pieces
        for piece in ahead(made, thread):
            counts["taken"] += thread == "judge"
            most[0] = max(most[0], counts["made"] - counts["taken"])
            yield piece

    province = Province(database, tmp_path, counted)  # type: ignore[arg-type]  # a generator all the same
    province.take(Kind.SNAPSHOT, *(rows(f"k{at:02}") for at in range(40)))
    province.applied.store.close()

    assert counts == {"made": 40, "taken": 40}
    assert most[0] <= 3


def _counting(pieces: Iterator[Any], counts: dict[str, int], what: str) -> Iterator[Any]:
    for piece in pieces:
        counts[what] += 1
        yield piece


def test_a_change_that_rewrites_a_part_is_judged_once(province: Province) -> None:
    """Where rows are read twice to be written, each segment is examined and judged once."""
    province.take(Kind.SNAPSHOT, rows("a", "b", "c"))
    province.examiner.asked.clear()

    province.take(Kind.CHANGE, rows("b", name="m"), frame({"c": None, "d": ("n", 1)}))

    assert province.stored() == {"a": "n", "b": "m", "d": "n"}
    assert len(province.examiner.asked) == 2
