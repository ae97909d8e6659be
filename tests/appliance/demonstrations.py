"""A demonstration of a test's own that `jinbao demo lose`, `rotate` and the others find running."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from jinbao.appliance.demo import DemoNetwork
from jinbao.cli import demo


@contextmanager
def found_running(network: DemoNetwork, note: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Commands of this process act on the network, whose owner starts again what ends; `note` says where it is."""
    note.write_text(str(network.directory), encoding="utf-8")
    monkeypatch.setattr(demo, "_LAST", note)
    done = threading.Event()

    def watch() -> None:
        while not done.wait(0.2):
            network.revive()

    owner = threading.Thread(target=watch)
    owner.start()
    try:
        yield
    finally:
        done.set()
        owner.join()
