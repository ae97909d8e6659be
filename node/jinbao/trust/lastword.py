"""The last word of a superseded holder: a seal that counts for what was, though its certificate no longer does.

Who lost an identity by a grant is not told at once, and may sign after its certificate was taken back as
superseded, or had ended, for want of a renewal. Nobody else can say what it holds. Such a seal is proved as
of the last moment its certificate was good, and how it falls short is said beside it; a certificate taken
back for any other reason proves nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from cryptography import x509

from jinbao.model.errors import IdentityError, RevocationUnknownError
from jinbao.trust.book import Proof, TrustBook
from jinbao.trust.signer import prove_signer

_BEFORE = timedelta(seconds=1)
"""Certificates and lists count in whole seconds."""


def prove_last_word(
    book: TrustBook, suite: str, leaf: x509.Certificate, rest: Sequence[x509.Certificate], made_at: datetime
) -> tuple[Proof, str]:
    """The way from a signer to a root, and what is to be said of it: empty where it was good at `made_at`.

    Raises IdentityError as `prove_signer` does for one that never was good, or was taken back for another reason.
    """
    try:
        return prove_signer(book, suite, leaf, rest, made_at), ""
    except RevocationUnknownError:
        raise
    except IdentityError as exc:
        ends = [end for end in _ends(book, leaf) if end[0] <= made_at]
        if not ends:
            raise
        until, said = min(ends)
        try:
            return prove_signer(book, suite, leaf, rest, until - _BEFORE), said
        except IdentityError:
            raise exc from None


def _ends(book: TrustBook, leaf: x509.Certificate) -> list[tuple[datetime, str]]:
    """Moments from which a certificate is good no longer, in ways that leave what it signed a witness."""
    ended = leaf.not_valid_after_utc
    found = [(ended, f"signed by a certificate that had ended at {_text(ended)}")]
    for crl in book.crls.values():
        since = crl.superseded_at(leaf)
        if since is not None:
            found.append((since, f"signed by a certificate taken back as superseded at {_text(since)}"))
    return found


def _text(moment: datetime) -> str:
    return f"{moment:%Y-%m-%dT%H:%M:%SZ}"
