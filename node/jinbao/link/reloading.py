"""Certificates of a listener that change while it serves: handed to the TLS library only when they differ.

gRPC asks at every connection and builds anew whatever it is given, while another thread may be
taking a handshake from what it replaces: a use after free that ends the process (grpc/grpc issue
36693). Silence means "as before" and touches nothing. For a real change the handshakes under way
are let through first, and the next ones wait until the new certificates stand.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import grpc

Material = tuple[bytes, bytes, bytes | None]
"""Key, chain and anchors (PEM); without anchors callers show no certificate."""

SETTLE_S = 0.1
"""How long a handshake that has its answer needs to begin, many times over: it takes microseconds."""


class ReloadingCertificates:
    """What one listener shows and trusts, as `now` tells it at each connection, from any thread."""

    def __init__(self, now: Callable[[], Material]) -> None:
        self._now = now
        self._lock = threading.Lock()
        self._held = now()
        self._changed_at: float | None = None

    def credentials(self) -> grpc.ServerCredentials:
        """Credentials of the listener; callers must show a certificate exactly if there are anchors."""
        return grpc.dynamic_ssl_server_credentials(
            _configuration(self._held),
            self.fetch,  # type: ignore[arg-type]  # stubs lack None, which is "no change"
            require_client_authentication=self._held[2] is not None,
        )

    def fetch(self) -> grpc.ServerCertificateConfiguration | None:
        """The certificates if they are others than before; None means unchanged."""
        with self._lock:  # asked within: an answer that waited here would be an old one
            found = self._now()
            if self._changed_at is not None:
                time.sleep(max(0.0, self._changed_at + SETTLE_S - time.monotonic()))
                self._changed_at = None
            if found == self._held:
                return None
            time.sleep(SETTLE_S)
            self._held, self._changed_at = found, time.monotonic()
            return _configuration(found)


def _configuration(material: Material) -> grpc.ServerCertificateConfiguration:
    key, chain, anchors = material
    return grpc.ssl_server_certificate_configuration([(key, chain)], anchors)
