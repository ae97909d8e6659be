"""Settings: which layer wins, where a value comes from, and how what is wrong is worded."""

from __future__ import annotations

import json
import tomllib
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from jinbao.appliance.network import to_toml
from jinbao.appliance.settings import Limits, Settings, load, origins
from jinbao.cli.main import main
from jinbao.model.errors import SettingsError
from jinbao.model.places import tiers_directory
from jinbao.model.zone import Border, Endpoint, Tier, Zone

BODY = """
node = "140100"
tier = "city"
data_directory = "/srv/jinbao"
topology_file = "/etc/jinbao/topology.sealed"

[limits]
headers_max = 100

[zones.exchange]
http = "127.0.0.1:9102"

[zones.production]
"""

ONE_SOURCE = '[[sources]]\nname = "city"\nurl = "postgresql://reader:secret@db/shebao"\n'


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A city's settings."""
    path = tmp_path / "node.toml"
    path.write_text(BODY, encoding="utf-8")
    return path


def test_a_file_alone_is_in_force(file: Path) -> None:
    """What the file says is in force, and what it leaves out has its default."""
    found = load(file)

    assert (found.node, found.tier, found.limits.headers_max) == ("140100", Tier.CITY, 100)
    assert found.limits.receipts_max == Limits().receipts_max
    assert found.database(Zone.EXCHANGE) == "sqlite:////srv/jinbao/exchange/zone.db"


