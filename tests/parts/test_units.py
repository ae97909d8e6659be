"""The unit files as systemd itself reads them, and the directories it makes for them."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from tests.house.tree import ROOT

UNITS = ROOT / "units"
ZONES = ("production", "exchange", "decision")
EXPOSURE_MAX = 15
"""Tenths of a point."""

OWN = re.compile(
    r"SupplementaryGroups=|LoadCredential=drill-key|ReadWritePaths=|InaccessiblePaths=|IPAddress|# Its web port"
)
"""What one zone's unit says and another's does not: which groups and borders it has."""


def run(*command: str) -> subprocess.CompletedProcess[str]:
    """A program's end and all it said."""
    return subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60, check=False
    )


@pytest.mark.parts
@pytest.mark.parametrize("zone", ZONES)
def test_a_zone_is_exposed_no_more_than_it_must_be(zone: str) -> None:
    """`systemd-analyze security` finds each zone's service at 1.5 of 10 at most."""
    command = ["systemd-analyze", "security", "--offline=true", f"--threshold={EXPOSURE_MAX}", "--no-pager"]

    judged = run(*command, str(UNITS / f"jinbao-{zone}.service"))

    assert judged.returncode == 0, judged.stdout


@pytest.mark.parts
def test_systemd_reads_every_unit_without_a_remark(tmp_path: Path) -> None:
    """`systemd-analyze verify` says nothing of the target and the services, their program being there."""
    for unit in [*UNITS.glob("*.service"), *UNITS.glob("*.target")]:
        text = unit.read_text(encoding="utf-8").replace("/opt/jinbao/current/venv/bin/jinbao", sys.executable)
        (tmp_path / unit.name).write_text(text, encoding="utf-8")

    verified = run("systemd-analyze", "verify", "--man=no", *(str(path) for path in tmp_path.iterdir()))

    assert (verified.returncode, verified.stdout) == (0, "")


def test_the_zones_differ_in_their_borders_alone() -> None:
    """Beside name, account, groups and paths the three services are one, so that what one is hardened by all are."""
    plain = {}
    for zone in ZONES:
        text = (UNITS / f"jinbao-{zone}.service").read_text(encoding="utf-8")
        lines = [line for line in text.splitlines() if not OWN.match(line)]
        plain[zone] = re.sub("生产区|交换区|决策区", "ZONE", "\n".join(lines).replace(zone, "ZONE"))

    assert plain["production"] == plain["exchange"] == plain["decision"]


def test_no_zone_names_anothers_credential() -> None:
    """A service is handed only what bears its own name."""
    for zone in ZONES:
        text = (UNITS / f"jinbao-{zone}.service").read_text(encoding="utf-8")
        handed = re.findall(r"^LoadCredential=[^:]+:(\S+)$", text, re.MULTILINE)
        assert handed
        assert all(name.startswith(f"jinbao-{zone}.") for name in handed)
