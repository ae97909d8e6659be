"""What flow needs of the rooms, as Protocols; `appliance/assembly.py` hands in the real ones."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, Self, TypeVar

import polars as pl

from jinbao.model.acts import Act, CapturedTable, Entry
from jinbao.model.batch import Header, SealedBatch, SegmentRef, VerifiedBatch
from jinbao.model.receipt import Receipt, Stage, Unanswered
from jinbao.model.standard import Standard, Table
from jinbao.model.stream import Mark, StreamId
from jinbao.model.trust import TrustDocument
from jinbao.model.zone import Endpoint

T = TypeVar("T")

Now = Callable[[], str]
"""UTC now, RFC 3339; for people and headers, never for order."""

SealHeader = Callable[[Header], SealedBatch]
"""Signs a header with this zone's key."""

MarkOf = Callable[[StreamId], Mark]
"""What is accepted of a stream."""

VerifyBatch = Callable[[SealedBatch, MarkOf], VerifiedBatch | None]
"""Proves a sealed batch against the mark of its stream; None if it was accepted before."""

Room = Callable[[int], None]
"""Raises SpaceError where so many bytes more would break the disk's reserve."""

ReadHeader = Callable[[SealedBatch], VerifiedBatch]
"""Reads back a batch this zone itself accepted and stored, verified at that time."""


class Beside(Protocol):
    """Works done one after the other beside whoever begins them; left as a context, it has done them all."""

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...

    def begin(self, work: Callable[[], None]) -> None:
        """Do this after all that was begun before; waits while enough are begun, raises what one of them raised."""
        ...

    def settle(self) -> None:
        """Wait until everything that was begun is done; raises as `begin`."""
        ...


class Ahead(Protocol):
    """Makes a few pieces before they are asked for, in a thread called `thread`."""

    def __call__(self, pieces: Iterator[T], thread: str) -> Generator[T]:
        """The same pieces in the same order; closed early, it returns once nothing is made any more."""
        ...


class Peer(Protocol):
    """A neighbour whose streams are followed, over the line or by carrier."""

    @property
    def endpoint(self) -> Endpoint:
        """Who it is, proved."""
        ...

    def headers(self, marks: Sequence[Mark], limit: int, wait_s: float) -> list[SealedBatch]:
        """Sealed batches beyond the marks, in order per stream; waits up to `wait_s` for one."""
        ...

    def fetch(self, stream: StreamId, seq: int, ref: SegmentRef, offset: int) -> Iterator[bytes]:
        """Bytes of a segment from `offset` on."""
        ...


class Ledger(Protocol):
    """Records acts with everything they mean, in one transaction."""

    def record(self, *acts: Act) -> None:
        """All of them durable, or none."""
        ...


class Acts(Protocol):
    """What a journal holds, as it was hashed."""

    def entries(self, after: int, limit: int, bytes_max: int) -> list[Entry]:
        """Acts after a place, in order: at most `limit`, and of those what `bytes_max` holds."""
        ...


class Trust(Protocol):
    """What this zone trusts, as it learns of it."""

    def learn(self, documents: Sequence[TrustDocument], peer: str, *also: Act) -> bool:
        """Record what is proved and new, and `also` in the same transaction; whether anything was new.

        What proves nothing is told and passed by.
        """
        ...


