"""Questions and acts about trust: what this zone believes, its own certificates, documents an operator imports."""

from __future__ import annotations

from base64 import b64decode, b64encode
from binascii import Error as Base64Error
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from pydantic import Field

from jinbao.appliance import topology_sealing
from jinbao.appliance.questions.registry import Asked, Body, Reasoned, question
from jinbao.appliance.questions.status import NoArguments
from jinbao.appliance.trust_drop import read_documents
from jinbao.model.audit import Role
from jinbao.model.errors import UsageError
from jinbao.trust.encoding import envelope_message
from jinbao.trust.identity import authority_name
from jinbao.trust.revocation import key_id


class OneFile(Reasoned):
    """A file's name, for the message, its bytes in base64, and why."""

    name: str
    content: str


class OneTopology(Reasoned):
    """A topology in TOML with its file's name, its SHA-256 (hex), which the trail names, and why."""

    name: str = Field(max_length=200)
    content: str = Field(max_length=1 << 20)
    sha256: str = Field(pattern="^[0-9a-f]{64}$")


@question("trust.list", arguments=NoArguments)
def list_(asked: Asked, _arguments: NoArguments) -> Body:
    """Our certificate, roots, authorities and lists held, topology in force, and who is asked for newer lists."""
    zone, book = asked.zone, asked.zone.trust.book()
    return {
        "suite": zone.identity.suite,
        "until": _time(zone.identity.until),
        "certificate": _certificate(zone.identity.chain[0]),
        "topology": {"version": zone.topology.version, "made_at": zone.topology.made_at},
        "roots": [_certificate(c) for c in book.roots],
        "authorities": [_certificate(c) for c in book.authorities],
        "lists": [
            {
                "authority": crl.authority.rfc4514_string(),
                "key": crl.key_id,
                "number": crl.number,
                "made_at": _time(crl.this_update),
                "due_at": _time(crl.next_update),
                "believed_until": _time(crl.next_update + book.grace),
                "revoked": len(crl.revoked),
            }
            for crl in sorted(book.crls.values(), key=lambda c: c.authority.rfc4514_string())
        ],
        "asked": asked.running.asking.standings() if asked.running else [],
    }


@question("trust.documents", arguments=NoArguments)
def documents(asked: Asked, _arguments: NoArguments) -> Body:
    """What this zone believes, to prove a file by elsewhere: roots, documents, signed topology, grants; base64."""
    trust = asked.zone.trust
    book = trust.book()
    grants = [envelope_message(sealed).SerializeToString() for sealed in trust.sealed_grants()]
    return {
        "zone": str(asked.zone.me),
        "roots": [_base64(root.public_bytes(Encoding.DER)) for root in book.roots],
        "documents": [_base64(document) for document in book.documents],
        "topology": _base64(envelope_message(trust.sealed_topology()).SerializeToString()),
        "grants": [_base64(grant) for grant in grants],
        "grace_s": round(book.grace.total_seconds()),
    }


def _base64(content: bytes) -> str:
    return b64encode(content).decode("ascii")


@question("trust.import", kind="act", role=Role.SECURITY, arguments=OneFile)
def import_(asked: Asked, arguments: OneFile) -> Body:
    """Take in the documents of a file, all or none; what is new goes on to the neighbours."""
    try:
        content = b64decode(arguments.content, validate=True)
    except Base64Error as exc:
        raise UsageError("trust.import: content", expected="base64", got=str(exc)) from exc
    if not content:
        raise UsageError(
            f"file {arguments.name[:200]}",
            expected="certificates and lists (PEM), or a sealed topology",
            got="an empty file",
        )
    with TemporaryDirectory(prefix="jinbao-trust-") as directory:
        path = Path(directory) / "document"  # the caller's name is for messages only
        path.write_bytes(content)
        documents = read_documents(path)
    is_news = asked.zone.trust.take_in(documents)
    if asked.running is not None:
        asked.running.workers["trust"].wake()
    return {
        "file": arguments.name[:200],
        "documents": [{"kind": str(d.kind), "name": d.name, "number": d.number} for d in documents],
        "learned": is_news,
    }


@question("trust.seal", kind="act", changes=True, role=Role.SECURITY, arguments=OneTopology)
def seal(asked: Asked, arguments: OneTopology) -> Body:
    """Seal a newer topology written in TOML by this zone, the root's exchange zone; it is handed out by `trust.import`."""
    held = sha256(arguments.content.encode()).hexdigest()
    if held != arguments.sha256:  # what the trail names must be what is sealed
        raise UsageError("trust.seal: sha256", expected=f"that of the content, {held}", got=arguments.sha256)
    topology, body = topology_sealing.seal(asked.zone, arguments.content, arguments.name)
    return {
        "version": topology.version,
        "made_at": topology.made_at,
        "nodes": [row.node for row in topology.rows],
        "content": _base64(body),
    }


def _certificate(certificate: x509.Certificate) -> dict[str, Any]:
    return {
        "authority": authority_name(certificate),
        "subject": certificate.subject.rfc4514_string(),
        "issuer": certificate.issuer.rfc4514_string(),
        "serial": f"{certificate.serial_number:x}",
        "key": key_id(certificate),
        "from": _time(certificate.not_valid_before_utc),
        "until": _time(certificate.not_valid_after_utc),
    }


def _time(moment: Any) -> str:  # a datetime in UTC
    return f"{moment:%Y-%m-%dT%H:%M:%SZ}"
