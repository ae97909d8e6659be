"""Headers, marks and topologies as the bytes of the wire contract, and back.

Bounds are checked before anything is built from a peer's bytes; whatever is not exactly
a message of the contract is refused as `UnprovableError`. Does not check signatures.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from google.protobuf.message import DecodeError

from jinbao.model.batch import (
    Header,
    JournalCut,
    Kind,
    Manifest,
    SealedBatch,
    SegmentRef,
    Shortfall,
    TableTotals,
)
from jinbao.model.errors import UnprovableError
from jinbao.model.quoting import quoted
from jinbao.model.stream import Lane, Mark, StreamId
from jinbao.model.topology import NodeRow, Topology
from jinbao.model.zone import Endpoint, Tier, Zone
from jinbao.trust import bounds
from jinbao.trust.bounds import PAYLOAD_BYTES_MAX, SEGMENT_BYTES_MAX
from jinbao.wire.gen.jinbao.wire.v1 import wire_pb2 as wire

HEADER_TYPE = "application/vnd.jinbao.header.v1+protobuf"
TOPOLOGY_TYPE = "application/vnd.jinbao.topology.v1+protobuf"

T = TypeVar("T")


def _stream(message: wire.StreamId) -> StreamId:
    return StreamId(Endpoint(message.node, Zone(message.zone)), message.topic, message.audience)


def stream_message(stream: StreamId) -> wire.StreamId:
    """A stream's name as a message."""
    origin = stream.origin
    return wire.StreamId(node=origin.node, zone=origin.zone, topic=stream.topic, audience=stream.audience)


def mark_message(mark: Mark) -> wire.Mark:
    """A mark as a message."""
    return wire.Mark(
        stream=stream_message(mark.stream),
        incarnation=mark.incarnation,
        epoch=mark.epoch,
        seq=mark.seq,
        head=mark.head,
    )


def mark_of(message: wire.Mark) -> Mark:
    """Read a mark; raises UnprovableError on anything that is none."""
    return _strict("mark", lambda: _mark(message))


def _mark(m: wire.Mark) -> Mark:
    return Mark(
        _stream(m.stream),
        bounds.incarnation(m.incarnation) if m.incarnation else "",
        bounds.at_most(m.epoch, bounds.NUMBER_MAX, "epoch"),
        bounds.at_most(m.seq, bounds.NUMBER_MAX, "seq"),
        bounds.hash_text(m.head) if m.head else "",
    )


def encode_marks(marks: Sequence[Mark]) -> bytes:
    """Marks as the bytes that are signed."""
    message = wire.FollowRequest(marks=[mark_message(mark) for mark in marks])
    return message.SerializeToString(deterministic=True)


def decode_marks(payload: bytes) -> list[Mark]:
    """Read a payload of marks; raises UnprovableError on anything that is none."""
    _check_size("marks", payload)
    return _strict("marks", lambda: _marks(wire.FollowRequest.FromString(payload)))


def marks_of(message: wire.FollowRequest) -> list[Mark]:
    """Read a caller's marks; raises UnprovableError on anything that is none, or on too many."""
    return _strict("marks", lambda: _marks(message))


def lane_of(message: wire.FollowRequest) -> Lane:
    """The lane asked for; all of them where it is one nobody knows yet."""
    return next((lane for lane in Lane if lane == int(message.lane)), Lane.ALL)


def _marks(message: wire.FollowRequest) -> list[Mark]:
    return [_mark(mark) for mark in bounds.few(message.marks, bounds.MARKS_MAX, "marks")]


def place_of(message: wire.FetchRequest) -> tuple[StreamId, int, str, int]:
    """Stream, seq, hash and offset of the bytes asked for; raises UnprovableError on anything that is none."""
    return _strict(
        "fetch",
        lambda: (
            _stream(message.stream),
            bounds.positive(message.seq),
            bounds.hash_text(message.sha256),
            bounds.at_most(message.offset, SEGMENT_BYTES_MAX, "offset"),
        ),
    )


def stream_of(message: wire.StreamId) -> StreamId:
    """Read a stream's name; raises UnprovableError on anything that is none."""
    return _strict("stream", lambda: _stream(message))