class Index(Protocol):
    """What the journal knows."""

    @property
    def me(self) -> Endpoint:
        """The endpoint this journal belongs to."""
        ...

    def incarnation(self) -> str:
        """The incarnation this store chose."""
        ...

    def newest_act(self) -> tuple[int, str]:
        """Place of the newest act, and the chain's hash there."""
        ...

    def head(self, stream: StreamId) -> Mark:
        """The newest header held of a stream."""
        ...

    def mark(self, stream: StreamId) -> Mark:
        """What is accepted of a stream."""
        ...

    def marks(self, *, nodes: Collection[str] = ()) -> list[Mark]:
        """How far accepting has come, per stream; with `nodes` of the streams they are the origin of."""
        ...

    def held(self) -> Mapping[StreamId, tuple[int, str, str]]:
        """Streams that wait, with seq, code and reason."""
        ...

    def batch(self, stream: StreamId, seq: int, head: str = "") -> SealedBatch | None:
        """One sealed batch by its place, and by its head where given."""
        ...

    def place(self, stream: StreamId, incarnation: str, seq: int) -> Mark | None:
        """The header held at one place of a stream, as a mark."""
        ...

    def waiting(self) -> Mapping[StreamId, int]:
        """Streams with accepted batches above their apply mark, and how many."""
        ...

    def unapplied(self, stream: StreamId, limit: int) -> list[SealedBatch]:
        """The first accepted batches above a stream's apply mark, in order; at most `limit`."""
        ...

    def streams(self) -> list[Mark]:
        """The newest header of every stream held, by stream."""
        ...

    def recorded_at(self, mark: Mark) -> int:
        """The act that recorded the batch a mark points to; 0 for none."""
        ...

    def is_concluded(self, library: str, lsn: int) -> bool:
        """Whether an act after `lsn` says from what a library was sealed, or that nothing is known of it."""
        ...

    def unanswered(
        self, stream: StreamId, receiver: Endpoint, stages: Sequence[Stage], limit: int
    ) -> list[Unanswered]:
        """Manifests after the last one `receiver` answered with any of the stages, not noted as missing yet."""
        ...

    def receipts_due(self, limit: int) -> list[tuple[int, str, Receipt]]:
        """Receipts not yet sealed: place, audience, receipt."""
        ...


class Shelf(Protocol):
    """Where segments lie, named by content."""

    def write(self, frame: pl.DataFrame) -> tuple[str, int]:
        """Store columns as a segment; returns hash and bytes, durable on return."""
        ...

    def bring(self, ref: SegmentRef, chunks: Callable[[int], Iterator[bytes]]) -> Callable[[], None]:
        """Take in a peer's segment unless it is there; asks `chunks` from the offset it has.

        It is on the shelf once what this returns was called, in whatever thread. That raises
        CorruptionError if the bytes are not those promised, which are then forgotten.
        """
        ...

    def growing(self) -> Growing:
        """A segment that is written part by part."""
        ...

    def read(self, sha256: str) -> pl.DataFrame:
        """A stored segment as columns."""
        ...

    def size(self, sha256: str) -> int | None:
        """Bytes of a stored segment, None if it is not there."""
        ...

    def slices(self, sha256: str, rows: int) -> Iterator[pl.DataFrame]:
        """A stored segment, at most so many rows at once and in their order; one slice at least."""
        ...

    def picked(self, sha256: str, columns: Sequence[str], where: pl.Expr) -> pl.DataFrame:
        """Some columns of some rows of a stored segment, in any order."""
        ...


class Attempts(Protocol):
    """Remembers over the end of a process what it was applying."""

    def begin(self, stream: StreamId, seq: int) -> int:
        """A batch is about to be applied; returns how many processes in a row ended while they did so."""
        ...

    def end(self) -> None:
        """It was applied, or refused in words."""
        ...


class Growing(Protocol):
    """A segment on its way; left as a context without having been kept, it is gone."""

    rows: int
    """Rows that were added."""

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...

    def add(self, part: pl.DataFrame) -> None:
        """Write some rows; all parts have the same columns."""
        ...

    def keep(self) -> tuple[str, int]:
        """Put it on the shelf, with one part at least; returns hash and bytes, durable on return."""
        ...


class Inspector(Protocol):
    """Decides, without this process reading it, whether a peer's segment may be read in this process."""

    def objection(self, ref: SegmentRef, columns: Mapping[str, bool], within_s: float = math.inf) -> str:
        """Why it may not; empty when it may. `columns` says which are text; none: whichever it names.

        Raises TimeoutError when that is not known `within_s`.
        """
        ...


class LibraryRoom(Protocol):
    """Stored records."""

    def attest(self, submitted: Submitted) -> Attestation:
        """Rows and digests of what is stored of a submission's origin, read back from the database."""
        ...

    def unattested(self) -> list[Submitted]:
        """Applied submissions for which this zone issued no receipt yet."""
        ...


@dataclass(frozen=True, slots=True)
class Attestation:
    """What a zone stores of one origin's library: rows and roots by table, buckets for the search."""

    rows: Mapping[str, int]
    roots: Mapping[str, str]
    buckets: Mapping[str, Mapping[str, str]]


