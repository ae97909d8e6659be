"""Outbox and inbox: one directory per package, the receiver's signed marks beside the packages it sends.

Writer: whatever lies beyond the receiver's marks is laid down once, and taken away when the
marks have passed it. Reader: offers packages as a `Peer`, like a line. Names are made
from numbers and hashes computed here; nothing a peer says becomes a path.
"""

from __future__ import annotations

import hashlib
import re
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Protocol

from jinbao.carrier.reading import names, open_plain, size_of
from jinbao.model.batch import Header, SealedBatch, SegmentRef, Shortfall
from jinbao.model.errors import CorruptionError, JinbaoError, UnprovableError
from jinbao.model.failpoint import declare, hit
from jinbao.model.stream import Mark, StreamId, fair_share
from jinbao.model.zone import Endpoint
from jinbao.store.files import Files, seal
from jinbao.trust.bounds import PAYLOAD_BYTES_MAX
from jinbao.trust.encoding import (
    HEADER_TYPE,
    decode_envelope,
    decode_header,
    envelope_message,
)

WRITTEN = declare("carrier.before_publish", "a package is written under a temporary name")
PUBLISHED = declare("carrier.after_publish", "a package has its name in the outbox")
CLEAR_BEFORE = declare("carrier.before_clear", "the receiver has passed a package, it is still there")
MARKED = declare("carrier.after_marks", "this zone's marks are laid down for the other side")
CLEARED = declare("carrier.after_clear", "a package the receiver has passed is gone from the outbox")

DIRECTORY_MODE, FILE_MODE = 0o750, 0o640
"""Of what is laid down, whatever the mask of this process: the other side reads it by the group of the outbox."""

ENVELOPE, MARKS = "envelope.bin", "marks.bin"
ENVELOPE_BYTES_MAX = PAYLOAD_BYTES_MAX + (64 << 10)
_PACKAGE = re.compile(r"p-[0-9a-f]{64}")
_BLOCK = 1 << 20


class Offer(Protocol):
    """What the receiver may take; the journal's counter."""

    def headers(self, caller: Endpoint, marks: Sequence[Mark], limit: int) -> list[SealedBatch]:
        """Batches beyond the marks that the caller may see."""
        ...

    def open_segment(self, caller: Endpoint, stream: StreamId, seq: int, sha256: str) -> Path | None:
        """The file of a segment the caller may see, or None."""
        ...


def _read_envelope(path: Path) -> SealedBatch | None:
    """Read an envelope file of bounded size, or None if it is not there.

    Raises UnprovableError on anything that is no envelope, CorruptionError on what cannot be read.
    """
    thing = f"package file {path.parent.name}/{path.name}"
    file = open_plain(path.parent, path.name)
    if file is None:  # not there yet, or the sender has just taken it away
        return None
    with file:
        size = size_of(file)
        if size > ENVELOPE_BYTES_MAX:
            raise UnprovableError(thing, expected=f"at most {ENVELOPE_BYTES_MAX} bytes", got=size)
        try:
            content = file.read(ENVELOPE_BYTES_MAX)
        except OSError as exc:
            raise CorruptionError(thing, expected="a readable file", got=str(exc)) from exc
    return decode_envelope(content)


class SpoolWriter:
    """Lays packages for one receiver into `outbox`; `receiver_marks` gives the marks it proved last."""

    def __init__(
        self,
        receiver: Endpoint,
        outbox: Path,
        *,
        offer: Offer,
        receiver_marks: Callable[[], Sequence[Mark]],
        files: Files,
        packages_max: int,
    ) -> None:
        self._receiver, self._outbox, self._offer = receiver, outbox, offer
        self._receiver_marks, self._files, self._packages_max = receiver_marks, files, packages_max
        outbox.mkdir(mode=0o770, parents=True, exist_ok=True)

    def step(self) -> bool:
        """Lay down what is new, take away what has been taken; whether anything was done."""
        marks = self._receiver_marks()
        offered = self._offer.headers(self._receiver, marks, self._packages_max)
        # What lies on a carrier may be old, so it cannot say that there is nothing newer (clause 2.6).
        wanted = [sealed for sealed in offered if not isinstance(sealed, Shortfall)]
        laid = {_name(sealed): sealed for sealed in wanted}
        there = {path.name for path in self._outbox.iterdir() if _PACKAGE.fullmatch(path.name)}
        for name, sealed in laid.items():
            if name not in there:
                self._write(name, sealed)
        # At the limit a package may be unwanted only because newer ones come first.
        full = len(wanted) >= self._packages_max
        taken = {n for n in there - laid.keys() if not full or self._is_passed(n, marks)}
        for name in sorted(taken):
            hit(CLEAR_BEFORE)
            shutil.rmtree(self._outbox / name)
            hit(CLEARED)
        return bool(taken or laid.keys() - there)

    def _is_passed(self, name: str, marks: Sequence[Mark]) -> bool:
        """Whether the marks have passed a package; one nobody can read is laid down again when it is wanted."""
        try:
            sealed = _read_envelope(self._outbox / name / ENVELOPE)
            header = _header_of(name, sealed) if sealed else None
        except (UnprovableError, CorruptionError):
            return True
        if header is None:
            return True
        return any(m.stream == header.stream and not _is_beyond(header, m) for m in marks)

    def write_marks(self, sealed: SealedBatch) -> None:
        """Lay down this zone's own signed marks, for the other side's writer."""
        temporary = self._outbox / "tmp-marks"
        temporary.write_bytes(envelope_message(sealed).SerializeToString())
        temporary.chmod(FILE_MODE)
        seal(self._files, temporary, self._outbox / MARKS)
        hit(MARKED)

    def _write(self, name: str, sealed: SealedBatch) -> None:
        header = decode_header(sealed.payload)
        temporary = self._outbox / f"tmp-{name}"
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(mode=0o770)
        for ref in header.segments:
            path = self._offer.open_segment(self._receiver, header.stream, header.seq, ref.sha256)
            if path is None:
                raise CorruptionError(
                    f"segment {ref.sha256[:12]}", expected="one the receiver may see", got="none"
                )
            target = temporary / f"{ref.sha256}.parquet"
            shutil.copyfile(path, target)
            target.chmod(FILE_MODE)
            self._files.sync(target)
        envelope = temporary / ENVELOPE
        envelope.write_bytes(envelope_message(sealed).SerializeToString())
        envelope.chmod(FILE_MODE)
        self._files.sync(envelope)
        # Last: this takes the set-group-id bit away, by which the files came to the group.
        temporary.chmod(DIRECTORY_MODE)
        self._files.sync_directory(temporary)
        hit(WRITTEN)
        self._files.rename(temporary, self._outbox / name)
        self._files.sync_directory(self._outbox)
        hit(PUBLISHED)


