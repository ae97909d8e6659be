"""Manifests: what a zone signs of one backup of itself: up to which act, with which hash, and the lists of its files.

JSON in an envelope of a type of its own: no header of a stream, so that a backup made twice is no
equivocation. A manifest is small whatever the zone holds; the files are named by its listings. Reads no file.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from cryptography import x509

from jinbao.model.batch import SealedBatch
from jinbao.model.errors import UnprovableError
from jinbao.model.quoting import quoted
from jinbao.model.zone import Endpoint
from jinbao.trust.alone import check_alone
from jinbao.trust.bounds import NUMBER_MAX, at_most, few, hash_text, incarnation, positive, time_text
from jinbao.trust.envelope import Signer, seal_bytes, signer_of
from jinbao.trust.signer import moment

MANIFEST_TYPE = "application/vnd.jinbao.backup.v1+json"
FORMAT = 1

LISTINGS_MAX = 64
"""Lists of one backup; then they become one. A manifest stays at a few KiB, and a list is written again every 64th time."""

_NAME = re.compile(r"[0-9]{8}T[0-9]{6}Z-[0-9]{12,19}")


@dataclass(frozen=True, slots=True)
class Listing:
    """One file that lists others: its hash and bytes; how many files it lists, and their bytes."""

    sha256: str
    bytes: int
    segments: int
    segment_bytes: int


@dataclass(frozen=True, slots=True)
class Manifest:
    """One backup of a zone: its acts up to `acts`, where the chain's hash is `hash`, and every file of its listings.

    `at` is when that act was recorded, `captured_at` when the zone's newest capture was (empty for none),
    `made_at` when the backup was sealed, all by the zone's clock. `new_*` is what the backup before had not.
    """

    zone: Endpoint
    incarnation: str
    name: str
    made_at: str
    acts: int
    hash: str
    at: str
    captured_at: str
    listings: tuple[Listing, ...]
    new_acts: int
    new_segments: int
    new_bytes: int

    @property
    def segments(self) -> int:
        """How many files the listings name."""
        return sum(listing.segments for listing in self.listings)

    @property
    def bytes(self) -> int:
        """Bytes of those, and of the listings."""
        return sum(listing.bytes + listing.segment_bytes for listing in self.listings)


def name_of(made_at: datetime, acts: int) -> str:
    """The name of a backup: when it was made, UTC, and its newest act; names sort by time."""
    return f"{made_at.astimezone(UTC):%Y%m%dT%H%M%SZ}-{acts:012d}"


def encode(manifest: Manifest) -> bytes:
    """The bytes that are signed: JSON, sorted keys, no spaces."""
    body = asdict(manifest) | {"format": FORMAT, "zone": str(manifest.zone)}
    return json.dumps(body, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode()


def decode(payload: bytes) -> Manifest:
    """Read what `encode` wrote; raises UnprovableError for anything else."""
    try:
        body = json.loads(payload)
        manifest = Manifest(
            zone=Endpoint.parse(body["zone"]),
            incarnation=incarnation(body["incarnation"]),
            name=_name(body["name"]),
            made_at=time_text(body["made_at"]),
            acts=positive(body["acts"]),
            hash=hash_text(body["hash"]),
            at=time_text(body["at"]),
            captured_at=time_text(body["captured_at"]),
            listings=tuple(map(_listing, few(body["listings"], LISTINGS_MAX, "listings"))),
            new_acts=_count(body["new_acts"]),
            new_segments=_count(body["new_segments"]),
            new_bytes=_count(body["new_bytes"]),
        )
    except (ValueError, KeyError, TypeError, RecursionError) as exc:
        raise UnprovableError("backup: manifest", expected="what a zone signs", got=quoted(str(exc))) from exc
    if encode(manifest) != payload:
        raise UnprovableError("backup: manifest", expected=f"format {FORMAT}", got="another")
    return manifest


def _name(text: str) -> str:
    if not _NAME.fullmatch(text):
        raise ValueError("expected the name of a backup, got " + quoted(text))
    return text


def _count(number: int) -> int:
    return at_most(number, NUMBER_MAX, "count")


def _listing(body: Mapping[str, Any]) -> Listing:
    return Listing(
        hash_text(body["sha256"]),
        _count(body["bytes"]),
        _count(body["segments"]),
        _count(body["segment_bytes"]),
    )


def seal_manifest(manifest: Manifest, signer: Signer) -> SealedBatch:
    """Seal a manifest with the key of its zone."""
    return seal_bytes(MANIFEST_TYPE, encode(manifest), signer)


def open_manifest(sealed: SealedBatch, anchors: Sequence[x509.Certificate] | None, now: datetime) -> Manifest:
    """The manifest, once its seal holds and, with `anchors`, its signer is proved to be the zone it speaks of.

    What counts is that the signer's certificate was in force when the backup was made. Raises
    UnprovableError or IdentityError. Says nothing of revocation.
    """
    chain = signer_of(sealed, MANIFEST_TYPE)
    manifest = decode(sealed.payload)
    thing = f"backup {manifest.name}"
    made_at = moment(manifest.made_at, now, thing=thing)
    if anchors is not None:
        check_alone(
            sealed.suite,
            chain,
            origin=manifest.zone,
            made_at=made_at,
            anchors=anchors,
            thing=f"{thing}: signer",
        )
    return manifest
