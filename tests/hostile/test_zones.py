"""What a zone does with what it cannot read: a submission is refused, another stream is held, all else goes on."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from tests.hostile.parquets import bomb
from tests.sim.conftest import MakeWorld
from tests.sim.world import PERIOD, World

from jinbao.appliance.assembly import OpenZone
from jinbao.decision.view import view
from jinbao.flow.receipts import check_receipt
from jinbao.flow.sealing import StreamSealer
from jinbao.model import acts
from jinbao.model.batch import Kind, Manifest, SegmentRef
from jinbao.model.errors import UnacceptableError
from jinbao.model.receipt import Receipt, Stage
from jinbao.model.stream import Mark, StreamId
from jinbao.model.zone import Endpoint, Zone

CITY, CITY_EXCHANGE = Endpoint("140100", Zone.PRODUCTION), Endpoint("140100", Zone.EXCHANGE)
DECISION, PROVINCE = Endpoint("140100", Zone.DECISION), Endpoint("140000", Zone.EXCHANGE)
MINISTRY = Endpoint("100000", Zone.EXCHANGE)
PENSION = StreamId(CITY, "pension_macro")
STANDARD = "pension_macro@1.0"


def shelved(zone: OpenZone, content: bytes, rows: int, table: str = "retiree") -> SegmentRef:
    """Bytes on a zone's own shelf, and the reference a header makes to them."""
    path = zone.shelf.temporary("hostile")
    path.write_bytes(content)
    return SegmentRef(table, *zone.shelf.add(path), rows=rows)


def sealer_of(zone: OpenZone, stream: StreamId) -> StreamSealer:
    """Seals the next batches of a zone's own stream."""
    return StreamSealer(
        zone.index.head(stream),
        incarnation=zone.index.incarnation(),
        epoch=1,
        seal=zone.seal,
        now=zone.ports.now_text,
    )


def submit(
    zone: OpenZone, *segments: SegmentRef, stream: StreamId = PENSION, standard: str = STANDARD
) -> int:
    """Seal a submission that is right in everything but its segments; returns its last seq."""
    sealer = sealer_of(zone, stream)
    first = sealer.seq + 1
    batch = sealer.next(Kind.CHANGE, segments=segments, period=PERIOD, standard=standard)
    closing_batch = sealer.next(Kind.MANIFEST, manifest=Manifest(first, ()), period=PERIOD, standard=standard)
    zone.ledger.record(acts.sealed(batch), acts.sealed(closing_batch))
    return first + 1


def refusals(zone: OpenZone, seq: int) -> list[Receipt]:
    """Receipts a zone knows that refuse a submission of the city's."""
    return [receipt for receipt in zone.index.receipts(PENSION, seq) if receipt.stage is Stage.REFUSED]


def goes_on(world: World) -> bool:
    """Whether a change made now comes to the ministry, as it is in the city."""
    world.business[CITY].edit()
    world.capture_all()
    world.settle()
    sealed = {t["table"]: (t["rows"], t["digest"]) for t in world.zones[CITY].state.sealed(PENSION.topic)}
    found = world.zones[MINISTRY].library.digests(PENSION.topic, CITY.node)
    return {t: (d.rows, d.root) for t, d in found.items()} == sealed


def sent(zone: OpenZone, table: str) -> pl.DataFrame:
    """The rows of a table that the city sealed first."""
    segments = (s for s in zone.index.segments() if (s["stream"], s["table"]) == (str(PENSION), table))
    return zone.shelf.read(next(segments)["sha256"])


def of_the_table(zone: OpenZone, change: Callable[[pl.DataFrame], pl.DataFrame]) -> bytes:
    """Some of the city's own rows of a table, changed, as its own writer writes them."""
    frame = sent(zone, "retiree").head(3)
    path = zone.shelf.temporary("changed")
    change(frame).write_parquet(path, compression="zstd", compression_level=1)
    content = path.read_bytes()
    path.unlink()
    return content


def same(frame: pl.DataFrame) -> pl.DataFrame:
    """The rows as they are."""
    return frame


