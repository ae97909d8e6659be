"""A directory trust documents are laid into, by hand or by an authority beside the zone: each is taken in once.

PEM files may hold several certificates and lists; a file that is none of these is read as a
sealed topology or grant. What proves nothing stays where it lies and is told once. Deletes nothing.
"""

from __future__ import annotations

import stat
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from jinbao.appliance.trust_keeper import TOPOLOGY, TrustKeeper, document_of
from jinbao.model.errors import LocalError, PeerError, UnprovableError
from jinbao.model.trust import DocumentKind, TrustDocument
from jinbao.trust.book import TrustBook
from jinbao.trust.encoding import decode_envelope, decode_topology
from jinbao.trust.envelope import UNREADABLE
from jinbao.trust.grants import GRANT_TYPE

FILE_BYTES_MAX = 8 << 20
"""A revocation list of a hundred thousand entries, twice."""

FILES_MAX = 1000
"""Files looked at in one directory; more is a mistake."""

_CERTIFICATE, _LIST = b"-----BEGIN CERTIFICATE-----", b"-----BEGIN X509 CRL-----"
_END = b"-----END "


def read_documents(path: Path) -> list[TrustDocument]:
    """The documents of a file; raises LocalError for one that is too large, UnprovableError for one that holds none."""
    size = path.stat().st_size
    if size > FILE_BYTES_MAX:
        raise LocalError(f"trust file {path.name}", expected=f"at most {FILE_BYTES_MAX} bytes", got=size)
    content = path.read_bytes()
    if _CERTIFICATE in content or _LIST in content:
        return [document_of(der) for der in _blocks(content, path.name)]
    if content[:1] == b"\x30":  # DER begins with a sequence; an envelope does not
        return [document_of(content)]
    sealed = decode_envelope(content)
    if sealed.payload_type == GRANT_TYPE:
        return [document_of(content)]
    topology = decode_topology(sealed.payload)
    return [TrustDocument(DocumentKind.TOPOLOGY, TOPOLOGY, topology.version, content)]


def _blocks(content: bytes, name: str) -> list[bytes]:
    """Certificates and lists of a PEM file as DER, in order; other blocks are refused: no key belongs there."""
    found: list[bytes] = []
    for block in content.split(b"-----BEGIN ")[1:]:
        kind = block.partition(b"-----")[0]
        pem = b"-----BEGIN " + block
        try:
            if kind == b"CERTIFICATE":
                found.append(x509.load_pem_x509_certificate(pem).public_bytes(Encoding.DER))
            elif kind == b"X509 CRL":
                found.append(x509.load_pem_x509_crl(pem).public_bytes(Encoding.DER))
            else:
                raise UnprovableError(
                    f"trust file {name}",
                    expected="certificates and revocation lists",
                    got=kind[:40].decode("ascii", "replace"),
                )
        except UNREADABLE as exc:
            raise UnprovableError(f"trust file {name}", expected="PEM", got=str(exc)[:120]) from exc
    return found


class TrustDrop:
    """Looks into one directory again and again; remembers what it has seen."""

    def __init__(self, keeper: TrustKeeper) -> None:
        self._keeper = keeper
        self._seen: dict[Path, tuple[tuple[int, int], TrustBook | None]] = {}

    def step(self, directory: Path) -> bool:
        """Take in files that are new or changed; whether anything was learned."""
        learned = False
        for path, stamp in self._fresh(directory):
            try:
                learned |= self._keeper.take_in(read_documents(path))
            except (LocalError, PeerError) as exc:
                self._keeper.refuse(path.name, exc)
                # What proves nothing yet may once its authority is known.
                self._seen[path] = stamp, self._keeper.book()
            except OSError as exc:
                error = LocalError(
                    f"trust file {path.name}", expected="a file this zone may read", got=exc.strerror
                )
                self._keeper.refuse(path.name, error)
                self._seen[path] = stamp, None
            else:
                self._seen[path] = stamp, None
        return learned

    def _fresh(self, directory: Path) -> list[tuple[Path, tuple[int, int]]]:
        """Files that are new, changed, or were refused by another book than today's, with their stamps."""
        if not directory.is_dir():
            return []
        found = []
        for path in sorted(directory.iterdir())[:FILES_MAX]:
            if path.name.startswith(".") or path.is_symlink():
                continue
            try:
                status = path.stat()
            except FileNotFoundError:  # taken away meanwhile
                continue
            stamp = status.st_mtime_ns, status.st_size
            seen, refused_by = self._seen.get(path, (None, None))
            again = refused_by is not None and refused_by is not self._keeper.book()
            if stat.S_ISREG(status.st_mode) and (seen != stamp or again):
                found.append((path, stamp))
        return found
