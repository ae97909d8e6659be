"""How far a backup site is behind while its city works at half of what it can: rpo, from the journal to the backup.

Prints, judges nothing. The demonstration's processes run: ministry, province, two cities, backup site. One city
changes rows of a share of its persons, captures, and waits as long again as that took until every tier had applied it:
half of its capacity. Meanwhile each of its zones is asked twice a second what the backup lacks; an answer that is not
known counts as infinite. The goal is 5 s at most.
"""

from __future__ import annotations

import argparse
import math
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import sqlalchemy as sa

sys.path.insert(0, str(Path(__file__).parents[1]))

from jinbao.appliance.demo.processes import DemoNetwork
from jinbao.model.zone import Endpoint, Zone

CITY = "140100"
PRODUCTION = Endpoint(CITY, Zone.PRODUCTION)
_EVERY_S = 0.5
_CHANGE = """
UPDATE "AC02" SET "AAE240" = "AAE240" + 1, "AAC040" = "AAC040" + 1
WHERE "AAE140" IN ('110', '210') AND CAST(substr("AAC001", -3, 2) AS INTEGER) % 10 = {turn}
"""


@dataclass
class Watch:
    """What a zone said of its distance to the backup, twice a second, until `stopped`."""

    network: DemoNetwork
    endpoint: Endpoint
    stopped: threading.Event
    seen: list[float] = field(default_factory=list)

    def run(self) -> None:
        """Ask until told to stop."""
        while not self.stopped.wait(_EVERY_S):
            rpo_s = self.network.ask(self.endpoint, "standby.status")["own"]["rpo_s"]
            self.seen.append(math.inf if rpo_s is None else rpo_s)

    def told(self) -> str:
        """Median, 95th of a hundred, and the most."""
        seen = sorted(self.seen)
        places = [seen[len(seen) // 2], seen[int(len(seen) * 0.95)], seen[-1]]
        median, high, most = (f"{place:.1f}" for place in places)
        return f"{self.endpoint!s:<20} rpo s: median {median}, p95 {high}, most {most} of {len(seen)}"


def work(network: DemoNetwork, turn: int) -> float:
    """One tenth of the persons changes, and everything of it is applied everywhere; the seconds it took."""
    engine = sa.create_engine(network.business(CITY))
    with engine.begin() as business:
        rows = business.exec_driver_sql(_CHANGE.format(turn=turn % 10)).rowcount
    engine.dispose()
    began = time.monotonic()
    before = network.ask(PRODUCTION, "capture.run")["after_run"]
    network.captured(PRODUCTION, before)
    network.arrive()
    took = time.monotonic() - began
    print(f"{rows} rows changed, everywhere after {took:.1f} s", flush=True)
    return took


def measure(directory: Path, persons: int, seconds: float, say: Callable[[str], None]) -> None:
    """Work and rest in turns for so long, and tell what was seen meanwhile."""
    network = DemoNetwork(directory, persons, 1, lambda _message, _values: None)
    try:
        network.make()
        network.start()
        network.run()
        stopped = threading.Event()
        watches = [Watch(network, Endpoint(CITY, zone), stopped) for zone in network.settings[CITY].zones]
        threads = [threading.Thread(target=watch.run) for watch in watches]
        for thread in threads:
            thread.start()
        until, turn = time.monotonic() + seconds, 0
        while time.monotonic() < until:
            time.sleep(work(network, turn))
            turn += 1
        stopped.set()
        for thread in threads:
            thread.join()
        for watch in watches:
            say(watch.told())
    finally:
        network.end()


def main() -> None:
    """Measure once."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--persons", type=int, default=20_000)
    parser.add_argument("--seconds", type=float, default=60.0)
    given = parser.parse_args()
    directory = Path(tempfile.mkdtemp(prefix="jinbao-rpo-"))
    try:
        measure(directory, given.persons, given.seconds, lambda line: print(line, flush=True))
    finally:
        shutil.rmtree(directory, ignore_errors=True)


if __name__ == "__main__":
    main()
