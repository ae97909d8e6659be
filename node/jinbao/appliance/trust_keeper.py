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

from jinbao.authority.identity_files import ZoneIdentity, load_identity, lock_keys, marker
from jinbao.flow.ports import Ledger, Observer
from jinbao.link.standing import STAPLED_MAX, Standing
from jinbao.model import acts
from jinbao.model.acts import Act
from jinbao.model.batch import SealedBatch
from jinbao.model.errors import EquivocationError, JinbaoError, PeerError, SettingsError, UnprovableError
from jinbao.model.grant import Grant, granted
from jinbao.model.topology import Topology
from jinbao.model.trust import DocumentKind, TrustDocument
from jinbao.model.zone import Endpoint, Zone
from jinbao.registry.documents import Documents
from jinbao.trust.book import TrustBook
from jinbao.trust.documents import open_topology
from jinbao.trust.encoding import decode_envelope, envelope_message
from jinbao.trust.envelope import parse_certificate
from jinbao.trust.grants import GRANT_TYPE, decode_grant, open_grant
from jinbao.trust.revocation import read_list

TOPOLOGY = "topology"

ENVELOPES = frozenset({DocumentKind.TOPOLOGY, DocumentKind.GRANT})
"""Documents a zone of the network sealed; of all others the authorities are."""


def read_topology(path: Path, book: TrustBook, now: datetime) -> tuple[SealedBatch, Topology]:
    """The signed topology of a file, proved; raises SettingsError where there is none."""
    try:
        sealed = decode_envelope(path.read_bytes())
    except OSError as exc:
        raise SettingsError(f"topology {path}", expected="a signed file", got=str(exc)) from exc
    return sealed, open_topology(sealed, book, now)


def document_of(body: bytes) -> TrustDocument:
    """Name a certificate, a list or a grant by what it is; raises UnprovableError if it is none of them."""
    if body[:1] != DER:
        return grant_document(body)
    try:
        found = read_list(body)
    except UnprovableError:
        parse_certificate(body)
        return TrustDocument(DocumentKind.AUTHORITY, hashlib.sha256(body).hexdigest(), 1, body)
    return TrustDocument(DocumentKind.REVOCATION, found.key_id, found.number, body)


DER = b"\x30"
"""How certificates and lists begin, and no envelope does."""


