"""Streams, endpoints, sealed batches, limits and masks: what their texts say, and what they refuse."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jinbao.model import acts
from jinbao.model.batch import Header, Kind, SealedBatch, VerifiedBatch
from jinbao.model.finding import Scope
from jinbao.model.masking import mask
from jinbao.model.receipt import Receipt, Stage
from jinbao.model.standard import Item, ItemType, Limits, Standard, Table
from jinbao.model.stream import LINE, Mark, StreamId
from jinbao.model.zone import Endpoint, Zone

CITY = Endpoint("140100", Zone.PRODUCTION)
STREAM = StreamId(CITY, "pension_macro")
LIMITS = Limits(bad_rows_min=2, bad_rows_max=10, bad_share_max=0.1)
bounded = settings(max_examples=60, deadline=None)
nodes = st.from_regex(r"[0-9]{6}(-backup)?", fullmatch=True)
endpoints = st.builds(Endpoint, nodes, st.sampled_from(Zone))
topics = st.from_regex(r"[a-z][a-z0-9_]{0,20}(\.[a-z][a-z0-9_]{0,20}){0,2}", fullmatch=True)
streams = st.builds(StreamId, endpoints, topics, st.just(LINE) | nodes)


@bounded
@given(streams)
def test_the_text_of_a_stream_names_it(stream: StreamId) -> None:
    """A stream and its origin are read back equal from their texts."""
    assert StreamId.parse(str(stream)) == stream
    assert Endpoint.parse(str(stream.origin)) == stream.origin


@bounded
@given(st.text() | st.text(alphabet="01-/abcdeginlx."))
def test_a_stream_that_is_read_is_written_the_same(text: str) -> None:
    """Any text is either the text of exactly one stream, or refused as ValueError."""
    try:
        stream = StreamId.parse(text)
    except ValueError:
        return

    assert str(stream) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "140100",
        "140100/",
        "140100/attic",
        "140100/Exchange",
        "14010/exchange",
        "1401000/exchange",
        "140100-backups/exchange",
        "../140100/exchange",
        "140100/exchange/",
        "140100/exchange\n",
        "１４０１００/exchange",  # digits, but not ours
    ],
)
def test_a_text_that_names_no_zone_is_refused(text: str) -> None:
    """Only six digits, perhaps -backup, a slash and a zone name an endpoint."""
    with pytest.raises(ValueError, match=r"node name|is not a valid Zone"):
        Endpoint.parse(text)


@pytest.mark.parametrize(
    "text",
    [
        "140100/production/pension_macro",
        "140100/production/pension_macro/line/",
        "140100/production/pension_macro/",
        "140100/production/pension_macro/lines",
        "140100/production/pension_macro/14000",
        "140100/production//line",
        "140100/production/../line",
        "140100/production/.a/line",
        "140100/production/a./line",
        "140100/production/a..b/line",
        "140100/production/Pension/line",
        "140100/production/1a/line",
        "140100/production/a-b/line",
        "140100/production/a\n/line",
        f"140100/production/{'a' * 81}/line",
    ],
)
def test_a_text_that_names_no_stream_is_refused(text: str) -> None:
    """A stream is four words: origin, zone, a topic of lower-case words, and line or one node."""
    with pytest.raises(ValueError, match=r"topic|audience|unpack"):
        StreamId.parse(text)


@bounded
@given(
    st.builds(SealedBatch, st.text(), st.text(), st.binary(), st.binary(), st.lists(st.binary()).map(tuple))
)
def test_a_sealed_batch_survives_the_journal(sealed: SealedBatch) -> None:
    """The JSON an act keeps of an envelope gives it back byte for byte."""
    text = json.dumps(acts.envelope_json(sealed))

    assert acts.envelope_of(json.loads(text)) == sealed


@pytest.mark.parametrize("part", ["suite", "payload_type", "payload", "signature", "certificates"])
def test_an_act_without_a_part_of_its_envelope_is_refused(part: str) -> None:
    """An envelope that lacks a part is no envelope, and the missing part is named."""
    body = acts.envelope_json(SealedBatch("s", "t", b"p", b"g", (b"c",)))
    del body[part]

    with pytest.raises(KeyError, match=part):
        acts.envelope_of(body)


def test_a_receipt_is_kept_in_words() -> None:
    """The JSON of a receipt names receiver, stream and stage by their texts."""
    receipt = Receipt(CITY, STREAM, 3, "h", Stage.REFUSED, 5, "d", "why", "2026-11-20T08:00:00Z")

    body = acts.receipt_json(receipt)

    assert json.loads(json.dumps(body)) == body
    assert (body["receiver"], body["stream"], body["stage"]) == (str(CITY), str(STREAM), "refused")


def test_a_verified_batch_moves_the_mark_to_itself() -> None:
    """The mark of a verified batch is its own stream, incarnation, epoch, seq and head."""
    header = Header(STREAM, 7, "i" * 32, 2, "p", Kind.VOID, "")

    batch = VerifiedBatch(SealedBatch("", "", b"", b"", ()), header, "h")

    assert batch.mark == Mark(STREAM, "i" * 32, 2, 7, "h")


@pytest.mark.parametrize(
    ("rows", "bad", "refused"),
    [
        (0, 0, False),
        (1, 1, False),
        (2, 2, False),
        (3, 3, True),
        (30, 3, False),
        (29, 3, True),
        (10_000, 10, False),
        (10_000, 11, True),
    ],
    ids=["empty", "one", "minimum", "above minimum", "share", "above share", "count", "above count"],
)
def test_a_table_is_refused_above_a_limit_only(rows: int, bad: int, refused: bool) -> None:
    """Every limit holds at its last allowed value and refuses one row later."""
    assert LIMITS.refuse(rows, bad) is refused


@bounded
@given(st.integers(0, 1000), st.integers(0, 1000))
def test_one_more_bad_row_never_helps(rows: int, bad: int) -> None:
    """A table refused with some bad rows is refused with one more."""
    assert not LIMITS.refuse(rows, bad) or LIMITS.refuse(rows, bad + 1)


def test_a_standard_names_its_tables_and_columns() -> None:
    """A standard gives its id, each table by name with columns in order, and refuses a name it has not."""
    items = tuple(
        Item(code, code, code, kind, 6) for code, kind in (("B", ItemType.MONTH), ("A", ItemType.TEXT))
    )
    table = Table("person", "人员", "person", items, ("A",), (), (), LIMITS)
    standard = Standard("small", "1.0", "小", "small", 202601, (replace(table, id="first"), table), {})

    found = standard.table("person")

    assert (standard.id, found, found.columns) == ("small@1.0", table, ("B", "A"))
    assert [item.is_text for item in found.items] == [False, True]
    with pytest.raises(KeyError, match=Scope.ROW):
        standard.table("row")


@bounded
@given(st.from_regex(r"[0-9]{15}|[0-9]{17}[0-9X]", fullmatch=True))
def test_a_mask_hides_the_birth_of_an_id_number(number: str) -> None:
    """Of an id number only the region and the last four characters stay, and its length."""
    shown = mask(number)

    assert shown == number[:6] + "*" * (len(number) - 10) + number[-4:]
    assert number not in shown


@bounded
@given(st.text(min_size=1, max_size=40))
def test_a_mask_is_stable_and_shows_little(value: str) -> None:
    """Masking twice is masking once, shorter values show one character, and some are always hidden."""
    shown = mask(value)

    assert mask(shown) == shown
    assert shown.count("*") >= 2
    assert len(value) >= 15 or not shown[1:].strip("*")


def test_a_name_shows_its_first_character() -> None:
    """A name is masked to its first character and at least two stars."""
    assert [mask(name) for name in ("张三", "欧阳小明", "张", "")] == ["张**", "欧***", "张**", "**"]
