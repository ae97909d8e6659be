"""What the command line writes for Prometheus and prints of a runbook; what somebody changed by hand stays theirs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.cli.conftest import Say
from tests.cli.harness import Net
from tests.conftest import Golden
from tests.house.monitoring import MONITORING

from jinbao.appliance.settings import load
from jinbao.authority.identity_files import generation

LANGUAGES = pytest.mark.parametrize("lang", ["en", "zh"])


@LANGUAGES
def test_a_first_run_writes_all(say: Say, golden: Golden, tmp_path: Path, lang: str) -> None:
    """Every file but the unit tests is written, with a place for targets, and what was done is counted."""
    said = say("monitoring", "write", str(tmp_path / "new" / "jinbao"), lang=lang)

    golden(f"{lang}/monitoring-write.txt", said.out)
    assert (said.err, said.code) == ("", 0)
    shipped = {
        p.relative_to(MONITORING) for p in MONITORING.rglob("*.*") if p.is_file() and "tests" not in p.parts
    }
    there = tmp_path / "new" / "jinbao"
    assert {p.relative_to(there) for p in there.rglob("*.*") if p.is_file()} - {
        Path(".written.json")
    } == shipped
    assert (there / "targets").is_dir()


@LANGUAGES
def test_what_was_changed_by_hand_stays(say: Say, golden: Golden, tmp_path: Path, lang: str) -> None:
    """A changed file is named and left, exit code 3; one that is gone is written; `--force` overwrites."""
    asked = ("monitoring", "write", str(tmp_path))
    say(*asked)
    (tmp_path / "alerts.yml").write_text("mine", encoding="utf-8")
    (tmp_path / "rules.yml").unlink()

    said = say(*asked, lang=lang)
    kept = (tmp_path / "alerts.yml").read_text(encoding="utf-8")
    forced = say(*asked, "--force")

    golden(f"{lang}/monitoring-kept.txt", said.out)
    assert (said.code, kept, forced.code) == (3, "mine", 0)
    assert (tmp_path / "alerts.yml").read_bytes() == (MONITORING / "alerts.yml").read_bytes()


def test_what_a_release_before_wrote_is_renewed(say: Say, tmp_path: Path) -> None:
    """A file that is as this command wrote it, from other words, is renewed without being asked."""
    asked = ("monitoring", "write", str(tmp_path), "--json")
    say(*asked, "--webhook", "http://10.0.0.1:1/before")

    found = json.loads(
        say(*asked, "--webhook", "http://10.0.0.2:2/now", "--alertmanager", "10.0.0.3:9093").out
    )

    states = {one["file"]: one["state"] for one in found["files"] if one["state"] != "same"}
    assert states == {"alertmanager/alertmanager.yml": "renewed", "prometheus.yml": "renewed"}
    assert "'http://10.0.0.2:2/now'" in (tmp_path / "alertmanager" / "alertmanager.yml").read_text("utf-8")
    assert "'10.0.0.3:9093'" in (tmp_path / "prometheus.yml").read_text(encoding="utf-8")


def test_a_directory_that_cannot_be_written_is_named(say: Say, tmp_path: Path) -> None:
    """A path that leads through a file is an error with its name, not a traceback."""
    (tmp_path / "file").touch()

    said = say("monitoring", "write", str(tmp_path / "file" / "below"))

    assert said.code == 1
    assert f"directory {tmp_path}/file/below: expected one that can be written" in said.err


def test_targets_are_the_zones_of_the_node(say: Say, net: Net) -> None:
    """Each zone is listed with the address Prometheus is to use, and by the label the rules need."""
    found = json.loads(say("monitoring", "targets", "--host", "10.14.0.1", "--config", net.config()).out)

    assert [one["labels"] for one in found] == [
        {"endpoint": f"140100/{zone}", "tier": "city"} for zone in ("production", "exchange", "decision")
    ]
    assert all(one["targets"][0].startswith("10.14.0.1:") for one in found)


def test_a_port_nobody_finds_is_no_target(say: Say, net: Net, tmp_path: Path) -> None:
    """A zone that chooses its port at each start is named, with the setting that mends it."""
    config = tmp_path / "node.toml"
    lines = Path(net.config("100000")).read_text(encoding="utf-8").splitlines()
    config.write_text("\n".join(line for line in lines if not line.startswith("http")), encoding="utf-8")

    said = say("monitoring", "targets", "--config", str(config))

    assert said.code == 2
    assert "zones.exchange.http: expected a port that Prometheus finds, got 127.0.0.1:0" in said.err


def _network(net: Net) -> tuple[str, str, Path]:
    """Options that name the network's topology and what proves it, and the topology's file."""
    identity = generation(Path(net.config("100000")).parent / "exchange" / "identity")
    proof = f"--root {identity / 'anchors.pem'} --trust {identity / 'trust.pem'}"
    return proof, "--topology", load(Path(net.config("100000"))).topology_file


def test_targets_of_a_network_are_whom_its_topology_names(say: Say, net: Net) -> None:
    """A signed topology gives each zone that has an address in it, at its host and the port of its pages."""
    proof, option, file = _network(net)

    found = json.loads(say("monitoring", "targets", option, str(file), *proof.split()).out)

    assert {"140100/production", "140000/exchange"} <= {one["labels"]["endpoint"] for one in found}
    assert not [one for one in found if one["labels"]["endpoint"].endswith("/decision")]
    assert {one["targets"][0] for one in found} == {"127.0.0.1:9101", "127.0.0.1:9102"}


def test_targets_are_not_taken_from_a_topology_nobody_signed(say: Say, net: Net, tmp_path: Path) -> None:
    """One changed byte, or no way to a root, and there is no target at all."""
    proof, option, file = _network(net)
    content = bytearray(file.read_bytes())
    content[content.index(b"127.0.0.1")] ^= 1
    (tmp_path / "changed.sealed").write_bytes(content)

    changed = say("monitoring", "targets", option, str(tmp_path / "changed.sealed"), *proof.split())
    unproved = say("monitoring", "targets", option, str(file))

    assert (changed.code != 0, changed.out) == (True, "")
    assert (unproved.code, "--root and --trust beside it" in unproved.err) == (2, True)


@LANGUAGES
def test_a_runbook_is_printed_as_it_ships(say: Say, golden: Golden, lang: str) -> None:
    """`runbook NAME` prints the page in the reader's language; without a name all are listed."""
    page = say("runbook", "childsilent", lang=lang).out
    every = say("runbook", lang=lang).out

    end = {"en": ".md", "zh": ".zh.md"}[lang]
    assert page == (MONITORING / "runbooks" / f"JinbaoChildSilent{end}").read_text(encoding="utf-8")
    golden(f"{lang}/runbook.txt", every)


def test_a_misspelt_runbook_is_a_usage_error(say: Say) -> None:
    """A name there is not ends with exit code 2 and the nearest there is."""
    said = say("runbook", "ZoneDwn")

    assert said.code == 2
    assert "did you mean JinbaoZoneDown?" in said.err
