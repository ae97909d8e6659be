"""What earlier releases wrote is read and proved by today's code: documents, batches, segments, databases."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import sqlalchemy as sa
from cryptography import x509
from tests.postgres import fresh_database
from tests.released.sources import ARCHIVE

import jinbao
from jinbao.appliance.assembly import ROOMS, rfc3339
from jinbao.authority.identity_files import ANCHORS, CHAIN, TRUST
from jinbao.authority.trust_files import read_trust
from jinbao.flow.receipts import ReceiptHandler
from jinbao.journal.decoding import InspectLimits
from jinbao.journal.index import JournalIndex
from jinbao.journal.inspector import InProcess, Inspector
from jinbao.journal.ledger import Ledger
from jinbao.journal.projection import JournalProjection
from jinbao.journal.segments import SegmentShelf
from jinbao.journal.verify import verify_acts, verify_headers
from jinbao.library.room import Library, LibraryProjection
from jinbao.library.tables import sql_table
from jinbao.model import acts
from jinbao.model.batch import Header, VerifiedBatch
from jinbao.model.errors import IdentityError, UnprovableError
from jinbao.model.places import tiers_directory
from jinbao.model.receipt import Stage
from jinbao.model.standard import Standard
from jinbao.model.stream import Mark, StreamId
from jinbao.model.topology import Topology
from jinbao.model.zone import Endpoint, Tier
from jinbao.quarantine.room import Quarantine
from jinbao.registry.standards import load_standards
from jinbao.source.state import SourceState
from jinbao.store.engine import Store
from jinbao.store.files import Files
from jinbao.store.migrations import check, upgrade
from jinbao.store.partition import SCHEMA
from jinbao.trust.book import TrustBook
from jinbao.trust.digest import digest
from jinbao.trust.documents import open_topology
from jinbao.trust.encoding import decode_envelope
from jinbao.trust.identity import Use, parse_identity
from jinbao.trust.verify import Verifier

HERE = Path(__file__).parent
MIGRATIONS = [Path(jinbao.__file__).parent / room / "migrations" for room in ROOMS]
RELEASES = sorted(path.name for path in HERE.iterdir() if (path / "facts.json").is_file())


class Released:
    """What one release wrote, and what it said of it."""

    def __init__(self, version: str) -> None:
        self.directory = HERE / version
        self.facts: dict[str, Any] = json.loads((self.directory / "facts.json").read_text(encoding="utf-8"))
        self.at = datetime.fromisoformat(self.facts["at"])

    @property
    def anchors(self) -> list[x509.Certificate]:
        """The authorities of that network."""
        return x509.load_pem_x509_certificates((self.directory / ANCHORS).read_bytes())

    @property
    def book(self) -> TrustBook:
        """Whom a zone of that network believed."""
        known = self.directory / TRUST
        return TrustBook.of(self.anchors, read_trust(known.read_bytes()) if known.is_file() else ())

    @property
    def topology(self) -> Topology:
        """Its signed topology, proved."""
        sealed = decode_envelope((self.directory / "topology.sealed").read_bytes())
        return open_topology(sealed, self.book, self.at)

    def batches(self, folder: str) -> list[VerifiedBatch]:
        """The batches of a stream, each proved to follow the one before it."""
        book = self.book
        verifier = Verifier(lambda: book, lambda: self.topology, lambda: self.at)
        found: list[VerifiedBatch] = []

        def mark(stream: StreamId) -> Mark:
            return found[-1].mark if found else Mark(stream)

        for seq in range(1, len(self.facts["streams"][folder]) + 1):
            sealed = decode_envelope((self.directory / folder / f"{seq}.sealed").read_bytes())
            batch = verifier.verify(sealed, mark)
            assert batch is not None
            found.append(batch)
        return found

    def receive(self, headers: list[Header], shelf: SegmentShelf) -> None:
        """Fetch the segments of headers onto a shelf, held against size and hash."""
        for ref in (ref for header in headers for ref in header.segments):
            content = (self.directory / "segments" / f"{ref.sha256}.parquet").read_bytes()
            shelf.receive(ref, _from(content))


class Observed:
    """Keeps the names of what happened."""

    def __init__(self, names: list[str]) -> None:
        self.names = names

    def event(self, name: str, **values: Any) -> None:
        """One fact."""
        del values
        self.names.append(name)


def _from(content: bytes) -> Callable[[int], Iterator[bytes]]:
    return lambda offset: iter([content[offset:]])


@pytest.fixture(params=RELEASES)
def released(request: pytest.FixtureRequest) -> Released:
    """Each release in turn."""
    return Released(request.param)


@pytest.fixture
def shelf(tmp_path: Path) -> SegmentShelf:
    """An empty shelf."""
    return SegmentShelf(tmp_path / "segments", Files())


@pytest.fixture(scope="module")
def standards() -> dict[str, Standard]:
    """Today's standards."""
    return load_standards(tiers_directory() / "standards")


