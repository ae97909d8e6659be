"""Diverging: the tail of a superseded zone's journal, sealed and written as one file for review.

The new holder of the identity was built from the zone's acts up to the cut of its grant; what this zone recorded
after it is nowhere else. It is written with every segment it names that is here and whole, under a temporary
name until all of it is durable. Records nothing, changes nothing, and does not judge what is worth keeping.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from jinbao.flow.following import needed, on_shelf, seals_acts, to_frame
from jinbao.flow.ports import Acts
from jinbao.journal.segments import SegmentShelf, require_space
from jinbao.model.acts import Entry
from jinbao.model.batch import SealedBatch, SegmentRef
from jinbao.model.errors import CorruptionError, LocalError, UnprovableError
from jinbao.model.failpoint import declare, hit
from jinbao.model.stream import OBJECT_TABLE
from jinbao.model.zone import Endpoint
from jinbao.standby.divergence import (
    DIVERGENCE_TYPE,
    END,
    LIST,
    LIST_BYTES_MAX,
    PARTS_MAX,
    SEALED,
    Listing,
    Part,
    Place,
    Said,
    chain_hash,
    decode,
    encode,
    encode_list,
    header,
    padding,
    part_name,
    segment_name,
    size_of,
)
from jinbao.standby.following import chained
from jinbao.store.files import Files, seal, telling_full_disk
from jinbao.trust.encoding import envelope_message
from jinbao.trust.envelope import Signer, seal_bytes

BEGUN = declare("diverge.after_begin", "the beginning of a divergence file is under its temporary name")
WRITTEN = declare("diverge.after_segment", "some segments of a divergence file are under its temporary name")
WHOLE = declare("diverge.before_rename", "a divergence file is whole under its temporary name")
KEPT = declare("diverge.after_rename", "a divergence file is durable, nobody was told")

ACTS_MAX = 2_000
ACTS_BYTES_MAX = 8 << 20
"""What one part of acts holds: some MiB of memory."""

_BLOCK = 1 << 20
_FREE = "free space there and give the command again"


@dataclass(frozen=True, slots=True)
class Source:
    """A zone to write the tail of: who it is, its acts, of which `newest` is the last one wanted, and its shelf."""

    me: Endpoint
    incarnation: str
    epoch: int
    journal: Acts
    newest: int
    shelf: SegmentShelf


def last_place(source: Source) -> Place:
    """The last act that is wanted, as the journal has it."""
    found = source.journal.entries(source.newest - 1, 1, 1) if source.newest else []
    return Place(found[0].lsn, found[0].hash) if found else Place(0, "")


def require_on_chain(source: Source, cut: Place) -> None:
    """Raise LocalError unless the journal has the act the cut names, or ends before it."""
    if not cut.lsn or source.newest < cut.lsn:
        return
    [entry] = source.journal.entries(cut.lsn - 1, 1, 1)
    if entry.hash != cut.hash:
        raise LocalError(
            f"journal of {source.me}",
            expected=f"act {cut.lsn} with hash {cut.hash[:12]}, from which the new holder was built",
            got=f"hash {entry.hash[:12]}: this database never was what the new holder has",
            next_step="compare data_directory and zones.*.database with the machine that was lost; "
            "keep this database for review as it is",
        )


@dataclass
class _Tail:
    """The tail while it is gathered; parts of acts lie in `spool`, one after the other."""

    source: Source
    cut: Place
    spool: BinaryIO
    parts: list[Part] = field(default_factory=list)
    refs: dict[str, SegmentRef] = field(default_factory=dict)
    missing: dict[str, None] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)

    def gather(self) -> None:
        """Read the acts after the cut, chained, and find what they name."""
        place = self.cut
        while place.lsn < self.source.newest:
            left = self.source.newest - place.lsn
            found = self.source.journal.entries(place.lsn, min(ACTS_MAX, left), ACTS_BYTES_MAX)
            if not found or len(self.parts) == PARTS_MAX:
                raise LocalError(
                    f"journal of {self.source.me}",
                    expected=f"acts up to {self.source.newest} in at most {PARTS_MAX} parts",
                    got=f"{len(self.parts)} parts up to act {place.lsn}",
                )
            place = self._take(found, place)

    def _take(self, found: list[Entry], place: Place) -> Place:
        for entry in found:
            try:
                place = Place(*chained(place.lsn, place.hash, entry, len(self.parts) + 1))
            except UnprovableError as exc:
                raise CorruptionError(
                    f"journal of {self.source.me}: act {entry.lsn}",
                    expected=exc.expected,
                    got=exc.got,
                    next_step="jinbao journal verify; keep the whole directory for review",
                ) from exc
            self.counts[entry.kind] += 1
            if not seals_acts(entry):
                self._look(entry)
        frame, body = to_frame(found), io.BytesIO()
        frame.write_parquet(body, compression="zstd", compression_level=1, statistics=False)
        content = body.getvalue()
        self.spool.write(content)
        self.parts.append(Part(hashlib.sha256(content).hexdigest(), len(content), frame.height, place))
        return place

    def _look(self, entry: Entry) -> None:
        """Note the segments an act names that are here and whole, and those it needs that are not."""
        for ref in on_shelf(entry, self.source.shelf.size):
            known = self.refs.get(ref.sha256)
            if known is None and ref.sha256 not in self.missing:
                if self.source.shelf.examine(ref.sha256, ref.bytes) is None:
                    self.refs[ref.sha256] = ref
            elif known is not None and ref.table == OBJECT_TABLE:
                self.refs[ref.sha256] = ref
        wanted = needed(entry.kind, json.loads(entry.body))
        self.missing |= dict.fromkeys(sha256 for sha256 in wanted if sha256 not in self.refs)

    def parts_bytes(self) -> Iterator[bytes]:
        """Each part's bytes again."""
        self.spool.seek(0)
        for part in self.parts:
            yield self.spool.read(part.bytes)


