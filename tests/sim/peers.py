"""The wire of the simulator: a neighbour reached by a call, through weather that is decided by the seed.

Weather drops requests and answers, repeats old answers, reorders, doubles and corrupts
headers, cuts and alters segments, and parts neighbours. It never makes a seal that holds.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from jinbao.model.batch import SealedBatch, SegmentRef
from jinbao.model.errors import IdentityError, LinkError, StaleEpochError, UnknownEpochError
from jinbao.model.stream import Mark, StreamId
from jinbao.model.zone import Endpoint
from jinbao.trust.identity import check_row, parse_identity

if TYPE_CHECKING:
    from tests.sim.world import World

    from jinbao.appliance.assembly import OpenZone

_CHUNK = 4096


@dataclass
class Weather:
    """How bad the line is: `badness` is the share of calls something happens to."""

    rng: random.Random
    badness: float = 0.0
    parted: set[tuple[Endpoint, Endpoint]] = field(default_factory=set)
    answers_lost: set[tuple[Endpoint, Endpoint]] = field(default_factory=set)
    checks_rows: bool = True
    """Whether both ends hold each other against the topology; a scene that needs an intruder says no."""

    def strikes(self) -> bool:
        """Whether something happens to this call."""
        return self.badness > 0 and self.rng.random() < self.badness

    def clear(self) -> None:
        """Fair weather from now on."""
        self.badness = 0.0
        self.parted.clear()
        self.answers_lost.clear()


def _lost(what: str) -> LinkError:
    return LinkError("simulated line", expected="an answer", got=what)


class SimPeer:
    """A neighbour as a peer; `holder` gives the zone as it is open now, `caller` ours.

    Each holds the other against the topology as the line does, and shows an older holder why it is refused.
    """

    def __init__(
        self,
        me: Endpoint,
        other: Endpoint,
        *,
        holder: Callable[[], OpenZone],
        caller: Callable[[], OpenZone],
        weather: Weather,
        returned: bool = False,
    ) -> None:
        self._me, self.endpoint = me, other
        self._holder, self._caller, self._weather = holder, caller, weather
        self._returned = returned
        self._old: list[SealedBatch] = []
        self._here: OpenZone | None = None
        """Who answered last: a round is with one listener."""

    def _reach(self, holder: OpenZone) -> None:
        if (self._me, self.endpoint) in self._weather.parted:
            raise _lost("a partition")
        if self._weather.checks_rows:
            self._check_rows(holder)

    def _check_rows(self, holder: OpenZone) -> None:
        """As a hello does: each brings its grant, then each is held against the topology."""
        caller = self._caller()
        for one, other in ((caller, holder), (holder, caller)):
            with suppress(StaleEpochError):
                try:
                    check_row(parse_identity(one.identity.chain[0]), other.topology)
                except UnknownEpochError:
                    other.trust.learn_stapled([one.trust.proof(one.me.node)], one.me)
        try:
            check_row(parse_identity(caller.identity.chain[0]), holder.topology)
        except StaleEpochError as exc:
            proof = holder.trust.proof(self._me.node)
            caller.trust.learn_stapled([proof] if proof else [], holder.me)
            raise IdentityError("simulated line", expected="to be let in", got=str(exc)) from exc
        check_row(parse_identity(holder.identity.chain[0]), caller.topology)

    def headers(self, marks: Sequence[Mark], limit: int, wait_s: float) -> list[SealedBatch]:
        """Sealed batches beyond the marks, as the weather lets them through."""
        del wait_s
        here = self._here = self._holder()
        self._reach(here)
        counter = here.counter
        found = (counter.returned if self._returned else counter.headers)(self._me, marks, limit)
        if (self._me, self.endpoint) in self._weather.answers_lost:
            raise _lost("a lost answer")
        if not self._weather.strikes():
            self._old = found
            return found
        return self._spoil(found)

    def _spoil(self, found: list[SealedBatch]) -> list[SealedBatch]:
        rng = self._weather.rng
        kind = rng.choice(["lost", "late", "doubled", "reordered", "corrupt", "short"])
        if self._returned and kind in {
            "late",
            "short",
        }:  # an answer cut short is no answer to who asks for all
            kind = "lost"
        if kind == "lost":
            raise _lost("a lost answer")
        if kind == "late":
            return list(self._old)
        if kind == "doubled":
            return [sealed for sealed in found for _ in range(2)]
        if kind == "reordered":
            return rng.sample(found, len(found))
        if kind == "corrupt" and found:
            at = rng.randrange(len(found))
            return [*found[:at], _flipped(found[at], rng), *found[at + 1 :]]
        return found[: rng.randint(0, len(found))]

    def fetch(self, stream: StreamId, seq: int, ref: SegmentRef, offset: int) -> Iterator[bytes]:
        """Bytes of a segment from `offset` on, as the weather lets them through."""
        here = self._here or self._holder()
        self._reach(here)
        path = here.counter.open_segment(self._me, stream, seq, ref.sha256)
        if path is None:
            raise _lost("a segment the peer does not show")
        content = path.read_bytes()[offset:]
        kind = self._weather.rng.choice(["cut", "altered", "long"]) if self._weather.strikes() else ""
        if kind == "altered" and content:
            content = content[:-1] + bytes([content[-1] ^ 0x80])
        if kind == "long":
            content += b"more than was promised"
        end = self._weather.rng.randint(0, len(content)) if kind == "cut" else len(content)
        for at in range(0, end, _CHUNK):
            yield content[at : min(at + _CHUNK, end)]
        if kind == "cut":
            raise _lost("a cut connection")


def _flipped(sealed: SealedBatch, rng: random.Random) -> SealedBatch:
    """The batch with one byte of its header or its signature altered."""
    name = rng.choice(["payload", "signature"])
    content = bytearray(getattr(sealed, name))
    content[rng.randrange(len(content))] ^= 0x80
    if name == "payload":
        return replace(sealed, payload=bytes(content))
    return replace(sealed, signature=bytes(content))


def back(world: World, zone: OpenZone, other: Endpoint) -> SimPeer:
    """A neighbour, asked by a zone that is no part of the world yet for what its node once sent there."""
    return SimPeer(
        zone.me,
        other,
        holder=lambda: world.zones[other],
        caller=lambda: zone,
        weather=world.weather,
        returned=True,
    )
