"""The proof of evidence 证据核验: bytes and root certificates in, a verdict out, nothing else asked.

Verifies clause by clause (E1-E12 of `evidence`); the first that does not hold is raised by its
number. A verdict also names what the evidence cannot prove. Asks no network, clock or file.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from cryptography import x509

from jinbao.model.batch import Header, Kind, Manifest, SealedBatch, SegmentRef
from jinbao.model.errors import EvidenceError, UnprovableError
from jinbao.model.receipt import RECEIPT_COLUMNS, RECEIPT_KEY, Receipt, Stage, Step, topic_of
from jinbao.model.stream import StreamId
from jinbao.model.zone import Endpoint
from jinbao.trust.digest import RowPath, digest_of_tables, root_from_path
from jinbao.trust.encoding import HEADER_TYPE, decode_header
from jinbao.trust.envelope import head_of
from jinbao.trust.evidence import Evidence, ProvedReceipt, Silence, open_evidence
from jinbao.trust.evidence_signers import Signers, clause, moment


@dataclass(frozen=True, slots=True)
class Word:
    """What one receiver signed of a batch, and when it says it did."""

    step: Step
    receiver: Endpoint
    name_zh: str
    name_en: str
    seq: int
    at: str
    reason: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """What evidence proved. `is_revocation_carried`: how every certificate stood is in the file."""

    evidence: Evidence
    origin: Endpoint
    origin_zh: str
    origin_en: str
    seq: int
    kind: Kind
    sealed_at: str
    closed_at: str
    words: tuple[Word, ...]
    exporter: Endpoint
    is_revocation_carried: bool
    unproved: tuple[str, ...]

    @property
    def missing(self) -> tuple[Silence, ...]:
        """What the exporter says did not come in time."""
        return self.evidence.missing


def verify_evidence(
    content: bytes, roots: Sequence[x509.Certificate], *, require_crl: bool | None = None
) -> Verdict:
    """Prove an evidence file under given roots; raises EvidenceError naming the first clause that does not hold.

    Revocation state is required where any CRL is carried; `require_crl` decides otherwise.
    """
    evidence, seal = open_evidence(content)
    signers = Signers(evidence, roots, require_crl=require_crl)
    return _Proof(evidence, signers).verdict(seal)


class _Proof:
    """One file under proof: what every clause needs of the others."""

    def __init__(self, evidence: Evidence, signers: Signers) -> None:
        self._evidence, self._signers = evidence, signers
        self._topology = signers.topology  # as grants leave it

    def verdict(self, seal: SealedBatch) -> Verdict:
        """Every clause in turn."""
        evidence = self._evidence
        exporter = self._signers.prove(seal, moment("E2", evidence.made_at)).endpoint
        if str(exporter) != evidence.made_by:
            raise EvidenceError("E2", "exporter", expected=evidence.made_by, got=exporter)
        headers = self._headers()
        manifest = headers[-1].manifest
        assert manifest is not None  # clause E4 holds
        self._prove_record(headers[0], manifest)
        words = [self._word(receipt, headers, manifest) for receipt in evidence.receipts]
        self._prove_time(headers[0].stream.origin, words)
        self._signers.check_grants()
        return self._conclude(headers, words, exporter)

    # The record and its batches: E3 to E5.

    def _headers(self) -> list[Header]:
        """The headers of all batches, sealed by their origin and each after the one before."""
        headers: list[Header] = []
        for at, sealed in enumerate(self._evidence.batches):
            header = self._header(sealed)
            if at:
                _check_after(header, headers[-1], head_of(self._evidence.batches[at - 1]))
            headers.append(header)
        kinds = [header.kind for header in headers]
        if kinds.count(Kind.MANIFEST) != 1 or kinds[-1] is not Kind.MANIFEST or Kind.VOID in kinds:
            raise EvidenceError(
                "E4", "batches", expected="one manifest, the last", got=", ".join(kinds) or "none"
            )
        manifest = headers[-1].manifest
        if manifest is None or manifest.first_seq > headers[0].seq or len(headers) < 2:  # noqa: PLR2004  # a batch and its manifest
            got = manifest.first_seq if manifest else "none"
            raise EvidenceError("E4", "manifest", expected=f"one that closes #{headers[0].seq}", got=got)
        return headers

    def _header(self, sealed: SealedBatch) -> Header:
        """One header, sealed by the origin of its stream."""
        with clause("E6"):
            if sealed.payload_type != HEADER_TYPE:
                raise UnprovableError("batch", expected=HEADER_TYPE, got=sealed.payload_type[:80])
            header = decode_header(sealed.payload)
        signer = self._signers.prove(sealed, moment("E4", header.made_at))
        if (signer.endpoint, signer.epoch) != (header.stream.origin, header.epoch):
            raise EvidenceError(
                "E7",
                f"signer of {header.stream}#{header.seq}",
                expected=f"{header.stream.origin} at epoch {header.epoch}",
                got=signer.uri,
            )
        return header

    def _prove_record(self, first: Header, manifest: Manifest) -> None:
        """The record is in its segment, and in the table the manifest closes."""
        evidence = self._evidence
        ref = _segment(first, evidence.segment)
        said = (
            evidence.subject.library,
            evidence.subject.table,
            evidence.subject.standard,
            evidence.subject.period,
        )
        held = (first.stream.topic, ref.table, first.standard, first.period)
        if said != held:
            raise EvidenceError("E3", "subject", expected=" ".join(held), got=" ".join(said))
        if len(evidence.subject.columns) != len(evidence.record):
            raise EvidenceError(
                "E3", "columns", expected=len(evidence.record), got=len(evidence.subject.columns)
            )
        self._lead("E3", evidence.way, ref.digest)
        if first.kind is not Kind.SNAPSHOT or evidence.state is not None:
            if evidence.state is None:
                raise EvidenceError("E5", "state", expected="a way to the manifest's root", got="none")
            self._lead("E5", evidence.state, {t.table: t.digest for t in manifest.tables}.get(ref.table, ""))

    def _lead(self, clause: str, way: RowPath, root: str) -> None:
        evidence = self._evidence
        if any(at >= len(evidence.record) for at in evidence.key) or not evidence.key:
            raise EvidenceError(clause, "key", expected="places of the record", got=evidence.key)
        try:
            found = root_from_path(evidence.record, evidence.key, way)
        except ValueError as exc:
            raise EvidenceError(clause, "record", expected="a way of this row", got=exc) from exc
        if found != root or not root:
            raise EvidenceError(
                clause, "record", expected=f"digest {root[:12] or 'in the header'}", got=found[:12]
            )

    # Receipts: E11 and E12.

    def _word(self, proved: ProvedReceipt, headers: Sequence[Header], manifest: Manifest) -> Word:
        """One receipt, proved from its row up to its receiver's seal."""
        receipt = _receipt(proved)
        header = self._header(proved.batch)
        place = f"receipt of {receipt.receiver}"
        stream = StreamId(receipt.receiver, topic_of(receipt.stage), receipt.stream.origin.node)
        if header.stream != stream:
            raise EvidenceError("E11", place, expected=f"in {stream}", got=header.stream)
        key = [RECEIPT_COLUMNS.index(name) for name in RECEIPT_KEY]
        try:
            root = root_from_path(proved.cells, key, proved.way)
        except ValueError as exc:
            raise EvidenceError("E11", place, expected="a way of this row", got=exc) from exc
        if root not in {ref.digest for ref in header.segments}:
            raise EvidenceError("E11", place, expected="the digest of its batch", got=root[:12])
        self._check_named(receipt, headers, manifest, place)
        row = self._topology.by_node[receipt.receiver.node]
        is_top = not self._topology.above(receipt.receiver)
        step = receipt.step(is_top=is_top)
        return Word(step, receipt.receiver, row.name_zh, row.name_en, receipt.seq, receipt.at, receipt.reason)

    def _check_named(
        self, receipt: Receipt, headers: Sequence[Header], manifest: Manifest, place: str
    ) -> None:
        """The receipt names a header carried, its receiver may speak of it, and `applied` says the manifest's numbers."""
        heads = {(h.stream, h.seq): head_of(b) for h, b in zip(headers, self._evidence.batches, strict=True)}
        if heads.get((receipt.stream, receipt.seq)) != receipt.head:
            raise EvidenceError(
                "E11", place, expected="a header of the file", got=f"{receipt.stream}#{receipt.seq}"
            )
        if receipt.receiver not in self._topology.above(receipt.stream.origin):
            raise EvidenceError("E11", place, expected="a zone above the origin", got=receipt.receiver)
        moment("E11", receipt.at)
        if receipt.stage is Stage.ACCEPTED:
            return
        if receipt.seq != headers[-1].seq:
            raise EvidenceError("E11", place, expected=f"#{headers[-1].seq}, the manifest", got=receipt.seq)
        promised = (
            sum(t.rows for t in manifest.tables),
            digest_of_tables((t.table, t.rows, t.digest) for t in manifest.tables),
        )
        if receipt.stage is Stage.APPLIED and (receipt.rows, receipt.digest) != promised:
            raise EvidenceError(
                "E11",
                place,
                expected=f"{promised[0]} rows, {promised[1][:12]}",
                got=f"{receipt.rows} rows, {receipt.digest[:12]}",
            )

    def _prove_time(self, origin: Endpoint, words: Sequence[Word]) -> None:
        """The origin's certificates still held when another node first counter-signed."""
        others = [moment("E11", word.at) for word in words if word.receiver.node != origin.node]
        if not others:
            return
        for sealed in self._evidence.batches:
            self._signers.prove_again(sealed, min(others))

    def _conclude(self, headers: Sequence[Header], words: Sequence[Word], exporter: Endpoint) -> Verdict:
        first, last = headers[0], headers[-1]
        origin = first.stream.origin
        row = self._topology.by_node[origin.node]
        ordered = sorted(words, key=lambda w: (datetime.fromisoformat(w.at), w.seq, w.receiver))
        return Verdict(
            evidence=self._evidence,
            origin=origin,
            origin_zh=row.name_zh,
            origin_en=row.name_en,
            seq=first.seq,
            kind=first.kind,
            sealed_at=first.made_at,
            closed_at=last.made_at,
            words=tuple(ordered),
            exporter=exporter,
            is_revocation_carried=self._signers.is_carried,
            unproved=self._unproved(origin, words),
        )

    def _unproved(self, origin: Endpoint, words: Sequence[Word]) -> tuple[str, ...]:
        """What this file leaves open, by name; the last three no file can prove."""
        top = self._topology.above(origin)[-1:]
        applied = any(w.step is Step.APPLIED and (w.receiver,) == top for w in words)
        above = any(w.receiver.node != origin.node for w in words)
        found = [] if applied else ["applied_at_top"]
        found += [] if above else ["time"]
        found += [] if self._signers.is_carried else ["revocation"]
        return (*found, "names", "truth", "later")