def write_divergence(
    path: Path,
    source: Source,
    cut: Place,
    *,
    granted_epoch: int,
    signer: Signer,
    made_at: str,
    reserve_bytes: int,
    files: Files,
) -> Said:
    """Write a zone's tail to a file, durable and whole under its name on return; what the zone sealed of it.

    Written again, the same tail gives the same members; only the time of the seal is another. Raises LocalError for
    a journal that never was the one of the cut, CorruptionError for acts that do not chain, SpaceError before anything
    is written where there is no room.
    """
    require_on_chain(source, cut)
    with (
        telling_full_disk(f"divergence file {path}", _FREE),
        tempfile.TemporaryFile(dir=path.parent) as spool,  # without a name: a killed run leaves nothing of it
    ):
        tail = _Tail(source, cut, spool)
        tail.gather()
        content = encode_list(Listing(tuple(tail.refs.values()), tuple(tail.missing)))
        if len(content) > LIST_BYTES_MAX:
            raise LocalError("divergence", expected=f"a list of {LIST_BYTES_MAX} bytes", got=len(content))
        said = Said(
            zone=source.me,
            incarnation=source.incarnation,
            epoch=source.epoch,
            granted_epoch=granted_epoch,
            cut=cut,
            last=last_place(source),
            parts=tuple(tail.parts),
            list_sha256=hashlib.sha256(content).hexdigest(),
            list_bytes=len(content),
            segments=len(tail.refs),
            segment_bytes=sum(ref.bytes for ref in tail.refs.values()),
            missing=len(tail.missing),
            counts=dict(tail.counts),
            certificates=chain_hash(signer.certificates),
            made_at=made_at,
        )
        sealed = seal_bytes(DIVERGENCE_TYPE, encode(decode(encode(said))), signer)
        _write(path, sealed, content, tail, said, files=files, reserve_bytes=reserve_bytes)
    return said


def _write(
    path: Path,
    sealed: SealedBatch,
    content: bytes,
    tail: _Tail,
    said: Said,
    *,
    files: Files,
    reserve_bytes: int,
) -> None:
    envelope = envelope_message(sealed).SerializeToString(deterministic=True)
    refs = tuple(tail.refs.values())
    require_space(path.parent, reserve_bytes, size_of(said, len(envelope), refs))
    temporary = path.with_name(f"{path.name}.tmp")
    temporary.unlink(missing_ok=True)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as out:
        _put(out, SEALED, envelope)
        _put(out, LIST, content)
        for number, body in enumerate(tail.parts_bytes(), 1):
            _put(out, part_name(number), body)
        hit(BEGUN)
        for ref in refs:
            _copy(out, tail.source.shelf, ref)
            hit(WRITTEN)
        out.write(END)
    hit(WHOLE)
    seal(files, temporary, path)
    hit(KEPT)


def _put(out: BinaryIO, name: str, content: bytes) -> None:
    out.write(header(name, len(content)) + content + padding(len(content)))


def _copy(out: BinaryIO, shelf: SegmentShelf, ref: SegmentRef) -> None:
    """Copy a segment, hashed on its way: it was whole a moment ago."""
    out.write(header(segment_name(ref.sha256), ref.bytes))
    got = hashlib.sha256()
    with shelf.open_path(ref.sha256).open("rb") as file:
        while block := file.read(_BLOCK):
            got.update(block)
            out.write(block)
    if got.hexdigest() != ref.sha256:
        raise CorruptionError(
            f"segment {ref.sha256[:12]}",
            expected="the bytes that were here a moment ago",
            got="others",
            next_step="give the command again",
        )
    out.write(padding(ref.bytes))
