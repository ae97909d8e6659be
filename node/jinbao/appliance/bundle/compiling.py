"""Modules of wheels, compiled where the bundle is built: a target of the same Python lays them down and compiles nothing.

What a zone runs is then what was signed. The same wheels and Python give the same bytes: one process does one wheel,
in order, and hashes of text do not differ from run to run.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import tarfile
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from jinbao.appliance.bundle.packing import add
from jinbao.model.errors import LocalError

NAME = f"compiled-{importlib.util.MAGIC_NUMBER.hex()}.tar"
"""By the number that the compiled modules of one Python begin with: another Python passes them by."""


def compile_wheels(script: Path, wheels: Path, into: Path) -> Path:
    """Compile the modules of every wheel by `script` into one tar of paths below site-packages; returns it.

    Raises LocalError where a wheel cannot be read, or none has a module.
    """
    with tempfile.TemporaryDirectory(prefix=".compiled-", dir=into) as scratch:
        site = Path(scratch)
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            list(pool.map(lambda wheel: _compile(script, wheel, site), sorted(wheels.glob("*.whl"))))
        return _together(site, into / NAME)


def _compile(script: Path, wheel: Path, site: Path) -> None:
    """One wheel by a process of its own, which no setting of whoever builds has do otherwise."""
    bare = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    ran = subprocess.run(  # noqa: S603  # our own interpreter and script
        [sys.executable, str(script), str(wheel), str(site)],
        env=bare | {"PYTHONHASHSEED": "0"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if ran.returncode:
        raise LocalError(f"wheel {wheel.name}", expected="one to compile", got=ran.stdout.strip()[-300:])


def _together(site: Path, target: Path) -> Path:
    found = sorted(site.rglob("*.pyc"))
    if not found:
        raise LocalError("wheels of the bundle", expected="modules to compile", got="none")
    with tarfile.open(target, "w", format=tarfile.GNU_FORMAT) as tar:
        for path in found:
            add(tar, path, path.relative_to(site).as_posix())
    return target
