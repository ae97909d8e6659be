"""Objects 密文段 as files: given by the zone that has the segment, kept by the backup site, opened with a key.

An object lies on the backup's shelf under a name of its node and of what it holds, apart from every segment in
clear. The site reads it again, holds it against name and claim, and never learns what is in it.
"""

from __future__ import annotations

import hashlib
import json
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
from jinbao.trust.envelope import Signer, signer_of
from jinbao.trust.objects import (
    BLOCK_BYTES,
    CLAIM_BYTES_MAX,
    END_BYTES,
    KEYS_MAX,
    MAGIC,
    OBJECT_TYPE,
    Claim,
    Recipient,
    WrappedKey,
    decrypt,
    encrypt,
    object_name,
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


GIVEN_BYTES_MAX = 256 << 20
"""What a zone holds as ciphertext beside its segments, whatever its backup asks for: dozens of segments."""


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
                self._make_room(path)
        return path

    def _make_room(self, newest: Path) -> None:
        """Remove what was asked for longest ago, until the rest is no more than `GIVEN_BYTES_MAX`."""
        others = [(p.stat().st_mtime, p.stat().st_size, p) for p in self._directory.iterdir() if p != newest]
        total = newest.stat().st_size + sum(size for _, size, _ in others)
        for _, size, path in sorted(others):
            if total <= GIVEN_BYTES_MAX:
                return
            path.unlink()
            total -= size

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

    An object's name says whose it is (`object_name`), so that neither passes for the other. `rings` holds, by zone,
    every wrapped key that its claims brought: with those, copies are opened.
    """

    def __init__(self, root: Path, files: Files, verify: Callable[[SealedBatch], Claim], rings: Path) -> None:
        super().__init__(root, files)
        self._verify, self.rings = verify, rings
        self._known: dict[Endpoint, Ring] = {}
        self._ring_lock = threading.Lock()
        files.make_directory(rings)

    def most(self, ref: SegmentRef) -> int:
        """An object is more than what it holds."""
        return object_size_max(ref.bytes)

    def add_expected(self, temporary: Path, sha256: str, size: int) -> None:
        """As the shelf does; an object is held against its name and its claim, which a zone we protect sealed."""
        if not is_object(temporary):
            super().add_expected(temporary, sha256, size)
            return
        try:
            claim = self._verify(_checked(temporary, sha256, size).sealed)
        except (PeerError, CorruptionError) as exc:
            discard(self._files, temporary)
            raise CorruptionError(
                f"object {sha256[:12]}",
                expected=f"the ciphertext of a segment of {size} bytes, sealed by its zone",
                got=str(exc),
                next_step="it is fetched again; see jinbao line status",
            ) from exc
        self._keep_ring(claim)
        if self.has(sha256):
            discard(self._files, temporary)
        else:
            seal(self._files, temporary, self.path(sha256))

    def _keep_ring(self, claim: Claim) -> None:
        """Add the keys a claim brings that are not known yet; what is known of a zone is never replaced."""
        with self._ring_lock:
            path = ring_path(self.rings, claim.holder)
            known = self._known.get(claim.holder) or read_ring(path)
            fresh = {(k.key, k.recipient): k for k in claim.keys if (k.key, k.recipient) not in known}
            ring = dict(list((known | fresh).items())[:RING_KEYS_MAX])
            if len(ring) > len(known):
                temporary = path.with_suffix(".tmp")
                temporary.write_bytes(_ring_bytes(ring))
                seal(self._files, temporary, path)
            self._known[claim.holder] = ring

    def examine(self, sha256: str, size: int) -> Damage | None:
        """As the shelf does; of an object all that can be known without a key.

        Who sealed it was asked when it came and is asked no more: a certificate taken back since, or a node that is
        protected no longer, makes no copy worse.
        """
        path, thing = self.path(sha256), f"segment {sha256}"
        try:
            if not path.is_file() or not is_object(path):
                return super().examine(sha256, size)
            _checked(path, sha256, size)
        except OSError as exc:
            return Damage(thing, "unreadable", f"expected {size} bytes, got {exc.strerror or exc}")
        except (PeerError, CorruptionError) as exc:
            return Damage(thing, self._kind(path, sha256, size), str(exc))
        return None

    def _kind(self, path: Path, sha256: str, size: int) -> str:
        try:
            claim = read_object(path).claim
        except PeerError:
            return "truncated" if path.stat().st_size < object_size_max(size) - CLAIM_BYTES_MAX else "altered"
        other = object_name(claim.holder.node, claim.sha256)
        return "swapped" if other != sha256 and self.has(other) else "altered"


def _checked(path: Path, name: str, size: int) -> ObjectFile:
    """An object that is whole and what its name says, by a claim whose seal holds; whose seal that is, is not asked.

    Raises UnprovableError or CorruptionError.
    """
    found = read_object(path)
    signer_of(found.sealed, OBJECT_TYPE)
    claim = found.claim
    if object_name(claim.holder.node, claim.sha256) != name or claim.bytes != size:
        raise UnprovableError(
            "object",
            expected=f"the one named {name[:12]}",
            got=f"{claim.holder.node}'s of {claim.sha256[:12]}",
        )
    if found.end - len(MAGIC) != claim.sealed_bytes or found.sealed_hash() != claim.sealed_sha256:
        raise CorruptionError("object", expected="the ciphertext its claim names", got="other bytes")
    return found


Ring = dict[tuple[str, str], WrappedKey]
"""Wrapped keys of one zone, by key and recipient."""

RINGS = "copy-rings"
"""Folder of a backup site's zone in which the wrapped keys of each protected zone lie."""

RING_KEYS_MAX = 5 * KEYS_MAX
"""Pairs that are kept of one zone: twenty-five years of a new escrow each year."""


def ring_path(rings: Path, holder: Endpoint) -> Path:
    """Where the wrapped keys of a zone lie."""
    return rings / f"{holder.node}-{holder.zone}.json"


def _ring_bytes(ring: Ring) -> bytes:
    rows = [[k.key, k.recipient, k.wrapped.hex()] for k in ring.values()]
    return json.dumps(rows, indent=0).encode()


def read_ring(path: Path) -> Ring:
    """The wrapped keys of a zone; none where the file is not there or says nothing: claims bring them again."""
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))
        return {
            (str(key), str(recipient)): WrappedKey(key, recipient, bytes.fromhex(w))
            for key, recipient, w in rows
        }
    except (OSError, ValueError, TypeError):
        return {}


def openers(ring: Ring) -> list[str]:
    """Recipients for whom every key of a zone is wrapped: whoever opens everything of it, now and later."""
    keys = {key for key, _ in ring}
    names = sorted({recipient for _, recipient in ring})
    return [name for name in names if all((key, name) in ring for key in keys)]


class Opener:
    """Reads segments in clear: plain files as they lie, objects with a key. `rings` as a backup shelf keeps them."""

    def __init__(
        self, key: Callable[[str, Sequence[WrappedKey]], bytes] | None = None, rings: Path | None = None
    ) -> None:
        self._key, self._rings = key, rings
        self._keys: dict[tuple[Endpoint, str], bytes] = {}

    def blocks(self, path: Path) -> Iterator[bytes]:
        """What a file holds in clear. Raises LocalError without a key, UsageError for one that does not open it."""
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
                next_step="name one with --key: the escrow key, or the zones' own directories copy-keys",
            )
        name = claim.holder, claim.key
        if name not in self._keys:
            more = read_ring(ring_path(self._rings, claim.holder)) if self._rings is not None else {}
            self._keys[name] = self._key(claim.key, (*claim.keys, *more.values()))
        return self._keys[name]


PLAIN = Opener()
"""Opens what nobody encrypted."""
