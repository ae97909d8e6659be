"""Fuzzing: inputs found before are run by every test run, new ones are looked for where atheris is installed."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from pathlib import Path

import pytest
from tests.fuzz.targets import CORPUS, TARGETS

SHORT_S, LONG_S = 4, 900
ROOT = Path(__file__).parent.parent.parent


@pytest.mark.filterwarnings(
    "ignore::cryptography.utils.CryptographyDeprecationWarning"
)  # of odd certificates
@pytest.mark.parametrize("name", sorted(TARGETS))
def test_what_was_found_before_is_answered(name: str) -> None:
    """Every kept input, cut and bent in places, gives a value or an error a person can act on."""
    kept = sorted((CORPUS / name).glob("*"))
    rng = random.Random(name)

    for path in kept:
        content = path.read_bytes()
        TARGETS[name](content)
        for _ in range(50):
            bent = bytearray(content[: rng.randint(0, len(content))] if rng.random() < 0.3 else content)
            for _ in range(rng.randint(1, 4)):
                if bent:
                    bent[rng.randrange(len(bent))] = rng.randrange(256)
            TARGETS[name](bytes(bent))

    assert kept, f"{name}: expected at least one input to begin from in {CORPUS / name}"


def _fuzz(name: str, seconds: int, scratch: Path) -> subprocess.CompletedProcess[str]:
    options = [f"-max_total_time={seconds}", "-timeout=20", "-rss_limit_mb=2048", "-max_len=65536"]
    return subprocess.run(
        [sys.executable, "-m", "tests.fuzz", name, *options],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": f"{ROOT / 'node'}{os.pathsep}{ROOT}", "TMPDIR": str(scratch)},
        capture_output=True,
        text=True,
        timeout=seconds + 120,
        check=False,
    )


@pytest.mark.parts
@pytest.mark.parametrize("name", sorted(TARGETS))
def test_nothing_new_is_found_in_a_moment(name: str, tmp_path: Path) -> None:
    """Some seconds of coverage-guided search find no input that gives anything but a value or an error."""
    ran = _fuzz(name, SHORT_S, tmp_path)

    assert ran.returncode == 0, ran.stderr[-3000:]
    assert "DONE" in ran.stderr, ran.stderr[-3000:]


@pytest.mark.night
@pytest.mark.parametrize("name", sorted(TARGETS))
def test_nothing_new_is_found_in_a_night(name: str, tmp_path: Path) -> None:
    """A quarter of an hour a target finds nothing."""
    ran = _fuzz(name, LONG_S, tmp_path)

    assert ran.returncode == 0, ran.stderr[-3000:]
