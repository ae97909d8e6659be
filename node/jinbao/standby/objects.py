"""Objects 密文段 as files: given by the zone that has the segment, kept by the backup site, opened with a key.

An object lies on the backup's shelf under the hash of what it holds in clear, so that everything that
names a segment finds it. The site reads it again, holds it against its claim and never learns what is in it.
"""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from google.protobuf.message import DecodeError

from jinbao.authority.copy_keys import ZoneKeys
from jinbao.journal.segments import Damage, SegmentShelf, require_space
from jinbao.model.batch import SealedBatch, SegmentRef
from jinbao.model.errors import CorruptionError, LocalError, PeerError, UnprovableError
from jinbao.model.zone import Endpoint
from jinbao.store.files import Files, discard, seal
from jinbao.trust.encoding import envelope_message, envelope_of
from jinbao.trust.envelope import Signer
from jinbao.trust.objects import (
    BLOCK_BYTES,
    CLAIM_BYTES_MAX,
    END_BYTES,
    MAGIC,
    Claim,
    Recipient,
    WrappedKey,
    decrypt,
    encrypt,
    object_size_max,
    read_claim,
    seal_claim,
    sealed_size,
)
from jinbao.trust.suites import TAG_BYTES
from jinbao.wire.gen.jinbao.wire.v1 import wire_pb2 as wire


def is_object(path: Path) -> bool:
    """Whether a file begins as an object does; no Parquet does."""
    with path.open("rb") as file:
        return file.read(len(MAGIC)) == MAGIC


@dataclass(frozen=True, slots=True)
class ObjectFile:
    """An object as it lies: its claim as sealed, and where its ciphertext ends. Nothing in it is believed."""

    path: Path
    sealed: SealedBatch
    end: int

    @property
    def claim(self) -> Claim:
        """What it says it holds."""
        return read_claim(self.sealed)

    def blocks(self, size: int = BLOCK_BYTES + TAG_BYTES) -> Iterator[bytes]:
        """The ciphertext, in pieces of `size`."""
        with self.path.open("rb") as file:
            file.seek(len(MAGIC))
            left = self.end - len(MAGIC)
            while left > 0 and (block := file.read(min(size, left))):
                left -= len(block)
                yield block

    def sealed_hash(self) -> str:
        """SHA-256 of the ciphertext."""
        got = hashlib.sha256()
        for block in self.blocks():
            got.update(block)
        return got.hexdigest()


def read_object(path: Path) -> ObjectFile:
    """Find the claim at the end of a file; raises UnprovableError for a file that is no whole object."""
    size = path.stat().st_size
    with path.open("rb") as file:
        file.seek(max(0, size - END_BYTES))
        end = file.read(END_BYTES)
        length = int.from_bytes(end[:4], "big")
        first = size - END_BYTES - length
        if end[4:] != MAGIC or not 0 < length <= CLAIM_BYTES_MAX or first < len(MAGIC):
            raise UnprovableError("object", expected="a claim at its end", got="none")
        file.seek(first)
        try:
            sealed = envelope_of(wire.Envelope.FromString(file.read(length)))
        except DecodeError as exc:
            raise UnprovableError("object", expected="a claim at its end", got="other bytes") from exc
    return ObjectFile(path, sealed, first)