def envelope_message(sealed: SealedBatch) -> wire.Envelope:
    """A sealed batch as a message, its bytes verbatim (clause 4.2)."""
    return wire.Envelope(
        suite=sealed.suite,
        payload_type=sealed.payload_type,
        payload=sealed.payload,
        signature=sealed.signature,
        certificates=sealed.certificates,
        short_of=mark_message(sealed.mark) if isinstance(sealed, Shortfall) else None,
    )


def envelope_of(message: wire.Envelope) -> SealedBatch:
    """Read a sealed batch; nothing in it is believed.

    Raises UnprovableError on a mark that is none.
    """
    sealed = SealedBatch(
        message.suite,
        message.payload_type,
        message.payload,
        message.signature,
        tuple(message.certificates),
    )
    return short_of(sealed, mark_of(message.short_of)) if message.HasField("short_of") else sealed


def short_of(sealed: SealedBatch, mark: Mark) -> Shortfall:
    """The batch as the answer to a mark that cannot be continued (clause 2.4)."""
    return Shortfall(
        sealed.suite, sealed.payload_type, sealed.payload, sealed.signature, sealed.certificates, mark
    )


def decode_envelope(content: bytes) -> SealedBatch:
    """Read an envelope from a file; raises UnprovableError on anything that is none. Nothing in it is believed."""
    return _strict("envelope", lambda: envelope_of(wire.Envelope.FromString(content)))


def encode_header(header: Header) -> bytes:
    """A header as the bytes that are signed."""
    message = wire.Header(
        stream=stream_message(header.stream),
        seq=header.seq,
        incarnation=header.incarnation,
        epoch=header.epoch,
        previous=header.previous,
        kind=header.kind,
        made_at=header.made_at,
        run=header.run,
        slice_index=header.slice_index,
        slices=header.slices,
        period=header.period,
        standard=header.standard,
        replaces=header.replaces,
        segments=[_ref_message(ref) for ref in header.segments],
        manifest=_manifest_message(header.manifest) if header.manifest else None,
        continues=mark_message(header.continues) if header.continues else None,
        cut=_cut_message(header.cut) if header.cut else None,
    )
    return message.SerializeToString(deterministic=True)


def _ref_message(ref: SegmentRef) -> wire.SegmentRef:
    return wire.SegmentRef(
        table=ref.table,
        sha256=ref.sha256,
        bytes=ref.bytes,
        rows=ref.rows,
        digest=ref.digest,
        totals=ref.totals,
        disclosure=ref.disclosure,
    )


def _manifest_message(manifest: Manifest) -> wire.Manifest:
    tables = [
        wire.TableTotals(table=t.table, rows=t.rows, digest=t.digest, totals=t.totals)
        for t in manifest.tables
    ]
    return wire.Manifest(first_seq=manifest.first_seq, tables=tables, quarantined=manifest.quarantined)


def _cut_message(cut: JournalCut) -> wire.JournalCut:
    return wire.JournalCut(
        lsn=cut.lsn, hash=cut.hash, at=cut.at, captured_at=cut.captured_at, missing=cut.missing
    )


def decode_header(payload: bytes) -> Header:
    """Read a header's payload; raises UnprovableError on anything that is none (clause 4.1)."""
    _check_size("header", payload)
    return _strict("header", lambda: _header(wire.Header.FromString(payload)))


def _header(m: wire.Header) -> Header:
    return Header(
        stream=_stream(m.stream),
        seq=bounds.positive(m.seq),
        incarnation=bounds.incarnation(m.incarnation),
        epoch=bounds.positive(m.epoch),
        previous=bounds.hash_text(m.previous) if m.previous else "",
        kind=Kind(m.kind),
        made_at=bounds.time_text(m.made_at),
        run=bounds.run(m.run),
        slice_index=m.slice_index,
        slices=m.slices,
        period=bounds.period(m.period),
        standard=bounds.standard(m.standard),
        replaces=tuple(map(bounds.positive, bounds.few(m.replaces, bounds.REPLACES_MAX, "replaces"))),
        segments=tuple(map(_ref, bounds.few(m.segments, bounds.SEGMENTS_MAX, "segments"))),
        manifest=_manifest(m.manifest) if m.HasField("manifest") else None,
        continues=_mark(m.continues) if m.HasField("continues") else None,
        cut=_cut(m.cut) if m.HasField("cut") else None,
    )


