"""Authorities of a small network, fresh for every test."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.authority.parts import House, house


@pytest.fixture
def home(tmp_path: Path) -> House:
    """Root, ministry and province, each in its own directory."""
    return house(tmp_path)
