"""What every test may ask for: golden files, compared or, with `--write-changes`, written again."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

# Tests run on every processor at once: more threads of one of them would wait for the others'.
os.environ.setdefault("POLARS_MAX_THREADS", "1")

import jinbao  # before anything of a test: what it says to the libraries' processes is read when they are loaded

# Processes of tests start a hundred times; one that may not keep its compiled modules needs twice the time for it.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

Golden = Callable[[str, str], None]
"""Compare a text with the file of that name under the test module's `golden` directory."""

Shaped = Callable[..., None]
"""Compare the shape of answers of a command, `Said`, with the one that programs were told of: name, then answers."""

SHAPES = Path(__file__).parent / "cli" / "golden" / "json"
"""A file for each command that has `--json`; the reference's page of JSON answers is made of them."""


def pytest_report_header() -> str:
    """Which release is tested."""
    return f"jinbao {jinbao.__version__} of {Path(jinbao.__file__).parent}"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add `--write-changes`; what it writes is reviewed as a diff."""
    parser.addoption("--write-changes", action="store_true", help="write golden files instead of comparing")


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Golden:
    """Whether a text is the one in the golden file; the file is written instead where that was asked for."""
    directory = request.path.parent / "golden"
    return lambda name, text: _compare(directory / name, text, write=request.config.option.write_changes)


@pytest.fixture
def shaped(request: pytest.FixtureRequest) -> Shaped:
    """Whether JSON answers of a command have the keys and kinds of its golden file, wherever such an answer is given."""
    from tests.cli.shapes import shape_of

    write = request.config.option.write_changes
    return lambda name, *answers: _compare(
        SHAPES / f"{name.replace(' ', '-')}.json", shape_of(*answers), write=write
    )


def _compare(path: Path, found: str, *, write: bool) -> None:
    if write:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(found.encode())
    assert path.is_file(), f"golden file {path.name}: expected one, got none; run pytest --write-changes"
    expected = path.read_bytes().decode()
    assert found == expected, f"{path.name}: if this is meant, run pytest --write-changes and read the diff"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with tests of real processes: they wait more than they work, so that others run beside them."""
    items.sort(key=lambda item: item.get_closest_marker("processes") is None)


def pytest_unconfigure() -> None:
    """End the database of this process, and remove it: a worker that takes long to exit is killed meanwhile."""
    if "tests.postgres" in sys.modules:
        sys.modules["tests.postgres"].end()
