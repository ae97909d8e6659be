"""Headers, marks and topologies survive the wire; whatever else arrives is refused as one error."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.trust.example import FIRST, STREAM, TOPOLOGY

from jinbao.model.batch import Header, Kind, Manifest, SealedBatch, SegmentRef, TableTotals
from jinbao.model.errors import UnprovableError
from jinbao.model.stream import LINE, Mark, StreamId
from jinbao.model.zone import Endpoint, Zone
from jinbao.trust import bounds, encoding
from jinbao.wire.gen.jinbao.wire.v1 import wire_pb2 as wire

HASH = "0f" * 32
bounded = settings(max_examples=60, deadline=None)
counts, serials = st.integers(0, 2**63 - 1), st.integers(1, 2**63 - 1)
rows = st.integers(0, bounds.ROWS_MAX)
small, amounts = st.integers(0, 2**32 - 1), st.integers(-(2**63), 2**63 - 1)
hashes = st.binary(min_size=32, max_size=32).map(bytes.hex)
words = st.from_regex(r"[a-z][a-z0-9_]{0,20}", fullmatch=True)
nodes = st.from_regex(r"[0-9]{6}(-backup)?", fullmatch=True)
topics = st.lists(words, min_size=1, max_size=3).map(".".join)
items = st.from_regex(r"[A-Z]{3}[0-9]{3}", fullmatch=True)
totals = st.dictionaries(items, amounts, max_size=2)
incarnations = st.from_regex(r"[0-9A-Za-z-]{1,32}", fullmatch=True)
lines = st.from_regex(r"[ -~]{0,40}", fullmatch=True)
runs = st.from_regex(r"([0-9a-z][0-9A-Za-z/_#@:-]{0,20})?", fullmatch=True)
periods = st.from_regex(r"([0-9]{4}(0[1-9]|1[0-2]))?", fullmatch=True)
versions = st.from_regex(r"([a-z][a-z0-9_]{0,9}@[0-9]\.[0-9])?", fullmatch=True)
endpoints = st.builds(Endpoint, nodes, st.sampled_from(Zone))
streams = st.builds(StreamId, endpoints, topics, st.just(LINE) | nodes)
marks = st.builds(Mark, streams, st.just("") | incarnations, counts, counts, st.just("") | hashes)
segments = st.builds(
    SegmentRef,
    words,
    hashes,
    st.integers(0, 2**34),
    rows,
    st.just("") | hashes,
    totals,
    st.just("") | words,
)
manifests = st.builds(
    Manifest,
    serials,
    st.lists(st.builds(TableTotals, words, rows, hashes, totals), max_size=2).map(tuple),
    rows,
)
headers = st.builds(
    Header,
    stream=streams,
    seq=serials,
    incarnation=incarnations,
    epoch=serials,
    previous=st.just("") | hashes,
    kind=st.sampled_from(Kind),
    made_at=lines,
    run=runs,
    slice_index=small,
    slices=small,
    period=periods,
    standard=versions,
    replaces=st.lists(serials, max_size=3).map(tuple),
    segments=st.lists(segments, max_size=3).map(tuple),
    manifest=st.none() | manifests,
    continues=st.none() | marks,
)
FULL = replace(
    FIRST,
    segments=(SegmentRef("person", HASH, 10, 1, HASH),),
    manifest=Manifest(1, (TableTotals("person", 1, HASH),)),
    continues=Mark(STREAM, "b" * 32, 1, 4, HASH),
)


@bounded
@given(headers)
def test_a_header_comes_back_as_it_was(header: Header) -> None:
    """Every header is read back equal from the bytes that are signed, and those are always the same."""
    payload = encoding.encode_header(header)

    assert encoding.decode_header(payload) == header
    assert encoding.encode_header(encoding.decode_header(payload)) == payload


@bounded
@given(marks)
def test_a_mark_comes_back_as_it_was(mark: Mark) -> None:
    """Every mark, and the stream it names, is read back equal from its message."""
    message = wire.Mark.FromString(encoding.mark_message(mark).SerializeToString())

    assert encoding.mark_of(message) == mark
    assert encoding.stream_of(message.stream) == mark.stream


@bounded
@given(
    st.builds(SealedBatch, *[st.text(max_size=9)] * 2, *[st.binary()] * 2, st.lists(st.binary()).map(tuple))
)
def test_an_envelope_comes_back_byte_for_byte(sealed: SealedBatch) -> None:
    """An envelope carries any bytes verbatim, believed or not (clause 4.2)."""
    content = encoding.envelope_message(sealed).SerializeToString()

    assert encoding.envelope_of(wire.Envelope.FromString(content)) == sealed


def test_a_mark_that_was_not_continued_comes_back_beside_the_envelope() -> None:
    """A server's word on a mark survives the wire; for a reader that does not know it, the envelope is the same."""
    sealed = SealedBatch("suite", "type", b"payload", b"signature", (b"one",))
    short = encoding.short_of(sealed, Mark(STREAM, "a" * 32, 1, 7, HASH))

    message = encoding.envelope_message(short)

    assert encoding.envelope_of(message) == short
    message.ClearField("short_of")
    assert encoding.envelope_of(message) == sealed