def _restored(released: Released, endpoint: str, directory: Path) -> Store:
    """The dumped database of a zone, brought to today's schema."""
    file = directory / "zone.db"
    with closing(sqlite3.connect(file)) as connection:
        dump = released.directory / f"{endpoint.replace('/', '-')}.sql"
        connection.executescript(dump.read_text(encoding="utf-8"))
    store = Store(f"sqlite:///{file}", directory / "stage")
    upgrade(store.writer, MIGRATIONS)
    return store


@pytest.fixture(params=["140100/production", "140100/exchange"])
def zone(
    released: Released, request: pytest.FixtureRequest, tmp_path: Path
) -> Iterator[tuple[Endpoint, Store, dict[str, Any]]]:
    """A zone of that release: who it was, its database at today's schema, and what it answered then."""
    store = _restored(released, request.param, tmp_path)
    yield Endpoint.parse(request.param), store, released.facts["databases"][request.param]
    store.close()


def test_the_topology_is_proved(released: Released) -> None:
    """The signed topology is proved at its own time, and has a city under a province under a ministry."""
    rows = released.topology.by_node

    assert [rows[node].tier for node in ("100000", "140000", "140100")] == list(Tier)
    assert [rows[node].parent for node in ("100000", "140000", "140100")] == ["", "100000", "140000"]


def test_nobody_else_vouches_for_it(released: Released) -> None:
    """A topology is not believed where the zone's own certificate stands in the authority's place."""
    sealed = decode_envelope((released.directory / "topology.sealed").read_bytes())
    strangers = x509.load_pem_x509_certificates((released.directory / CHAIN).read_bytes())

    with pytest.raises((IdentityError, UnprovableError)):
        open_topology(sealed, TrustBook.of(strangers), released.at)


def test_a_certificate_names_its_zone(released: Released) -> None:
    """A zone's certificate is proved at its own time, says which zone it is, and is none after its life."""
    leaf, *rest = x509.load_pem_x509_certificates((released.directory / CHAIN).read_bytes())

    released.book.prove(leaf, rest, released.at, Use.LINE)

    assert str(parse_identity(leaf).endpoint) == "140100/production"
    late = leaf.not_valid_after_utc + timedelta(seconds=1)
    with pytest.raises((IdentityError, UnprovableError)):
        released.book.prove(leaf, rest, late, Use.LINE)


@pytest.mark.parametrize("folder", ["submission", "receipts"])
def test_batches_are_proved_and_decoded(released: Released, folder: str) -> None:
    """Sealed batches are proved in their order, and say of themselves what was written beside them."""
    found = released.batches(folder)

    said = [(b.head, str(b.header.kind), b.header.made_at) for b in found]
    facts = released.facts["streams"][folder]
    assert said == [(f["head"], f["kind"], f["made_at"]) for f in facts]
    refs = [[(r.table, r.sha256, r.rows, r.digest) for r in b.header.segments] for b in found]
    assert refs == [[tuple(s.values()) for s in f["segments"]] for f in facts]


def test_segments_have_the_digest_written_beside_them(
    released: Released, shelf: SegmentShelf, standards: dict[str, Standard]
) -> None:
    """Every segment of a submission is received, read, and digested to the number its header and manifest say."""
    headers = [batch.header for batch in released.batches("submission")]
    manifest = released.facts["streams"]["submission"][-1]["manifest"]

    released.receive(headers, shelf)

    found = {}
    for ref in (ref for header in headers for ref in header.segments):
        table = standards["unemployment_monitor"].table(ref.table)
        rows = digest([shelf.read(ref.sha256)], table.columns, table.key)
        assert (rows.rows, rows.root) == (ref.rows, ref.digest)
        found[ref.table] = [rows.rows, rows.root]
    assert found == manifest


