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
    `follows_per_peer_max`, `hellos_per_peer_max` 4: one is used, the others may belong to connections
    that broke unnoticed. `reads_per_peer_max` 2 of `workers_max` 16: one reads while one is sent.
    `calls_per_s_max` 200 with a `calls_burst` of 400: a backlog of small segments, and no hammer.
    `refusal_s` 0.1: who asks in vain does not ask a thousand times a second.
    `streams_per_connection_max` 16: all a neighbour's calls at once, and no more without a name.
    `unjudged_max` 8: callers at once that can only be judged by lists they bring.
    `request_bytes_max` 4 MiB: the marks of a province. `request_s` 10: a request comes whole or not at all.
    `answer_bytes_max` 64 MiB: what a follow answer may keep in memory, whatever a peer sends.
    `headers_max` 500: one answer is small. `call_s` 30: an answer that does not come is a dead link.
    `paced_call_s` 30: bulk that a window limits comes in calls of this length, each with its own deadline.
    `line_bytes_per_s_min` 16 000: half of a line of 256 kbit/s, which others use too. A chunk has the
    time it takes there beside `call_s`, and so has a ping, which waits behind it: where they are cut off
    at `call_s` nothing would ever arrive.
    """

    message_bytes_max: int = 4 << 20
    chunk_bytes: int = 1 << 20
    handshake_s: float = 5.0
    connection_age_s: float = 300.0
    fetches_per_peer_max: int = 4
    follows_per_peer_max: int = 4
    hellos_per_peer_max: int = 4
    reads_per_peer_max: int = 2
    calls_per_s_max: float = 200.0
    calls_burst: int = 400
    refusal_s: float = 0.1
    streams_per_connection_max: int = 16
    unjudged_max: int = 8
    request_bytes_max: int = 4 << 20
    request_s: float = 10.0
    answer_bytes_max: int = 64 << 20
    headers_max: int = 500
    follow_wait_s_max: float = 20.0
    call_s: float = 30.0
    workers_max: int = 16
    keepalive_s: float = 20.0
    paced_call_s: float = 30.0
    line_bytes_per_s_min: float = 16_000.0

    @property
    def chunk_s(self) -> float:
        """Longest a chunk may take on the slowest line there is."""
        return self.call_s + self.chunk_bytes / self.line_bytes_per_s_min
