"""What tests make beside pytest's own directories is gone when they end."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.house.tree import ROOT

USES_A_SERVER = "tests/store/test_store.py::test_columns_come_back_as_they_went_in"


@pytest.fixture
def place() -> Iterator[Path]:
    """A directory with a short name: a socket's does not fit under pytest's own."""
    with tempfile.TemporaryDirectory(prefix="jb-left-") as directory:
        yield Path(directory)


@pytest.mark.database
def test_a_worker_that_had_a_database_leaves_no_directory(place: Path) -> None:
    """A worker that started a PostgreSQL stops it and removes it, its locks too, before it is told to be quick."""
    command = [sys.executable, "-m", "pytest", "-q", "-n", "1", "-p", "no:cacheprovider", USES_A_SERVER]
    alone = {name: value for name, value in os.environ.items() if name != "XDG_RUNTIME_DIR"}

    done = subprocess.run(
        command,
        cwd=ROOT,
        env=alone | {"TMPDIR": str(place)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )

    assert done.returncode == 0, done.stdout
    left = [path.name for path in place.iterdir() if not path.name.startswith("pytest-of-")]
    assert left == []
