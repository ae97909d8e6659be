"""Six classic mistakes, put back into the code one by one: the simulator must see each of them."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from tests.sim.conftest import MakeWorld
from tests.sim.files import SimFiles
from tests.sim.invariants import BrokenError, check_epochs, check_rest, check_zone
from tests.sim.world import World

import jinbao.journal.projection
import jinbao.trust.verify
from jinbao.flow.receipts import ReceiptSealer
from jinbao.journal.index import Counter
from jinbao.journal.ledger import Ledger, last_act
from jinbao.journal.tables import HEADER, RECEIPT_DUE
from jinbao.model.acts import Act, envelope_of
from jinbao.model.batch import Header, SealedBatch
from jinbao.model.stream import Mark
from jinbao.model.zone import Endpoint, Zone
from jinbao.store.projection import Recorded

CITY, PROVINCE = Endpoint("140100", Zone.PRODUCTION), Endpoint("140000", Zone.EXCHANGE)
SEEDS = range(4)
Patch = pytest.MonkeyPatch


def ack_before_fsync(patch: Patch) -> None:
    """Files are acknowledged that only the page cache holds."""
    whole = SimFiles.sync

    def sync(self: SimFiles, path: Path) -> None:
        if path.is_dir():
            whole(self, path)

    patch.setattr(SimFiles, "sync", sync)


def no_directory_fsync(patch: Patch) -> None:
    """Contents are synced, the names of the files are not."""
    whole = SimFiles.sync

    def sync(self: SimFiles, path: Path) -> None:
        if not path.is_dir():
            whole(self, path)

    patch.setattr(SimFiles, "sync", sync)


def mark_before_rows(patch: Patch) -> None:
    """The apply mark moves in one transaction, the rows follow in another."""
    whole = Ledger.record

    def record(self: Ledger, *acts: Act) -> None:
        projections = self._projections
        if not any(act.kind == "applied" for act in acts):
            whole(self, *acts)
            return
        self._projections = projections[:1]  # the journal's own
        try:
            whole(self, *acts)
        finally:
            self._projections = projections
        _rows_afterwards(self, acts)

    patch.setattr(Ledger, "record", record)


def _rows_afterwards(ledger: Ledger, acts: Sequence[Act]) -> None:
    for act in acts:
        rooms = [p for p in ledger._projections[1:] if act.kind in p.kinds]
        ready = [(room, room.stage(ledger._store, act)) for room in rooms]
        with ledger._store.transaction(*(stage for _, stages in ready for stage in stages)) as tx:
            for room, stages in ready:
                room.project(tx, Recorded(last_act(tx)[0], act, ledger._now()), stages)


def no_epoch_check(patch: Patch) -> None:
    """A header is taken, and recorded, though its holder's epoch is over."""
    whole = jinbao.trust.verify.check_follows

    def check_follows(header: Header, last: Mark) -> None:
        if header.epoch >= last.epoch:
            whole(header, last)

    for module in (jinbao.trust.verify, jinbao.journal.projection):
        patch.setattr(module, "check_follows", check_follows)


def mark_by_clock(patch: Patch) -> None:
    """What is new to a follower is decided by the time a batch says it was made."""

    def beyond(self: Counter, mark: Mark, head: Mark, limit: int) -> list[SealedBatch]:
        last = sa.select(HEADER.c.made_at).where(
            HEADER.c.stream == str(mark.stream), HEADER.c.seq == mark.seq
        )
        query = sa.select(HEADER.c.envelope).where(
            HEADER.c.stream == str(mark.stream),
            HEADER.c.made_at > sa.func.coalesce(last.scalar_subquery(), ""),
        )
        with self._store.read() as connection:
            rows = connection.execute(query.order_by(HEADER.c.seq).limit(limit)).all()
        return [envelope_of(json.loads(row.envelope)) for row in rows]

    patch.setattr(Counter, "_beyond", beyond)


