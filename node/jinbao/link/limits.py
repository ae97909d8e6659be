"""Limits of the line: each with a unit, a default and a reason."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class LinkLimits:
    """Bounds of one listener and of the calls a client makes.

    `message_bytes_max` 4 MiB: a follow answer is one envelope, a chunk 1 MiB; more is not ours.
    `chunk_bytes` 1 MiB: measured fastest. `handshake_s` 5: slow handshakes starve nobody.
    `connection_age_s` 300: a certificate that was taken back lives no longer on a connection.
    `fetches_per_peer_max` 4: one child's bulk leaves workers for the others.
    `headers_max` 500: one answer is small. `call_s` 30: an answer that does not come is a dead link.
    """

    message_bytes_max: int = 4 << 20
    chunk_bytes: int = 1 << 20
    handshake_s: float = 5.0
    connection_age_s: float = 300.0
    fetches_per_peer_max: int = 4
    headers_max: int = 500
    follow_wait_s_max: float = 20.0
    call_s: float = 30.0
    workers_max: int = 16
    keepalive_s: float = 20.0
