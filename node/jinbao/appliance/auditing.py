"""What of the audit trail concerns several rooms: its seals read back and proved, and its export.

An export is JSON lines: what it is of, every entry as stored, every sealed head. It verifies
elsewhere with the authorities' certificates alone.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography import x509

from jinbao.appliance.assembly import OpenZone, rfc3339
from jinbao.audit.verify import Fault, SealedHead, verify
from jinbao.model.acts import envelope_json, envelope_of
from jinbao.model.audit import CUT_TABLE, ENTRY_TABLE, GENESIS
from jinbao.model.batch import Header, SealedBatch
from jinbao.model.errors import LocalError, PeerError
from jinbao.model.stream import AUDIT
from jinbao.trust.alone import check_alone
from jinbao.trust.encoding import HEADER_TYPE, decode_header
from jinbao.trust.envelope import head_of, signer_of
from jinbao.trust.signer import moment

LINE_BYTES_MAX = 16 << 20
"""An entry that names as many persons as one may."""

Prove = Callable[[SealedBatch], Header]
"""The header of a batch whose seal and signer hold; raises PeerError."""


def head_said(header: Header) -> SealedHead:
    """What a head's manifest says."""
    tables = {t.table: t for t in header.manifest.tables} if header.manifest else {}
    if ENTRY_TABLE not in tables:
        raise LocalError(f"{header.stream}#{header.seq}", expected="a head of a trail", got=str(header.kind))
    cut = tables.get(CUT_TABLE)
    entries = tables[ENTRY_TABLE]
    return SealedHead(
        header.seq, entries.rows, entries.digest, cut.rows if cut else 0, cut.digest if cut else GENESIS
    )


def proved(batches: Iterable[SealedBatch], prove: Prove, origin: str) -> tuple[list[SealedHead], list[Fault]]:
    """The heads that can be proved, and what is wrong with the others and with their chain."""
    heads: list[SealedHead] = []
    faults: list[Fault] = []
    place, last = 0, GENESIS
    for sealed in batches:
        place += 1
        try:
            header = prove(sealed)
        except PeerError as exc:
            faults.append(Fault(f"sealed head #{place}", "unprovable", str(exc)))
            last = head_of(sealed)
            continue
        if (str(header.stream.origin), header.stream.topic) != (origin, AUDIT):
            faults.append(
                Fault(f"sealed head #{place}", "swapped", f"expected {origin}, got {header.stream}")
            )
            continue
        if header.seq != place or header.previous != last:
            detail = f"expected #{place} after the head before it, got #{header.seq}"
            faults.append(Fault(f"sealed head #{place}", "missing", detail))
        place, last = header.seq, head_of(sealed)
        heads.append(head_said(header))
    return heads, faults


def verify_trail(zone: OpenZone) -> tuple[list[Fault], int]:
    """All faults of a zone's trail, and by how many heads it is sealed."""
    batches = zone.index.batches(zone.heads.stream)
    heads, faults = proved(batches, zone.verifier.prove, str(zone.me))
    found = [*faults, *verify(zone.trail.rows(), heads, zone.trail.cut_away())]
    return found, len(heads)


def export_lines(zone: OpenZone) -> Iterator[str]:
    """The trail as JSON lines."""
    number, digest = zone.trail.cut_away()
    yield json.dumps({"trail": str(zone.me), "cut": number, "cut_hash": digest})
    for row in zone.trail.rows():
        kept = {name: row[name] for name in ("number", "previous", "hash", "at", "body")}
        yield json.dumps(kept, ensure_ascii=False)
    for sealed in zone.index.batches(zone.heads.stream):
        yield json.dumps({"sealed": envelope_json(sealed)})


@dataclass(frozen=True)
class Exported:
    """An export read back; nothing of it is believed."""

    origin: str
    cut: tuple[int, str]
    rows: list[dict[str, Any]]
    batches: list[SealedBatch]


def read_export(lines: Iterable[str], thing: str) -> Exported:
    """Read what `export_lines` wrote; raises LocalError on anything else."""
    opening: Mapping[str, Any] = {}
    rows: list[dict[str, Any]] = []
    batches: list[SealedBatch] = []
    try:
        for line in filter(str.strip, lines):
            found = json.loads(line)
            if "trail" in found:
                opening = found
            elif "sealed" in found:
                batches.append(envelope_of(found["sealed"]))
            else:
                rows.append({"number": int(found["number"])} | {n: str(found[n]) for n in _STORED})
        return Exported(str(opening["trail"]), (int(opening["cut"]), str(opening["cut_hash"])), rows, batches)
    except (ValueError, KeyError, TypeError) as exc:
        raise LocalError(thing, expected="an export of jinbao audit export", got=str(exc)[:80]) from exc


_STORED = ("previous", "hash", "at", "body")


def verify_export(exported: Exported, prove: Prove) -> list[Fault]:
    """All faults of an export, by its own lines and whoever's authorities `prove` trusts."""
    heads, faults = proved(exported.batches, prove, exported.origin)
    return [*faults, *verify(exported.rows, heads, exported.cut)]


def keep_trail(zone: OpenZone, *, seal: bool = True) -> bool:
    """One round: record what was counted, and if it is time cut what is too old and seal; whether it sealed."""
    zone.trail.flush()
    if not seal:
        return False
    before = zone.ports.now() - timedelta(days=zone.settings.audit.retention_days)
    cut = zone.heads.cut(rfc3339(before))
    return zone.heads.step() or cut > 0


def verify_file(path: Path, anchors: Path) -> dict[str, Any]:
    """What `audit verify` says of an export, by the authorities of a file and nothing else of this host."""
    text = path.read_text(encoding="utf-8-sig")
    lines = _csv_lines(text) if not text.startswith("{") else iter(text.splitlines())
    exported = read_export(lines, f"file {path}")
    trusted = x509.load_pem_x509_certificates(anchors.read_bytes())
    faults = verify_export(exported, lambda sealed: prove_alone(sealed, trusted))
    heads = [head_said(decode_header(batch.payload)) for batch in exported.batches] if not faults else []
    return {
        "zone": exported.origin,
        "ok": not faults,
        "entries": exported.rows[-1]["number"] if exported.rows else exported.cut[0],
        "cut": exported.cut[0],
        "heads": len(heads),
        "sealed": max((head.number for head in heads), default=0),
        "faults": [asdict(fault) for fault in faults],
    }


def prove_alone(sealed: SealedBatch, anchors: Sequence[x509.Certificate]) -> Header:
    """The header of a batch whose seal holds and whose signer is its origin, by the anchors alone.

    Says nothing of revocation: an export carries no lists.
    """
    chain = signer_of(sealed, HEADER_TYPE)
    header = decode_header(sealed.payload)
    check_alone(
        sealed.suite,
        chain,
        origin=header.stream.origin,
        made_at=moment(header.made_at, datetime.now(UTC), thing="header"),
        anchors=anchors,
        thing=f"{header.stream}#{header.seq}",
    )
    return header


def _csv_lines(text: str) -> Iterator[str]:
    """The lines of an export out of its CSV."""
    csv.field_size_limit(LINE_BYTES_MAX)
    for row in csv.DictReader(io.StringIO(text, newline=""), strict=True):
        if row.get("sealed"):
            yield row["sealed"]
        else:
            yield json.dumps({name: row[name] for name in ("number", *_STORED)}, ensure_ascii=False)