def test_receipts_are_filed(released: Released, shelf: SegmentShelf, tmp_path: Path) -> None:
    """A receipts batch is filed by an empty zone, which then knows what the ministry accepted and applied."""
    batches = released.batches("receipts")
    released.receive([batch.header for batch in batches], shelf)
    store = Store(f"sqlite:///{tmp_path / 'zone.db'}", tmp_path / "stage")
    upgrade(store.writer, MIGRATIONS)
    ledger = Ledger(store, (JournalProjection(shelf),), lambda: rfc3339(datetime.now(UTC)))

    ledger.record(*(acts.accepted(batch, batch.header.stream.origin) for batch in batches))
    inspector = Inspector(shelf.open_path, InProcess(InspectLimits(), lambda _segment, _cause: None))
    index = JournalIndex(Endpoint.parse("140100/production"), store, shelf)
    told: list[str] = []
    handler = ReceiptHandler(
        index=index,
        ledger=ledger,
        shelf=shelf,
        inspector=inspector,
        observer=Observed(told),
        above=released.topology.above,
    )
    handler.apply(batches[0].header.stream, batches)

    last = released.batches("submission")[-1]
    filed = index.receipts(last.header.stream, last.header.seq)
    store.close()
    assert told == []
    assert {(str(r.receiver), r.stage, r.head) for r in filed} == {
        ("100000/exchange", stage, last.head) for stage in (Stage.ACCEPTED, Stage.APPLIED)
    }


def test_a_database_comes_to_todays_schema(
    zone: tuple[Endpoint, Store, dict[str, Any]], shelf: SegmentShelf
) -> None:
    """A database of that release is migrated, its journal is what was written, its streams are where they were."""
    me, store, facts = zone
    index = JournalIndex(me, store, shelf)

    check(store.writer, MIGRATIONS)

    assert [*verify_acts(store), *verify_headers(store)] == []
    assert (index.incarnation(), index.overview().acts) == (facts["incarnation"], facts["acts"])
    assert {str(m.stream): [m.seq, m.head] for m in index.streams()} == facts["streams"]


def test_rows_of_a_database_are_readable(
    zone: tuple[Endpoint, Store, dict[str, Any]], standards: dict[str, Standard]
) -> None:
    """Rows of every table of a migrated database are read, and digested to the number written then."""
    _, store, facts = zone
    library = Library(store, standards)

    names = {name: name.partition(".") for name in facts["library"]}
    found = {name: library.digest(of, table, "140100") for name, (of, _, table) in names.items()}

    assert {name: [d.rows, d.root] for name, d in found.items()} == facts["library"]
    assert [dict(line) for line in Quarantine(store).summary()] == facts["quarantine"]
    assert {t.table: t.rows for t in SourceState(store).captured_tables()} == facts["captured"]


@pytest.mark.database
def test_library_rows_come_into_parts(
    zone: tuple[Endpoint, Store, dict[str, Any]],
    shelf: SegmentShelf,
    standards: dict[str, Standard],
    tmp_path: Path,
) -> None:
    """Library rows of that release, in PostgreSQL tables as it made them, are the same rows once in parts."""
    _, store, facts = zone
    names = {name: name.partition(".") for name in facts["library"]}
    target = Store(fresh_database(), tmp_path / "parts")
    with target.writer.connect() as connection, connection.begin():
        for of, _, table in names.values():
            shape = sql_table(standards[of], standards[of].table(table))
            columns = (sa.Column(c.name, c.type, primary_key=c.primary_key) for c in shape.columns)
            whole = sa.Table(shape.name, sa.MetaData(), *columns)
            whole.create(connection)
            rows = Library(store, standards).frame(of, table).to_dicts()
            if rows:
                connection.execute(whole.insert(), rows)

    LibraryProjection(standards, shelf).ensure(target)

    library = Library(target, standards)
    found = {name: library.digest(of, table, "140100") for name, (of, _, table) in names.items()}
    with target.read() as connection:
        parts = sa.inspect(connection).get_table_names(schema=SCHEMA)
    target.close()
    assert {name: [d.rows, d.root] for name, d in found.items()} == facts["library"]
    assert len(parts) == sum(1 for rows, _ in facts["library"].values() if rows)


def test_fixtures_say_something(released: Released) -> None:
    """What is kept of a release holds rows, findings and captures, and is small."""
    production, exchange = (released.facts["databases"][f"140100/{z}"] for z in ("production", "exchange"))
    files = [path for path in released.directory.rglob("*") if path.is_file() and path.name != ARCHIVE]
    size = sum(path.stat().st_size for path in files)

    assert all(rows for rows, _ in exchange["library"].values())
    assert production["quarantine"]
    assert all(production["captured"].values())
    assert size < 500_000
    segments = [pl.read_parquet(path) for path in (released.directory / "segments").iterdir()]
    assert all(frame.height for frame in segments)
    assert not any("PRIVATE KEY" in p.read_text("utf-8") for p in released.directory.glob("*.pem"))
