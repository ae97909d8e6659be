r"""Evidence 证据, format `jinbao-evidence/1`: one file that proves offline what became of one record.

Clauses E1-E12 are the specification. `evidence_proof` verifies by them and by nothing else, and
`docs/verify_evidence.py` does so without this package. Reads no file and no clock.

E1   The file is one JSON object, UTF-8, with the members `format`, `evidence` and `seal`, and
     these alone; so is every object in it, and no name stands twice. Bytes are base64,
     hashes 64 hex digits; cells are text, integers or null.
E2   `seal` is the exporting zone's at `made_at`, by clauses E6 to E10, over the type
     `application/vnd.jinbao.evidence.v1+json` and the canonical text of `evidence`:
     JSON, UTF-8 as is, names sorted, no spaces. The names of library, table and columns,
     and `missing`, rest on this seal alone.
E3   `record` and its `way` lead by clauses D1-D6 to the digest of the one segment of the first
     header of `batches` whose hash is `segment`; table, standard and period are that header's.
E4   `batches` are headers of one stream and incarnation, seq by seq, each naming the payload hash
     of the one before; the last, and it alone, is a manifest, and it closes from before the first.
E5   Where the first header is no snapshot, `state` leads the record to the root the manifest
     gives for the table: a digest says nothing of `op`, so a row that was withdrawn has no such way.
E6   A seal is a signature of its suite over the pre-authentication encoding of type and
     payload: `p256-sha256` ECDSA P-256 SHA-256, `intl-1` Ed25519, by the first certificate.
E7   The signer's one URI name is of the zone it seals for at the epoch of the header; tier,
     region and zone are those of the node's row in `topology`, the epoch none later than the row's
     or than that of a grant of the node. The topology is sealed by the exchange zone of the root node.
     `grants` may be left out; each is sealed at its `made_at` by the exchange zone of the node's
     parent, whose own grant counts for it, and is of a node of which a zone seals in the file.
E8   The signer's certificate leads to a given root: every authority may certify, the leaf and
     its issuing authority are in force when the seal was made; a certificate of a root, cross
     certificates among them, has not ended by then, but may be younger. The topology names no
     time: its signer is asked about as near to the first header's as its certificate lasts.
E9   An issuing authority's URI names the node that may certify the leaf's: a city's province,
     for all others the root node. A root may certify a leaf itself, as in release 0.1.
E10  Every CRL is signed by an authority of the file. A certificate that is listed for a
     compromised key, or as revoked by the time asked about, proves nothing. Its state is carried
     if a CRL of its issuer is good at that time or later; where CRLs are carried, each state is.
E11  A receipt's cells and `way` lead to the digest of the segment of its batch, which the receiver
     sealed for the origin's node in the topic of the stage; it names a header of `batches`
     by stream, seq and head, and the receiver is on the origin's way up. All but `accepted` name
     the manifest; rows and digest of `applied` are the manifest's.
E12  The origin's certificates hold, by E8 and E10, also at the time of the first receipt of
     another node. Every authority carried leads to a given root.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from jinbao.model.acts import envelope_json
from jinbao.model.batch import SealedBatch
from jinbao.model.errors import EvidenceError
from jinbao.trust.digest import RowPath

FORMAT = "jinbao-evidence/1"
EVIDENCE_TYPE = "application/vnd.jinbao.evidence.v1+json"

FILE_BYTES_MAX = 64 << 20
"""A bucket of a city of ten million has 40,000 row hashes, 3 MB; two of them, headers and receipts are far below."""

BATCHES_MAX = 4096
"""A submission of so many slices is 800 million rows."""

RECEIPTS_MAX = 256
"""A line has three tiers; each says at most four things of two batches."""

CERTIFICATES_MAX = 256
"""Authorities and CRLs carried: some dozens after twenty years of rotation."""

GRANTS_MAX = 16
"""A line has three tiers; the newest grant of each node does."""

Cell = str | int | None
T = TypeVar("T")

_HEX = re.compile(r"[0-9a-f]{64}")
_BUCKET = re.compile(r"[0-9a-f]{2}")


@dataclass(frozen=True, slots=True)
class Column:
    """A column as the exporter names it; an integer of it is scaled by 10**scale."""

    code: str
    name_zh: str
    name_en: str
    scale: int = 0


@dataclass(frozen=True, slots=True)
class Subject:
    """What the record is: all but the names is held against the sealed header."""

    library: str
    library_zh: str
    library_en: str
    table: str
    table_zh: str
    table_en: str
    standard: str
    period: str
    columns: tuple[Column, ...]


@dataclass(frozen=True, slots=True)
class ProvedReceipt:
    """One row of a sealed batch of receipts, with its way to the batch."""

    cells: tuple[Cell, ...]
    way: RowPath
    batch: SealedBatch


@dataclass(frozen=True, slots=True)
class Silence:
    """A receipt that did not come in time, as the exporter recorded it."""

    seq: int
    receiver: str
    stage: str
    due_at: str
    answered_at: str


@dataclass(frozen=True, slots=True)
class Evidence:
    """All of a file but its seal; `key` names the key's columns by place, `segment` the row's segment."""

    made_at: str
    made_by: str
    subject: Subject
    record: tuple[Cell, ...]
    key: tuple[int, ...]
    segment: str
    way: RowPath
    state: RowPath | None
    batches: tuple[SealedBatch, ...]
    receipts: tuple[ProvedReceipt, ...]
    missing: tuple[Silence, ...]
    topology: SealedBatch
    authorities: tuple[bytes, ...]
    crls: tuple[bytes, ...]
    grants: tuple[SealedBatch, ...] = ()


def canonical(value: Any) -> bytes:  # any JSON value
    """The text of a JSON value that is signed (clause E2)."""
    return json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode()


def seal_evidence(evidence: Evidence, seal_bytes: Callable[[str, bytes], SealedBatch]) -> bytes:
    """The file, sealed by the exporting zone: `seal_bytes` seals a payload of a type with its key."""
    body = _json(evidence)
    sealed = seal_bytes(EVIDENCE_TYPE, canonical(body))
    envelope = envelope_json(sealed)
    seal = {name: envelope[name] for name in ("suite", "signature", "certificates")}
    file = {"format": FORMAT, "evidence": body, "seal": seal}
    return json.dumps(file, ensure_ascii=False, indent=1).encode() + b"\n"


def _json(evidence: Evidence) -> dict[str, Any]:
    return {
        "made_at": evidence.made_at,
        "made_by": evidence.made_by,
        "subject": {
            **{name: getattr(evidence.subject, name) for name in _SUBJECT},
            "columns": [[c.code, c.name_zh, c.name_en, c.scale] for c in evidence.subject.columns],
        },
        "record": list(evidence.record),
        "key": list(evidence.key),
        "segment": evidence.segment,
        "way": _way_json(evidence.way),
        "state": _way_json(evidence.state) if evidence.state else None,
        "batches": [envelope_json(batch) for batch in evidence.batches],
        "receipts": [
            {"cells": list(r.cells), "way": _way_json(r.way), "batch": envelope_json(r.batch)}
            for r in evidence.receipts
        ],
        "missing": [{name: getattr(m, name) for name in _SILENCE} for m in evidence.missing],
        "topology": envelope_json(evidence.topology),
        "authorities": [base64.b64encode(der).decode() for der in evidence.authorities],
        "crls": [base64.b64encode(der).decode() for der in evidence.crls],
        # Left out where there is none: a verifier that knows no grants reads the file all the same.
        **({"grants": [envelope_json(grant) for grant in evidence.grants]} if evidence.grants else {}),
    }


def _way_json(way: RowPath) -> dict[str, Any]:
    return {"leaves": list(way.leaves), "buckets": dict(way.buckets)}


def open_evidence(content: bytes) -> tuple[Evidence, SealedBatch]:
    """What a file says, and its seal over that; nothing in either is believed yet (clause E1).

    Raises EvidenceError.
    """
    if len(content) > FILE_BYTES_MAX:
        raise EvidenceError("E1", "file", expected=f"at most {FILE_BYTES_MAX} bytes", got=len(content))
    try:
        file = _object(json.loads(content, object_pairs_hook=_once), "format", "evidence", "seal")
        _one_of(file["format"], FORMAT)
        seal = _object(file["seal"], "suite", "signature", "certificates")
        payload = base64.b64encode(canonical(file["evidence"])).decode()
        envelope = {**seal, "payload_type": EVIDENCE_TYPE, "payload": payload}
        return _evidence(file["evidence"]), _envelope(envelope)
    except (ValueError, TypeError, RecursionError) as exc:
        raise EvidenceError("E1", "file", expected=f"the form of {FORMAT}", got=str(exc)[:200]) from exc


_SUBJECT = (
    "library",
    "library_zh",
    "library_en",
    "table",
    "table_zh",
    "table_en",
    "standard",
    "period",
)
_SILENCE = ("seq", "receiver", "stage", "due_at", "answered_at")
_ENVELOPE = ("suite", "payload_type", "payload", "signature", "certificates")
_EVIDENCE = (
    "made_at",
    "made_by",
    "subject",
    "record",
    "key",
    "segment",
    "way",
    "state",
    "batches",
    "receipts",
    "missing",
    "topology",
    "authorities",
    "crls",
)


def _evidence(value: Any) -> Evidence:
    body = _object({"grants": []} | value if isinstance(value, dict) else value, *_EVIDENCE, "grants")
    return Evidence(
        made_at=_text(body["made_at"]),
        made_by=_text(body["made_by"]),
        subject=_subject(body["subject"]),
        record=_list(body["record"], _cell, CERTIFICATES_MAX),
        key=_list(body["key"], _place, CERTIFICATES_MAX),
        segment=_hex(body["segment"]),
        way=_way(body["way"]),
        state=None if body["state"] is None else _way(body["state"]),
        batches=_list(body["batches"], _envelope, BATCHES_MAX),
        receipts=_list(body["receipts"], _receipt, RECEIPTS_MAX),
        missing=_list(body["missing"], _silence, RECEIPTS_MAX),
        topology=_envelope(body["topology"]),
        authorities=_list(body["authorities"], _bytes, CERTIFICATES_MAX),
        crls=_list(body["crls"], _bytes, CERTIFICATES_MAX),
        grants=_list(body["grants"], _envelope, GRANTS_MAX),
    )


def _subject(value: Any) -> Subject:
    body = _object(value, *_SUBJECT, "columns")
    columns = _list(body["columns"], _column, CERTIFICATES_MAX)
    return Subject(**{name: _text(body[name]) for name in _SUBJECT}, columns=columns)


def _column(value: Any) -> Column:
    code, name_zh, name_en, scale = value
    return Column(_text(code), _text(name_zh), _text(name_en), _place(scale))


def _silence(value: Any) -> Silence:
    body = _object(value, *_SILENCE)
    return Silence(_place(body["seq"]), *(_text(body[name]) for name in _SILENCE[1:]))


def _receipt(value: Any) -> ProvedReceipt:
    body = _object(value, "cells", "way", "batch")
    return ProvedReceipt(
        _list(body["cells"], _cell, CERTIFICATES_MAX), _way(body["way"]), _envelope(body["batch"])
    )


def _way(value: Any) -> RowPath:
    body = _object(value, "leaves", "buckets")
    buckets = body["buckets"]
    if not isinstance(buckets, dict) or not all(map(_BUCKET.fullmatch, buckets)):
        raise _unlike("buckets of two hex digits", buckets)
    leaves = _list(body["leaves"], _hex, FILE_BYTES_MAX)
    return RowPath(leaves, {name: _hex(root) for name, root in buckets.items()})


def _envelope(value: Any) -> SealedBatch:
    body = _object(value, *_ENVELOPE)
    return SealedBatch(
        _text(body["suite"]),
        _text(body["payload_type"]),
        _bytes(body["payload"]),
        _bytes(body["signature"]),
        _list(body["certificates"], _bytes, CERTIFICATES_MAX),
    )


def _once(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise _unlike("each name once", ", ".join(name for name, _ in pairs))
    return found


def _object(value: Any, *names: str) -> Mapping[str, Any]:
    if not isinstance(value, dict) or value.keys() != set(names):
        raise _unlike(", ".join(names), ", ".join(value) if isinstance(value, dict) else value)
    return value


def _list(value: Any, read: Callable[[Any], T], most: int) -> tuple[T, ...]:
    if not isinstance(value, list) or len(value) > most:
        raise _unlike(f"a list of at most {most}", value)
    return tuple(map(read, value))


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise _unlike("text", value)
    return value


def _place(value: Any) -> int:
    if type(value) is not int or value < 0:  # a truth value is no number
        raise _unlike("a number from 0", value)
    return value


def _cell(value: Any) -> Cell:
    if value is not None and type(value) not in {str, int}:
        raise _unlike("text, an integer or null", value)
    return value  # type: ignore[no-any-return]  # just checked


def _one_of(value: Any, *known: str) -> str:
    if value not in known:
        raise _unlike(" or ".join(known), value)
    return str(value)


def _hex(value: Any) -> str:
    if not isinstance(value, str) or not _HEX.fullmatch(value):
        raise _unlike("64 hex digits", value)
    return value


def _bytes(value: Any) -> bytes:
    try:
        found = base64.b64decode(_text(value), validate=True)
    except binascii.Error as exc:
        raise _unlike("base64", value) from exc
    if base64.b64encode(found).decode() != value:  # unused bits say nothing, so none may differ
        raise _unlike("base64", value)
    return found


def _unlike(expected: str, got: Any) -> ValueError:
    return ValueError(f"expected {expected}, got {str(got)[:80]}")
