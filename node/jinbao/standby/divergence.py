"""The divergence file 分歧文件: what a superseded zone had recorded that its successor was not built from, sealed by it.

    divergence.bin              the zone's sealed word: where its journal left the successor's, and the parts of the file
    segments.json               every segment that the acts name: hash, bytes and role; and those it no longer has
    acts/0001.parquet …         the acts after the cut, as they were hashed
    segments/<sha256>.parquet   segments, in clear

A tar archive that any tool opens. Its headers say nothing but names and sizes, and each byte of it follows from
the sealed word: a ZIP has two directories that may disagree, times, and fields nobody checks. Read from
the front, hashed before it is parsed, never larger than the list that was sealed. Says nothing of who may seal.
"""

from __future__ import annotations

import hashlib
import json
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from jinbao.flow.following import ACTS_ROWS_MAX
from jinbao.model.batch import SealedBatch, SegmentRef
from jinbao.model.errors import UnprovableError
from jinbao.model.grant import Grant
from jinbao.model.quoting import quoted
from jinbao.model.stream import ACTS_TABLE, OBJECT_TABLE, SPARE_TABLE
from jinbao.model.zone import Endpoint, Zone
from jinbao.standby.rebuilding import ACTS_SEGMENT_BYTES_MAX
from jinbao.trust.bounds import (
    NUMBER_MAX,
    PAYLOAD_BYTES_MAX,
    SEGMENT_BYTES_MAX,
    at_most,
    few,
    hash_text,
    incarnation,
    moment,
    positive,
    word,
)
from jinbao.trust.encoding import decode_envelope, envelope_message

DIVERGENCE_TYPE = "application/vnd.jinbao.divergence.v1+json"
FORMAT = 1

ENVELOPE_BYTES_MAX = PAYLOAD_BYTES_MAX + (1 << 16)
"""The sealed word and at most four certificates."""

PARTS_MAX = 4_000
"""Parts of acts, some thousand acts each: more than a zone records in its life."""

LIST_BYTES_MAX = 64 << 20
"""Half a million segments."""

KINDS_MAX = 200
"""Kinds of acts there may ever be."""

_BLOCK = 1 << 20
_UNREADABLE = (ValueError, KeyError, TypeError, AttributeError, RecursionError)
_ROLES = (OBJECT_TABLE, SPARE_TABLE)


@dataclass(frozen=True, slots=True)
class Place:
    """One act of a journal, with the chain's `hash` there; act 0, without a hash, is before the first."""

    lsn: int
    hash: str


@dataclass(frozen=True, slots=True)
class Part:
    """A segment of acts: `rows` pieces; its newest act is `last`."""

    sha256: str
    bytes: int
    rows: int
    last: Place

    @property
    def ref(self) -> SegmentRef:
        """As the segment it is."""
        return SegmentRef(ACTS_TABLE, self.sha256, self.bytes, self.rows)


@dataclass(frozen=True, slots=True)
class Listing:
    """What the acts name: segments that are in the file, and hashes of those that are not though a rebuild opens them."""

    segments: tuple[SegmentRef, ...]
    missing: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Said:
    """What a superseded zone seals of its own tail.

    Its acts after `cut` up to `last` are in `parts`; none where `last` is not beyond it. `counts` are acts by kind,
    `certificates` the SHA-256 over the chain that comes with the seal, `made_at` UTC by the zone's clock.
    """

    zone: Endpoint
    incarnation: str
    epoch: int
    granted_epoch: int
    cut: Place
    last: Place
    parts: tuple[Part, ...]
    list_sha256: str
    list_bytes: int
    segments: int
    segment_bytes: int
    missing: int
    counts: Mapping[str, int]
    certificates: str
    made_at: str

    @property
    def acts(self) -> int:
        """How many acts are in the tail."""
        return max(0, self.last.lsn - self.cut.lsn)


def chain_hash(certificates: Sequence[bytes]) -> str:
    """SHA-256 over a chain as it goes into an envelope: no signature covers it there."""
    return hashlib.sha256(b"".join(certificates)).hexdigest()