def test_a_topology_comes_back_as_it_was() -> None:
    """Every column of every row of a topology is read back equal."""
    first, *rest = TOPOLOGY.rows
    full = replace(
        first, addresses=((Zone.EXCHANGE, "h:1"),), epoch=7, dials="child", protects=("140000", "140100")
    )
    topology = replace(TOPOLOGY, rows=(full, *rest))

    assert encoding.decode_topology(encoding.encode_topology(topology)) == topology


def _set(name: str, value: object) -> Callable[[wire.Header], None]:
    """A change of one field, named by its path."""

    def change(message: wire.Header) -> None:
        *path, last = name.split(".")
        target = message
        for step in path:
            found = getattr(target, step)
            target = found[0] if hasattr(found, "add") else found
        setattr(target, last, value)

    return change


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("stream.node", "14010"),
        ("stream.node", "140100/"),
        ("stream.zone", "attic"),
        ("stream.topic", "../x"),
        ("stream.topic", "Pension"),
        ("stream.topic", "a" * 81),
        ("stream.audience", ""),
        ("stream.audience", "140100/x"),
        ("stream.audience", "line\n"),
        ("seq", 0),
        ("epoch", 0),
        ("previous", "0F" * 32),
        ("previous", "00"),
        ("kind", "rumour"),
        ("segments.table", "../person"),
        ("segments.table", ""),
        ("segments.sha256", ""),
        ("segments.sha256", HASH + "\n"),
        ("segments.bytes", encoding.SEGMENT_BYTES_MAX + 1),
        ("segments.digest", "x"),
        ("manifest.first_seq", 0),
        ("manifest.tables.table", "A"),
        ("manifest.tables.digest", ""),
        ("continues.head", "zz"),
        ("continues.stream.zone", ""),
    ],
    ids=lambda value: str(value)[:24] or "empty",
)
def test_a_header_with_one_impossible_field_is_unprovable(field: str, value: object) -> None:
    """One field outside the contract makes a header unprovable, whatever the field."""
    message = wire.Header.FromString(encoding.encode_header(FULL))
    _set(field, value)(message)

    with pytest.raises(UnprovableError, match="header: expected a message of the contract"):
        encoding.decode_header(message.SerializeToString())


def test_a_header_over_its_bound_is_not_parsed() -> None:
    """A payload one byte over the bound is refused for its size."""
    with pytest.raises(UnprovableError, match=f"at most {encoding.PAYLOAD_BYTES_MAX} bytes"):
        encoding.decode_header(b"\0" * (encoding.PAYLOAD_BYTES_MAX + 1))


@bounded
@given(st.binary(max_size=200), st.integers(0, 10_000), st.integers(1, 255))
def test_any_bytes_are_read_or_unprovable(noise: bytes, at: int, flip: int) -> None:
    """Noise, and real documents with one byte changed, are read or refused, and raise nothing else."""
    for decode, real in (
        (encoding.decode_header, encoding.encode_header(FULL)),
        (encoding.decode_topology, encoding.encode_topology(TOPOLOGY)),
    ):
        altered = bytearray(real)
        altered[at % len(real)] ^= flip
        for content in (noise, bytes(altered)):
            with suppress(UnprovableError):
                assert decode(content) is not None


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("node", "14000"),
        ("node", "../etc"),
        ("node", "100000"),
        ("tier", "county"),
        ("parent", "999999"),
        ("parent", ""),
        ("epoch", 0),
    ],
)
def test_a_topology_with_one_impossible_field_is_unprovable(field: str, value: object) -> None:
    """One field outside the contract, in whatever row, makes a topology unprovable."""
    message = wire.Topology.FromString(encoding.encode_topology(TOPOLOGY))
    setattr(message.rows[1], field, value)

    with pytest.raises(UnprovableError, match="topology: expected a message"):
        encoding.decode_topology(message.SerializeToString())


@pytest.mark.parametrize("field", ["zones", "carrier"])
def test_a_topology_with_an_unknown_zone_is_unprovable(field: str) -> None:
    """A zone the contract does not name makes a topology unprovable."""
    message = wire.Topology.FromString(encoding.encode_topology(TOPOLOGY))
    getattr(message.rows[2], field)[0] = "attic"

    with pytest.raises(UnprovableError, match="topology: expected a message"):
        encoding.decode_topology(message.SerializeToString())


@pytest.mark.parametrize("head", ["0", "g" * 64, HASH.upper()], ids=["short", "no digit", "upper case"])
def test_a_mark_with_an_impossible_head_is_unprovable(head: str) -> None:
    """A mark names its head by 64 lower-case hex digits, or not at all."""
    message = encoding.mark_message(Mark(STREAM, "a", 1, 1, HASH))
    message.head = head

    with pytest.raises(UnprovableError, match="mark: expected a message"):
        encoding.mark_of(message)
