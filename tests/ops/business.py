"""Business databases of the cities, which are written while everything else goes on, and what must be at the ministry."""

from __future__ import annotations

import base64
import random
import shutil
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import polars as pl
from tests.ops import province
from tests.ops.controller import Controller
from tests.ops.machines import Machine
from tests.sim.business import PERSON_TABLES

PERSONS = 5000
"""The least a sample city has; every tenth of them is kept."""

LIBRARY, TABLES = "pension_macro", ("active_person", "retiree")
PROGRAM = "/opt/jinbao/current/venv/bin/jinbao"


def lay_down(controller: Controller, city: str) -> None:
    """Give a city its business database: people who do not exist, without defects."""
    made = controller.place / f"{city}.db"
    controller.jinbao(
        f"sample city {city} --persons {PERSONS} --defects 0 --period {province.PERIOD} --url sqlite:///{made}"
    )
    with closing(sqlite3.connect(made)) as connection, connection:
        for table in PERSON_TABLES:
            connection.execute(f"DELETE FROM {table} WHERE substr(AAC001, -1, 1) <> '5'")
    target = _database(controller, city)
    target.parent.mkdir(mode=0o755, parents=True)
    shutil.copyfile(made, target)


def _database(controller: Controller, city: str) -> Path:
    return controller.network.machines[city].root / province.BUSINESS.lstrip("/")


class Clerk:
    """A city's staff at work: one person's wage after another is changed, in the business system."""

    def __init__(self, controller: Controller, cities: tuple[str, ...]) -> None:
        self._files = {city: _database(controller, city) for city in cities}
        self._chance = random.Random(1)
        self.changes = 0

    def work(self, stopped: threading.Event) -> None:
        """Change one record of each city in every half second."""
        while not stopped.wait(0.5):
            for file in self._files.values():
                self._change(file)
                self.changes += 1

    def _change(self, file: Path) -> None:
        with closing(sqlite3.connect(file, timeout=30)) as connection, connection:
            rows = connection.execute("SELECT count(*) FROM AC01").fetchone()[0]
            offset = self._chance.randrange(rows)
            connection.execute(
                "UPDATE AC01 SET AAC003 = ? WHERE AAC001 = (SELECT AAC001 FROM AC01 ORDER BY AAC001 LIMIT 1 OFFSET ?)",
                (
                    f"王{self._chance.choice('伟芳娜敏静丽强磊军洋')}{self._chance.choice('明华平刚红')}",
                    offset,
                ),
            )


@contextmanager
def at_work(controller: Controller, cities: tuple[str, ...]) -> Iterator[Clerk]:
    """Clerks of these cities work until this is left."""
    clerk, stopped = Clerk(controller, cities), threading.Event()
    thread = threading.Thread(target=clerk.work, args=(stopped,))
    thread.start()
    try:
        yield clerk
    finally:
        stopped.set()
        thread.join()


def written(controller: Controller, city: str) -> dict[str, str]:
    """The name of every person by number, as the city's business database has it."""
    with closing(sqlite3.connect(_database(controller, city), timeout=30)) as connection:
        return dict(connection.execute("SELECT AAC001, AAC003 FROM AC01"))


def arrived(controller: Controller, node: str, city: str) -> dict[str, str]:
    """The same as a node stored it; RuntimeError where a person is there twice."""
    machine = controller.network.machines[node]
    found: list[tuple[str, str]] = []
    for table in TABLES:
        file = f"/run/{city}-{table}.parquet"
        asked = f"{PROGRAM} library export {LIBRARY} {table} --origin {city} --output {file} --reason drill"
        machine.run("sh", "-c", f"rm -f {file} && {asked}")
        copied = controller.place / Path(file).name
        copied.write_bytes(base64.b64decode(machine.run("base64", file)))
        found += pl.read_parquet(copied, columns=["AAC001", "AAC003"]).rows()
    if len(dict(found)) != len(found):
        msg = f"{LIBRARY} of {city} at {node}: expected each person once, got {len(found)} rows of {len(dict(found))}"
        raise RuntimeError(msg)
    return dict(found)


def capture(machine: Machine) -> None:
    """Ask a city for a capture at once, beside its calendar."""
    machine.run("runuser", "-u", "jinbao-production", "--", PROGRAM, "capture", "run")