@dataclass(frozen=True, slots=True)
class Submitted:
    """One applied submission: where it stands and what its manifest promised, root by table."""

    stream: StreamId
    seq: int
    head: str
    library: str
    promised: Mapping[str, tuple[int, str]]


class Capture(Protocol):
    """The production zone's business databases."""

    def run(self, run: int) -> Captured:
        """Read all tables under one snapshot per source; durable files, nothing recorded yet."""
        ...


@dataclass(frozen=True, slots=True)
class Captured:
    """One capture run: tables as they are now, and by source and table the segments of what changed in them.

    `lied` counts the rows that changed and whose token did not.
    """

    tables: tuple[CapturedTable, ...]
    changes: Mapping[tuple[str, str], SegmentRef]
    lied: Mapping[tuple[str, str], int]


@dataclass(frozen=True, slots=True)
class JudgedPart:
    """Some rows of a table, converted and judged: `rows` of them, of which `stopped` did not pass.

    `passed` holds the standard's columns sorted by key; `quarantine` and `findings` have the
    quarantine room's columns, but are not numbered yet.
    """

    rows: int
    stopped: int
    passed: pl.DataFrame
    quarantine: pl.DataFrame
    findings: pl.DataFrame


class Judging(Protocol):
    """One library of one run before the gate."""

    @property
    def way(self) -> str:
        """A word for all that decides how rows are judged beside their content."""
        ...

    def affected(self, table: Table) -> pl.Series | None:
        """The key texts of rows that may be judged otherwise than last time, gone ones too; None: all of them."""
        ...

    def parts(self, table: Table) -> Iterator[JudgedPart]:
        """The affected rows of a table part by part, in the order of its source; one part at least."""
        ...

    def carried(self, table: Table) -> tuple[pl.DataFrame, pl.DataFrame]:
        """Quarantine and findings of rows that are not affected, as the run judged them that sealed last."""
        ...

    def report(self, parts: Sequence[tuple[pl.DataFrame, pl.DataFrame]]) -> tuple[pl.DataFrame, pl.DataFrame]:
        """Quarantine and findings of all parts of all tables together, numbered."""
        ...


class Received(Protocol):
    """A received submission on its way through the gate again."""

    def look(self, table: Table, sha256: str) -> pl.DataFrame | None:
        """The rows of one segment, judged by themselves; None when one of them may not be stored.

        In any thread, one segment at a time.
        """
        ...

    def read(self, sha256: str) -> pl.DataFrame:
        """The rows of a segment that was looked at."""
        ...

    def objection(self) -> str:
        """Why it is not acceptable, once every segment was looked at; empty when it is."""
        ...


class Judge(Protocol):
    """Conversion and gate over the captured tables."""

    def judging(
        self, standard: Standard, period: str, tables: Sequence[CapturedTable], last: Judged | None
    ) -> Judging:
        """Begin to convert and judge one library for a period; only what changed since `last`, where that will do."""
        ...

    def received(self, standard: Standard, period: str, segments: Mapping[str, Sequence[str]]) -> Received:
        """Begin to judge a received submission, by its segments of each table."""
        ...


class SealedState(Protocol):
    """What the production zone sealed last."""

    def captured_tables(self) -> list[CapturedTable]:
        """The newest capture of every table."""
        ...

    def last_run(self) -> int:
        """Number of the newest capture run, 0 if none."""
        ...

    def last_sealed(self, library: str) -> SealedLibrary | None:
        """The library as last sealed, or None."""
        ...


@dataclass(frozen=True, slots=True)
class Judged:
    """What the run that sealed a library last judged: by which `way`, and the segments of what it stopped and found."""

    way: str
    run: int
    quarantine: str
    findings: str


@dataclass(frozen=True, slots=True)
class SealedTable:
    """A table as last sealed: the segment of its lines, and the digest of its rows."""

    segment: str
    digest: str


@dataclass(frozen=True, slots=True)
class SealedLibrary:
    """A library as last sealed: standard, period and tables.

    `judged` is None when a later run was refused: its findings are of other rows than those sealed.
    """

    standard: str
    period: str
    tables: Mapping[str, SealedTable]
    judged: Judged | None = None


class Observer(Protocol):
    """Told what happened; writes the log line and moves the metric."""

    def event(self, name: str, **values: Any) -> None:  # values are logged as they are
        """One fact, in the past tense, without personal data."""
        ...
