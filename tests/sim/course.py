"""A run with losses in it: trouble by seed, nodes declared lost and promoted, and their old holders, who live on."""

from __future__ import annotations

import pytest
from tests.sim.invariants import check_rest, check_zone
from tests.sim.promotion import Former, Promotion, epoch_of, is_superseded, nobody
from tests.sim.succession import Lost, Watch, check_known, check_one_history, check_replayed, require
from tests.sim.world import Crash, World
from tests.standby.following import BACKUP

from jinbao.appliance.assembly import OpenZone
from jinbao.model import failpoint
from jinbao.model.errors import JinbaoError, LocalError
from jinbao.model.zone import Endpoint, Zone

STRUCK = ("rebuild.", "heal.", "promote.", "ledger.", "inbound.", "segments.", "files.", "store.")
"""Rooms a promotion passes, in which it is killed."""

TRIES = 6
"""After so many a promotion is left in peace."""


class Course:
    """One run: trouble, losses and promotions by seed, with the old holders in it."""

    def __init__(self, world: World, *, is_calm: bool = False) -> None:
        """One that is calm has no trouble but what its scene makes."""
        self.is_calm = is_calm
        self.world, self.rng = world, world.rng
        self.watch = Watch(world)
        self.formers: list[Former] = []
        self.promotions: list[Promotion] = []
        world.restarted = check_zone
        world.stepped = self.watch.see
        world.answering = self._answering
        world.weather.badness = 0.0 if is_calm else self.rng.choice([0.0, 0.1, 0.4])

    def close(self) -> None:
        """Close what is no part of the world."""
        for former in self.formers:
            former.close()

    def _answering(self, caller: Endpoint, other: Endpoint) -> OpenZone:
        """Who listens where a caller looks: the holder it knows of, an older one, or nobody."""
        world = self.world
        known = world.zones[caller].topology.by_node[other.node].epoch
        former = next((f for f in self.formers if f.node == other.node and f.epoch == known), None)
        if not self.is_calm and self.rng.random() < 0.05:  # an address book of yesterday, or of tomorrow
            former = next((f for f in self.formers if f.node == other.node and f is not former), None)
        if former is not None:
            if former.cut_off:
                raise nobody()
            return former.zones[other]
        if other not in world.zones:
            raise nobody()
        return world.zones[other]

    def storm(self, steps: int) -> None:
        """Seeded steps of everybody; business is brisk."""
        for _ in range(steps):
            if self.formers and self.rng.random() < 0.3:
                self.rng.choice(self.formers).act()
                continue
            if self.rng.random() < 0.06:
                self.submit()
            self.world.act()

    def submit(self, kind: str = "") -> None:
        """Clerks change rows, and what passes is sealed."""
        for city in self.world.business:
            self.world.note(f"edit {city}: {self.world.business[city].edit(kind)}")
            if city in self.world.zones:
                self.world.capture(city)

    def lag(self, node: str) -> None:
        """From now on the backup does not reach a node."""
        self.world.weather.parted |= {
            edge for edge in self.world.edges() if edge[0] == BACKUP and edge[1].node == node
        }
        self.world.note(f"lag {node}")

    def lose(self, node: str) -> Lost:
        """Declare a node lost. It may be gone, cut off, or only believed to be."""
        world, promotion = self.world, Promotion(self.world, node)
        world.armed = None
        while True:
            world.apply(BACKUP)
            try:
                promotion.declare()
            except (LocalError, AssertionError) as exc:
                world.note(f"declare {node}: {exc}")
                self._wait_for_copies(node)
                continue
            break
        former = Former(world, node, cut_off=self.rng.random() < 0.7)
        self.formers.append(former)
        self.promotions.append(promotion)
        world.note(f"lost {node} at epoch {former.epoch}, {'cut off' if former.cut_off else 'within reach'}")
        return Lost(world, promotion, former)

    def _wait_for_copies(self, node: str) -> None:
        """A copy that cannot be declared yet is followed on."""
        weather, badness = self.world.weather, self.world.weather.badness
        weather.badness = 0.0
        weather.parted = {edge for edge in weather.parted if edge[0] != BACKUP}
        weather.answers_lost = {edge for edge in weather.answers_lost if edge[0] != BACKUP}
        for edge in self.world.edges():
            if node in {e.node for e in edge}:
                self.world.follow(*edge)
        weather.badness = badness

    def promote(self, lost: Lost) -> None:
        """Promote it, in trouble that does not end; killed, cut off or refused, it is made again."""
        world, promotion = self.world, lost.promotion
        asked = [
            e
            for e in world.plan.topology.neighbours(Endpoint(promotion.node, Zone.EXCHANGE))
            if e in world.zones
        ]
        for attempt in range(TRIES if self.is_calm else 1, 3 * TRIES):
            if not self.is_calm:
                self.storm(self.rng.randint(0, 12))
            for endpoint in asked:
                if attempt >= TRIES or self.rng.random() < 0.5:
                    world.armed = None
                    promotion.tell(endpoint)
            if attempt >= TRIES:
                world.weather.clear()
            if self._is_promoted(promotion, in_peace=attempt >= TRIES):
                break
        else:
            pytest.fail(f"seed {world.seed}: expected a promotion in {3 * TRIES} attempts")
        self.watch.epochs[promotion.node] = promotion.grant.epoch
        for endpoint in promotion.zones:
            self.watch.see(world.zones[endpoint])
        lost.check_taken_back()

    def _is_promoted(self, promotion: Promotion, *, in_peace: bool) -> bool:
        world, power = self.world, False
        world.armed = None
        if not in_peace and self.rng.random() < 0.8:
            names = sorted(name for name in failpoint.FAILPOINTS if name.startswith(STRUCK))
            power = self.rng.random() < 0.5
            world.arm(self.rng.choice(["", *names]), hits=self.rng.randint(1, 12), power=power)
        what = f"promote {promotion.node}"
        try:
            promotion.promote()
        except JinbaoError as exc:
            world.note(f"{what}: {exc.code}")
            return False
        except Crash as exc:
            world.note(f"{what}: crash at {exc}{' without power' if power else ''}")
            if power and world.settings[promotion.node] == promotion.settings:
                for endpoint in promotion.zones:
                    world.files[endpoint].lose_power()
            return False
        finally:
            world.armed = None
        world.note(f"{what}: at epoch {promotion.grant.epoch}")
        return True

    def heal(self) -> None:
        """Fair weather; the old holders come back, meet everybody, and business goes on."""
        world = self.world
        world.armed = None
        world.weather.clear()
        for former in self.formers:
            former.cut_off, former.weather.badness = False, 0.0
            parent = world.plan.topology.by_node[former.node].parent
            for document in (p.document for p in self.promotions if p.node == parent):
                former.learn(document)
        self.submit()
        for _ in range(2):
            for former in self.formers:
                former.round()
            world.round()
        self.submit()
        world.settle()

    def check(self) -> None:
        """At rest everything holds that must."""
        world = self.world
        check_rest(world)
        check_known(world, self.watch.epochs)
        for node in self.watch.epochs:
            check_one_history(world, node)
            check_replayed(world, node)
        for former in self.formers:
            for endpoint, zone in former.zones.items():
                if endpoint.zone is not Zone.DECISION:  # which meets nobody but its own exchange zone's files
                    what = f"former {endpoint} of epoch {epoch_of(zone)}: expected it to know that it is superseded"
                    require(is_superseded(zone), world, what)
