"""Headers, marks and topologies as the bytes of the wire contract, and back.

Bounds are checked before anything is built from a peer's bytes; whatever is not exactly
a message of the contract is refused as `UnprovableError`. Does not check signatures.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import TypeVar

from google.protobuf.message import DecodeError

from jinbao.model.batch import Header, Kind, Manifest, SealedBatch, SegmentRef, TableTotals
from jinbao.model.errors import UnprovableError
from jinbao.model.stream import Mark, StreamId
from jinbao.model.topology import NodeRow, Topology
from jinbao.model.zone import Endpoint, Tier, Zone
from jinbao.wire.gen.jinbao.wire.v1 import wire_pb2 as wire

HEADER_TYPE = "application/vnd.jinbao.header.v1+protobuf"
TOPOLOGY_TYPE = "application/vnd.jinbao.topology.v1+protobuf"

PAYLOAD_BYTES_MAX = 1 << 20
"""A header names at most thousands of segments; more is not a header."""

SEGMENT_BYTES_MAX = 1 << 34
"""16 GiB: above any table of a province in one segment."""

T = TypeVar("T")

_HEX = re.compile(r"[0-9a-f]{64}")
_WORD = re.compile(r"[a-z][a-z0-9_]{0,79}")


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
    return Mark(_stream(m.stream), m.incarnation[:64], m.epoch, m.seq, _hash(m.head) if m.head else "")


def encode_marks(marks: Sequence[Mark]) -> bytes:
    """Marks as the bytes that are signed."""
    message = wire.FollowRequest(marks=[mark_message(mark) for mark in marks])
    return message.SerializeToString(deterministic=True)


def decode_marks(payload: bytes) -> list[Mark]:
    """Read a payload of marks; raises UnprovableError on anything that is none."""
    return _strict("marks", lambda: [_mark(mark) for mark in wire.FollowRequest.FromString(payload).marks])


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
    )


def envelope_of(message: wire.Envelope) -> SealedBatch:
    """Read a sealed batch; nothing in it is believed."""
    return SealedBatch(
        message.suite,
        message.payload_type,
        message.payload,
        message.signature,
        tuple(message.certificates),
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


def decode_header(payload: bytes) -> Header:
    """Read a header's payload; raises UnprovableError on anything that is none (clause 4.1)."""
    if len(payload) > PAYLOAD_BYTES_MAX:
        raise UnprovableError("header", expected=f"at most {PAYLOAD_BYTES_MAX} bytes", got=len(payload))
    return _strict("header", lambda: _header(wire.Header.FromString(payload)))


def _header(m: wire.Header) -> Header:
    return Header(
        stream=_stream(m.stream),
        seq=_positive(m.seq),
        incarnation=m.incarnation,
        epoch=_positive(m.epoch),
        previous=_hash(m.previous) if m.previous else "",
        kind=Kind(m.kind),
        made_at=m.made_at,
        run=m.run,
        slice_index=m.slice_index,
        slices=m.slices,
        period=m.period,
        standard=m.standard,
        replaces=tuple(m.replaces),
        segments=tuple(_ref(ref) for ref in m.segments),
        manifest=_manifest(m.manifest) if m.HasField("manifest") else None,
        continues=_mark(m.continues) if m.HasField("continues") else None,
    )


def _ref(m: wire.SegmentRef) -> SegmentRef:
    if m.bytes > SEGMENT_BYTES_MAX:
        msg = f"segment of {m.bytes} bytes"
        raise ValueError(msg)
    digest = _hash(m.digest) if m.digest else ""
    return SegmentRef(_word(m.table), _hash(m.sha256), m.bytes, m.rows, digest, dict(m.totals), m.disclosure)


def _manifest(m: wire.Manifest) -> Manifest:
    tables = tuple(TableTotals(_word(t.table), t.rows, _hash(t.digest), dict(t.totals)) for t in m.tables)
    return Manifest(_positive(m.first_seq), tables, m.quarantined)


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
    return _strict("topology", lambda: _topology(wire.Topology.FromString(payload)))


def _topology(m: wire.Topology) -> Topology:
    return Topology(m.trust_domain, m.version, tuple(_row(row) for row in m.rows), m.made_at)


def _row(m: wire.NodeRow) -> NodeRow:
    return NodeRow(
        node=m.node,
        name_zh=m.name_zh,
        name_en=m.name_en,
        tier=Tier(m.tier),
        region=m.region,
        parent=m.parent,
        zones=tuple(Zone(z) for z in m.zones),
        carrier=tuple(Zone(z) for z in m.carrier),
        addresses=tuple(sorted((Zone(z), address) for z, address in m.addresses.items())),
        epoch=_positive(m.epoch),
        dials=m.dials,
        protects=tuple(m.protects),
    )


def _hash(text: str) -> str:
    if not _HEX.fullmatch(text):
        msg = "a hash is 64 hex digits"
        raise ValueError(msg)
    return text


def _word(text: str) -> str:
    if not _WORD.fullmatch(text):
        msg = "a table's name is a lower-case word"
        raise ValueError(msg)
    return text


def _positive(number: int) -> int:
    if number < 1:
        msg = "seq and epoch count from 1"
        raise ValueError(msg)
    return number


def _strict(thing: str, build: Callable[[], T]) -> T:
    """Build a value; whatever a peer's bytes break on the way is the peer's fault."""
    try:
        return build()
    except (DecodeError, ValueError) as exc:
        raise UnprovableError(thing, expected="a message of the contract", got=str(exc)) from exc
