"""Assembling evidence: from the journal and shelf of any zone that holds the record's segment and receipts.

Finds the newest submission that carried the record, what leads from it to the signed roots, and
what every tier that speaks through here said of it. Judges nothing: `trust.evidence_proof` does,
and is asked before a file is handed out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from jinbao.appliance.assembly import OpenZone
from jinbao.model.batch import Header, Kind, SealedBatch, SegmentRef
from jinbao.model.errors import LocalError, UsageError
from jinbao.model.receipt import RECEIPT_COLUMNS, RECEIPT_KEY, Stage
from jinbao.model.standard import Standard, Table
from jinbao.model.stream import LINE, NOTICES, RECEIPTS, StreamId
from jinbao.trust.digest import RowPath, digest, path
from jinbao.trust.encoding import decode_header, decode_topology
from jinbao.trust.envelope import parse_certificate
from jinbao.trust.evidence import Column, Evidence, ProvedReceipt, Silence, Subject
from jinbao.trust.grants import decode_grant
from jinbao.trust.identity import parse_identity

OP, DELETE = "op", "D"


@dataclass(frozen=True, slots=True)
class Wanted:
    """Whose record, of which library; `table`, `origin` and `seq` narrow the search where given."""

    library: str
    key: str
    table: str = ""
    origin: str = ""
    seq: int = 0


@dataclass(frozen=True, slots=True)
class Submission:
    """The batches one manifest closes, in order, the manifest last."""

    stream: StreamId
    batches: tuple[SealedBatch, ...]
    headers: tuple[Header, ...]


@dataclass(frozen=True, slots=True)
class Place:
    """Where a record was found: its batch in its submission, its segment, its row in that segment."""

    submission: Submission
    batch: int
    ref: SegmentRef
    table: Table
    frame: pl.DataFrame
    row: int


def assemble(zone: OpenZone, wanted: Wanted, *, partial: bool) -> Evidence:
    """Everything of one record; `partial` leaves out receipts of an older release, which prove nothing alone.

    Raises UsageError when the record is not here, was withdrawn, or stands in more than one place.
    """
    standard = zone.standards.get(wanted.library)
    if standard is None:
        raise UsageError("library", expected=" or ".join(sorted(zone.standards)), got=wanted.library)
    place = _find(zone, standard, wanted)
    submission, table = place.submission, place.table
    first = submission.headers[place.batch]
    authorities, crls = carried_trust(zone)
    batches = submission.batches[place.batch :]
    receipts = tuple(_receipts(zone, submission, place.batch, partial=partial))
    return Evidence(
        made_at=zone.ports.now_text(),
        made_by=str(zone.me),
        subject=_subject(standard, table, first),
        record=place.frame.select(table.columns).row(place.row),
        key=tuple(table.columns.index(code) for code in table.key),
        segment=place.ref.sha256,
        way=path(place.frame, table.columns, table.key, place.row),
        state=None if first.kind is Kind.SNAPSHOT else _state(zone, place, wanted.key),
        batches=batches,
        receipts=receipts,
        missing=tuple(_missing(zone, submission)),
        topology=zone.trust.sealed_topology(),
        authorities=authorities,
        crls=crls,
        grants=_grants(zone, [*batches, *(one.batch for one in receipts)]),
    )


def carried_trust(zone: OpenZone) -> tuple[tuple[bytes, ...], tuple[bytes, ...]]:
    """Certificates of authorities and revocation lists a zone knows, DER: none where roots certify zones themselves."""
    book = zone.trust.book()
    lists = {crl.der for crl in book.crls.values()}
    return tuple(d for d in book.documents if d not in lists), tuple(sorted(lists))


def _grants(zone: OpenZone, envelopes: Sequence[SealedBatch]) -> tuple[SealedBatch, ...]:
    """The grants without which an epoch in this file would be one that is still to come, by node.

    Of who sealed the envelopes, of this zone, which seals the file, and of who sealed those grants.
    """
    rows = decode_topology(zone.trust.sealed_topology().payload).by_node
    held = {decode_grant(sealed.payload).node: sealed for sealed in zone.trust.sealed_grants()}
    found: dict[str, SealedBatch] = {}
    leaves = [*{envelope.certificates[0] for envelope in envelopes}, zone.trust.identity().certificates[0]]
    while leaves:
        signer = parse_identity(parse_certificate(leaves.pop()))
        node = signer.endpoint.node
        if node in held and node not in found and node in rows and signer.epoch > rows[node].epoch:
            found[node] = held[node]
            leaves.append(held[node].certificates[0])
    return tuple(found[node] for node in sorted(found))


def _subject(standard: Standard, table: Table, header: Header) -> Subject:
    return Subject(
        library=standard.library,
        library_zh=standard.name_zh,
        library_en=standard.name_en,
        table=table.id,
        table_zh=table.name_zh,
        table_en=table.name_en,
        standard=header.standard,
        period=header.period,
        columns=tuple(Column(item.code, item.name_zh, item.name_en, item.scale) for item in table.items),
    )


# Where the record is.


def _find(zone: OpenZone, standard: Standard, wanted: Wanted) -> Place:
    """The newest place of the record, which must be one."""
    tables = [t for t in standard.tables if wanted.table in {"", t.id}]
    if not tables:
        known = " or ".join(t.id for t in standard.tables)
        raise UsageError(f"table of {standard.library}", expected=known, got=wanted.table)
    streams = [
        mark.stream
        for mark in zone.index.streams()
        if (mark.stream.topic, mark.stream.audience) == (standard.library, LINE)
        and wanted.origin in {"", mark.stream.origin.node}
    ]
    found = [p for s in streams for t in tables if (p := _newest(zone, s, t, wanted)) is not None]
    places = [f"--table {p.table.id} --origin {p.submission.stream.origin.node}" for p in found]
    if len(found) > 1:
        raise UsageError("record", expected="one place", got="; ".join(places), next_step="name one of them")
    if not found:
        raise UsageError(
            "record",
            expected=f"one that a closed submission of {standard.library} carried through {zone.me}",
            got="none of that key",
            next_step="jinbao trace, then ask the zone that has it",
        )
    return found[0]


def _newest(zone: OpenZone, stream: StreamId, table: Table, wanted: Wanted) -> Place | None:
    """The record in the newest submission of a stream that carried it, or in the one `seq` belongs to."""
    for span in reversed(_spans(zone, stream)):
        if wanted.seq and not span[0][0] <= wanted.seq <= span[-1][0]:
            continue
        place = _in_submission(zone, _submission(zone, stream, span), table, wanted.key)
        if place is not None:
            return place
    return None


Span = list[tuple[int, Kind, str]]


def _spans(zone: OpenZone, stream: StreamId) -> list[Span]:
    """Places of the batches of each closed submission; what was withdrawn or is open is left out."""
    spans: list[Span] = []
    span: Span = []
    for at in zone.index.places(stream):
        span.append(at)
        if at[1] is Kind.MANIFEST:
            spans.append(span)
        if at[1] in {Kind.MANIFEST, Kind.VOID}:
            span = []
    return spans


def _submission(zone: OpenZone, stream: StreamId, span: Span) -> Submission:
    batches = [zone.index.batch(stream, seq, head) for seq, _, head in span]
    sealed = tuple(batch for batch in batches if batch is not None)
    return Submission(stream, sealed, tuple(decode_header(batch.payload) for batch in sealed))


def _in_submission(zone: OpenZone, submission: Submission, table: Table, key: str) -> Place | None:
    """Where a submission carries the record; raises UsageError if it withdraws it."""
    named = pl.col(table.key[0]).cast(pl.String) == key
    for at, header in enumerate(submission.headers):
        for ref in (ref for ref in header.segments if ref.table == table.id):
            frame = zone.shelf.read(ref.sha256)
            rows = frame.select(pl.arg_where(named)).to_series()
            if rows.is_empty():
                continue
            if frame.item(rows[0], OP) == DELETE:
                raise UsageError(
                    "record",
                    expected="one that stands",
                    got=f"one withdrawn by {submission.stream}#{header.seq}",
                    next_step="name an earlier submission with --seq",
                )
            return Place(submission, at, ref, table, frame, rows[0])
    return None


# The table the manifest closes.


def _state(zone: OpenZone, place: Place, key: str) -> RowPath:
    """The record's way to the root of its table after the submission, rebuilt from the segments since a snapshot."""
    table, submission = place.table, place.submission
    manifest = submission.headers[-1].manifest
    promised = {t.table: t.digest for t in manifest.tables} if manifest else {}
    frame = _table_after(zone, submission, table)
    found = digest([frame], table.columns, table.key).root
    if found != promised.get(table.id):
        raise LocalError(
            f"table {table.id} after {submission.stream}#{submission.headers[-1].seq}",
            expected=f"digest {promised.get(table.id, 'none')[:12]}",
            got=found[:12],
            next_step="jinbao journal verify",
        )
    row = frame.select(pl.arg_where(pl.col(table.key[0]).cast(pl.String) == key)).item()
    return path(frame, table.columns, table.key, row)


