"""`jinbao ca grant` from the grant to the enrolled new holder: golden in both languages, and refused with the next step."""

from __future__ import annotations

import json
import signal
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from tests.cli.conftest import Say
from tests.cli.harness import LOCALES, command, environment
from tests.cli.test_authorities import NODE, WALK, normal, until_it_listens
from tests.conftest import Golden, Shaped

from jinbao.appliance.loopback import free_port
from jinbao.authority.identity_files import load_identity
from jinbao.model.batch import SealedBatch
from jinbao.model.grant import Grant
from jinbao.model.topology import NodeRow, Topology
from jinbao.model.zone import Tier, Zone
from jinbao.trust.documents import seal_topology
from jinbao.trust.encoding import envelope_message
from jinbao.trust.grants import seal_grant

DOMAIN = "jinbao.example"

FOUNDING: tuple[str, ...] = (
    *WALK[:2],
    "ca token m --node 100000 --out token",
    "enrol --token token --request asked --config node.toml",
    "ca issue m --request asked --out answer",
    "enrol --install answer --config node.toml",
)
"""The ministry's authority and the zone that signs topologies and grants."""

CITY = (
    "ca token m --node 310000 --topology topology.sealed --out {0}.token",
    "enrol --token {0}.token --request {0}.asked --config {0}.toml",
    "ca issue m --request {0}.asked --out {0}.answer --topology topology.sealed",
    "enrol --install {0}.answer --config {0}.toml",
)

PROMOTION: tuple[str, ...] = (
    *(line.format("old") for line in CITY),
    "ca grant m 310000.grant --topology topology.sealed",
    "ca grant m 310000.grant --topology topology.sealed",
    *(line.format("new") for line in CITY),
    "ca list m",
    "ca grant m --root-epoch 2 --topology topology.sealed",
    "ca token m --node 100000 --topology topology.sealed --out next.token",
    "enrol --token next.token --request next.asked --config next.toml",
    "ca issue m --request next.asked --out next.answer --topology topology.sealed",
    "enrol --install next.answer --config next.toml",
    "ca list m --all",
)
"""A municipality's new holder and then the ministry's own, under the topology that knows of neither."""


