"""Why a handshake failed: gRPC says only that the socket closed, an operator needs the reason.

Dials once more, believes nothing, and looks at the certificate the other end shows: a
clock that is wrong is told as a clock, not as a bad certificate. Sends no data, presents no
certificate, and decides nothing.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Sequence
from datetime import datetime

from cryptography import x509

from jinbao.model.errors import IdentityError, UnprovableError
from jinbao.trust.chain import check_time, issued
from jinbao.trust.envelope import parse_certificate

WAIT_S = 3.0
"""Longer than any handshake of ours takes; a diagnosis must not be the second outage."""


def why(address: str, host: str, anchors: Sequence[x509.Certificate], now: datetime) -> str:
    """A sentence on what the other end shows that keeps a handshake from succeeding; empty if nothing is seen."""
    try:
        der = _shown(address, host)
    except TimeoutError:
        return f"no handshake within {WAIT_S:g} s"
    except (OSError, ValueError) as exc:
        return str(exc)[:200]
    try:
        leaf = parse_certificate(der)
        check_time(leaf, now)
    except (IdentityError, UnprovableError) as exc:
        return str(exc)
    if not any(issued(leaf, anchor) for anchor in anchors):
        return f"its certificate is of {leaf.issuer.rfc4514_string()[:120]}, which this link does not trust"
    return ""


def _shown(address: str, host: str) -> bytes:
    """The certificate a listener shows, DER; raises OSError."""
    name, _, port = address.rpartition(":")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE  # nothing is believed here
    context.set_alpn_protocols(["h2"])
    with (
        socket.create_connection((name.strip("[]"), int(port)), timeout=WAIT_S) as plain,
        context.wrap_socket(plain, server_hostname=host) as secured,
    ):
        return secured.getpeercert(binary_form=True) or b""
