"""Revocation lists 吊销列表: what an authority took back, and how long its word holds.

A list says until when the next one will be there. A zone believes it that long and a stated
grace beyond; later it does not know, and lets nobody in (fail closed). Reads X.509 lists
(RFC 5280, 5) within bounds; where they come from is not its business.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from types import MappingProxyType

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding

from jinbao.model.errors import RevocationUnknownError, RevokedError, UnprovableError
from jinbao.trust.bounds import NUMBER_MAX
from jinbao.trust.envelope import UNREADABLE

CRL_BYTES_MAX = 4 << 20
"""About 100,000 entries: more than all zones of the country in the life of a leaf."""

ENTRIES_MAX = 100_000
YEAR_MAX = 9000
"""A list of later is a mistake, and with a grace beyond what a clock can hold."""

_COMPROMISED = frozenset(
    {x509.ReasonFlags.key_compromise, x509.ReasonFlags.ca_compromise, x509.ReasonFlags.aa_compromise}
)
_ALWAYS = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True)
class RevocationList:
    """One list of one authority key; `revoked` maps a serial to the moment from which it does not hold.

    That moment is the beginning of time where the key was stolen: a thief dates as he likes.
    """

    authority: x509.Name
    key_id: str
    number: int
    this_update: datetime
    next_update: datetime
    revoked: Mapping[int, datetime]
    der: bytes

    def check(self, certificate: x509.Certificate, at: datetime, grace: timedelta) -> None:
        """Raise RevokedError or RevocationUnknownError unless `certificate` was good at `at`."""
        name = self.authority.rfc4514_string()[:120]
        if at > self.next_update + grace:
            raise RevocationUnknownError(
                f"revocation list of {name}",
                expected=f"one that holds at {at:%Y-%m-%dT%H:%M:%SZ}",
                got=f"number {self.number}, due again at {self.next_update:%Y-%m-%dT%H:%M:%SZ}",
                next_step="jinbao trust import, with the newest list of that authority",
            )
        since = self.revoked.get(certificate.serial_number)
        if since is not None and at >= since:
            raise RevokedError(
                f"certificate {certificate.serial_number:x}",
                expected="one that was not taken back",
                got=f"revoked by {name}" + ("" if since == _ALWAYS else f" at {since:%Y-%m-%dT%H:%M:%SZ}"),
                next_step="enrol this zone again",
            )

    def superseded_at(self, certificate: x509.Certificate) -> datetime | None:
        """When `certificate` was taken back because its holder has a successor; None where it was not, or for worse."""
        number = certificate.serial_number
        since = self.revoked.get(number)
        if since is None or certificate.issuer != self.authority:
            return None
        entry = x509.load_der_x509_crl(self.der).get_revoked_certificate_by_serial_number(number)
        assert entry is not None, "what was read of a list is in it"
        return since if _reason(entry) is x509.ReasonFlags.superseded else None


def read_list(der: bytes) -> RevocationList:
    """Read a list; raises UnprovableError on anything that is none. Says nothing of its signature."""
    if len(der) > CRL_BYTES_MAX:
        raise UnprovableError("revocation list", expected=f"at most {CRL_BYTES_MAX} bytes", got=len(der))
    try:
        return _read(x509.load_der_x509_crl(der), der)
    except (*UNREADABLE, x509.ExtensionNotFound) as exc:
        raise UnprovableError(
            "revocation list",
            expected="an X.509 list with a number and its authority's key",
            got=str(exc)[:120],
        ) from exc


def _read(crl: x509.CertificateRevocationList, der: bytes) -> RevocationList:
    number = crl.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number
    key_id = crl.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value.key_identifier
    if key_id is None or crl.next_update_utc is None:
        msg = "no key identifier or no date of the next list"
        raise ValueError(msg)
    if not 0 <= number <= NUMBER_MAX or crl.next_update_utc.year > YEAR_MAX:
        msg = f"number {number:x}"[:60] + f" until {crl.next_update_utc.year}"
        raise ValueError(msg)
    if len(crl) > ENTRIES_MAX:
        msg = f"{len(crl)} entries"
        raise ValueError(msg)
    revoked = {entry.serial_number: _since(entry) for entry in crl}
    return RevocationList(
        crl.issuer,
        key_id.hex(),
        number,
        crl.last_update_utc,
        crl.next_update_utc,
        MappingProxyType(revoked),
        der,
    )


def _since(entry: x509.RevokedCertificate) -> datetime:
    return _ALWAYS if _reason(entry) in _COMPROMISED else entry.revocation_date_utc


def _reason(entry: x509.RevokedCertificate) -> x509.ReasonFlags:
    try:
        return entry.extensions.get_extension_for_class(x509.CRLReason).value.reason
    except x509.ExtensionNotFound:
        return x509.ReasonFlags.unspecified


def signed_by(found: RevocationList, authority: x509.Certificate) -> bool:
    """Whether an authority's key signed a list, under its name, and may sign lists."""
    if found.authority != authority.subject or found.key_id != key_id(authority):
        return False
    try:
        usage = authority.extensions.get_extension_for_class(x509.KeyUsage).value
    except x509.ExtensionNotFound:
        return False
    key = authority.public_key()
    signing = isinstance(key, ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey | rsa.RSAPublicKey)
    return usage.crl_sign and signing and x509.load_der_x509_crl(found.der).is_signature_valid(key)  # type: ignore[arg-type]


def key_id(certificate: x509.Certificate) -> str:
    """The identifier of a certificate's own key, hex: as it says, else by RFC 5280, 4.2.1.2."""
    try:
        named = certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    except x509.ExtensionNotFound:
        named = x509.SubjectKeyIdentifier.from_public_key(certificate.public_key())
    return named.digest.hex()


def to_pem(der: bytes) -> bytes:
    """A list as PEM."""
    return x509.load_der_x509_crl(der).public_bytes(Encoding.PEM)
