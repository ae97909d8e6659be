"""A support bundle has what a helper needs, and nothing that was planted of a person or a key, wherever it lay."""

from __future__ import annotations

import gzip
import json
import re
import shutil
import sqlite3
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.cli.conftest import Say
from tests.cli.harness import Net

from jinbao.appliance.admin_server import AdminServer
from jinbao.appliance.assembly import open_zone
from jinbao.appliance.network import write_settings
from jinbao.appliance.questions import Asked, dispatch
from jinbao.appliance.settings import Settings, load
from jinbao.appliance.support import allowed
from jinbao.model.zone import Zone

NAME, LATIN, NUMBER, SHORT = "欧阳静好", "ouyangjinghao", "110101199003074518", "110101900307451"
CITY = "140100"
PARTS = {"about.json", "settings.json", "doctor.json", "standards.json"}
OF_ZONE = {"facts.json", "status.json", "topology.json", "metrics.prom", "log.jsonl"}


@dataclass(frozen=True)
class Planted:
    """A city in which somebody's name, numbers and keys lie everywhere, also in the path to it."""

    home: Path
    secrets: frozenset[str]

    @property
    def config(self) -> str:
        """Its settings file."""
        return str(self.home / "node.toml")


def log_lines() -> list[str]:
    """A log in which people stand wherever a line has room for them."""
    lines = [
        {"event": "step_failed", "code": "link", "worker": f"follow {NAME}", "reason": NUMBER, "failures": 3},
        {"event": "batch_accepted", "peer": LATIN, "rows": int(NUMBER), "seq": 7, "timestamp": f"{NAME}"},
        {"event": f"{LATIN}_came", "zone": "140100/exchange"},
        {"event": "peer_refused", "caller": "140200/exchange", "code": LATIN, "reason": f"{NAME} {SHORT}"},
        {"event": "zone_started", "zone": f"{CITY}/production", "timestamp": "2026-11-26T05:45:11Z", NAME: 1},
    ]
    return [json.dumps(line, ensure_ascii=False) for line in lines] + [f"Traceback of {NAME}, {NUMBER}", ""]


