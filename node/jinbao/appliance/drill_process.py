"""Drills by the calendar: a process of its own runs the command, and has its reports signed by the zone that waits here.

Replaying millions of acts in the zone's own process would slow its following. Knows nothing of
what a drill does.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

from jinbao.appliance.network import to_toml
from jinbao.appliance.settings import Settings
from jinbao.flow.ports import Observer
from jinbao.model.zone import Zone

CONFIG = "drill.toml"
"""The settings a drill is started with; there while it runs."""

RED = 3
"""Exit code of a drill that found something wrong: told by its report."""

_SAID_CHARACTERS = 400


def drill_command(config: Path) -> list[str]:
    """The command line that drills every node which the backup of these settings protects."""
    return [sys.executable, "-m", "jinbao.cli.main", "standby", "drill", "--all", "--config", str(config)]


class Drilling:
    """At most one process; `ask` is owed one run, `stop` ends it."""

    def __init__(self, settings: Settings, zone: Zone, observer: Observer) -> None:
        self._settings, self._directory, self._observer = settings, settings.directory(zone), observer
        self._asked, self._lock = threading.Event(), threading.Lock()
        self._process: subprocess.Popen[str] | None = None
        self._stopped = False

    def ask(self) -> None:
        """A run is owed."""
        self._asked.set()

    def step(self) -> bool:
        """Make the run that is owed, if one is, and wait for it; whether another is owed."""
        if not self._asked.is_set():
            return False
        self._asked.clear()
        with self._lock:
            if self._stopped:
                return False
            self._process = self._start()
        process = self._process
        assert process.stderr is not None, "what it says is read"
        with process.stderr:
            said = process.stderr.read()
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        with self._lock:
            self._process = None  # before it is reaped: its pid may be anybody's then
        code = process.wait()
        (self._directory / CONFIG).unlink(missing_ok=True)
        if code not in {0, RED} and not self._stopped:
            self._observer.event("drill_failed", exit_code=code, said=said.strip()[-_SAID_CHARACTERS:])
        return self._asked.is_set()

    @property
    def pid(self) -> int:
        """The process that runs, 0 while none does."""
        process = self._process
        return process.pid if process is not None else 0

    def stop(self) -> None:
        """End the process, if one runs; it removes what it was building."""
        with self._lock:
            self._stopped = True
            if self._process is not None:
                self._process.terminate()

    def _start(self) -> subprocess.Popen[str]:
        return subprocess.Popen(  # noqa: S603  # our own interpreter and module
            drill_command(self._config()),
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
