"""The demonstration from nothing to proof, in one call."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from jinbao.appliance.demo.databases import Backend, databases
from jinbao.appliance.demo.processes import STATE, DemoNetwork, Talk
from jinbao.appliance.demo.proof import conclude
from jinbao.model.errors import LocalError


def run_demo(
    *,
    persons: int,
    seed: int,
    keep: Path | None,
    talk: Talk,
    then: Callable[[DemoNetwork, dict[str, Any]], None],
    backend: Backend = "sqlite",
) -> dict[str, Any]:
    """The whole demonstration: make, start, run, restart, verify; `then` sees the network before it ends.

    Returns what `jinbao demo --once --json` prints. Cleans up unless `keep` names a directory.
    """
    directory = (keep or Path(tempfile.mkdtemp(prefix="jinbao-demo-"))).absolute()
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    if (directory / STATE).exists():
        raise LocalError(
            f"demo directory {directory}", expected="an empty directory", got="an earlier demonstration"
        )
    began = time.monotonic()
    network = DemoNetwork(directory, persons, seed, talk, databases=databases(backend, directory))
    try:
        network.make()
        network.start()
        network.run()
        moved = time.monotonic() - began
        talk("moved", {"seconds": round(moved, 1)})
        result = conclude(network, moved)
        network.settle()
        then(network, result)
    finally:
        again = network.end()
        if keep is None:
            shutil.rmtree(directory, ignore_errors=True)
        elif again:
            talk("kept", {"directory": str(directory), "command": again})
    return result