class ObjectGiver:
    """Gives a zone's segments to the site that protects it, as ciphertext; kept while they are fetched."""

    def __init__(
        self,
        me: Endpoint,
        shelf: SegmentShelf,
        directory: Path,
        *,
        keys: ZoneKeys,
        recipients: Sequence[Recipient],
        signer: Callable[[], Signer],
        files: Files,
        now: Callable[[], str],
        reserve_bytes: int,
    ) -> None:
        """What a run before this one made is gone."""
        self._me, self._shelf, self._directory = me, shelf, directory
        self._keys, self._recipients = keys, tuple(recipients)
        self._signer, self._files, self._now, self._reserve_bytes = signer, files, now, reserve_bytes
        self._lock = threading.Lock()
        self._wrapped: tuple[str, tuple[WrappedKey, ...]] = ("", ())
        files.make_directory(directory)
        for left in directory.iterdir():
            left.unlink()

    def path(self, sha256: str) -> Path:
        """The object of a segment that is on the shelf.

        Raises LocalError where nobody is named who could open it, SpaceError where there is no room,
        CorruptionError for a segment that is not there.
        """
        if not self._recipients:
            raise LocalError(
                f"copies of {self._me}",
                expected="copies.drill_key and copies.escrow_key in the settings",
                got="neither, and a site that protects this node",
                next_step="jinbao standby key create escrow",
            )
        path = self._directory / f"{sha256}.object"
        with self._lock:
            if path.is_file():
                os.utime(path)
            else:
                self._make(sha256, path)
        return path

    def _make(self, sha256: str, path: Path) -> None:
        source = self._shelf.open_path(sha256)
        size = source.stat().st_size
        require_space(self._directory, self._reserve_bytes, object_size_max(size))
        name, key = self._keys.newest()
        if self._wrapped[0] != name:
            self._wrapped = name, self._keys.wrapped(self._recipients)
        temporary, plain, got = path.with_suffix(".tmp"), hashlib.sha256(), hashlib.sha256()
        with temporary.open("wb") as out:
            out.write(MAGIC)
            for block in encrypt(key, sha256, _hashed(source, plain)):
                got.update(block)
                out.write(block)
            if plain.hexdigest() != sha256:
                temporary.unlink()
                raise CorruptionError(
                    f"segment {sha256[:12]}",
                    expected="the bytes its name says",
                    got="others",
                    next_step="jinbao journal scrub",
                )
            claim = Claim(
                self._me,
                sha256,
                size,
                got.hexdigest(),
                sealed_size(size),
                name,
                self._wrapped[1],
                self._now(),
            )
            end = envelope_message(seal_claim(claim, self._signer())).SerializeToString()
            out.write(end + len(end).to_bytes(4, "big") + MAGIC)
        temporary.rename(path)

    def rotate(self) -> str:
        """Make another key, which encrypts from now on; its name."""
        with self._lock:
            return self._keys.rotate()

    def sweep(self, before: float) -> int:
        """Remove what nobody asked for since a moment, in seconds since 1970; returns how many."""
        with self._lock:
            old = [path for path in self._directory.iterdir() if path.stat().st_mtime < before]
            for path in old:
                path.unlink()
        return len(old)


def _hashed(path: Path, running: hashlib._Hash) -> Iterator[bytes]:
    with path.open("rb") as file:
        while block := file.read(BLOCK_BYTES):
            running.update(block)
            yield block


