"""What an authority is and has done: a projection of its ledger, rebuilt whenever the ledger is opened. Writes nothing."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from jinbao.authority.ledger import Entry
from jinbao.authority.profile import Revocation
from jinbao.model.errors import UsageError
from jinbao.model.grant import Grant, granted
from jinbao.model.topology import Topology
from jinbao.trust.encoding import decode_envelope
from jinbao.trust.grants import decode_grant
from jinbao.trust.identity import ROOT


class Stage(StrEnum):
    """The life of one of an authority's keys."""

    MADE = "made"  # waits for its certificate
    PREPARED = "prepared"  # certified and being made known, signs nothing yet
    ACTIVE = "active"  # signs
    SUPERSEDED = "superseded"  # signs lists of its own leaves, no new leaf
    TAINTED = "tainted"  # as superseded, and its leaves are to be renewed at once
    RETIRED = "retired"  # signs nothing more


class Use(StrEnum):
    """What a certificate was issued for."""

    LINE = "line"
    SEAL = "seal"
    ENROLMENT = "enrolment"
    AUTHORITY = "authority"
    CROSS = "cross"


@dataclass
class OwnKey:
    """One of the authority's keys; its certificates oldest first."""

    ski: str
    spec: Mapping[str, Any]
    public_key: bytes
    stage: Stage = Stage.MADE
    certificates: list[x509.Certificate] = field(default_factory=list)

    @property
    def certificate(self) -> x509.Certificate:
        """The newest one."""
        if not self.certificates:
            raise UsageError(
                f"key {self.ski[:12]} of the authority",
                expected="its certificate",
                got="none yet",
                next_step="jinbao ca csr, have it signed, jinbao ca import",
            )
        return self.certificates[-1]


@dataclass(frozen=True)
class Issued:
    """One certificate this authority signed; `about` is a zone or an authority, `via` why it was issued."""

    certificate: x509.Certificate
    use: Use
    about: str
    via: str
    issuer: str

    @property
    def serial(self) -> int:
        """Its serial number."""
        return self.certificate.serial_number

    @property
    def key(self) -> str:
        """The hash that names its public key."""
        return key_hash(self.certificate)


@dataclass
class TokenState:
    """A token as the authority knows it: never its secret. `used` maps a zone to why its certificates were issued."""

    id: str
    secret_sha256: str
    node: str
    tier: str
    region: str
    zones: tuple[str, ...]
    epoch: int
    expires: datetime
    founding: bool
    used: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class TakenGrant:
    """A node at a new epoch, as the authority took it in; `sealed` is empty for the root node, which has no parent."""

    grant: Grant
    sealed: bytes
    at: datetime


