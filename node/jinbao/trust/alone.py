"""A signer proved by root certificates alone: for files that are read where no topology and no list is.

Says nothing of revocation. Who may speak for a node is told by the node's own code: the authority of its
province, the root node's, or one that names nobody.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from cryptography import x509

from jinbao.model.errors import UnprovableError
from jinbao.model.zone import Endpoint
from jinbao.trust.chain import path_to_anchor
from jinbao.trust.documents import MINISTRY
from jinbao.trust.identity import authority_name, check_usage, parse_identity
from jinbao.trust.signer import check_suite, use_of


def check_alone(
    suite: str,
    chain: tuple[x509.Certificate, Sequence[x509.Certificate]],
    *,
    origin: Endpoint,
    made_at: datetime,
    anchors: Sequence[x509.Certificate],
    thing: str,
) -> None:
    """Check that a signer is `origin`, certified below `anchors` when it signed; its signature is proved already.

    `chain` is the signer's certificate and the rest, as `envelope.signer_of` gives them. Raises
    UnprovableError or IdentityError.
    """
    leaf, rest = chain
    check_usage(leaf, use_of(suite))
    path = path_to_anchor(leaf, rest, anchors, made_at)
    check_suite(suite, path[1])
    # Without a topology: by the code of its province, or the ministry's (GB/T 2260).
    province, named = f"{origin.node[:2]}0000", authority_name(path[1])
    if named not in {"", MINISTRY, province}:
        raise UnprovableError(f"issuer of {origin.node}", expected=f"authority {province}", got=named)
    endpoint = parse_identity(leaf).endpoint
    if endpoint != origin:
        raise UnprovableError(thing, expected=origin, got=endpoint)