SEGMENTS = [
    pytest.param(lambda _zone: (bomb(1000), 1000), "segment", id="a bomb"),
    pytest.param(lambda _zone: (b"no Parquet at all", 1), "magic: expected a Parquet file", id="noise"),
    pytest.param(lambda zone: (of_the_table(zone, same), 4), "rows: expected 4, got 3", id="fewer rows"),
    pytest.param(
        lambda zone: (of_the_table(zone, lambda f: f.drop("op")), 3), "columns: expected", id="a column less"
    ),
    pytest.param(
        lambda zone: (of_the_table(zone, lambda f: f.with_columns(op=pl.lit("X"))), 3),
        "expected rows with op U or D, got 3 with another",
        id="rows that pass the gate unseen",
    ),
]


@pytest.mark.fault_row(44)
@pytest.mark.parametrize(("made", "reason"), SEGMENTS)
def test_a_submission_that_cannot_be_read_is_refused(
    quiet: MakeWorld, made: Callable[[OpenZone], tuple[bytes, int]], reason: str
) -> None:
    """It is refused by a signed receipt that says why, nothing of it is applied, and what follows arrives."""
    with quiet(1) as world:
        city = world.zones[CITY]
        before = world.zones[MINISTRY].library.digests(PENSION.topic, CITY.node)
        seq = submit(city, shelved(city, *made(city)))
        world.settle()

        [said] = [receipt for receipt in refusals(world.zones[CITY], seq) if receipt.receiver == MINISTRY]
        assert reason in said.reason
        assert world.zones[MINISTRY].library.digests(PENSION.topic, CITY.node) == before
        assert PENSION not in world.zones[MINISTRY].index.held()
        assert goes_on(world)


def test_a_submission_of_too_many_rows_is_refused_unread(quiet: MakeWorld) -> None:
    """More rows than a zone judges at once are refused by the headers alone."""
    with quiet(1) as world:
        city = world.zones[CITY]
        one = shelved(city, of_the_table(city, same), 3)
        seq = submit(city, replace(one, rows=20_000_001))
        world.settle()

        assert "expected at most 20000000 rows, got 20000001" in refusals(city, seq)[0].reason


def test_a_submission_that_never_closes_starves_no_other(quiet: MakeWorld) -> None:
    """A stream with more open batches than a round looks at is held, and the others are applied."""
    other = StreamId(CITY, "unemployment_monitor")
    with quiet(1) as world:
        city, exchange = world.zones[CITY], world.zones[CITY_EXCHANGE]
        exchange.applier._batches_max = 5
        sealer = sealer_of(city, other)
        for _ in range(7):
            city.ledger.record(acts.sealed(sealer.next(Kind.CHANGE, standard="unemployment_monitor@1.0")))
        world.settle()

        seq, code, reason = exchange.index.held()[other]
        assert code == "unacceptable"
        assert "expected a submission closed within 5, got 7 and no manifest" in reason
        assert seq == exchange.index.mark(other, "applied").seq + 1
        assert goes_on(world)


def receipt_rows(**changed: Any) -> Callable[[Receipt], Mapping[str, Any]]:
    """A true receipt of the ministry's for the city, some of it changed."""

    def row(true: Receipt) -> Mapping[str, Any]:
        found: dict[str, Any] = {
            "receiver": str(MINISTRY),
            "stream": str(true.stream),
            "seq": true.seq,
            "head": true.head,
            "stage": str(true.stage),
            "rows": true.rows,
            "digest": true.digest,
            "reason": true.reason,
            "at": true.at,
        }
        return found | changed

    return row


RECEIPTS = [
    pytest.param({"receiver": str(PROVINCE)}, "receipt", id="another's word"),
    pytest.param({"receiver": "../../etc/passwd"}, "receipt", id="no receiver"),
    pytest.param({"stream": "140200/production/pension_macro/line"}, "receipt", id="another city's stream"),
    pytest.param({"stream": "x"}, "receipt", id="no stream"),
    pytest.param({"seq": -1}, "receipt", id="no place"),
    pytest.param({"stage": "approved"}, "receipt", id="no stage"),
    pytest.param({"head": "'; DROP TABLE journal_act; --"}, "receipt", id="no head"),
    pytest.param({"digest": None}, "receipt", id="nothing"),
    pytest.param({"reason": "a\nb"}, "receipt", id="two lines"),
    pytest.param({"reason": "a" * 9000}, "receipt", id="a long reason"),
    pytest.param({"at": "=1+1"}, "receipt", id="no time"),
]


