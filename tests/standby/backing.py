"""Zones of a simulated network backed up into a directory, and what such a backup is held against."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import Any

from cryptography import x509
from tests.rebuild.busy import all_acts
from tests.rebuild.test_replay import MIGRATIONS, Dump, dump
from tests.sim.world import World

from jinbao.appliance.assembly import OpenZone
from jinbao.appliance.backing_up import Ask, Made, create
from jinbao.appliance.questions import Asked, dispatch
from jinbao.journal.ledger import Ledger
from jinbao.library.room import LibraryProjection
from jinbao.model.zone import Endpoint, Zone
from jinbao.standby.inspecting import Inspection, Newest, inspect
from jinbao.standby.repository import Backups, Repository
from jinbao.store.engine import Store
from jinbao.store.files import Files
from jinbao.store.migrations import upgrade

CITY = "140100"
PRODUCTION, EXCHANGE = Endpoint(CITY, Zone.PRODUCTION), Endpoint(CITY, Zone.EXCHANGE)

Between = Callable[[str], None]
"""Called after each question with its name, when its answer is on its way."""


def quiet(_done: int, _total: int) -> None:
    """Nobody is told."""


def asking(zone: OpenZone, between: Between = lambda _question: None) -> Ask:
    """Questions to an open zone, their answers as they would come through a socket."""

    def ask(question: str, output: Path | None = None, **arguments: Any) -> dict[str, Any]:
        answer = dispatch(Asked(zone), question, json.loads(json.dumps(arguments)))
        if answer.attachment is not None:
            assert output is not None
            shutil.move(answer.attachment, output)
        found: dict[str, Any] = json.loads(json.dumps(answer.body))
        between(question)
        return found

    return ask


class Saving:
    """A repository of one zone's node in a directory of the test's own."""

    def __init__(self, world: World, directory: Path, endpoint: Endpoint = PRODUCTION) -> None:
        self.world, self.directory, self.endpoint = world, directory, endpoint
        self.repository = Repository.begun(directory, endpoint.node, Files(), lambda: world.now)

    @property
    def zone(self) -> OpenZone:
        """The zone as it is open now."""
        return self.world.zones[self.endpoint]

    @property
    def backups(self) -> Backups:
        """Its backups."""
        return self.repository.begin(self.endpoint)

    @property
    def anchors(self) -> list[x509.Certificate]:
        """The roots of the network."""
        return list(self.zone.trust.book().roots)

    def create(self, between: Between = lambda _question: None) -> Made:
        """Back the zone up."""
        return create(asking(self.zone, between), self.repository, self.backups, quiet)

    def inspect(self, chosen: str = "") -> Inspection:
        """Look at everything, and ask the zone what it remembers."""
        said = asking(self.zone)("backup.zone", repository=self.repository.id)["newest"]
        newest = Newest(said.get("name", ""), said.get("at", ""))
        return inspect(self.backups, self.anchors, chosen, newest, quiet)

    def change(self) -> None:
        """Business goes on, and is captured."""
        self.world.business[PRODUCTION].edit()
        self.world.capture(PRODUCTION)


def kinds(found: Inspection) -> list[tuple[str, str]]:
    """What is wrong, as thing and kind."""
    return [(one.thing, one.kind) for one in found.damage]


def rows_at(zone: OpenZone, acts: int, directory: Path) -> Dump:
    """Every row of every table of a zone as of one of its acts: what its journal gives in an empty database."""
    store = Store(f"sqlite:///{directory / 'as-of.db'}", directory / "as-of-stage")
    with closing(store):
        upgrade(store.writer, MIGRATIONS)
        for projection in zone.projections:
            if isinstance(projection, LibraryProjection):
                projection.ensure(store)
        Ledger(store, zone.projections, zone.ports.now_text).replay(islice(all_acts(zone), acts))
        return dump(store)