class BackupShelf(SegmentShelf):
    """The shelf of a site that protects others: objects beside segments of its own; `verify` proves claims.

    `rings` holds the newest claim of each zone that gave any: with the keys it names, copies are opened.
    """

    def __init__(self, root: Path, files: Files, verify: Callable[[SealedBatch], Claim], rings: Path) -> None:
        super().__init__(root, files)
        self._verify, self.rings = verify, rings
        self._known: dict[Endpoint, tuple[WrappedKey, ...]] = {}
        files.make_directory(rings)

    def is_sealed(self, sha256: str) -> bool:
        """Whether a segment lies here as ciphertext."""
        return self.has(sha256) and is_object(self.path(sha256))

    def most(self, ref: SegmentRef) -> int:
        """An object is more than what it holds."""
        return object_size_max(ref.bytes)

    def add_expected(self, temporary: Path, sha256: str, size: int) -> None:
        """As the shelf does; an object is held against its claim, which its zone sealed."""
        if not is_object(temporary):
            super().add_expected(temporary, sha256, size)
            return
        try:
            claim = self._checked(temporary, sha256, size)
        except (PeerError, CorruptionError) as exc:
            discard(self._files, temporary)
            raise CorruptionError(
                f"object {sha256[:12]}",
                expected=f"the ciphertext of {size} bytes with SHA-256 {sha256}, sealed by its zone",
                got=str(exc),
                next_step="it is fetched again; see jinbao line status",
            ) from exc
        self._keep_ring(claim, temporary)
        if self.has(sha256):
            discard(self._files, temporary)
        else:
            seal(self._files, temporary, self.path(sha256))

    def _checked(self, path: Path, sha256: str, size: int) -> Claim:
        found = read_object(path)
        claim = self._verify(found.sealed)
        if (claim.sha256, claim.bytes) != (sha256, size):
            raise UnprovableError(
                "object", expected=f"that of {sha256[:12]}", got=f"that of {claim.sha256[:12]}"
            )
        if found.end - len(MAGIC) != claim.sealed_bytes or found.sealed_hash() != claim.sealed_sha256:
            raise CorruptionError("object", expected="the ciphertext its claim names", got="other bytes")
        return claim

    def _keep_ring(self, claim: Claim, path: Path) -> None:
        """Keep the claim if its keys are other than those known of its zone, and it is no older."""
        if self._known.get(claim.holder) == claim.keys:
            return
        ring = self.rings / f"{claim.holder.node}-{claim.holder.zone}.claim"
        if not ring.is_file() or read_ring(ring).made_at <= claim.made_at:
            temporary = ring.with_suffix(".tmp")
            temporary.write_bytes(envelope_message(read_object(path).sealed).SerializeToString())
            seal(self._files, temporary, ring)
        self._known[claim.holder] = claim.keys

    def examine(self, sha256: str, size: int) -> Damage | None:
        """As the shelf does; of an object what can be known without a key."""
        path, thing = self.path(sha256), f"segment {sha256}"
        try:
            if not path.is_file() or not is_object(path):
                return super().examine(sha256, size)
            self._checked(path, sha256, size)
        except OSError as exc:
            return Damage(thing, "unreadable", f"expected {size} bytes, got {exc.strerror or exc}")
        except (PeerError, CorruptionError) as exc:
            return Damage(thing, self._kind(path, sha256, size), str(exc))
        return None

    def _kind(self, path: Path, sha256: str, size: int) -> str:
        try:
            other = read_object(path).claim.sha256
        except PeerError:
            return "truncated" if path.stat().st_size < object_size_max(size) else "altered"
        return "swapped" if other != sha256 and self.has(other) else "altered"


def read_ring(path: Path) -> Claim:
    """The newest claim of a zone; raises UnprovableError for a file that is none."""
    try:
        return read_claim(envelope_of(wire.Envelope.FromString(path.read_bytes())))
    except DecodeError as exc:
        raise UnprovableError(f"keys {path}", expected="a claim", got="other bytes") from exc


class Opener:
    """Reads segments in clear: plain files as they lie, objects with a key. `rings` as a backup shelf keeps them."""

    def __init__(
        self, key: Callable[[str, Sequence[WrappedKey]], bytes] | None = None, rings: Path | None = None
    ) -> None:
        self._key, self._keys = key, dict[str, bytes]()
        found = sorted(rings.glob("*.claim")) if rings is not None else []
        self._rings = {claim.holder: claim.keys for claim in map(read_ring, found)}

    def blocks(self, path: Path) -> Iterator[bytes]:
        """What a file holds in clear. Raises LocalError without a key, UnprovableError for one that does not open it."""
        if not is_object(path):
            yield from _hashed(path, hashlib.sha256())
            return
        found = read_object(path)
        claim = found.claim
        yield from decrypt(self._opened(claim), claim.sha256, found.blocks())

    def _opened(self, claim: Claim) -> bytes:
        if self._key is None:
            raise LocalError(
                f"copy of {claim.holder}",
                expected="a key that opens it",
                got="none",
                next_step="name one with --key: the escrow key, or the zone's own directory copy-keys",
            )
        if claim.key not in self._keys:
            wraps = (*self._rings.get(claim.holder, ()), *claim.keys)
            self._keys[claim.key] = self._key(claim.key, wraps)
        return self._keys[claim.key]


PLAIN = Opener()
"""Opens what nobody encrypted."""
