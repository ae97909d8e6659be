"""Drills a zone makes itself, by the calendar or asked: a process of its own runs the command, its reports the zone signs.

Replaying millions of acts in the zone's own process would slow its following. Knows nothing of
what a drill does.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
from dataclasses import dataclass, replace
from pathlib import Path

from jinbao.appliance.network import to_toml
from jinbao.appliance.settings import Settings
from jinbao.flow.ports import Observer
from jinbao.model.masking import mask_numbers
from jinbao.model.zone import Zone

EVERY = "all"
"""What a run is of that drills every protected node."""

CONFIG = "drill.toml"
"""The settings a drill is started with; there while it runs."""

RED = 3
"""Exit code of a drill that found something wrong: told by its report."""

_SAID_CHARACTERS = 400


def drill_command(config: Path, node: str = EVERY) -> list[str]:
    """The command line that drills a node which the backup of these settings protects, or every one."""
    of = ["--all"] if node == EVERY else ["--node", node]
    return [sys.executable, "-m", "jinbao.cli.main", "standby", "drill", *of, "--config", str(config)]


@dataclass(frozen=True, slots=True)
class Doing:
    """What a zone drills: the node or `all`, empty for none. Runs are counted from the zone's start.

    `failed` are the last words of the newest run that gave no report, `failed_run` its number; 0 if none did.
    """

    running: str = ""
    owed: str = ""
    ended: int = 0
    failed_run: int = 0
    failed: str = ""


class Drilling:
    """At most one process; `ask` is owed one run, `stop` ends it."""

    def __init__(self, settings: Settings, zone: Zone, observer: Observer) -> None:
        self._settings, self._directory, self._observer = settings, settings.directory(zone), observer
        self._lock = threading.Lock()
        self._process: subprocess.Popen[str] | None = None
        self._doing = Doing()
        self._stopped = False

    @property
    def doing(self) -> Doing:
        """What it does now."""
        return self._doing

    def ask(self, node: str = EVERY) -> int:
        """A run is owed; its number. At most one waits: asked for by two nodes, it is of every node."""
        with self._lock:
            now = self._doing
            self._doing = replace(now, owed=node if now.owed in {"", node} else EVERY)
            return now.ended + bool(now.running) + 1

    def step(self) -> bool:
        """Make the run that is owed, if one is, and wait for it; whether another is owed."""
        with self._lock:
            node = self._doing.owed
            if self._stopped or not node:
                return False
            self._process = self._start(node)
            self._doing = replace(self._doing, running=node, owed="")
        process = self._process
        assert process.stderr is not None, "what it says is read"
        with process.stderr:
            said = process.stderr.read()
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        with self._lock:
            self._process = None  # before it is reaped: its pid may be anybody's then
        code = process.wait()
        (self._directory / CONFIG).unlink(missing_ok=True)
        return self._ended(code, mask_numbers(said.strip()[-_SAID_CHARACTERS:]))

    def _ended(self, code: int, said: str) -> bool:
        """Keep what came of a run that nobody stopped; whether another is owed."""
        with self._lock:
            if self._stopped:
                self._doing = replace(self._doing, running="")
                return False
            ended = self._doing.ended + 1
            self._doing = replace(self._doing, running="", ended=ended)
            if code not in {0, RED}:
                words = said or f"exit code {code}"
                self._doing = replace(self._doing, failed_run=ended, failed=words)
        if code not in {0, RED}:
            self._observer.event("drill_failed", exit_code=code, said=said)
        return bool(self._doing.owed)

    @property
    def pid(self) -> int:
        """The process that runs, 0 while none does."""
        process = self._process
        return process.pid if process is not None else 0

    def stop(self) -> None:
        """End the process, if one runs; it removes what it was building. Nothing is owed from then on."""
        with self._lock:
            self._stopped = True
            self._doing = replace(self._doing, owed="")
            if self._process is not None:
                self._process.terminate()

    def _start(self, node: str) -> subprocess.Popen[str]:
        return subprocess.Popen(  # noqa: S603  # our own interpreter and module
            drill_command(self._config(), node),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )

    def _config(self) -> Path:
        """The settings this zone runs with, readable by this account alone."""
        path = self._directory / CONFIG
        path.touch(mode=0o600)
        body = self._settings.model_dump(mode="json", exclude_defaults=True)
        # A zone whose settings are all defaults is one all the same.
        body["zones"] = self._settings.model_dump(mode="json", exclude_none=True)["zones"]
        path.write_text(to_toml(body), encoding="utf-8")
        return path


def sweep_drills(directory: Path) -> None:
    """Remove what a killed drill left in a zone's directory: a node's data, and settings."""
    for left in directory.glob("drill-*"):
        shutil.rmtree(left)
    (directory / CONFIG).unlink(missing_ok=True)
