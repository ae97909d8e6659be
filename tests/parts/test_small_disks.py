"""Zones on file systems that fill: of bytes, of names, in each of their directories, and down to the reserve."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from tests.house.tree import ROOT

pytestmark = pytest.mark.parts

UNSHARE = ["unshare", "--user", "--map-root-user", "--mount"]


def play(tmp_path: Path, place: str, kind: str, seed: int) -> None:
    """Play a scenario in a namespace of its own; a machine that allows none is told of."""
    allowed = subprocess.run([*UNSHARE, "true"], capture_output=True, text=True, check=False)
    assert allowed.returncode == 0, (
        "this machine allows no user namespaces: as root, sysctl -w kernel.unprivileged_userns_clone=1 "
        f"or kernel.apparmor_restrict_unprivileged_userns=0; unshare said: {allowed.stderr}"
    )
    command = [*UNSHARE, sys.executable, "-m", "tests.parts.on_small_disks", place, kind, str(seed)]

    ran = subprocess.run(
        [*command, str(tmp_path)], cwd=ROOT, capture_output=True, text=True, timeout=200, check=False
    )

    assert (ran.returncode, ran.stdout) == (0, "whole\n"), ran.stderr[-2000:]


@pytest.mark.fault_row(8)
@pytest.mark.parametrize("place", ["segments", "database", "stage", "log"])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_full_disk_stops_writing_and_nothing_else(tmp_path: Path, place: str, seed: int) -> None:
    """With no byte left where a zone keeps something it is asked and pulled from, waits aloud, and goes on by itself."""
    play(tmp_path, place, "bytes", seed)


@pytest.mark.fault_row(8)
def test_the_reserve_is_what_a_full_disk_is_mended_with(tmp_path: Path) -> None:
    """A disk that is full but for its reserve takes nothing from peers, and a person frees it by the product's command."""
    play(tmp_path, "zone", "reserve", 1)


@pytest.mark.fault_row(9)
@pytest.mark.parametrize("place", ["segments", "database", "stage"])
def test_a_disk_without_names_is_as_a_full_one(tmp_path: Path, place: str) -> None:
    """With no file more allowed a zone waits aloud and goes on by itself once there is."""
    play(tmp_path, place, "inodes", 1)
