"""Peers that lie with keys that are true: a restored city, a relay that swaps, one that hides a tail.

A forger holds the key of the stream's origin, so every seal it makes holds. What it cannot
do is unsay what the origin's key has said before.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from tests.sim.peers import SimPeer
from tests.sim.world import World

from jinbao.authority.identity_files import load_identity
from jinbao.model.batch import Header, Kind, SealedBatch, SegmentRef
from jinbao.model.stream import Mark, StreamId
from jinbao.model.zone import Endpoint
from jinbao.trust.encoding import decode_header
from jinbao.trust.envelope import seal

Change = Callable[[list[SealedBatch], Sequence[Mark]], list[SealedBatch]]
"""What a dishonest relay makes of an honest answer to these marks."""


class Relay:
    """A neighbour whose answers pass through `change` before they are seen; segments come as they are."""

    def __init__(self, world: World, me: Endpoint, other: Endpoint, change: Change) -> None:
        self.endpoint = other
        self._peer = SimPeer(
            me,
            other,
            holder=lambda: world.zones[other],
            caller=lambda: world.zones[me],
            weather=world.weather,
        )
        self._change = change

    def headers(self, marks: Sequence[Mark], limit: int, wait_s: float) -> list[SealedBatch]:
        """The neighbour's answer, changed."""
        return self._change(self._peer.headers(marks, limit, wait_s), marks)

    def fetch(self, stream: StreamId, seq: int, ref: SegmentRef, offset: int) -> Iterator[bytes]:
        """The neighbour's bytes as they are."""
        return self._peer.fetch(stream, seq, ref, offset)


@contextmanager
def through(world: World, me: Endpoint, other: Endpoint, change: Change) -> Iterator[None]:
    """Let `me` follow `other` through a dishonest relay for a while."""
    honest = world.peers.pop((me, other), None)
    world.peers[me, other] = Relay(world, me, other, change)  # type: ignore[assignment]  # the same shape
    try:
        yield
    finally:
        world.peers.pop((me, other))
        if honest is not None:
            world.peers[me, other] = honest


def forge(world: World, sealed: SealedBatch, **changes: object) -> SealedBatch:
    """The batch with other content, sealed by its origin's own key."""
    header: Header = replace(decode_header(sealed.payload), **changes)  # type: ignore[arg-type]  # by name
    origin = header.stream.origin
    return seal(header, load_identity(world.directory / origin.node / origin.zone / "identity"))


def of_stream(stream: StreamId, sealed: SealedBatch) -> bool:
    """Whether a batch is of a stream."""
    return decode_header(sealed.payload).stream == stream


def swapping(world: World, stream: StreamId, seq: int | None) -> Change:
    """A relay that shows another batch in place of one, or of every manifest."""

    def chosen(sealed: SealedBatch) -> bool:
        header = decode_header(sealed.payload)
        return header.stream == stream and (
            header.kind is Kind.MANIFEST if seq is None else header.seq == seq
        )

    def change(found: list[SealedBatch], _marks: Sequence[Mark]) -> list[SealedBatch]:
        return [forge(world, sealed, run="another") if chosen(sealed) else sealed for sealed in found]

    return change


def hiding(stream: StreamId, after: int) -> Change:
    """A relay that hides what follows a batch."""

    def change(found: list[SealedBatch], _marks: Sequence[Mark]) -> list[SealedBatch]:
        return [s for s in found if not of_stream(stream, s) or decode_header(s.payload).seq <= after]

    return change


def keep_copy(world: World, endpoint: Endpoint, name: str) -> Path:
    """A copy of a zone's directory as it is now, for `restore`."""
    home = world.settings[endpoint.node].directory(endpoint.zone)
    copy = world.directory / f"copy-{endpoint.node}-{endpoint.zone}-{name}"
    world.zones[endpoint].close()
    shutil.copytree(home, copy, symlinks=True)
    world.open(endpoint)
    return copy


def restore(world: World, endpoint: Endpoint, copy: Path) -> None:
    """Put an old copy of a zone in the place of what it became."""
    home = world.settings[endpoint.node].directory(endpoint.zone)
    world.zones[endpoint].close()
    shutil.rmtree(home)
    shutil.copytree(copy, home, symlinks=True)
    world.open(endpoint)