def delete_then_do(patch: Patch) -> None:
    """Receipts leave the list of what is owed before the batch that carries them is sealed."""
    whole = ReceiptSealer._seal_for

    def seal_for(self: ReceiptSealer, audience: str, chosen: Sequence[tuple[int, Any]]) -> None:
        ledger: Any = self._ledger
        with ledger._store.transaction() as tx:
            tx.execute(RECEIPT_DUE.delete().where(RECEIPT_DUE.c.lsn.in_([lsn for lsn, _ in chosen])))
        whole(self, audience, chosen)

    patch.setattr(ReceiptSealer, "_seal_for", seal_for)


def crash_when_accepted(world: World) -> None:
    """The province loses its power just after it accepted a batch."""
    _crash(world, "inbound.after_accept", power=True)


def crash_when_recorded(world: World) -> None:
    """The province is killed when an applied submission is in its journal."""
    _submit(world, settle=False)
    while sum(world.follow(endpoint, other) for endpoint, other in world.edges()):
        pass  # accepted everywhere: what the province records next is that it applied
    _crash(world, "ledger.after_record", power=False)


def crash_when_receipts_are_sealed(world: World) -> None:
    """The province is killed while it seals receipts."""
    _crash(world, "receipts.before_seal", power=False)


def _crash(world: World, name: str, *, power: bool) -> None:
    if name != "ledger.after_record":
        _submit(world, settle=False)
    world.arm(name, power=power, zone=PROVINCE)
    world.settle()
    assert world.crashes == [name]
    _submit(world)
    check_rest(world)


def turn_the_clock_back(world: World) -> None:
    """The city's clock is turned back by an hour between two submissions."""
    for hours in (0, 1):
        world.skew[CITY] = -timedelta(hours=hours)
        _submit(world)
    check_rest(world)


def return_of_the_old_holder(world: World) -> None:
    """After a promotion the old holder of the city's identity goes on sealing."""
    world.grant_epoch(CITY.node, 2, to_all=True)
    _submit(world)
    world.grant_epoch(CITY.node, 1, to_all=False)
    world.weather.checks_rows = False
    _submit(world)
    for zone in world.zones.values():
        if zone.me.node != CITY.node:
            check_epochs(world, zone)


def _submit(world: World, *, settle: bool = True) -> None:
    for business in world.business.values():
        business.edit()
    world.capture_all()
    if settle:
        world.settle()


MISTAKES: list[tuple[Callable[[Patch], None], Callable[[World], None], str]] = [
    (ack_before_fsync, crash_when_accepted, "segment whole, got .*truncated"),
    (no_directory_fsync, crash_when_accepted, "segment whole, got .*missing"),
    (mark_before_rows, crash_when_recorded, "140000/exchange: pension_macro of 140100: expected the rows of"),
    (no_epoch_check, return_of_the_old_holder, "expected epoch 2 or later, got 1"),
    (mark_by_clock, turn_the_clock_back, "expected mark [0-9]+, got"),
    (delete_then_do, crash_when_receipts_are_sealed, "expected a receipt of 140000/exchange, got set"),
]
"""The mistake, the scene in which it matters, and what the broken invariant says."""


@pytest.mark.parametrize(("mistake", "scene", "seen"), MISTAKES, ids=[m.__name__ for m, _, _ in MISTAKES])
def test_the_simulator_sees_a_classic_mistake(
    quiet: MakeWorld,
    monkeypatch: Patch,
    mistake: Callable[[Patch], None],
    scene: Callable[[World], None],
    seen: str,
) -> None:
    """With the mistake in the code an invariant breaks within a few seeds; without it none does."""
    _play(quiet, scene, seed=len(SEEDS))

    mistake(monkeypatch)

    with pytest.raises(BrokenError, match=seen):
        _play_all(quiet, scene)


def _play_all(quiet: MakeWorld, scene: Callable[[World], None]) -> None:
    for seed in SEEDS:
        _play(quiet, scene, seed=seed)


def _play(quiet: MakeWorld, scene: Callable[[World], None], *, seed: int) -> None:
    with quiet(seed) as world:
        world.restarted = check_zone
        scene(world)