def everybody(home: Path) -> Iterator[str]:
    """Names and numbers of every person in the city's business database."""
    base = sqlite3.connect(home / "business.db")
    tables = [row[0] for row in base.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
    for table in tables:
        columns = {row[1].upper() for row in base.execute(f"PRAGMA table_info({table})")}
        for column in columns & {"AAC001", "AAC002", "AAC003", "AAC147", "AAB001", "AAB004"}:
            for (value,) in base.execute(f"SELECT DISTINCT {column} FROM {table} LIMIT 400"):
                if value and len(str(value)) >= 2:
                    yield str(value)
    base.close()


def keys(home: Path) -> Iterator[str]:
    """Every line of every private key."""
    for file in home.rglob("*key*.pem"):
        yield from (line for line in file.read_text().splitlines() if line and not line.startswith("---"))
    for file in home.rglob("audit.key"):
        yield file.read_bytes().hex()


@pytest.fixture(scope="module")
def planted(net: Net, tmp_path_factory: pytest.TempPathFactory) -> Planted:
    """A copy of the city, with people in it."""
    base = tmp_path_factory.mktemp(f"{NAME}-{NUMBER}")
    shutil.copytree(net.directory, base / "net", symlinks=True)
    home = base / "net" / CITY
    text = (home / "node.toml").read_text(encoding="utf-8").replace(str(net.directory), str(base / "net"))
    (home / "node.toml").write_text(text, encoding="utf-8")
    found = load(home / "node.toml")
    lost = {
        "name": LATIN,
        "url": f"postgresql+psycopg://{LATIN}:p{NUMBER}@127.0.0.1:1/{LATIN}",
        "tokens": {LATIN: NAME},
    }
    body = found.model_dump(exclude_unset=True)
    body["sources"] = [*body["sources"], lost]
    body["promotion"] = {"persons": {}}
    write_settings(home, Settings(**body))
    for zone in found.zones:
        (home / zone / "log.jsonl").write_text("\n".join(log_lines()), encoding="utf-8")
        (home / zone / f"{NAME}-{NUMBER}.xlsx").write_text(NUMBER)
        (home / zone / "segments" / f"{NAME}{NUMBER}.parquet").write_text(NUMBER)
    secrets = {NAME, LATIN, NUMBER, SHORT, f"p{NUMBER}", *everybody(home), *keys(base)}
    return Planted(home, frozenset(secrets))


def opened(file: Path) -> tuple[dict[str, str], str]:
    """Parts by name, and all that is in the archive as text, headers and all, with what JSON escapes written out."""
    raw = gzip.decompress(file.read_bytes())
    with tarfile.open(file) as archive:
        members = archive.getmembers()
        parts = {m.name: (archive.extractfile(m) or file.open("rb")).read().decode() for m in members}
        assert {(m.uid, m.gid, m.uname, m.gname, m.mtime) for m in members} == {(0, 0, "", "", 0)}
    whole = raw.decode("utf-8", "replace")
    return parts, whole + re.sub(r"\\u([0-9a-f]{4})", lambda found: chr(int(found[1], 16)), whole)


def leaks(planted: Planted, text: str) -> list[str]:
    """What of the planted is in a text."""
    return sorted(secret for secret in planted.secrets if secret in text)


def test_nothing_planted_is_in_the_bundle(planted: Planted, say: Say, tmp_path: Path) -> None:
    """Of a stopped node's bundle no name, number, password, path, person of the business database or key is a part."""
    file = tmp_path / "bundle.tar.gz"
    assert len(planted.secrets) > 300

    log = tmp_path / f"{NAME}.jsonl"
    log.write_text("\n".join(log_lines()), encoding="utf-8")

    said = say("support", "bundle", str(file), "--log", str(log), "--config", planted.config)
    parts, text = opened(file)

    assert (said.code, said.err) == (0, "")
    assert leaks(planted, text) == []
    assert parts["log-1.jsonl"] == parts["exchange/log.jsonl"]
    assert set(parts) == PARTS | {"log-1.jsonl"} | {
        f"{z}/{n}" for z in Zone for n in ("facts.json", "log.jsonl")
    }
    assert file.stat().st_mode & 0o777 == 0o600


def test_a_running_zone_tells_no_more(planted: Planted, say: Say, tmp_path: Path) -> None:
    """A running zone adds status, topology and metrics, also without anything planted, though its journal has it."""
    settings, file = load(Path(planted.config)), tmp_path / "bundle.tgz"
    zone = open_zone(settings, Zone.EXCHANGE)
    why = {"peer": "140000", "reason": f"{NAME} {LATIN} {NUMBER}"}
    door = AdminServer(
        settings.run_directory(Zone.EXCHANGE), lambda n, a, caller: dispatch(Asked(zone, None, caller), n, a)
    )
    try:
        dispatch(Asked(zone), "line.pause", why)
        zone.metrics.count("token_lied", {"source": LATIN, "table": LATIN, "rows": 3})
        door.start()
        said = say("support", "bundle", str(file), "--config", planted.config, "--json")
    finally:
        door.stop()
        zone.close()
    parts, text = opened(file)

    assert leaks(planted, text) == []
    assert {p["name"] for p in json.loads(said.out)["parts"]} == set(parts)
    assert {name.partition("/")[2] for name in parts if name.startswith("exchange/")} == OF_ZONE
    assert 'jinbao_tokens_lied_total{source="?",table="?"} 3' in parts["exchange/metrics.prom"]
    assert json.loads(parts["exchange/topology.json"])["nodes"][2]["node"] == CITY


def test_a_helper_finds_what_they_need(planted: Planted, say: Say, tmp_path: Path) -> None:
    """The bundle says the release, every limit, each check's state, the head of each journal and the log's events."""
    file = tmp_path / "bundle.tar.gz"
    say("support", "bundle", str(file), "--config", planted.config)
    found, _ = opened(file)

    def part(name: str) -> Any:
        return json.loads(found[name])

    assert part("about.json")["version"] != "?"
    assert part("settings.json")["limits"]["headers_max"] == load(Path(planted.config)).limits.headers_max
    assert {line["check"] for line in part("doctor.json")} >= {"clock", "schema", "source"}
    assert "?" not in {line["code"] for line in part("doctor.json")}
    assert part("exchange/facts.json")["acts"] > 0
    assert re.fullmatch("[0-9a-f]{64}", part("exchange/facts.json")["act_hash"])
    assert "pension_macro@1.0" in part("standards.json")
    events = [json.loads(line) for line in found["exchange/log.jsonl"].splitlines()]
    assert [event.get("event") for event in events] == [
        "step_failed", "batch_accepted", "peer_refused", "zone_started", None,
    ]  # fmt: skip
    assert events[0] == {
        "event": "step_failed",
        "at": "",
        "code": "link",
        "worker": "follow ?",
        "failures": 3,
    }
    assert events[-1] == {"others": 2}


def test_a_bundle_replaces_no_file(planted: Planted, say: Say, tmp_path: Path) -> None:
    """A file that is there already is left as it is, and the command says so."""
    file = tmp_path / "bundle.tar"
    file.write_text("mine")

    said = say("support", "bundle", str(file), "--config", planted.config)

    assert said.code == 1
    assert "expected no file, got one" in said.err
    assert file.read_text() == "mine"


ANY = st.sampled_from(
    [NAME, LATIN, NUMBER, f" {NUMBER}", f"x{NUMBER}", int(NUMBER), int(SHORT), [NAME], {NAME: NAME}]
)
KEYS = st.sampled_from(
    ["timestamp", "zone", "peer", "caller", "code", "worker", "seq", "rows", "reason", NAME]
)


@given(event=st.sampled_from(sorted(allowed.EVENTS)), values=st.dictionaries(KEYS, ANY))
def test_no_line_of_a_log_lets_a_person_out(event: str, values: dict[str, Any]) -> None:
    """Whatever a known event carries under whatever name, no name and no number of a person comes out."""
    out = allowed.log([json.dumps({"event": event} | values)])

    assert not [secret for secret in (NAME, LATIN, NUMBER, SHORT) if secret in out]
    assert json.loads(out)["event"] == event


@given(
    label=st.sampled_from(["peer", "zone", "topic", "library", "worker", "code", "rule", "ok", "source"]),
    value=ANY,
)
def test_no_label_of_a_metric_lets_a_person_out(label: str, value: Any) -> None:
    """Whatever a label of a known metric says, no name and no number of a person comes out."""
    page = f'jinbao_streams_held{{{label}="{value}"}} 1\njinbao_streams_held{{code="link"}} {NUMBER}\n'

    out = allowed.metrics(page)

    assert out == f'jinbao_streams_held{{{label}="?"}} 1\n'