def _row(node: str, tier: Tier, parent: str) -> NodeRow:
    return NodeRow(node, node, node, tier, node, parent, (Zone.EXCHANGE,), (), ())


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, say: Say) -> Path:
    """A working directory with a founded ministry, a sealed topology, and a grant of its municipality."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "node.toml").write_text(NODE.format(place=tmp_path))
    for name, node in (("old", "310000"), ("new", "310000"), ("next", "100000")):
        text = NODE.format(place=tmp_path / name).replace('"100000"', f'"{node}"')
        (tmp_path / name).mkdir()
        (tmp_path / f"{name}.toml").write_text(
            text if node == "100000" else text.replace('"ministry"', '"city"')
        )
    for line in FOUNDING:
        said = say(*line.split())
        assert said.code == 0, (line, said)
    signer = load_identity(tmp_path / "node" / "exchange" / "identity")
    now = f"{datetime.now(UTC) - timedelta(minutes=1):%Y-%m-%dT%H:%M:%SZ}"  # lists count whole seconds
    rows = (_row("100000", Tier.MINISTRY, ""), _row("310000", Tier.CITY, "100000"))
    _write(tmp_path / "topology.sealed", seal_topology(Topology(DOMAIN, 1, rows, now), signer))
    for node, epoch in (("310000", 2), ("310000", 1), ("320000", 2), ("100000", 2)):
        made = Grant(DOMAIN, node, epoch, (), (), (), "lost; A and B", now)
        name = f"{node}.grant" if epoch > 1 else f"{node}.late"
        _write(tmp_path / name, seal_grant(made, signer))
    return tmp_path


def _write(path: Path, sealed: SealedBatch) -> None:
    path.write_bytes(envelope_message(sealed).SerializeToString())


@pytest.mark.parametrize("lang", LOCALES)
def test_the_way_of_a_promotion_is_the_golden_one(place: Path, say: Say, golden: Golden, lang: str) -> None:
    """Granting, taking back and enrolling the new holders say what the golden file says."""
    told = []

    for line in PROMOTION:
        said = say(*line.split(), lang=lang)
        assert said.code == 0, (line, said)
        told.append(f"$ jinbao {line}\n{said.out}")

    golden(f"{lang}/ca-grant.txt", normal("\n".join(told)))


def test_json_says_the_same(place: Path, say: Say, shaped: Shaped) -> None:
    """With `--json` a grant answers node, epoch and serials, and the list names what was granted."""
    for line in PROMOTION[:4]:
        assert say(*line.split()).code == 0

    said = say(*PROMOTION[4].split(), "--json")
    assert say(*PROMOTION[6].split()).code == 0  # the new holder's token
    listed = say("ca", "list", "m", "--json")
    granted, found = json.loads(said.out), json.loads(listed.out)

    standing = {one["serial"]: one["standing"] for one in found["certificates"]}
    assert (granted["node"], granted["epoch"], len(granted["revoked"])) == ("310000", 2, 2)
    assert {standing[serial] for serial in granted["revoked"]} == {"revoked"}
    assert [(one["node"], one["epoch"]) for one in found["grants"]] == [("310000", 2)]
    shaped("ca grant", said)
    shaped("ca list", listed, say("ca", "list", "root", "--all", "--json"))


def test_a_process_with_a_topology_file_enrols_the_new_holder(place: Path, say: Say) -> None:
    """`jinbao ca serve --topology` follows a grant that another process took in, and enrols at once at its epoch."""
    address = f"127.0.0.1:{free_port()}"
    serving = subprocess.Popen(
        command("ca", "serve", "m", "--listen", address, "--topology", "topology.sealed"),
        env=environment(LC_ALL="C.UTF-8"),
        cwd=place,
        stderr=subprocess.PIPE,
    )
    try:
        until_it_listens(address)
        granted = say(*PROMOTION[4].split())
        token = f"ca token m --node 310000 --address {address} --topology topology.sealed --out t"
        made = say(*token.split())
        enrolled = say("enrol", "--token", "t", "--config", "new.toml")
    finally:
        serving.send_signal(signal.SIGTERM)
        serving.communicate(timeout=20)

    assert (granted.code, made.code, enrolled.code) == (0, 0, 0), (granted, made, enrolled)
    assert f"spiffe://{DOMAIN}/city/310000/310000/exchange/e/2" in enrolled.out


REFUSED: dict[str, tuple[int, str, str]] = {
    "nothing": (2, "ca grant m", "expected a grant with --topology, or --root-epoch, got neither"),
    "both": (2, "ca grant m 310000.grant --root-epoch 2 --topology topology.sealed", "got both"),
    "no topology": (2, "ca grant m 310000.grant", "got one without the other"),
    "above what": (2, "ca grant m --root-epoch 2 --above 310000.grant", "got one without the other"),
    "an epoch that is known": (
        2,
        "ca grant m 310000.late --topology topology.sealed",
        "expected an epoch after 1, got epoch 1; have 100000 grant epoch 2",
    ),
    "nobody": (1, "ca grant m 320000.grant --topology topology.sealed", "expected a node of the topology"),
    "the root node": (2, "ca grant m 100000.grant --topology topology.sealed", "jinbao ca grant DIR --root-epoch"),
    "no file": (2, "ca grant m none --topology topology.sealed", "grant none: expected a signed file"),
    "noise": (1, "ca grant m node.toml --topology topology.sealed", "envelope: expected"),
    "a topology": (1, "ca grant m topology.sealed --topology topology.sealed", "grant"),
    "no authority": (2, "ca grant x --root-epoch 2", "expected an authority, got none; jinbao ca init"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_granted_is_said_in_one_line(place: Path, say: Say, case: str) -> None:
    """A grant that is not the next one, or not this authority's, ends with its exit code and one line of what to do."""
    code, line, got = REFUSED[case]

    said = say(*line.split())

    assert (said.code, said.out) == (code, ""), said
    assert got in said.err
    assert said.err.count("\n") == 1
    assert json.loads(say("ca", "list", "m", "--json").out)["grants"] == []
