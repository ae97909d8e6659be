"""`jinbao ca` and `jinbao enrol` from an empty directory to a renewed zone: golden in both languages, safe in files."""

from __future__ import annotations

import io
import json
import re
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.cli.conftest import Say
from tests.cli.harness import LOCALES, command, environment
from tests.conftest import Golden
from tests.house.tree import ROOT

from jinbao.appliance.loopback import free_port
from jinbao.authority.identity_files import load_identity
from jinbao.authority.joining import response_of
from jinbao.authority.key_protection import AUTHORITY_CREDENTIAL

NODE = """
node = "100000"
tier = "ministry"
data_directory = "{place}/node"
topology_file = "{place}/topology.sealed"
[zones.exchange]
border = "line"
http = "127.0.0.1:1"
"""

WALK: tuple[str, ...] = (
    "ca init root --domain jinbao.example",
    "ca init m --domain jinbao.example --issuing 100000 --root root",
    "ca init p --domain jinbao.example --issuing 140000 --passphrase-file pass",
    "ca csr p --out p.csr --passphrase-file pass",
    "ca issue root --request p.csr --out p.pem",
    "ca import p p.pem --passphrase-file pass",
    "ca token m --node 100000 --minutes 60 --out token",
    "ca list m",
    "enrol --token token --request asked --config node.toml",
    "ca issue m --request asked --out answer",
    "enrol --install answer --config node.toml",
    "enrol --renew --zone exchange --request again --config node.toml",
    "ca issue m --request again --out renewed",
    "enrol --install renewed --config node.toml",
    "ca list m",
    "ca revoke m --node 100000 --zone exchange --reason superseded",
    "ca crl m --out lists.pem",
    "ca export m --out trust.pem",
    "ca rotate root prepare",
    "ca rotate root activate",
    "ca rotate m recertify --root root",
    "ca rotate p recertify --root root --passphrase-file pass",
    "ca rotate root retire",
    "ca rotate m prepare --root root",
    "ca rotate m activate",
    "ca rotate m taint",
    "ca list m --all",
    "ca list root",
)
"""What an operator types, in order; every file is in the working directory."""