def _is_beyond(header: Header, mark: Mark) -> bool:
    """Whether a batch lies beyond a mark; one of another incarnation always does, and is judged by its receiver."""
    if mark.incarnation and header.incarnation != mark.incarnation:
        return True
    return header.seq > mark.seq


def _name(sealed: SealedBatch) -> str:
    return "p-" + hashlib.sha256(sealed.payload).hexdigest()


class SpoolPeer:
    """The packages of one sender as a peer that can be followed.

    A damaged package stops no other: it is passed over and told to `refused`, once while it lies there.
    """

    def __init__(
        self,
        sender: Endpoint,
        inbox: Path,
        *,
        refused: Callable[[str, JinbaoError], None],
        may_send: Callable[[], bool] = lambda: True,
    ) -> None:
        """`may_send` says whether packages may be taken now, or raises PeerError for whoever laid them."""
        self.endpoint = sender
        self._inbox, self._refused, self._may_send = inbox, refused, may_send
        self._where: dict[tuple[StreamId, int], Path] = {}
        self._told: set[str] = set()

    def headers(self, marks: Sequence[Mark], limit: int, wait_s: float) -> list[SealedBatch]:
        """Sealed batches beyond the marks, in order per stream; a carrier does not wait."""
        del wait_s
        if not self._may_send():
            return []
        known = {mark.stream: mark for mark in marks}
        found: dict[StreamId, list[tuple[int, SealedBatch]]] = {}
        self._where.clear()
        packages = [self._inbox / name for name in names(self._inbox) if _PACKAGE.fullmatch(name)]
        self._told &= {path.name for path in packages}
        for path in packages:
            package = self._open(path)
            if package is None:
                continue
            sealed, header = package
            self._where[header.stream, header.seq] = path
            if _is_beyond(header, known.get(header.stream, Mark(header.stream))):
                found.setdefault(header.stream, []).append((header.seq, sealed))
        share = fair_share(limit, len(found))
        chosen = [
            sealed
            for _, batches in sorted(found.items())
            for _, sealed in sorted(batches, key=lambda line: line[0])[:share]
        ]
        return chosen[:limit]

    def _open(self, path: Path) -> tuple[SealedBatch, Header] | None:
        """Envelope and header of a package; None if it is not finished, or damaged."""
        try:
            sealed = _read_envelope(path / ENVELOPE)
            return (sealed, _header_of(path.name, sealed)) if sealed else None
        except (UnprovableError, CorruptionError) as exc:
            if path.name not in self._told:
                self._told.add(path.name)
                self._refused(path.name, exc)
            return None

    def fetch(self, stream: StreamId, seq: int, ref: SegmentRef, offset: int) -> Iterator[bytes]:
        """Bytes of a segment from `offset` on; raises CorruptionError if they cannot be read."""
        package, name = self._where[stream, seq], f"{ref.sha256}.parquet"
        thing, expected = f"package of {stream}#{seq}", f"segment {ref.sha256[:12]} of {ref.bytes} bytes"
        file = open_plain(package, name)
        if file is None:
            raise CorruptionError(thing, expected=expected, got="none")
        with file:
            if size_of(file) != ref.bytes:
                raise CorruptionError(thing, expected=expected, got=f"{size_of(file)} bytes")
            try:
                file.seek(offset)
                while block := file.read(_BLOCK):
                    yield block
            except OSError as exc:
                raise CorruptionError(thing, expected=expected, got=str(exc)) from exc

    def marks(self) -> SealedBatch | None:
        """The sender's own signed marks, or None before the first."""
        return _read_envelope(self._inbox / MARKS)


def _header_of(name: str, sealed: SealedBatch) -> Header:
    """The header of a package; raises UnprovableError unless it is one, and the one its name says."""
    if sealed.payload_type != HEADER_TYPE:
        raise UnprovableError(f"package {name}", expected=HEADER_TYPE, got=sealed.payload_type[:80])
    if _name(sealed) != name:
        raise UnprovableError(f"package {name}", expected="the payload its name says", got=_name(sealed))
    return decode_header(sealed.payload)
