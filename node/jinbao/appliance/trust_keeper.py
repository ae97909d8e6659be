"""What a zone trusts right now: its identity, the trust book and the topology, each replaced whole.

Answers from memory, from any thread. Whatever is learned is recorded first and believed
after; a restart folds the same book from anchors and recorded documents. Whether a
certificate holds is `trust`'s question.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta
from pathlib import Path

from jinbao.authority.identity_files import ZoneIdentity, load_identity, marker
from jinbao.flow.ports import Ledger, Observer
from jinbao.model import acts
from jinbao.model.acts import Act
from jinbao.model.batch import SealedBatch
from jinbao.model.errors import JinbaoError, PeerError, SettingsError, UnprovableError
from jinbao.model.topology import Topology
from jinbao.model.trust import DocumentKind, TrustDocument
from jinbao.model.zone import Endpoint
from jinbao.registry.documents import Documents
from jinbao.trust.book import TrustBook
from jinbao.trust.documents import open_topology
from jinbao.trust.encoding import decode_envelope, envelope_message
from jinbao.trust.envelope import parse_certificate
from jinbao.trust.revocation import read_list

TOPOLOGY = "topology"


def read_topology(path: Path, book: TrustBook, now: datetime) -> tuple[SealedBatch, Topology]:
    """The signed topology of a file, proved; raises SettingsError where there is none."""
    try:
        sealed = decode_envelope(path.read_bytes())
    except OSError as exc:
        raise SettingsError(f"topology {path}", expected="a signed file", got=str(exc)) from exc
    return sealed, open_topology(sealed, book, now)


def document_of(body: bytes) -> TrustDocument:
    """Name a certificate or a list by what it is; raises UnprovableError if it is neither."""
    try:
        found = read_list(body)
    except UnprovableError:
        parse_certificate(body)
        return TrustDocument(DocumentKind.AUTHORITY, hashlib.sha256(body).hexdigest(), 1, body)
    return TrustDocument(DocumentKind.REVOCATION, found.key_id, found.number, body)


class TrustKeeper:
    """Identity, book and topology of one zone. `attach` gives it the journal it records in."""

    def __init__(
        self,
        me: Endpoint,
        directory: Path,
        topology_file: Path,
        *,
        now: Callable[[], datetime],
        grace: timedelta,
    ) -> None:
        """Read what lies on disk; raises SettingsError or IdentityError."""
        self._me, self._directory, self._now, self._grace = me, directory, now, grace
        self._lock = threading.Lock()
        self._identity = load_identity(directory)
        self._marker = marker(directory)
        self._book = self._folded([])
        self._sealed_topology, self._topology = read_topology(topology_file, self._book, now())
        self._ledger: Ledger | None = None
        self._observer: Observer | None = None
        self.changed: Callable[[], None] = lambda: None
        """Called after anything was learned, from the thread that learned it."""

    def _folded(self, documents: Iterable[bytes]) -> TrustBook:
        known = [*self._identity.trust, *documents]
        return TrustBook.of(self._identity.anchors, known, grace=self._grace)

    def attach(self, documents: Documents, ledger: Ledger, observer: Observer) -> None:
        """Go on from what was recorded; the root node's newer topology file becomes its own word."""
        self._ledger, self._observer = ledger, observer
        held = [h.document for h in documents.held()]
        self._book = self._folded(d.body for d in held if d.kind is not DocumentKind.TOPOLOGY)
        recorded = 0
        for document in held:
            if document.kind is DocumentKind.TOPOLOGY:
                recorded = document.number
                self._take_topology(document)
        is_root = self._me == Endpoint(self._topology.root, self._me.zone) and self._me.zone == "exchange"
        if is_root and self._topology.version > recorded:
            body = envelope_message(self._sealed_topology).SerializeToString()
            word = TrustDocument(DocumentKind.TOPOLOGY, TOPOLOGY, self._topology.version, body)
            ledger.record(acts.trust_learned([word], ""))

    def _take_topology(self, document: TrustDocument) -> bool:
        """Believe a recorded topology if it is newer than the one in force; whether it was."""
        sealed = decode_envelope(document.body)
        found = open_topology(sealed, self._book, self._now())
        if found.version <= self._topology.version:
            return False
        self._sealed_topology, self._topology = sealed, found
        return True

    def identity(self) -> ZoneIdentity:
        """Our keys and certificates; another object after a renewal."""
        return self._identity

    def book(self) -> TrustBook:
        """Roots, authorities and revocation lists; another object once anything changed."""
        return self._book

    def topology(self) -> Topology:
        """The newest topology proved; another object once it changed."""
        return self._topology

    def sealed_topology(self) -> SealedBatch:
        """The topology in force as its signer sealed it."""
        return self._sealed_topology

    def learn_stapled(self, bodies: Sequence[bytes], peer: Endpoint | None) -> None:
        """Documents a hello brought; raises PeerError for what proves nothing."""
        book = self._book
        fresh = book.newer(bodies)
        if fresh:
            book.admit(fresh)
            self.learn([document_of(body) for body in fresh], str(peer or "a caller"))

    def learn(self, documents: Sequence[TrustDocument], peer: str, *also: Act) -> bool:
        """See `flow.ports.Trust.learn`."""
        assert self._ledger is not None, "a zone learns once its journal is open"
        with self._lock:
            book, fresh = self._admitted(documents, peer)
            topology = self._newer_topology(documents, book, peer)
            news = fresh + ([topology] if topology else [])
            if news or also:
                self._ledger.record(*([acts.trust_learned(news, peer)] if news else []), *also)
            self._book = book
            if topology:
                self._take_topology(topology)
        for document in news:
            self._tell(
                "trust_learned", peer, kind=str(document.kind), document=document.name, number=document.number
            )
        if news:
            self.changed()
        return bool(news)

    def _admitted(
        self, documents: Sequence[TrustDocument], peer: str
    ) -> tuple[TrustBook, list[TrustDocument]]:
        """The book with what is proved and new, and what that is: all together, or one by one if one is bad."""
        wanted = [d.body for d in documents if d.kind is not DocumentKind.TOPOLOGY]
        fresh = self._book.newer(wanted)
        try:
            book = self._book.admit(fresh)
        except PeerError:
            book = self._book
            for body in fresh:
                try:
                    book = book.admit([body])
                except PeerError as exc:
                    self._tell("trust_refused", peer, code=exc.code, reason=str(exc))
        return book, [document_of(body) for body in fresh if body in book.known]

    def _newer_topology(
        self, documents: Sequence[TrustDocument], book: TrustBook, peer: str
    ) -> TrustDocument | None:
        """The newest proved topology among the documents, if it is newer than ours."""
        newest, version = None, self._topology.version
        for document in documents:
            if document.kind is not DocumentKind.TOPOLOGY:
                continue
            try:
                found = open_topology(decode_envelope(document.body), book, self._now())
            except PeerError as exc:
                self._tell("trust_refused", peer, code=exc.code, reason=str(exc))
                continue
            if found.version > version:
                version = found.version
                newest = TrustDocument(DocumentKind.TOPOLOGY, TOPOLOGY, version, document.body)
        return newest

    def take_in(self, documents: Sequence[TrustDocument]) -> bool:
        """Documents an operator imports; raises PeerError for one that proves nothing, and then takes none."""
        bodies = [d.body for d in documents if d.kind is not DocumentKind.TOPOLOGY]
        book = self._book.admit(bodies)
        for document in documents:
            if document.kind is DocumentKind.TOPOLOGY:
                open_topology(decode_envelope(document.body), book, self._now())
        return self.learn(documents, "")

    def refuse(self, name: str, exc: JinbaoError) -> None:
        """Tell that a file holds nothing to be believed."""
        self._tell("trust_refused", name, code=exc.code, reason=str(exc))

    def reload(self) -> bool:
        """Read our identity again if another lies on disk; whether it did. Raises SettingsError, and keeps the old."""
        found = marker(self._directory)
        if found == self._marker:
            return False
        identity = load_identity(self._directory)
        with self._lock:
            self._identity, self._marker = identity, found
            held = self._book
            roots = [c for c in identity.anchors if c not in held.roots]
            self._book = TrustBook.of(
                [*held.roots, *roots], [*held.documents, *identity.trust], grace=self._grace
            )
        self._tell("identity_renewed", "", until=f"{identity.until:%Y-%m-%dT%H:%M:%SZ}")
        return True

    def _tell(self, event: str, peer: str, **values: object) -> None:
        assert self._observer is not None, "a zone tells once its journal is open"
        self._observer.event(event, peer=peer, **values)