def grant_document(body: bytes) -> TrustDocument:
    """A grant's envelope as a document; raises UnprovableError for anything else."""
    sealed = decode_envelope(body)
    if sealed.payload_type != GRANT_TYPE:
        raise UnprovableError("trust document", expected=GRANT_TYPE, got=sealed.payload_type[:80])
    grant = decode_grant(sealed.payload)
    return TrustDocument(DocumentKind.GRANT, grant.node, grant.epoch, body)


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
        load: Callable[[Path], ZoneIdentity] = load_identity,
    ) -> None:
        """Read what lies on disk; raises SettingsError or IdentityError."""
        self._me, self._directory, self._now, self._grace = me, directory, now, grace
        self._lock = threading.Lock()
        self.renewal = threading.Lock()
        """Held by whoever asks for new certificates: of two at once, one would take the keys that wait from the other."""
        self._identity = load(directory)
        self._marker = marker(directory)
        self._book = self._folded([])
        self._file = topology_file
        self._signed: Topology | None = None
        self._topology: Topology | None = None
        self._sealed_topology: SealedBatch | None = None
        self._grants: dict[str, tuple[Grant, SealedBatch]] = {}
        self._documents: Documents | None = None
        self._recorded = 0
        self._ledger: Ledger | None = None
        self._observer: Observer | None = None
        self.changed: Callable[[], None] = lambda: None
        """Called after anything was learned, from the thread that learned it."""

    def _folded(self, documents: Iterable[bytes]) -> TrustBook:
        known = [*self._identity.trust, *documents]
        return TrustBook.of(self._identity.anchors, known, grace=self._grace)

    def attach(self, documents: Documents, ledger: Ledger, observer: Observer) -> None:
        """Go on from what was recorded.

        The file is proved with all lists there are. Where it cannot be, the recorded topology
        stands, and the other way round; raises what the file raised when there is neither.
        """
        self._documents, self._ledger, self._observer = documents, ledger, observer
        held = [h.document for h in documents.held()]
        self._book = self._folded(d.body for d in held if d.kind not in ENVELOPES)
        trouble: JinbaoError | None = None
        try:
            self._sealed_topology, self._signed = read_topology(self._file, self._book, self._now())
        except JinbaoError as exc:
            trouble = exc
        recorded = 0
        for document in (d for d in held if d.kind is DocumentKind.TOPOLOGY):
            recorded = document.number
            try:
                self._take_topology(document)
            except PeerError as exc:
                self._tell("trust_refused", "the journal", code=exc.code, reason=str(exc))
        if self._signed is None:
            assert trouble is not None, "a topology was read or was not"
            raise trouble
        if trouble is not None:
            self._tell("trust_refused", self._file.name, code=trouble.code, reason=str(trouble))
        self._recorded = recorded
        self._fold()
        for document in (d for d in held if d.kind is DocumentKind.GRANT):
            self._take_grant(document)

    def announce(self) -> None:
        """Record the root node's topology file as its own word, where it is newer than the one recorded."""
        assert self._ledger is not None, "a zone records once its journal is open"
        topology, sealed = self.topology(), self.sealed_topology()
        if self._me == Endpoint(topology.root, Zone.EXCHANGE) and topology.version > self._recorded:
            body = envelope_message(sealed).SerializeToString()
            word = TrustDocument(DocumentKind.TOPOLOGY, TOPOLOGY, topology.version, body)
            self._ledger.record(acts.trust_learned([word], ""))

    def _take_topology(self, document: TrustDocument) -> bool:
        """Believe a recorded topology if it is newer than the one in force; whether it was."""
        sealed = decode_envelope(document.body)
        found = open_topology(sealed, self._book, self._now())
        if self._signed is not None and found.version <= self._signed.version:
            return False
        self._sealed_topology, self._signed = sealed, found
        self._fold()
        return True

    def _take_grant(self, document: TrustDocument) -> None:
        """Believe a recorded grant, which was proved before it was recorded: no restart lets an older holder in again."""
        sealed = decode_envelope(document.body)
        self._grants[document.name] = decode_grant(sealed.payload), sealed
        self._fold()

    def _fold(self) -> None:
        """The topology in force: the signed one as grants leave it."""
        if self._signed is not None:
            self._topology = granted(self._signed, (grant for grant, _ in self._grants.values()))

    def identity(self) -> ZoneIdentity:
        """Our keys and certificates; another object after a renewal."""
        return self._identity

    def book(self) -> TrustBook:
        """Roots, authorities and revocation lists; another object once anything changed."""
        return self._book

    def topology(self) -> Topology:
        """The newest topology proved; another object once it changed."""
        assert self._topology is not None, "a zone is asked once its journal is open"
        return self._topology

    def standing(self) -> Standing:
        """What both ends of our lines stand on: all of the above as of each call, and what is learned from peers."""
        return Standing(
            self._me,
            self.identity,
            self.book,
            self.topology,
            self._now,
            self.learn_stapled,
            self.proof,
        )

    def sealed_topology(self) -> SealedBatch:
        """The topology in force as its signer sealed it."""
        assert self._sealed_topology is not None, "a zone is asked once its journal is open"
        return self._sealed_topology

    def grant_of(self, node: str) -> Grant | None:
        """The newest grant of a node's identity; None while it was never granted anew."""
        found = self._grants.get(node)
        return found[0] if found else None

    def sealed_grants(self) -> list[SealedBatch]:
        """The newest grant of every node that was granted anew, as its parent sealed it, by node."""
        return [sealed for _, (_, sealed) in sorted(self._grants.items())]

    def proof(self, node: str) -> bytes:
        """The envelope of the newest grant of a node, for its former holder; nothing if there is none."""
        found = self._grants.get(node)
        return envelope_message(found[1]).SerializeToString() if found else b""

    def learn_stapled(self, bodies: Sequence[bytes], peer: Endpoint | None) -> None:
        """Documents a hello brought, those that prove themselves; raises PeerError for more than a hello brings."""
        if len(bodies) > STAPLED_MAX:
            raise UnprovableError("hello: documents", expected=f"at most {STAPLED_MAX}", got=len(bodies))
        grants = [body for body in bodies if body[:1] != DER]
        fresh = self._book.newer([body for body in bodies if body[:1] == DER])
        provable = [d for d in fresh if d in self._book.absorb(fresh)[0].known] if fresh else []
        if provable or grants:
            self.learn([document_of(body) for body in (*provable, *grants)], str(peer or "a caller"))

    def learn(self, documents: Sequence[TrustDocument], peer: str, *also: Act) -> bool:
        """See `flow.ports.Trust.learn`."""
        assert self._ledger is not None, "a zone learns once its journal is open"
        with self._lock:
            book, fresh = self._admitted(documents, peer)
            topology = self._newer_topology(documents, book, peer)
            grants = self._newer_grants(documents, book, peer)
            news = fresh + ([topology] if topology else []) + grants
            if news or also:
                self._ledger.record(*([acts.trust_learned(news, peer)] if news else []), *also)
            self._book = book
            if topology:
                self._take_topology(topology)
            for grant in grants:
                self._take_grant(grant)
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
        """The book with what is proved and new, and what that is; the rest is told."""
        wanted = [d.body for d in documents if d.kind not in ENVELOPES]
        fresh = self._book.newer(wanted)
        book, refused = self._book.absorb(fresh)
        for exc in refused:
            self._tell("trust_refused", peer, code=exc.code, reason=str(exc))
        news = [body for body in fresh if body in book.known]
        if not peer:  # what an operator imports is ours to pass on, whoever told us before
            assert self._documents is not None, "a zone learns once its journal is open"
            ours = {d.body for d in self._documents.local()}
            news += [body for body in wanted if body in book.known and body not in ours and body not in news]
        return book, [document_of(body) for body in news]

    def _newer_topology(
        self, documents: Sequence[TrustDocument], book: TrustBook, peer: str
    ) -> TrustDocument | None:
        """The newest proved topology among the documents, if it is newer than ours."""
        newest, version = None, self.topology().version
        for document in documents:
            if document.kind is not DocumentKind.TOPOLOGY:
                continue
            try:
                found = open_topology(decode_envelope(document.body), book, self._now())
            except PeerError as exc:
                self._tell("trust_refused", peer, code=exc.code, reason=str(exc))
                continue
            if found.version > version and (objection := self._objection(found)):
                reason = f"topology {found.version} {objection}"
                self._tell("trust_refused", peer, code="identity", reason=reason)
                continue
            if found.version > version:
                version = found.version
                newest = TrustDocument(DocumentKind.TOPOLOGY, TOPOLOGY, version, document.body)
        return newest

    def _objection(self, found: Topology) -> str:
        """Why a newer topology cannot be: no holder of an identity is ever let in again at an older epoch."""
        if not found.knows(self._me):
            return f"has no {self._me}"
        held = {row.node: row.epoch for row in self._signed.rows} if self._signed else {}
        lower = sorted(row.node for row in found.rows if row.epoch < held.get(row.node, 0))
        return f"has older epochs of {', '.join(lower)}" if lower else ""

    def _newer_grants(
        self, documents: Sequence[TrustDocument], book: TrustBook, peer: str
    ) -> list[TrustDocument]:
        """Grants that are proved and newer than what is known of their nodes, those of parents first."""
        now, found = self.topology(), list[TrustDocument]()
        known = {node: grant for node, (grant, _) in self._grants.items()}
        wanted = [d for d in documents if d.kind is DocumentKind.GRANT]
        for document in sorted(wanted, key=lambda d: (_depth(now, d.name), d.number)):
            try:
                grant = open_grant(decode_envelope(document.body), book, now, self._now())
                _check_same(grant, known.get(grant.node))
            except PeerError as exc:
                self._tell("trust_refused", peer, code=exc.code, reason=str(exc))
                continue
            if grant.epoch > now.by_node[grant.node].epoch:
                now = granted(now, [grant])
                known[grant.node] = grant
                found.append(TrustDocument(DocumentKind.GRANT, grant.node, grant.epoch, document.body))
        return found

    def take_in(self, documents: Sequence[TrustDocument], peer: str = "") -> bool:
        """Documents an operator imports or an authority gave; raises PeerError, and takes none, if one proves nothing."""
        bodies = [d.body for d in documents if d.kind not in ENVELOPES]
        book = self._book.admit(bodies)
        for document in documents:
            if document.kind is DocumentKind.TOPOLOGY:
                open_topology(decode_envelope(document.body), book, self._now())
            elif document.kind is DocumentKind.GRANT:
                open_grant(decode_envelope(document.body), book, self.topology(), self._now())
        return self.learn(documents, peer)

    def refuse(self, name: str, exc: JinbaoError) -> None:
        """Tell that a file holds nothing to be believed."""
        self._tell("trust_refused", name, code=exc.code, reason=str(exc))

    def reload(self) -> bool:
        """Read our identity again if another lies on disk; whether it did. Raises SettingsError, and keeps the old."""
        found = marker(self._directory)
        if found == self._marker:
            return False
        if lock_keys(self._directory):  # laid down by a command that had no passphrase
            found = marker(self._directory)
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


def _check_same(grant: Grant, known: Grant | None) -> None:
    """Raise EquivocationError where a parent granted one epoch twice: the first that came is believed."""
    if known is not None and known.epoch == grant.epoch and known != grant:
        raise EquivocationError(
            f"grant of {grant.node} at epoch {grant.epoch}",
            expected=f"the one made at {known.made_at}",
            got=f"another, made at {grant.made_at}",
            next_step="ask its parent; one of the two holders must be promoted again",
        )


def _depth(topology: Topology, node: str) -> int:
    """How far below the root a node is."""
    row = topology.row(node)
    return len(topology.above(Endpoint(node, Zone.EXCHANGE))) if row is not None else 0