def encode(said: Said) -> bytes:
    """The bytes that are signed: JSON, sorted keys, no spaces."""
    return _canonical(
        {
            "format": FORMAT,
            "zone": str(said.zone),
            "incarnation": said.incarnation,
            "epoch": said.epoch,
            "granted_epoch": said.granted_epoch,
            "cut": [said.cut.lsn, said.cut.hash],
            "last": [said.last.lsn, said.last.hash],
            "parts": [[p.sha256, p.bytes, p.rows, p.last.lsn, p.last.hash] for p in said.parts],
            "list": [said.list_sha256, said.list_bytes],
            "segments": said.segments,
            "segment_bytes": said.segment_bytes,
            "missing": said.missing,
            "counts": dict(said.counts),
            "certificates": said.certificates,
            "made_at": said.made_at,
        }
    )


def decode(payload: bytes) -> Said:
    """Read what `encode` wrote; raises UnprovableError for anything else."""
    try:
        said = _said(json.loads(payload))
    except _UNREADABLE as exc:
        raise UnprovableError("divergence", expected="what a zone signs", got=quoted(str(exc))) from exc
    if encode(said) != payload:
        raise UnprovableError("divergence", expected=f"format {FORMAT}", got="another")
    return said


def _said(body: Mapping[str, Any]) -> Said:
    sha256, size = body["list"]
    counts = {
        word(kind): positive(_whole(count)) for kind, count in few(body["counts"], KINDS_MAX, "kinds").items()
    }
    return Said(
        zone=Endpoint.parse(body["zone"]),
        incarnation=incarnation(body["incarnation"]),
        epoch=positive(_whole(body["epoch"])),
        granted_epoch=positive(_whole(body["granted_epoch"])),
        cut=_place(*body["cut"]),
        last=_place(*body["last"]),
        parts=tuple(
            Part(hash_text(s), _count(b, ACTS_SEGMENT_BYTES_MAX), _count(r, ACTS_ROWS_MAX), _place(*last))
            for s, b, r, *last in few(body["parts"], PARTS_MAX, "parts")
        ),
        list_sha256=hash_text(sha256),
        list_bytes=_count(size, LIST_BYTES_MAX),
        segments=_count(body["segments"]),
        segment_bytes=_count(body["segment_bytes"]),
        missing=_count(body["missing"]),
        counts=counts,
        certificates=hash_text(body["certificates"]),
        made_at=moment(body["made_at"]),
    )


def _place(lsn: int, digest: str) -> Place:
    return Place(positive(_whole(lsn)), hash_text(digest)) if lsn or digest else Place(0, "")


def _count(number: int, most: int = NUMBER_MAX) -> int:
    return at_most(_whole(number), most, "count")


def _whole(number: int) -> int:
    if type(number) is not int:  # JSON knows 1.0 and true, which compare as numbers do
        raise TypeError(quoted(repr(number)))
    return number


def granted_place(grant: Grant | None, zone: Zone) -> Place:
    """Up to where the new holder was built from a zone's acts; before the first where nobody says that it was."""
    cut = grant.cut(zone) if grant is not None else None
    return Place(cut.lsn, cut.hash) if cut is not None and cut.lsn else Place(0, "")


def encode_list(listing: Listing) -> bytes:
    """The list of segments as it lies in the file."""
    rows = [[ref.sha256, ref.bytes, ref.table] for ref in listing.segments]
    return _canonical({"segments": rows, "missing": list(listing.missing)})


def decode_list(content: bytes) -> Listing:
    """Read what `encode_list` wrote; raises UnprovableError for anything else."""
    try:
        body = json.loads(content)
        refs = tuple(
            SegmentRef(_ROLES[_ROLES.index(role)], hash_text(s), _count(b, SEGMENT_BYTES_MAX), 0)
            for s, b, role in body["segments"]
        )
        listing = Listing(refs, tuple(map(hash_text, body["missing"])))
    except _UNREADABLE as exc:
        raise UnprovableError("divergence: segments.json", expected="a list", got=quoted(str(exc))) from exc
    if encode_list(listing) != content or len({ref.sha256 for ref in refs}) != len(refs):
        raise UnprovableError("divergence: segments.json", expected="each segment once", got="another list")
    return listing


