"""A divergence file opened: its seal and signer proved, then every hash, then the chain of its acts.

In that order, so that nothing is parsed that its zone did not seal. The signer may have been superseded, or its
certificate have ended, when it sealed: nobody else can tell what it holds, so that is said beside it and not refused.
What the acts mean is not judged here.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from cryptography import x509

from jinbao.flow.following import CONTINUES, named, needed, seals_acts
from jinbao.model.acts import Entry
from jinbao.model.batch import SealedBatch, SegmentRef
from jinbao.model.errors import IdentityError, UnprovableError
from jinbao.model.grant import Grant
from jinbao.model.quoting import quoted
from jinbao.model.stream import OBJECT_TABLE, SPARE_TABLE
from jinbao.model.topology import Topology
from jinbao.standby.divergence import (
    DIVERGENCE_TYPE,
    LIST,
    LIST_BYTES_MAX,
    Listing,
    Members,
    Part,
    Place,
    Said,
    blocks,
    chain_hash,
    decode,
    decode_list,
    granted_place,
    part_name,
    segment_name,
)
from jinbao.standby.following import chained
from jinbao.standby.rebuilding import acts_of, require_bounded
from jinbao.trust.book import TrustBook
from jinbao.trust.envelope import signer_of
from jinbao.trust.identity import Identity, check_issuer, parse_identity
from jinbao.trust.lastword import prove_last_word
from jinbao.trust.signer import moment

_UNREADABLE = (ValueError, KeyError, TypeError, AttributeError, RecursionError)
"""What reading an act may raise that its zone chained, and that is none."""

Signed = tuple[SealedBatch, x509.Certificate, Sequence[x509.Certificate]]
"""An envelope whose signature holds, by the certificate beside it, and the rest of its chain."""

Prove = Callable[[Said, Signed], str]
"""Proves who sealed, and gives what is to be said of it; raises PeerError."""


@dataclass(frozen=True)
class Divergence:
    """A file that was proved: what its zone sealed, its list, and `statement`: how its signer fell short, or empty."""

    path: Path
    said: Said
    listing: Listing
    statement: str
    _places: Mapping[str, int]

    def entries(self) -> Iterator[Entry]:
        """The acts of the tail, chained from the cut up to the last one.

        Raises UnprovableError for acts that are not what was sealed.
        """
        place = self.said.cut
        for number, part in enumerate(self.said.parts, 1):
            require_bounded(part.ref)
            for entry in acts_of(self._part(number, part), part.ref):
                try:
                    place = Place(*chained(place.lsn, place.hash, entry, number))
                except TypeError as exc:  # a cell without a value
                    raise self.wrong(part_name(number), "acts", "others") from exc
                yield entry
            if place != part.last:
                raise self.wrong(part_name(number), _text(part.last), _text(place))
        if self.said.acts and place != self.said.last:
            raise self.wrong("last act", _text(self.said.last), _text(place))

    def _part(self, number: int, part: Part) -> bytes:
        body = b"".join(blocks(self.path, self._places[part.sha256], part.bytes))
        if hashlib.sha256(body).hexdigest() != part.sha256:
            raise self.wrong(part_name(number), f"SHA-256 {part.sha256[:12]}", "another")
        return body

    def blocks(self, ref: SegmentRef) -> Iterator[bytes]:
        """A segment of the list, piece by piece; raises UnprovableError at its end if the file changed meanwhile."""
        got = hashlib.sha256()
        for block in blocks(self.path, self._places[ref.sha256], ref.bytes):
            got.update(block)
            yield block
        if got.hexdigest() != ref.sha256:
            raise self.wrong(segment_name(ref.sha256), f"SHA-256 {ref.sha256[:12]}", got.hexdigest()[:12])

    def wrong(self, thing: str, expected: object, got: object) -> UnprovableError:
        """An error that names a part of the file."""
        return UnprovableError(f"divergence file {self.path.name}: {thing}", expected=expected, got=got)


def _text(place: Place) -> str:
    return f"act {place.lsn} with hash {place.hash[:12] or 'none'}"


def open_divergence(
    path: Path, book: TrustBook, topology: Topology, now: datetime, grants: Iterable[Grant] = ()
) -> Divergence:
    """A file of a zone of the topology, whole and proved; with `grants`, its cut is that of the one it answers to.

    Raises UnprovableError for a file that is not what was sealed, IdentityError for a signer who is not that zone at
    an epoch that was granted to another, or whose certificate proves nothing of the past.
    """
    cuts = {(g.node, g.epoch): g for g in grants}

    def prove(said: Said, signed: Signed) -> str:
        sealed, leaf, rest = signed
        thing = f"divergence of {said.zone}"
        made_at = moment(said.made_at, now, thing=thing)
        proof, statement = prove_last_word(book, sealed.suite, leaf, rest, made_at)
        identity = parse_identity(proof.leaf)
        _check_holder(identity, said, topology)
        check_issuer(identity, proof.issuer, topology)
        grant = cuts.get((said.zone.node, said.granted_epoch))
        place = granted_place(grant, said.zone.zone)
        if grant is not None and place != said.cut:
            raise UnprovableError(
                f"{thing}: cut", expected=f"{_text(place)}, as granted", got=_text(said.cut)
            )
        return statement

    return _opened(path, prove)


def _check_holder(identity: Identity, said: Said, topology: Topology) -> None:
    """Raise IdentityError unless the signer is the zone at the epoch it names, and that epoch is over."""
    thing, row = f"signer of the divergence of {said.zone}", topology.row(said.zone.node)
    if (identity.endpoint, identity.epoch) != (said.zone, said.epoch):
        raise IdentityError(thing, expected=f"{said.zone} at epoch {said.epoch}", got=identity.uri)
    if row is None or not topology.knows(said.zone):
        raise IdentityError(thing, expected="a zone of the topology", got="none of that name")
    held = (topology.trust_domain, row.tier, row.region)
    if (identity.trust_domain, identity.tier, identity.region) != held:
        raise IdentityError(thing, expected=" ".join(held), got=identity.uri)
    if not said.epoch < said.granted_epoch <= row.epoch:
        raise IdentityError(
            thing,
            expected=f"an epoch below {said.granted_epoch}, which is granted",
            got=f"epoch {said.epoch}, of a node that is at {row.epoch} here",
            next_step="ask a zone that knows of the grant: jinbao topology",
        )


def open_own(path: Path, certificates: Sequence[bytes]) -> Divergence:
    """A file this zone itself sealed with its present certificates, whole; asks no list and no topology.

    Raises UnprovableError for any other.
    """

    def prove(said: Said, signed: Signed) -> str:
        if signed[0].certificates != tuple(certificates):
            thing = f"divergence file {path.name}: signer"
            raise UnprovableError(thing, expected=f"{said.zone} with its present certificate", got="another")
        return ""

    return _opened(path, prove)


def _opened(path: Path, prove: Prove) -> Divergence:
    places: dict[str, int] = {}
    with path.open("rb") as file:
        members = Members(file, path.name)
        sealed = members.sealed()
        leaf, rest = signer_of(sealed, DIVERGENCE_TYPE)
        said = decode(sealed.payload)
        if chain_hash(sealed.certificates) != said.certificates:
            raise members.wrong("divergence.bin", "the certificates it was sealed with", "others")
        statement = prove(said, (sealed, leaf, rest))
        begin = members.pass_over(LIST, said.list_bytes, said.list_sha256)
        listing = decode_list(b"".join(blocks(path, begin, min(said.list_bytes, LIST_BYTES_MAX))))
        for number, part in enumerate(said.parts, 1):
            places[part.sha256] = members.pass_over(part_name(number), part.bytes, part.sha256)
        for ref in listing.segments:
            places[ref.sha256] = members.pass_over(segment_name(ref.sha256), ref.bytes, ref.sha256)
        members.end()
    found = Divergence(path, said, listing, statement, places)
    _check_acts(found)
    return found


def _check_acts(found: Divergence) -> None:
    """Hold what was sealed in numbers, and the list, against what the acts themselves say."""
    counts: Counter[str] = Counter()
    spare: set[str] = set()
    wanted: set[str] = set()
    others: set[str] = set()
    for entry in found.entries():
        counts[entry.kind] += 1
        try:
            if seals_acts(entry):
                continue
            body = json.loads(entry.body)
            need = set(needed(entry.kind, body))
            wanted |= need
            (spare if entry.kind in CONTINUES else others).update(set(named(entry.kind, body)) - need)
        except _UNREADABLE as exc:
            raise found.wrong(f"act {entry.lsn}", "one that a zone records", quoted(str(exc))) from exc
    said, listing = found.said, found.listing
    refs = {ref.sha256: ref for ref in listing.segments}
    sums = (len(refs), sum(ref.bytes for ref in listing.segments), len(listing.missing), counts)
    if sums != (said.segments, said.segment_bytes, said.missing, Counter(said.counts)):
        raise found.wrong("sums", "those of its acts and its list", "others")
    for sha256, ref in refs.items():
        role = OBJECT_TABLE if sha256 in wanted | others else SPARE_TABLE if sha256 in spare else ""
        if ref.table != role:
            raise found.wrong(segment_name(sha256), role or "a segment that an act names", ref.table)
    if set(listing.missing) != wanted - refs.keys():
        raise found.wrong(LIST, "every segment its acts need, or that it is missing", "another list")
