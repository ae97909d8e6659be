"""A settled network with a backup site in a directory of the test's own, its zones stopped."""

from __future__ import annotations

import shutil
from pathlib import Path

from tests.cli.harness import Net
from tests.sim.world import Plan


def standby_net(plan: Plan, directory: Path) -> Net:
    """A copy of a plan whose settings name the copy."""
    shutil.copytree(plan.directory, directory, symlinks=True)
    for config in directory.glob("*/node.toml"):
        text = config.read_text(encoding="utf-8")
        old = next(line for line in text.splitlines() if line.startswith("topology_file")).split('"')[1]
        config.write_text(text.replace(str(Path(old).parent), str(directory)), encoding="utf-8")
    return Net(directory)