TRUE = Receipt(MINISTRY, PENSION, 3, "a" * 64, Stage.APPLIED, 7, "b" * 64, "", "2024-11-05T00:00:00.000Z")
TO_CITY = StreamId(MINISTRY, "receipts", CITY.node)


def test_a_true_receipt_passes() -> None:
    """The row every lie is made of is itself a receipt."""
    check_receipt(receipt_rows()(TRUE), TO_CITY, 1, lambda _: [TO_CITY.origin])


@pytest.mark.parametrize(
    ("stage", "topic", "is_one"),
    [
        (Stage.HELD, "receipts", True),
        (Stage.APPLIED, "receipts", False),
        (Stage.HELD, "pension_macro", False),
    ],
    ids=["holds what comes down", "applies what comes down", "holds what goes up"],
)
def test_who_is_below_holds_what_comes_down_and_says_no_more(stage: Stage, topic: str, is_one: bool) -> None:
    """Of its parent's streams a city may say one thing: that it holds what comes down by them."""
    about = StreamId(PROVINCE, topic, CITY.node)
    exchange = CITY_EXCHANGE
    said = Receipt(exchange, about, 3, "a" * 64, stage, 0, "", "", "2024-11-05T00:00:00.000Z")
    row = receipt_rows(receiver=str(exchange))(said)
    above = {PROVINCE: [MINISTRY], exchange: [PROVINCE, MINISTRY]}

    def check() -> None:
        check_receipt(row, StreamId(exchange, "notices", PROVINCE.node), 1, lambda zone: above[zone])

    if is_one:
        check()
    else:
        with pytest.raises(UnacceptableError, match="receipt"):
            check()


@pytest.mark.fault_row(50)
@pytest.mark.parametrize(("changed", "reason"), RECEIPTS)
def test_a_row_that_is_no_receipt_is_refused(changed: dict[str, Any], reason: str) -> None:
    """Whatever stands in a receipt's column is refused by an error that quotes little of it on one line."""
    with pytest.raises(UnacceptableError, match=reason) as caught:
        check_receipt(receipt_rows(**changed)(TRUE), TO_CITY, 1, lambda _: [TO_CITY.origin])

    assert len(str(caught.value)) < 400
    assert str(caught.value).isprintable()


@pytest.mark.fault_row(50)
def test_receipts_that_are_none_hold_their_stream(quiet: MakeWorld) -> None:
    """A sealed batch of receipts with a row that is none is not filed and holds its stream; all else goes on."""
    with quiet(1) as world:
        ministry = world.zones[MINISTRY]
        known = ministry.index.receipts(PENSION)
        row = receipt_rows(receiver=str(PROVINCE))(known[0])
        ref = SegmentRef("receipts", *ministry.shelf.write(pl.DataFrame([row])), rows=1)
        sealed = sealer_of(ministry, TO_CITY).next(Kind.CHANGE, segments=[ref])
        ministry.ledger.record(acts.sealed(sealed))
        world.settle()

        city = world.zones[CITY_EXCHANGE]
        assert "expected one of 100000/exchange for 140100" in city.index.held()[TO_CITY][2]
        assert not [
            r
            for r in city.index.receipts(PENSION)
            if r.receiver == PROVINCE and r.head == row["head"] and r.at == row["at"]
        ]
        assert goes_on(world)


@pytest.mark.parametrize(
    "run", ["", "x#y", "140100/production/pension_macro/line#"], ids=["empty", "odd", "no seq"]
)
def test_a_package_of_nothing_holds_its_stream(quiet: MakeWorld, run: str) -> None:
    """A published package that names no submission is not taken in; the decision zone lives on."""
    stream = StreamId(CITY_EXCHANGE, "published.pension_macro", CITY.node)
    with quiet(1) as world:
        exchange = world.zones[CITY_EXCHANGE]
        sealed = sealer_of(exchange, stream).next(Kind.CHANGE, run=run, period=PERIOD, standard=STANDARD)
        exchange.ledger.record(acts.sealed(sealed))
        world.settle()

        assert world.zones[DECISION].index.held()[stream][1] == "unacceptable"