def test_a_relative_directory_is_where_the_command_runs(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A directory named from here is the same place for a process that runs elsewhere, as the decoder does."""
    monkeypatch.chdir(file.parent)
    file.write_text(BODY.replace("/srv/jinbao", "here"), encoding="utf-8")

    assert load(file).directory(Zone.EXCHANGE) == file.parent / "here" / "exchange"


def test_the_environment_wins_over_the_file(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A variable JINBAO_* replaces the file's value, and its neighbours in the same table stay."""
    monkeypatch.setenv("JINBAO_LIMITS__HEADERS_MAX", "7")
    monkeypatch.setenv("JINBAO_PERIOD", "202611")

    found = load(file)

    assert (found.limits.headers_max, found.period, found.node) == (7, "202611", "140100")


def test_a_flag_wins_over_both(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A flag replaces what file and environment say of the same key, and nothing else."""
    monkeypatch.setenv("JINBAO_LIMITS__HEADERS_MAX", "7")
    monkeypatch.setenv("JINBAO_LIMITS__RECEIPTS_MAX", "8")

    found = load(file, {"limits": {"headers_max": 9}})

    assert (found.limits.headers_max, found.limits.receipts_max) == (9, 8)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(layers=st.lists(st.none() | st.integers(1, 10**6), min_size=3, max_size=3))
def test_the_last_layer_that_speaks_wins(
    file: Path, monkeypatch: pytest.MonkeyPatch, layers: list[int | None]
) -> None:
    """Of default, file, environment and flag, the last one that names a key gives its value and its origin."""
    in_file, in_environment, in_flag = layers
    body = BODY.replace("headers_max = 100", f"headers_max = {in_file}" if in_file else "")
    file.write_text(body, encoding="utf-8")
    with monkeypatch.context() as environment:
        if in_environment:
            environment.setenv("JINBAO_LIMITS__HEADERS_MAX", str(in_environment))
        flags = {"limits": {"headers_max": in_flag}} if in_flag else None
        rows = {key: (value, origin) for key, value, origin in origins(file, flags)}

    said = [("default", Limits().headers_max), (str(file), in_file)]
    said += [("environment", in_environment), ("flag", in_flag)]
    origin, value = [(name, value) for name, value in said if value][-1]
    assert rows["limits.headers_max"] == (str(value), origin)


@pytest.mark.parametrize(
    ("line", "place", "nearest"),
    [
        ('teir = "city"', "teir", "did you mean tier?"),
        ("[pace]\nfollow_wait = 3", "pace.follow_wait", "did you mean follow_wait_s?"),
        ('[zones.decision]\nbordr = "line"', "zones.decision.bordr", "did you mean border?"),
        (ONE_SOURCE + 'encodin = "utf-8"', "sources.0.encodin", "did you mean encoding?"),
        (
            "[pace]\nxyzzy = 1",
            "pace.xyzzy",
            (
                "known keys: follow_wait_s, interval_s, backoff_max_s, round_s_max, witness_interval_s, "
                "authority_interval_s, drill_cron, capture_cron"
            ),
        ),
    ],
    ids=["at the top", "in a table", "of a zone", "of a source", "near nothing"],
)
def test_an_unknown_key_is_named_with_its_nearest(file: Path, line: str, place: str, nearest: str) -> None:
    """A key nobody knows is refused with its file, its place and the known key nearest to it."""
    table = line.startswith("[")
    file.write_text(BODY + line if table else line + BODY, encoding="utf-8")

    with pytest.raises(SettingsError) as caught:
        load(file)

    assert caught.value.thing == f"{file}: {place}"
    assert (caught.value.expected, caught.value.next_step) == ("a known key", nearest)


@pytest.mark.parametrize(
    "line",
    ['140000 = "10.14.0.7"', '14 = "10.14.0.7:7443"', '140000 = "10.14.0.7:7443/"', '140000-backup = "a:1"'],
    ids=["no port", "no node", "more than an address", "a backup site"],
)
def test_an_authority_has_a_node_and_an_address(file: Path, line: str) -> None:
    """An authority that could never be asked keeps a node from starting, and is named."""
    file.write_text(f"{BODY}\n[authorities]\n{line}\n", encoding="utf-8")

    with pytest.raises(SettingsError, match=r"authorities\.14"):
        load(file)


@pytest.mark.parametrize("address", ["10.14.0.7:7443", "ca.140000.internal:7443", "[fd00::7]:7443"])
def test_an_authoritys_address_is_read_as_it_is(file: Path, address: str) -> None:
    """Names and addresses of both kinds are taken."""
    file.write_text(f'{BODY}\n[authorities]\n140000 = "{address}"\n', encoding="utf-8")

    assert load(file).authorities == {"140000": address}


def test_an_unknown_variable_is_an_unknown_key(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A misspelt JINBAO_* variable is refused like a misspelt key, not ignored."""
    monkeypatch.setenv("JINBAO_PERIODE", "202611")

    with pytest.raises(SettingsError, match=r"periode.*did you mean period"):
        load(file)


@pytest.mark.parametrize(
    ("found", "wrong", "place", "expected", "got"),
    [
        ("headers_max = 100", "headers_max = 0", "limits.headers_max", "greater than 0", "0"),
        ("headers_max = 100", 'headers_max = "many"', "limits.headers_max", "valid integer", "'many'"),
        ('tier = "city"', 'tier = "town"', "tier", "'ministry', 'province' or 'city'", "'town'"),
        ('node = "140100"', 'node = "Taiyuan"', "node", "should match pattern", "'Taiyuan'"),
        (
            'http = "127.0.0.1:9102"',
            'border = "bridge"',
            "zones.exchange.border",
            "'line' or 'carrier'",
            "'bridge'",
        ),
    ],
    ids=["zero", "a word for a number", "tier", "node", "border"],
)
def test_a_wrong_value_is_named(
    file: Path, found: str, wrong: str, place: str, expected: str, got: str
) -> None:
    """A value that cannot be is refused with its file, its place, what was expected and what was got."""
    file.write_text(BODY.replace(found, wrong), encoding="utf-8")

    with pytest.raises(SettingsError) as caught:
        load(file)

    assert caught.value.thing == f"{file}: {place}"
    assert expected in str(caught.value.expected)
    assert caught.value.got == got


def test_a_missing_key_is_named(file: Path) -> None:
    """A key without default that nobody sets is named with the file to set it in."""
    file.write_text(BODY.replace('tier = "city"', ""), encoding="utf-8")

    with pytest.raises(SettingsError, match=f"{file}: tier: expected a value, got none; set tier in {file}"):
        load(file)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    """Without its file a node does not start, and the error names the file."""
    with pytest.raises(
        SettingsError, match=f"settings file {tmp_path}/none.toml: expected a TOML file, got none"
    ):
        load(tmp_path / "none.toml")


@pytest.mark.parametrize(
    "content", [b"node = ", b"\xff\xfe", b"node = 1\nnode = 2"], ids=["cut", "binary", "twice"]
)
def test_a_file_that_is_not_toml_is_named(tmp_path: Path, content: bytes) -> None:
    """A file that is not TOML is refused with its name and where reading it ended."""
    path = tmp_path / "node.toml"
    path.write_bytes(content)

    with pytest.raises(SettingsError, match=f"settings file {path}: expected TOML, got .+"):
        load(path)


def test_two_sources_of_one_name_are_refused(file: Path) -> None:
    """Two business databases under one name do not start: findings could not say which is meant."""
    file.write_text(BODY + ONE_SOURCE + ONE_SOURCE, encoding="utf-8")

    with pytest.raises(SettingsError, match="sources: expected each name once, got city, city"):
        load(file)


def test_a_node_without_exchange_is_refused(file: Path) -> None:
    """A node without an exchange zone does not start: nothing could travel."""
    file.write_text(BODY.replace("[zones.exchange]", "[zones.decision]"), encoding="utf-8")

    with pytest.raises(SettingsError, match="zones: expected an exchange zone, got decision, production"):
        load(file)


def test_a_zone_the_node_does_not_run_is_named(file: Path) -> None:
    """Asking for a zone the node does not run names those it runs."""
    found = load(file)

    assert found.endpoint(Zone.EXCHANGE) == Endpoint("140100", Zone.EXCHANGE)
    with pytest.raises(
        SettingsError, match="node 140100: zone: expected exchange or production, got decision"
    ):
        found.endpoint(Zone.DECISION)


def test_config_show_tells_origins(
    file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`jinbao config show --origin` names for every key the layer its value comes from, and no password."""
    file.write_text(BODY + ONE_SOURCE, encoding="utf-8")
    monkeypatch.setenv("JINBAO_PERIOD", "202611")

    with suppress(SystemExit):
        main(["config", "show", "--origin", "--json", "--config", str(file)])

    rows = {row["key"]: (row["value"], row["origin"]) for row in json.loads(capsys.readouterr().out)}
    assert rows["limits.headers_max"] == ("100", str(file))
    assert rows["period"] == ("202611", "environment")
    assert rows["limits.receipts_max"] == ("5000", "default")
    assert rows["sources[0].url"] == ("postgresql://***@db/shebao", str(file))


TIERS = sorted(tiers_directory().glob("*.toml"))


@pytest.mark.parametrize("path", [pytest.param(path, id=path.stem) for path in TIERS])
def test_every_tier_as_delivered_loads(path: Path) -> None:
    """The settings delivered for each tier load as they are, and fit one page of forty lines."""
    found = load(path)

    assert found.tier == path.stem or (path.stem, found.role) == ("backup", "backup")
    assert len(path.read_text(encoding="utf-8").splitlines()) < 40


def test_settings_written_as_toml_are_read_back(file: Path, tmp_path: Path) -> None:
    """Settings written as TOML by the demonstration are the same settings when they are read."""
    keys = {"city": {"keys": {"AC02": ["AAC001", "AAE140"]}}}
    source = {"name": "city", "url": "sqlite:///a.db", "keys": keys["city"]["keys"]}
    zones = {Zone.EXCHANGE: {}, Zone.DECISION: {"border": Border.CARRIER}}
    made = Settings(**load(file, {"sources": [source], "zones": zones}).model_dump())
    copy = tmp_path / "copy.toml"

    copy.write_text(to_toml(made.model_dump(mode="json", exclude_none=True)), encoding="utf-8")

    assert load(copy) == made


_KEYS = st.text(min_size=1, max_size=12) | st.sampled_from(["140200/exchange", "a.b", 'a"b', "-", "人"])
_PLAIN = (
    st.text(max_size=20)
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
)
_TABLES = st.dictionaries(_KEYS, _PLAIN | st.lists(_PLAIN, max_size=3), max_size=3)
_DEEP = st.dictionaries(_KEYS, _PLAIN | _TABLES | st.lists(_TABLES, max_size=2), max_size=4)


@given(
    st.dictionaries(
        _KEYS, _PLAIN | st.lists(_PLAIN, max_size=3) | _DEEP | st.lists(_DEEP, max_size=2), max_size=4
    )
)
@example({"line": {"peers": {"140200/exchange": [{"from": "08:00"}]}}})
@example({"line": {}, "text": "two\nlines\x7f"})
def test_whatever_is_written_as_toml_reads_back(body: dict[str, Any]) -> None:
    """A dictionary of settings, whatever its keys and texts hold, is the same once its TOML is read."""
    assert tomllib.loads(to_toml(body)) == body