def _canonical(body: Mapping[str, Any]) -> bytes:
    return json.dumps(body, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode()


# The archive: names, sizes, and what lies between.

SEALED, LIST = "divergence.bin", "segments.json"
END = bytes(2 * tarfile.BLOCKSIZE)


def part_name(number: int) -> str:
    """Name of a part of the acts, counted from 1."""
    return f"acts/{number:04d}.parquet"


def segment_name(sha256: str) -> str:
    """Name of a segment."""
    return f"segments/{sha256}.parquet"


def header(name: str, size: int) -> bytes:
    """What stands before a member: its name and its size, and the same for everything else always."""
    member = tarfile.TarInfo(name)
    member.size, member.mode = size, 0o600
    return member.tobuf(tarfile.GNU_FORMAT)


def padding(size: int) -> bytes:
    """What stands after a member of so many bytes."""
    return bytes(-size % tarfile.BLOCKSIZE)


def size_of(said: Said, sealed_bytes: int, segments: Sequence[SegmentRef]) -> int:
    """Bytes of a whole file."""
    sizes = [sealed_bytes, said.list_bytes, *(p.bytes for p in said.parts), *(r.bytes for r in segments)]
    return sum(tarfile.BLOCKSIZE + size + len(padding(size)) for size in sizes) + len(END)


class Members:
    """The members of an archive from the front; raises UnprovableError, naming it, for one that is not as expected."""

    def __init__(self, file: BinaryIO, name: str) -> None:
        self._file, self._name = file, name

    def sealed(self) -> SealedBatch:
        """The first member: an envelope, nothing of which is believed, in the one spelling we write."""
        head = self._file.read(tarfile.BLOCKSIZE)
        try:
            size = tarfile.TarInfo.frombuf(head, "utf-8", "strict").size
        except (tarfile.HeaderError, ValueError) as exc:
            raise self.wrong(SEALED, "a divergence file", quoted(str(exc))) from exc
        if not 0 < size <= ENVELOPE_BYTES_MAX or head != header(SEALED, size):
            raise self.wrong(SEALED, f"its own name, at most {ENVELOPE_BYTES_MAX} bytes", "another beginning")
        content = self._file.read(size)
        sealed = decode_envelope(content)
        if envelope_message(sealed).SerializeToString(deterministic=True) != content:
            raise self.wrong(SEALED, "an envelope as it was written", "another spelling")
        self._pad(SEALED, size)
        return sealed

    def pass_over(self, name: str, size: int, sha256: str) -> int:
        """Hash one member; where its bytes begin."""
        if self._file.read(tarfile.BLOCKSIZE) != header(name, size):
            raise self.wrong(name, f"the name and {size} bytes", "another header")
        begin, got, left = self._file.tell(), hashlib.sha256(), size
        while left and (block := self._file.read(min(_BLOCK, left))):
            got.update(block)
            left -= len(block)
        if left:
            raise self.wrong(name, f"{size} bytes", size - left)
        if got.hexdigest() != sha256:
            raise self.wrong(name, f"SHA-256 {sha256[:12]}", got.hexdigest()[:12])
        self._pad(name, size)
        return begin

    def end(self) -> None:
        """Nothing more may follow."""
        if self._file.read(len(END) + 1) != END:
            raise self.wrong("end", "the end of the archive", "other bytes")

    def _pad(self, name: str, size: int) -> None:
        if self._file.read(len(padding(size))) != padding(size):
            raise self.wrong(name, "zeros up to the next block", "other bytes")

    def wrong(self, member: str, expected: object, got: object) -> UnprovableError:
        """An error that names a member."""
        return UnprovableError(
            f"divergence file {self._name}: {member}",
            expected=expected,
            got=got,
            next_step="fetch the file again from the old node; its directory set aside still has everything",
        )


def blocks(path: Path, begin: int, size: int) -> Iterator[bytes]:
    """The bytes of a member that was passed over, piece by piece."""
    with path.open("rb") as file:
        file.seek(begin)
        left = size
        while left and (block := file.read(min(_BLOCK, left))):
            left -= len(block)
            yield block