@dataclass
class State:
    """Everything, folded from the ledger."""

    role: str = ""
    domain: str = ""
    node: str = ""
    keys: dict[str, OwnKey] = field(default_factory=dict)
    issued: dict[int, Issued] = field(default_factory=dict)
    tokens: dict[str, TokenState] = field(default_factory=dict)
    revoked: dict[int, Revocation] = field(default_factory=dict)
    lists: dict[str, x509.CertificateRevocationList] = field(default_factory=dict)
    documents: dict[bytes, None] = field(default_factory=dict)
    refusals: set[tuple[str, str]] = field(default_factory=set)
    grants: list[TakenGrant] = field(default_factory=list)
    acts: int = 0

    @property
    def name(self) -> str:
        """`root`, or the node whose authority this is."""
        return ROOT if self.role == ROOT else self.node

    def key_in(self, *stages: Stage) -> OwnKey | None:
        """The newest key in one of these stages."""
        found = [key for key in self.keys.values() if key.stage in stages]
        return found[-1] if found else None

    @property
    def active(self) -> OwnKey:
        """The key that signs; raises UsageError before there is one."""
        found = self.key_in(Stage.ACTIVE)
        if found is None:
            waiting = self.key_in(Stage.MADE)
            raise UsageError(
                f"authority {self.name or 'of this directory'}",
                expected="a key with a certificate",
                got="one that waits for its certificate" if waiting else "none",
                next_step="jinbao ca csr, jinbao ca import" if waiting else "jinbao ca init",
            )
        return found

    def epoch(self, node: str) -> int:
        """The highest epoch a node was granted, as far as the authority was told; 0 if it was not."""
        return max((one.grant.epoch for one in self.grants if one.grant.node == node), default=0)

    def in_force(self, topology: Topology) -> Topology:
        """A topology with every grant that was taken in."""
        return granted(topology, (one.grant for one in self.grants))

    def apply(self, entry: Entry) -> None:
        """Fold one act; an unknown kind is one of a later release and changes nothing here."""
        self.acts = entry.number
        fold = getattr(self, f"_{entry.kind}", None)
        if fold is not None:
            fold(entry, entry.body)

    def _founded(self, _: Entry, body: Mapping[str, Any]) -> None:
        self.role, self.domain, self.node = body["role"], body["domain"], body["node"]

    def _key_made(self, _: Entry, body: Mapping[str, Any]) -> None:
        ski = body["ski"]
        self.keys[ski] = OwnKey(ski, body["spec"], unpacked(body["public_key"]))

    def _certified(self, _: Entry, body: Mapping[str, Any]) -> None:
        key = self.keys[body["ski"]]
        key.certificates.append(load(body["certificate"]))
        if key.stage is Stage.MADE:
            key.stage = Stage.PREPARED

    def _activated(self, _: Entry, body: Mapping[str, Any]) -> None:
        for key in self.keys.values():
            if key.stage is Stage.ACTIVE:
                key.stage = Stage.SUPERSEDED
        self.keys[body["ski"]].stage = Stage.ACTIVE

    def _tainted(self, _: Entry, body: Mapping[str, Any]) -> None:
        self.keys[body["ski"]].stage = Stage.TAINTED

    def _retired(self, _: Entry, body: Mapping[str, Any]) -> None:
        self.keys[body["ski"]].stage = Stage.RETIRED

    def _imported(self, _: Entry, body: Mapping[str, Any]) -> None:
        self.documents |= dict.fromkeys(map(unpacked, body["documents"]))

    def _issued(self, _: Entry, body: Mapping[str, Any]) -> None:
        for one in body["certificates"]:
            found = Issued(load(one["der"]), Use(one["use"]), one["about"], body["via"], body["issuer"])
            self.issued[found.serial] = found
            kind, _sep, token = body["via"].partition(":")
            if kind == "token":
                self.tokens[token].used[one["about"]] = body["via"]

    def _token_made(self, _: Entry, body: Mapping[str, Any]) -> None:
        self.tokens[body["id"]] = TokenState(
            body["id"],
            body["secret_sha256"],
            body["node"],
            body["tier"],
            body["region"],
            tuple(body["zones"]),
            body["epoch"],
            datetime.fromisoformat(body["expires"]),
            body["founding"],
        )

    def _revoked(self, entry: Entry, body: Mapping[str, Any]) -> None:
        for serial in body["serials"]:
            number = int(serial, 16)
            self.revoked.setdefault(number, Revocation(number, entry.at, x509.ReasonFlags(body["reason"])))

    def _granted(self, entry: Entry, body: Mapping[str, Any]) -> None:
        sealed = unpacked(body["sealed"])
        self.grants.append(TakenGrant(_grant(self.domain, body, sealed), sealed, entry.at))

    def _refused(self, _: Entry, body: Mapping[str, Any]) -> None:
        self.refusals.add((body["via"], body["thing"]))

    def _crl(self, _: Entry, body: Mapping[str, Any]) -> None:
        self.lists[body["ski"]] = x509.load_der_x509_crl(unpacked(body["der"]))


def _grant(domain: str, body: Mapping[str, Any], sealed: bytes) -> Grant:
    """The grant of an act: as its parent sealed it, or what the authority itself said of the root node."""
    if sealed:
        return decode_grant(decode_envelope(sealed).payload)
    return Grant(domain, body["node"], body["epoch"], (), (), (), "", body["made_at"])


def packed(der: bytes) -> str:
    """Bytes as the ledger keeps them."""
    return base64.b64encode(der).decode("ascii")


def unpacked(text: str) -> bytes:
    """Bytes from the ledger."""
    return base64.b64decode(text, validate=True)


def load(text: str) -> x509.Certificate:
    """A certificate from the ledger."""
    return x509.load_der_x509_certificate(unpacked(text))


def der(certificate: x509.Certificate) -> bytes:
    """A certificate's bytes."""
    return certificate.public_bytes(Encoding.DER)


def key_hash(holder: x509.Certificate | x509.CertificateSigningRequest) -> str:
    """SHA-256 of the public key with its kind, hex: what names a key."""
    spki = holder.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return hashlib.sha256(spki).hexdigest()


def key_id(certificate: x509.Certificate) -> str:
    """The key identifier a certificate states for its own key, hex; empty if none."""
    try:
        return certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest.hex()
    except x509.ExtensionNotFound:
        return ""
