"""The collection keeps step with the code: options of the settings, versions, defaults, and its filters."""

from __future__ import annotations

import importlib.util
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from scripts.make_ansible import COMMAND, FIXED, SPECS, renewed
from tests.house.tree import ROOT

from jinbao import __version__

COLLECTION = ROOT / "ansible"
ROLES = sorted(path.name for path in (COLLECTION / "roles").iterdir())
STAGES = ["preflight", "install", "configure", "run"]

KEYS = st.text(min_size=1, max_size=8).filter(str.strip)
SCALARS = (
    st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text()
)
DOCUMENTS = st.dictionaries(
    KEYS,
    st.recursive(
        SCALARS | st.lists(SCALARS, max_size=3),
        lambda inner: (
            st.dictionaries(KEYS, inner, max_size=3) | st.lists(st.dictionaries(KEYS, inner), max_size=2)
        ),
        max_leaves=10,
    ),
    max_size=4,
)


def _filters() -> ModuleType:
    path = COLLECTION / "plugins" / "filter" / "jinbao.py"
    spec = importlib.util.spec_from_file_location("jinbao_filters", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


FILTERS = _filters()


def loaded(*parts: str) -> Any:
    """A YAML file of the collection as it says."""
    return yaml.safe_load(COLLECTION.joinpath(*parts).read_text(encoding="utf-8"))


def test_the_options_of_a_node_are_its_settings() -> None:
    """Every setting is an option of the role, of its type and with its choices, but for places that units fix."""
    committed = SPECS.read_text(encoding="utf-8")

    assert committed == renewed(committed), f"expected what the settings say: {COMMAND}"
    options = loaded("roles", "node", "meta", "argument_specs.yml")["argument_specs"]["main"]["options"]
    assert options["node_settings"]["options"]["tier"]["choices"] == ["ministry", "province", "city"]
    assert not FIXED.keys() & options["node_settings"]["options"].keys()


def test_the_role_writes_the_places_that_units_fix() -> None:
    """What is left out of the options is what the role sets by itself, to the places units and installer name."""
    assert loaded("roles", "node", "vars", "main.yml")["node_places"] == FIXED


@pytest.mark.parametrize("role", ROLES)
def test_every_input_is_described_and_has_a_default(role: str) -> None:
    """The options of a role and its defaults are the same names; what another role takes is in no default."""
    specs = loaded("roles", role, "meta", "argument_specs.yml")["argument_specs"]

    assert loaded("roles", role, "defaults", "main.yml").keys() == specs["main"]["options"].keys()


def _described(options: dict[str, Any], at: str = "") -> Iterator[tuple[str, list[str]]]:
    for name, one in options.items():
        yield f"{at}{name}", one["description"]
        yield from _described(one.get("options", {}), f"{at}{name}.")


@pytest.mark.parametrize("role", ROLES)
def test_every_input_is_described_in_both_languages(role: str) -> None:
    """Each option of a role, and each of its entries, is described by a sentence in English and then one in Chinese."""
    specs = loaded("roles", role, "meta", "argument_specs.yml")["argument_specs"]
    han = re.compile(r"[\u4e00-\u9fff].*。$")

    for name, said in (pair for entry in specs.values() for pair in _described(entry["options"])):
        assert isinstance(said, list), f"{name}: expected a list of sentences, got {said!r}"
        assert [bool(han.search(one)) for one in said] == [False, True], (
            f"{name}: expected both languages, got {said}"
        )


@pytest.mark.parametrize("role", ROLES)
def test_a_default_is_the_described_one(role: str) -> None:
    """A default that is described is the one in force."""
    options = loaded("roles", role, "meta", "argument_specs.yml")["argument_specs"]["main"]["options"]
    said = {name: one["default"] for name, one in options.items() if "default" in one}
    defaults = loaded("roles", role, "defaults", "main.yml")

    assert {name: defaults[name] for name in said} == said


@pytest.mark.parametrize("role", ROLES)
def test_a_role_has_its_four_stages_in_order(role: str) -> None:
    """Each role runs preflight, install, configure, run; each by its tag, and preflight by every tag."""
    tasks = loaded("roles", role, "tasks", "main.yml")
    tags = [task["tags"] for task in tasks]

    assert sorted(tags[0]) == sorted(f"jinbao_{stage}" for stage in STAGES)
    assert [one[0] for one in tags[1:3]] == ["jinbao_install", "jinbao_configure"]
    assert "jinbao_run" in tags[-1]


def test_the_collection_has_the_version_of_the_product() -> None:
    """Collection, example bundle and product say one version."""
    assert loaded("galaxy.yml")["version"] == __version__
    assert (
        f"jinbao-{__version__}-linux"
        in loaded("inventories", "shanxi", "group_vars", "all.yml")["node_bundle"]
    )


CITIES = [f"14{number:02}00" for number in range(1, 12)]
"""GB/T 2260: Taiyuan 140100 to Lüliang 141100."""


def test_the_example_has_all_cities_of_shanxi() -> None:
    """The inventory names the ministry's stand-in, the province, its eleven cities and its backup site."""
    groups = loaded("inventories", "shanxi", "hosts.yml")["all"]["children"]

    assert list(groups["city"]["hosts"]) == CITIES
    assert [list(groups[name]["hosts"]) for name in ("ministry", "province", "backup_site")] == [
        ["100000"],
        ["140000"],
        ["140000-backup"],
    ]


def test_the_examples_province_asks_its_own_authority() -> None:
    """The province names the authority of its cities, by the address they enrol at, so that nobody carries its lists."""
    groups = loaded("inventories", "shanxi", "hosts.yml")["all"]["children"]
    authority = groups["authority"]["hosts"]["ca-140000"]
    province, city = (loaded("inventories", "shanxi", "group_vars", f"{n}.yml") for n in ("province", "city"))

    asked = province["node_settings"]["authorities"]

    assert asked == {authority["ca_issuing"]: city["node_authority"]["address"]}
    assert asked["140000"].rpartition(":")[0] == authority["ansible_host"]


def test_no_task_needs_the_internet() -> None:
    """No task fetches an address, adds a source of packages, or lets pip ask an index."""
    fetching = re.compile(
        r"get_url|ansible\.builtin\.(uri|git|pip|apt_repository|apt_key|deb822_repository)\b|\b(curl|wget)\b"
    )

    guilty = [p.name for p in COLLECTION.rglob("*.yml") if fetching.search(p.read_text(encoding="utf-8"))]

    assert not guilty


@given(DOCUMENTS)
def test_settings_arrive_as_they_were_given(body: dict[str, Any]) -> None:
    """Whatever a settings dictionary holds, its TOML reads back as the same."""
    assert tomllib.loads(FILTERS.to_toml(body)) == body


def test_what_is_none_is_left_out() -> None:
    """TOML has no none: such a setting keeps its default."""
    assert tomllib.loads(FILTERS.to_toml({"a": None, "b": {"c": None, "d": 1}})) == {"b": {"d": 1}}


@pytest.mark.parametrize(
    ("current", "wanted", "refused"),
    [
        ("", "1.2.0", ""),
        ("1.2.0", "1.2.0", ""),
        ("1.2.0", "1.2.7", ""),
        ("1.2.3", "1.3.0", ""),
        ("1.9.3", "2.0.0", ""),
        ("1.2.0", "1.4.0", "expected a step from 1.2.0 to 1.3 or 2.0, got a skipped release"),
        ("1.2.0", "2.1.0", "got a skipped release"),
        ("1.2.0", "3.0.0", "got a skipped release"),
        ("1.2.1", "1.2.0", "expected 1.2.1 or newer, got an older one"),
    ],
)
def test_no_release_is_skipped(current: str, wanted: str, refused: str) -> None:
    """A node goes to the next minor, a patch of its own, or the next major's first; to nothing else."""
    said = FILTERS.step_refused(current, wanted)

    assert refused in said
    assert bool(refused) is bool(said)


@pytest.mark.parametrize(
    "name", ["", "jinbao.tar.zst", "jinbao-1.0-linux-x86_64.tar.zst", "jinbao-1.0.0-linux-x86_64.zip"]
)
def test_another_file_is_no_bundle(name: str) -> None:
    """A file whose name says no release and architecture is refused by what was expected."""
    with pytest.raises(ValueError, match=r"expected a file jinbao-X\.Y\.Z-linux-ARCH\.tar\.zst"):
        FILTERS.bundle_version(name)


def test_a_bundle_says_release_and_architecture() -> None:
    """Both come from the file's name, wherever it lies."""
    path = "/srv/jinbao/jinbao-1.12.0-linux-aarch64.tar.zst"

    assert (FILTERS.bundle_version(path), FILTERS.bundle_arch(path)) == ("1.12.0", "aarch64")


def test_only_what_became_red_stops_an_upgrade() -> None:
    """What was red before, what mended itself, and warnings are not counted against a release."""
    before = [{"zone": "a/exchange", "code": "disk.full", "state": "red"}]
    after = [*before, {"zone": "a/exchange", "code": "schema.old", "state": "red"}]
    after += [{"zone": "a/exchange", "code": "backup.old", "state": "warning"}]

    assert FILTERS.new_reds(after, before) == ["a/exchange schema.old"]
    assert FILTERS.new_reds(before, after) == []


LOOK: dict[str, Any] = {
    "service_manager": "systemd",
    "glibc": "2.36",
    "python": "3.11",
    "now": 0,
    "releases": {"current": "1.2.0", "previous": ""},
    "free_mib": {"/opt": 5000, "/var/lib": 5000},
    "running": {},
    "listening": [22, 9102],
}
NEEDS: dict[str, Any] = {"version": "1.3.0", "python": "", "offset_s": 30, "free_mib": 1600}
UNFIT: dict[str, tuple[dict[str, Any], str]] = {
    "another service manager": ({"service_manager": ""}, "Host a: expected systemd, got another"),
    "another C library": ({"glibc": ""}, "expected glibc 2.28 or newer, got another"),
    "an old C library": ({"glibc": "2.9"}, "expected glibc 2.28 or newer, got 2.9"),
    "no Python": ({"python": ""}, "expected 3.11 or newer with the module venv, got none"),
    "an old Python": ({"python": "3.9"}, "expected 3.11 or newer with the module venv, got 3.9"),
    "a clock ahead": ({"now": 31}, "expected within 30 s of the controller's, got 31 s"),
    "a clock behind": ({"now": -31}, "expected within 30 s of the controller's, got 31 s"),
    "a skipped release": ({"releases": {"current": "1.1.0"}}, "got a skipped release"),
    "no room": ({"free_mib": {"/opt": 1599}}, "Room below /opt: expected 1600 MiB, got 1599 MiB"),
}


@pytest.fixture
def at_zero(monkeypatch: pytest.MonkeyPatch) -> None:
    """The controller's clock stands."""
    monkeypatch.setattr(FILTERS.time, "time", lambda: 0.9)


@pytest.mark.usefixtures("at_zero")
@pytest.mark.parametrize(("change", "said"), UNFIT.values(), ids=UNFIT)
def test_a_host_that_cannot_have_the_release_is_refused(change: dict[str, Any], said: str) -> None:
    """What a host lacks is told by what was expected and got, and by nothing else."""
    (refused,) = FILTERS.host_refused(LOOK | change, "a", NEEDS)

    assert said in refused


@pytest.mark.usefixtures("at_zero")
def test_all_a_host_lacks_is_told_at_once() -> None:
    """Nobody mends one fault to be told the next; a fit host is refused nothing, nor one that has the release its room."""
    lacks = {name: value for change, _ in UNFIT.values() for name, value in change.items()}
    room = {"free_mib": {"/opt": 1}, "releases": {"current": "1.3.0"}}

    assert len(FILTERS.host_refused(LOOK | lacks, "a", NEEDS)) == len(lacks)
    assert FILTERS.host_refused(LOOK, "a", NEEDS) == []
    assert FILTERS.host_refused(LOOK | room, "a", NEEDS) == []


CITY: dict[str, Any] = {
    "node": "140100",
    "tier": "city",
    "zones": {"production": None, "exchange": {"http": "10.0.0.1:9101"}},
    "sources": [{"name": "city"}],
}
MISFIT: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "no number": ({"node": "taiyuan"}, {}, "Settings of taiyuan: expected six digits"),
    "no exchange zone": ({"zones": {"production": {}}}, {}, "an exchange zone"),
    "production at a province": ({"tier": "province"}, {}, "production at cities alone"),
    "sources without production": ({"zones": {"exchange": {}}}, {}, "sources where there is production"),
    "a backup site with more": ({"role": "backup"}, {}, "exchange alone at a backup site"),
    "a port that is taken": (
        {"zones": {"production": {}, "exchange": {"http": "10.0.0.1:9102"}}},
        {},
        "Port 9102 of zone exchange: expected a free one",
    ),
}