def _ref(m: wire.SegmentRef) -> SegmentRef:
    return SegmentRef(
        bounds.word(m.table),
        bounds.hash_text(m.sha256),
        bounds.at_most(m.bytes, SEGMENT_BYTES_MAX, "segment: bytes"),
        bounds.at_most(m.rows, bounds.ROWS_MAX, "segment: rows"),
        bounds.hash_text(m.digest) if m.digest else "",
        bounds.totals(m.totals),
        bounds.word(m.disclosure) if m.disclosure else "",
    )


def _cut(m: wire.JournalCut) -> JournalCut:
    return JournalCut(
        bounds.at_most(m.lsn, bounds.NUMBER_MAX, "cut: lsn"),
        bounds.hash_text(m.hash) if m.lsn else "",
        bounds.moment(m.at) if m.lsn else "",
        bounds.moment(m.captured_at) if m.captured_at else "",
        bounds.at_most(m.missing, bounds.ROWS_MAX, "cut: missing"),
    )


def _manifest(m: wire.Manifest) -> Manifest:
    tables = bounds.few(m.tables, bounds.TABLES_MAX, "tables")
    quarantined = bounds.at_most(m.quarantined, bounds.ROWS_MAX, "quarantined")
    return Manifest(bounds.positive(m.first_seq), tuple(map(_totals, tables)), quarantined)


def _totals(m: wire.TableTotals) -> TableTotals:
    rows = bounds.at_most(m.rows, bounds.ROWS_MAX, "rows")
    return TableTotals(bounds.word(m.table), rows, bounds.hash_text(m.digest), bounds.totals(m.totals))


def encode_topology(topology: Topology) -> bytes:
    """A topology as the bytes that are signed."""
    rows = [
        wire.NodeRow(
            node=row.node,
            name_zh=row.name_zh,
            name_en=row.name_en,
            tier=row.tier,
            region=row.region,
            parent=row.parent,
            zones=row.zones,
            carrier=row.carrier,
            addresses={str(zone): address for zone, address in row.addresses},
            epoch=row.epoch,
            dials=row.dials,
            protects=row.protects,
        )
        for row in topology.rows
    ]
    message = wire.Topology(
        trust_domain=topology.trust_domain, version=topology.version, rows=rows, made_at=topology.made_at
    )
    return message.SerializeToString(deterministic=True)


def decode_topology(payload: bytes) -> Topology:
    """Read a topology's payload; raises UnprovableError on anything that is none."""
    _check_size("topology", payload)
    return _strict("topology", lambda: _topology(wire.Topology.FromString(payload)))


def _topology(m: wire.Topology) -> Topology:
    rows = bounds.few(m.rows, bounds.NODES_MAX, "nodes")
    version = bounds.at_most(m.version, bounds.NUMBER_MAX, "version")
    return Topology(
        bounds.domain(m.trust_domain), version, tuple(map(_row, rows)), bounds.time_text(m.made_at)
    )


def _row(m: wire.NodeRow) -> NodeRow:
    if m.dials not in {"parent", "child"}:
        msg = f"dials: expected parent or child, got {quoted(m.dials)}"
        raise ValueError(msg)
    return NodeRow(
        node=m.node,
        name_zh=bounds.label(m.name_zh),
        name_en=bounds.label(m.name_en),
        tier=Tier(m.tier),
        region=bounds.region(m.region),
        parent=m.parent,
        zones=tuple(Zone(z) for z in bounds.few(m.zones, len(Zone), "zones")),
        carrier=tuple(Zone(z) for z in bounds.few(m.carrier, len(Zone), "carrier")),
        addresses=tuple(sorted((Zone(z), bounds.address(address)) for z, address in m.addresses.items())),
        epoch=bounds.positive(m.epoch),
        dials=m.dials,
        protects=tuple(bounds.few(m.protects, bounds.NODES_MAX, "protects")),
    )


def _check_size(thing: str, payload: bytes) -> None:
    if len(payload) > PAYLOAD_BYTES_MAX:
        raise UnprovableError(thing, expected=f"at most {PAYLOAD_BYTES_MAX} bytes", got=len(payload))


def _strict(thing: str, build: Callable[[], T]) -> T:
    """Build a value; whatever a peer's bytes break on the way is the peer's fault."""
    try:
        return build()
    except (DecodeError, ValueError) as exc:
        raise UnprovableError(
            thing, expected="a message of the contract", got=quoted(str(exc), bounds.CHARACTERS_MAX)
        ) from exc