def _check_after(header: Header, last: Header, head: str) -> None:
    """Clause E4."""
    said = (header.stream, header.incarnation, header.seq, header.previous)
    if said != (last.stream, last.incarnation, last.seq + 1, head):
        raise EvidenceError(
            "E4",
            "batches",
            expected=f"#{last.seq + 1} after {head[:12]}",
            got=f"#{header.seq} after {header.previous[:12]}",
        )


def _segment(header: Header, sha256: str) -> SegmentRef:
    for ref in header.segments:
        if ref.sha256 == sha256:
            return ref
    raise EvidenceError("E3", "segment", expected=f"one of #{header.seq}", got=sha256[:12])


def _receipt(proved: ProvedReceipt) -> Receipt:
    """The receipt a row of cells is (clause E11)."""
    try:
        receiver, stream, seq, head, stage, rows, digest, reason, at, incarnation = proved.cells
        who, of = Endpoint.parse(str(receiver)), StreamId.parse(str(stream))
        said = Stage(str(stage))
        return Receipt(
            who,
            of,
            int(seq or 0),
            str(head),
            said,
            int(rows or 0),
            str(digest),
            str(reason),
            str(at),
            str(incarnation),
        )
    except ValueError as exc:
        raise EvidenceError("E11", "receipt", expected=", ".join(RECEIPT_COLUMNS), got=exc) from exc
