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

HARD = re.compile(
    r"(NoNew|Capab|Ambient|Protect|Private|Restrict(Addr|Name|Real|SUID)|Lock|Memory|RemoveIPC|Keyring|Device|System|Limit|UMask)"
)
"""What a unit forbids its service."""


def run(*command: str) -> subprocess.CompletedProcess[str]:
    """A program's end and all it said."""
    return subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60, check=False
    )


@pytest.mark.parts
@pytest.mark.parametrize("zone", [*ZONES, "ca"])
def test_a_service_is_exposed_no_more_than_it_must_be(zone: str) -> None:
    """`systemd-analyze security` finds each service, of a zone and of an authority, at 1.5 of 10 at most."""
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


def test_an_authority_is_hardened_as_zones_are() -> None:
    """Beside what a zone is watched by and reads, the authority's service forbids itself whatever a zone's does."""
    zone, authority = (
        {
            line
            for line in (UNITS / f"jinbao-{name}.service").read_text(encoding="utf-8").splitlines()
            if HARD.match(line)
        }
        for name in ("exchange", "ca")
    )

    assert zone <= authority
    assert len(zone) > 20


def test_an_authority_is_told_no_secret_in_words() -> None:
    """Its passphrase is a credential, in neither an argument nor the environment; where it listens alone is a variable."""
    lines = (UNITS / "jinbao-ca.service").read_text(encoding="utf-8").splitlines()
    [start] = [line for line in lines if line.startswith("ExecStart=")]

    assert "passphrase" not in start
    assert re.findall(r"\$\{?(\w+)", start) == ["LISTEN"]
    assert not [line for line in lines if line.startswith("Environment") and "pass" in line.lower()]
    assert "LoadCredential=authority-passphrase:/etc/jinbao-ca/passphrase" in lines


def test_every_account_and_directory_of_a_service_is_made() -> None:
    """Whoever a unit runs as is an account of the release, with its directory of state."""
    accounts = (UNITS / "sysusers.d" / "jinbao.conf").read_text(encoding="utf-8")
    places = (UNITS / "tmpfiles.d" / "jinbao.conf").read_text(encoding="utf-8")
    for unit in UNITS.glob("*.service"):
        text = unit.read_text(encoding="utf-8")
        [user] = re.findall(r"^User=(\S+)$", text, re.MULTILINE)
        [state] = re.findall(r"^StateDirectory=(\S+)$", text, re.MULTILINE)
        assert re.search(rf"^u {user} ", accounts, re.MULTILINE), user
        assert re.search(rf"^d /var/lib/{state} +0700 {user} ", places, re.MULTILINE), state