@pytest.mark.fault_row(44)
def test_a_package_that_cannot_be_read_holds_its_stream(quiet: MakeWorld) -> None:
    """A published segment that is no Parquet of ours never comes before the decision zone's engine."""
    stream = StreamId(CITY_EXCHANGE, "published.pension_macro", CITY.node)
    with quiet(1) as world:
        exchange = world.zones[CITY_EXCHANGE]
        ref = shelved(exchange, bomb(1000), 1000)
        run = f"{PENSION}#9"
        for standard in (STANDARD, "pension_macro@0.9"):
            sealed = sealer_of(exchange, stream).next(
                Kind.CHANGE, segments=[ref], run=run, period=PERIOD, standard=standard
            )
            exchange.ledger.record(acts.sealed(sealed))
        world.settle()

        assert world.zones[DECISION].index.held()[stream][1] == "unacceptable"
        assert ref.sha256 not in {s.sha256 for s in world.zones[DECISION].decision.segments("pension_macro")}


def test_a_segment_beyond_the_limit_is_not_fetched(quiet: MakeWorld) -> None:
    """The stream of a header that promises more bytes than a zone takes is held before a byte is asked for."""
    with quiet(1) as world:
        city, exchange = world.zones[CITY], world.zones[CITY_EXCHANGE]
        ref = shelved(city, of_the_table(city, same), 3)
        submit(city, replace(ref, bytes=5 << 30))
        world.settle()

        _, code, reason = exchange.index.held()[PENSION]
        assert (code, "expected at most 4294967296 bytes, got 5368709120" in reason) == ("unacceptable", True)
        assert not exchange.shelf.has(ref.sha256)
        assert not list(exchange.shelf.incoming.iterdir())


def test_a_zone_cannot_open_streams_without_end(quiet: MakeWorld) -> None:
    """Streams of one origin beyond the limit are passed by and leave nothing behind; those there are go on."""
    with quiet(1) as world:
        city, exchange = world.zones[CITY], world.zones[CITY_EXCHANGE]
        most = sum(mark.stream.origin == CITY for mark in exchange.index.marks()) + 2
        exchange.inbound._limits = replace(exchange.inbound._limits, streams_per_origin_max=most)
        for at in range(6):
            mark = Mark(StreamId(CITY, f"flood_{at}"))
            sealer = sealer_of(city, mark.stream)
            city.ledger.record(acts.sealed(sealer.next(Kind.VOID)))
        world.settle()

        mine = [mark.stream for mark in exchange.index.marks() if mark.stream.origin == CITY]
        assert len(mine) == most
        assert exchange.index.held() == {}
        assert goes_on(world)


TEXTS = [
    "'; DROP TABLE library_pension_macro_retiree; --",
    '=HYPERLINK("http://x","y")',
    "../../../../etc/passwd",
    "$(touch /tmp/jinbao-x) `id`",
    "张\u202e三",
    "a\tb\\N",
]


@pytest.mark.fault_row(50)
def test_a_persons_name_is_data_on_every_way(quiet: MakeWorld) -> None:
    """Texts that mean something elsewhere travel from the city to the ministry and its analysts as they are."""
    with quiet(1) as world:
        city, decision = world.zones[CITY], world.zones[DECISION]
        table = city.standards[PENSION.topic].table("retiree")
        persons = sent(city, table.id).get_column("AAC001").head(len(TEXTS)).to_list()
        named = dict(zip(persons, TEXTS, strict=True))
        with closing(sqlite3.connect(world.directory / CITY.node / "business.db")) as connection:
            for person, text in named.items():
                connection.execute("UPDATE AC01 SET AAC003 = ? WHERE AAC001 = ?", (text, person))
            connection.commit()
        world.capture_all()
        world.settle()

        stored = world.zones[MINISTRY].library.frame(PENSION.topic, table.id, origin=CITY.node)
        seen = view(decision.decision.segments(PENSION.topic), table, decision.shelf.open_path)
        for frame in (stored, seen):
            found = dict(frame.filter(pl.col("AAC001").is_in(persons)).select("AAC001", "AAC003").iter_rows())
            assert found.items() <= named.items()  # the gate may stop a name that is none
        assert len(found) >= 1
        assert goes_on(world)
        assert not Path("/tmp/jinbao-x").exists()
