"""Attempts: which batch is being applied right now, in a file that outlives a process that ends of it.

Survives a kill, which is what it counts; a power loss may forget it. Decides nothing: the applier
holds a stream on whose batch the process ended too often.
"""

from __future__ import annotations

import json
from pathlib import Path

from jinbao.model.stream import StreamId


class AttemptsFile:
    """One place of one zone, and how many processes ended there in a row."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._left = self._read()

    def _read(self) -> tuple[str, int, int]:
        try:
            found = json.loads(self._path.read_text(encoding="utf-8"))
            return str(found["stream"]), int(found["seq"]), int(found["ends"])
        except (OSError, ValueError, KeyError, TypeError):  # none, or one nobody finished writing
            return "", 0, 0

    def begin(self, stream: StreamId, seq: int) -> int:
        """A batch is about to be applied; returns how many processes ended while they did so, the last ones."""
        known, at, ends = self._left
        ends = ends if (known, at) == (str(stream), seq) else 0
        place = {"stream": str(stream), "seq": seq, "ends": ends + 1}
        self._path.write_text(json.dumps(place), encoding="utf-8")
        return ends

    def end(self) -> None:
        """It was applied, or refused in words."""
        self._left = "", 0, 0
        self._path.unlink(missing_ok=True)