DIFFERS = (
    (r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", "<time>"),
    (r"\b[0-9a-f]{36,40}\b", "<serial>"),
    (r"\b[0-9a-f]{16}\b", "<id>"),
    (r"(?<=\S)  +(?=\S)", "  "),
)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with the ministry's settings and a passphrase."""
    (tmp_path / "node.toml").write_text(NODE.format(place=tmp_path))
    (tmp_path / "pass").write_text("correct horse\n")
    (tmp_path / "pass").chmod(0o600)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def normal(text: str) -> str:
    """The text with what differs from run to run named instead."""
    for pattern, name in DIFFERS:
        text = re.sub(pattern, name, text)
    return text


@pytest.mark.parametrize("lang", LOCALES)
def test_the_whole_way_is_the_golden_one(place: Path, say: Say, golden: Golden, lang: str) -> None:
    """Founding, enrolling, renewing, taking back and rotating say what the golden file says, and nothing secret."""
    told = []

    for line in WALK:
        said = say(*line.split(), lang=lang)
        assert said.code == 0, (line, said)
        told.append(f"$ jinbao {line}\n{said.out}")

    secret = json.loads((place / "token").read_text())["secret"]
    assert secret not in "".join(told)
    assert "PRIVATE" not in "".join(told)
    golden(f"{lang}/ca.txt", normal("\n".join(told)))


@pytest.mark.parametrize("lang", LOCALES)
def test_what_the_walk_wrote_is_private(place: Path, say: Say, lang: str) -> None:
    """Every file a command writes is its owner's alone, and no key or secret is in a file that is carried."""
    for line in WALK[:14]:
        assert say(*line.split(), lang=lang).code == 0

    carried = ("p.csr", "p.pem", "asked", "answer", "again", "renewed")
    keys = [path.read_bytes() for path in place.rglob("*.pem") if b"PRIVATE KEY" in path.read_bytes()]
    secret = json.loads((place / "token").read_text())["secret"]
    assert {(place / name).stat().st_mode & 0o777 for name in (*carried, "token")} == {0o600}
    assert keys
    for name in carried:
        content = (place / name).read_bytes()
        assert bytes.fromhex(secret) not in content
        assert b"PRIVATE" not in content
    assert load_identity(place / "node" / "exchange" / "identity").directory.name == "g0002"


def test_json_says_the_same(place: Path, say: Say) -> None:
    """With `--json` every command answers one document with the facts of its text."""
    for line in WALK[:14]:
        shown = say(*line.split(), "--json")
        assert shown.code == 0, (line, shown)
        json.loads(shown.out)

    found = json.loads(say("ca", "list", "m", "--json").out)
    text = say("ca", "list", "m").out
    assert [one["about"] for one in found["certificates"]] == ["100000/exchange"] * 4
    assert all(one["serial"] in text for one in found["certificates"])
    assert [key["stage"] for key in found["keys"]] == ["active"]


def test_a_node_enrols_and_renews_at_a_process(place: Path, say: Say) -> None:
    """`jinbao ca serve` answers `jinbao enrol` of another process, while other commands act for the authority."""
    for line in WALK[:2]:
        assert say(*line.split()).code == 0
    address = f"127.0.0.1:{free_port()}"
    serving = subprocess.Popen(
        command("ca", "serve", "m", "--listen", address),
        env=environment(LC_ALL="C.UTF-8"),
        cwd=place,
        stderr=subprocess.PIPE,
    )
    try:
        until_it_listens(address)
        assert say("ca", "token", "m", "--node", "100000", "--address", address, "--out", "t").code == 0
        enrolled = say("enrol", "--token", "t", "--config", "node.toml")
        renewed = say("enrol", "--renew", "--config", "node.toml", "--json")
    finally:
        serving.send_signal(signal.SIGTERM)
        _, log = serving.communicate(timeout=20)

    assert enrolled.code == 0, enrolled
    assert "spiffe://jinbao.example/ministry/100000/100000/exchange/e/1" in enrolled.out
    assert json.loads(renewed.out)["zones"][0]["directory"].endswith("g0002")
    assert serving.returncode == 0
    events = [json.loads(line)["event"] for line in log.decode().splitlines()]
    assert events == ["enrolment_started", "zone_enrolled", "zone_renewed", "enrolment_stopped"]


def test_a_token_goes_from_authority_to_node_through_a_pipe(
    place: Path, say: Say, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With `-` a token lies on no disk: it is all that is said on one side and all that is read on the other."""
    for line in WALK[:2]:
        assert say(*line.split()).code == 0
    before = set(place.rglob("*"))

    made = say("ca", "token", "m", "--node", "100000", "--out", "-")
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(made.out.encode())))
    asked = say(*["enrol", "--token", "-", "--request", "asked", "--config", "node.toml"])
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"noise")))
    noise = say(*["enrol", "--token", "-", "--config", "node.toml"])

    assert (made.code, json.loads(made.out)["node"], asked.code) == (0, "100000", 0), asked
    new = {path for path in set(place.rglob("*")) - before if path.is_file()}
    secret = json.loads(made.out)["secret"].encode()
    assert place / "asked" in new
    assert not [path for path in new if secret in path.read_bytes()]
    assert (noise.code, "token on standard input: expected a token" in noise.err) == (2, True), noise


def test_the_units_command_serves_before_there_is_a_topology(place: Path, say: Say) -> None:
    """What an authority's unit starts opens its key by the credential, and enrols the ministry while no topology is."""
    for line in (WALK[0], f"{WALK[1]} --passphrase-file pass"):
        assert say(*line.split()).code == 0
    address, credentials = f"127.0.0.1:{free_port()}", place / "credentials"
    credentials.mkdir()
    (credentials / AUTHORITY_CREDENTIAL).write_bytes((place / "pass").read_bytes())
    unit = (ROOT / "units" / "jinbao-ca.service").read_text(encoding="utf-8")
    [start] = re.findall(r"^ExecStart=\S+ (.*)$", unit, re.MULTILINE)
    words = start.replace("${LISTEN}", address).replace("/var/lib/jinbao-ca/authority", "m")
    serving = subprocess.Popen(
        command(*words.replace("/var/lib/jinbao-ca", str(place)).split()),
        env=environment(LC_ALL="C.UTF-8", CREDENTIALS_DIRECTORY=str(credentials)),
        cwd=place,
        stderr=subprocess.PIPE,
    )
    try:
        until_it_listens(address)
        token = ["--node", "100000", "--address", address, "--out", "t", "--passphrase-file", "pass"]
        assert say("ca", "token", "m", *token).code == 0
        enrolled = say("enrol", "--token", "t", "--config", "node.toml")
    finally:
        serving.send_signal(signal.SIGTERM)
        _, log = serving.communicate(timeout=20)

    assert (enrolled.code, serving.returncode) == (0, 0), (enrolled, log)
    events = [json.loads(line)["event"] for line in log.decode().splitlines()]
    assert events == ["topology_awaited", "enrolment_started", "zone_enrolled", "enrolment_stopped"]
    assert (place / "trust.pem").is_file()


def until_it_listens(address: str) -> None:
    """Wait until a process accepts connections."""
    host, _, port = address.rpartition(":")
    ends = time.monotonic() + 30
    while True:
        try:
            socket.create_connection((host, int(port)), 1).close()
        except OSError:
            assert time.monotonic() < ends, "expected a listener within 30 s"
            time.sleep(0.1)
        else:
            return


REFUSED: dict[str, tuple[int, str, str]] = {
    "no authority": (2, "ca list nowhere", "expected an authority, got none; jinbao ca init"),
    "a second founding": (2, "ca init m --domain jinbao.example --issuing 150000", "expected none yet"),
    "a root for a root": (2, "ca init r2 --domain jinbao.example --root root", "--root with --issuing"),
    "a signer without its key": (
        2,
        "ca init r2 --domain jinbao.example --signer x",
        "--signer with --public-key",
    ),
    "a domain that is none": (2, "ca init r2 --domain Jinbao!", "expected a trust domain"),
    "a node that is none": (2, "ca init r2 --domain jinbao.example --issuing 14", "a node of six digits"),
    "no topology": (2, "ca token m --node 140000 --out t2", "expected the signed topology"),
    "too long a token": (
        2,
        "ca token m --node 100000 --out t2 --minutes 100000",
        "expected up to 43200 minutes",
    ),
    "a token and JSON in one pipe": (
        2,
        "ca token m --node 100000 --out - --json",
        "--out -: expected a pipe to jinbao enrol --token -, got --json",
    ),
    "a token over a file": (2, "ca token m --node 100000 --out token", "expected a new name"),
    "nothing to revoke": (2, "ca revoke m --reason superseded", "expected serials or --node, got neither"),
    "serial of nobody": (
        2,
        "ca revoke m 4d --reason superseded",
        "expected one this authority issued, got 4d",
    ),
    "serial that is none": (2, "ca revoke m zz --reason superseded", "expected hexadecimal"),
    "a step out of order": (2, "ca rotate m activate", "expected a prepared key, got none"),
    "recertify alone": (2, "ca rotate m recertify", "expected --root, got none"),
    "a root's request": (2, "ca csr root --out x", "expected to certify itself"),
    "noise as request": (1, "ca issue m --request pass --out x", "expected"),
    "noise as trust": (1, "ca import m pass", "expected certificates and lists as PEM"),
    "a readable passphrase": (2, "ca list m --passphrase-file node.toml", "expected mode 0600"),
    "nothing to do": (2, "enrol --config node.toml", "expected one of --token, --renew, --install"),
    "renewal of nothing": (2, "enrol --renew --config node.toml", "enrol this zone"),
    "renewal by file of all": (2, "enrol --renew --request x --config node.toml", "one request per zone"),
    "a zone that is not run": (2, "enrol --renew --zone decision --config node.toml", "expected exchange"),
    "a token without address": (2, "enrol --token token --config node.toml", "jinbao enrol --request"),
    "a token that is none": (2, "enrol --token pass --config node.toml", "expected a token of this release"),
    "an answer that is none": (1, "enrol --install pass --config node.toml", "answer"),
    "a file that is not there": (1, "enrol --install none --config node.toml", "No such file"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_done_is_said_in_one_line(place: Path, say: Say, case: str) -> None:
    """A wrong argument or file ends with its exit code and one line of thing, expected, got; never a traceback."""
    for line in (*WALK[:2], WALK[6]):
        assert say(*line.split()).code == 0
    code, line, got = REFUSED[case]

    said = say(*line.split())

    assert (said.code, said.out) == (code, ""), said
    assert ": expected " in said.err
    assert got in said.err
    assert said.err.count("\n") == 1


@pytest.mark.parametrize(
    "spoil",
    [lambda c: c[:-20], lambda c: c.replace(b"exchange", b"decision"), lambda _: b""],
    ids=["cut", "changed", "empty"],
)
def test_a_spoilt_answer_changes_nothing(place: Path, say: Say, spoil: Callable[[bytes], bytes]) -> None:
    """An answer that was damaged on the way is refused, the zone keeps what it had, and the whole one still fits."""
    for line in (*WALK[:2], WALK[6], *WALK[8:10]):
        assert say(*line.split()).code == 0
    whole = (place / "answer").read_bytes()
    assert response_of(whole).zones
    (place / "answer").write_bytes(spoil(whole))

    refused = say(*WALK[10].split())
    (place / "answer").write_bytes(whole)
    taken = say(*WALK[10].split())

    assert refused.code in {1, 2}
    assert refused.err.count("\n") == 1
    assert taken.code == 0
