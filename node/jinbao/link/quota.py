"""Quotas of the listener: what one neighbour may use at once and per second, so that it starves no other.

Lives on the listener's loop and is used by it alone. A call beyond its peer's places is
refused to that peer; one beyond its pace waits its turn. Blocking reads wait in their
peer's own line for the shared pool. Knows nothing of what calls mean.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from jinbao.link.limits import LinkLimits
from jinbao.model.errors import PeerError
from jinbao.model.zone import Endpoint

HELLO, FOLLOW, FETCH = "hellos", "follows", "fetches"


class QuotaError(PeerError):
    """A peer asked for more at once than its share."""

    code = "quota"


@dataclass(slots=True)
class _Share:
    """What one peer uses now: calls by kind, its place in time, its line for the pool."""

    reading: asyncio.Semaphore
    next_at: float = 0.0
    running: dict[str, int] = field(default_factory=dict)


class PeerQuota:
    """Shares of all peers; peers are proved neighbours, so there are never more than the topology names."""

    def __init__(self, limits: LinkLimits, pool: ThreadPoolExecutor, clock: Callable[[], float]) -> None:
        self._limits, self._pool, self._clock = limits, pool, clock
        self._most = {
            HELLO: limits.hellos_per_peer_max,
            FOLLOW: limits.follows_per_peer_max,
            FETCH: limits.fetches_per_peer_max,
        }
        self._shares: dict[Endpoint, _Share] = {}

    def _share(self, peer: Endpoint) -> _Share:
        if peer not in self._shares:
            self._shares[peer] = _Share(asyncio.Semaphore(self._limits.reads_per_peer_max))
        return self._shares[peer]

    def running(self, peer: Endpoint, kind: str) -> int:
        """Calls of a kind a peer has running."""
        return self._share(peer).running.get(kind, 0)

    @asynccontextmanager
    async def place(self, peer: Endpoint, kind: str) -> AsyncIterator[None]:
        """A place for one call, at the peer's pace; raises QuotaError if all its places are taken."""
        share, most = self._share(peer), self._most[kind]
        if share.running.get(kind, 0) >= most:
            # Who asks again at once waits for its answer, and holds a stream of its own connection.
            await asyncio.sleep(self._limits.refusal_s)
            raise QuotaError(kind, expected=f"at most {most} at once", got=most + 1)
        share.running[kind] = share.running.get(kind, 0) + 1
        try:
            await self._pace(share)
            yield
        finally:
            share.running[kind] -= 1

    async def _pace(self, share: _Share) -> None:
        """Wait until the peer's next call is due; a peer that was quiet may make a burst."""
        now, step = self._clock(), 1 / self._limits.calls_per_s_max
        share.next_at = max(share.next_at, now - step * self._limits.calls_burst) + step
        if share.next_at > now:
            await asyncio.sleep(share.next_at - now)

    async def read(self, peer: Endpoint, call: Callable[[], Any]) -> Any:
        """What a blocking call gives, run in the pool; a peer has at most its share of it at once."""
        async with self._share(peer).reading:
            return await asyncio.get_running_loop().run_in_executor(self._pool, call)
