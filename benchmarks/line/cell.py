"""One cell in a process of its own: what it is told, how it says which stretch of its work counts, what it returns.

The runner writes one line of JSON and answers each mark with a line, so that its meter reads
before work begins and after it ends. Preparing and clearing up are outside every stretch.
"""

from __future__ import annotations

import json
import signal
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from benchmarks.line.server import Server
from benchmarks.line.sources import Business


@dataclass(frozen=True)
class Bench:
    """What every cell works on: rows of the table, where it may write, and the server of the run."""

    rows: int
    directory: Path
    server: Server
    kept: Path
    """The SQLite source as it was made."""

    def business(self, kind: str) -> Business:
        """A fresh copy of the source in one kind of database."""
        if kind == "postgresql":
            business = Business(self.rows, server=self.server)
        else:
            business = Business(self.rows, path=self.directory / "business.db")
        business.renew(self.kept)
        return business

    @property
    def many(self) -> int:
        """Rows of the change that is called large: 100 000, or a tenth of a small table."""
        return min(100_000, self.rows // 10)

    def told(self) -> str:
        """As a line for the process of a cell."""
        return json.dumps(asdict(self), default=str)

    @classmethod
    def heard(cls, line: str) -> Bench:
        """From that line."""
        body = json.loads(line)
        server = body["server"]
        server["programs"] = Path(server["programs"])
        return cls(body["rows"], Path(body["directory"]), Server(**server), Path(body["kept"]))


class Watch:
    """Marks stretches of work; seconds are this process's clock, or that of the zone whose event ends one."""

    def __init__(self) -> None:
        self._began: dict[str, float] = {}

    def begin(self, *names: str) -> None:
        """Stretches begin together."""
        self._tell({"begin": names})
        self._began |= dict.fromkeys(names, time.time())

    def end(self, name: str, at: Mapping[str, Any] | None = None, **figures: float) -> float:
        """One stretch ends, now or when the event `at` was told; returns its seconds."""
        ended = datetime.fromisoformat(at["timestamp"]).timestamp() if at else time.time()
        seconds = ended - self._began.pop(name)
        assert seconds >= 0, f"{name}: expected an end after its beginning, got {seconds:.3f} s"
        self._tell({"end": name, "seconds": round(seconds, 4)} | figures)
        return seconds

    @staticmethod
    def _tell(body: Mapping[str, Any]) -> None:
        print(json.dumps(body), flush=True)
        if not sys.stdin.readline():
            sys.exit("the runner is gone")  # what was started is ended on the way out


Cell = Callable[[Bench, Watch, str], None]
"""Works on the bench in one variant."""


def main(cells: Mapping[str, Cell]) -> None:
    """Run the cell named on the command line, `NAME` or `NAME-VARIANT`."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("asked to end"))
    name, _, variant = sys.argv[1].partition(":")
    cells[name](Bench.heard(sys.stdin.readline()), Watch(), variant)