@pytest.mark.parametrize(("change", "seen", "said"), MISFIT.values(), ids=MISFIT)
def test_settings_that_do_not_fit_are_refused(
    change: dict[str, Any], seen: dict[str, Any], said: str
) -> None:
    """What does not fit together in a node's settings, or with its host, is told, and nothing else."""
    (refused,) = FILTERS.node_refused(CITY | change, LOOK | seen, [])

    assert said in refused


def test_what_fits_is_refused_nothing(tmp_path: Path) -> None:
    """A city, one whose zone has its own port or what is no port, and a backup site are not refused; a missing file is."""
    own = {"zones": {"production": {}, "exchange": {"http": "10.0.0.1:9102"}}}
    odd = {"zones": {"production": {}, "exchange": {"http": "10.0.0.1"}}}
    backup = {"node": "140000-backup", "tier": "province", "role": "backup", "zones": {"exchange": {}}}
    missing = str(tmp_path / "topology.sealed")

    assert FILTERS.node_refused(CITY, LOOK, []) == []
    assert FILTERS.node_refused(CITY | odd, LOOK, []) == []
    assert FILTERS.node_refused(CITY | own, LOOK | {"running": {"jinbao-exchange.service": "1"}}, []) == []
    assert FILTERS.node_refused(backup, LOOK, [__file__]) == []
    assert FILTERS.node_refused(CITY, LOOK, [missing]) == [
        f"File {missing}: expected one on the controller, got none. 控制机上没有文件 {missing}。"
    ]


def test_a_file_is_laid_by_its_own_name_in_a_directory(tmp_path: Path) -> None:
    """A place that ends with a slash is a directory, any other the file itself; any bytes are carried whole."""
    (tmp_path / "trust.pem").write_bytes(b"\xff\n")
    wanted = {"mode": "0640", "base64": "/wo="}

    for place, path in (("/etc/trust/", "/etc/trust/trust.pem"), ("/etc/topology", "/etc/topology")):
        laid = FILTERS.to_lay(str(tmp_path / "trust.pem"), place, {"mode": "0640"})
        assert laid == wanted | {"path": path}