def _table_after(zone: OpenZone, last: Submission, table: Table) -> pl.DataFrame:
    """Rows of the origin's table after a submission."""
    frame = pl.DataFrame(
        schema={item.code: pl.String() if item.is_text else pl.Int64() for item in table.items}
    )
    for span in _spans(zone, last.stream):
        if span[0][0] > last.headers[-1].seq:
            break
        submission = _submission(zone, last.stream, span)
        refs = [(h.kind, r) for h in submission.headers for r in h.segments if r.table == table.id]
        if any(kind is Kind.SNAPSHOT for kind, _ in refs):
            frame = frame.clear()
        for _, ref in refs:
            rows = zone.shelf.read(ref.sha256)
            kept = frame.join(rows, on=list(table.key), how="anti")
            frame = pl.concat([kept, rows.filter(pl.col(OP) != DELETE).select(table.columns)])
    return frame


# What the tiers said.


def _receipts(zone: OpenZone, submission: Submission, batch: int, *, partial: bool) -> list[ProvedReceipt]:
    """Receipts of the record's batch and of the manifest that pass here, each with its way, by receiver."""
    headers = (submission.headers[batch], submission.headers[-1])
    found: dict[tuple[str, int, str], ProvedReceipt] = {}
    for sealed, ref in _receipt_segments(zone, submission.stream.origin.node):
        frame = zone.shelf.read(ref.sha256)
        about = (pl.col("stream") == str(submission.stream)) & pl.col("seq").is_in([h.seq for h in headers])
        known = pl.col("stage").is_in([str(stage) for stage in Stage])
        for row in frame.select(pl.arg_where(about & known)).to_series():
            cells = frame.select(RECEIPT_COLUMNS).row(row)
            receiver, _, seq, _, stage = cells[:5]
            if not ref.digest and not partial:
                raise LocalError(
                    f"receipt of {receiver} of #{seq}",
                    expected="in a batch with a digest, so that it is proved without the others",
                    got="a batch sealed by release 0.1",
                    next_step="leave it out with --partial",
                )
            if ref.digest:
                way = path(frame, RECEIPT_COLUMNS, RECEIPT_KEY, row)
                found[receiver, seq, stage] = ProvedReceipt(cells, way, sealed)
    return [found[place] for place in sorted(found)]


def _receipt_segments(zone: OpenZone, node: str) -> list[tuple[SealedBatch, SegmentRef]]:
    """Every batch of receipts for a node that is held here, in order per receiver."""
    found = []
    for mark in zone.index.streams():
        if mark.stream.audience != node or mark.stream.topic not in {RECEIPTS, NOTICES}:
            continue
        for seq, _, head in zone.index.places(mark.stream):
            sealed = zone.index.batch(mark.stream, seq, head)
            assert sealed is not None  # places are of batches held
            found += [(sealed, ref) for ref in decode_header(sealed.payload).segments]
    return found


def _missing(zone: OpenZone, submission: Submission) -> Sequence[Silence]:
    """What this zone recorded as not said in time of the submission."""
    return [
        Silence(m.seq, str(m.receiver), str(m.stage), m.due_at, m.answered_at)
        for m in zone.index.missing(answered=True)
        if m.stream == submission.stream and m.seq == submission.headers[-1].seq
    ]
