"""What `--json` answers, as programs rely on it: the keys and kinds of each document, golden.

Not its values, which `test_output.py` compares with what people are shown. Here are the commands that one settled network
answers; those of a backup site, of a promotion and of a demonstration are held by `shaped` where a test has one. The page
of the reference that lists these shapes is made of the golden files.
"""

from __future__ import annotations

import json
import shutil
import sqlite3
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest
from tests.bundles import public_key, small_bundle, small_info
from tests.cli.conftest import Say
from tests.cli.harness import Net, Said
from tests.cli.shapes import shape
from tests.cli.test_authorities import NODE, WALK
from tests.cli.test_output import ANSWERS, WHY
from tests.conftest import Shaped
from tests.link.zones import SETTINGS, serving
from tests.servers import await_
from tests.sim.world import PERIOD

from jinbao.appliance.assembly import open_zone
from jinbao.appliance.bundle.packing import pack
from jinbao.appliance.network import write_settings
from jinbao.appliance.settings import Settings, load
from jinbao.model.zone import Zone

READS: dict[str, tuple[str, ...]] = {
    "doctor": ("doctor", "--only", "timezone"),
    "topology": ANSWERS["topology"],
    "trace": ANSWERS["trace"],
    "config show": ("config", "show", "--origin"),
    "capture show": ANSWERS["capture-show"],
    "database check": ("database", "check", "--zone", "exchange"),
    "trust list": ("trust", "list"),
    "journal list": ANSWERS["journal-list"],
    "journal retention": ANSWERS["journal-retention"],
    "journal show": ANSWERS["journal-show"],
    "quarantine export": ("quarantine", "export", "pension_macro"),
    "quarantine list": ANSWERS["quarantine-list"],
    "quarantine releases": ANSWERS["quarantine-releases"],
    "quarantine show": ANSWERS["quarantine-show"],
    "library count": ANSWERS["library-count"],
    "library digest": ANSWERS["library-digest"],
    "library list": ANSWERS["library-list"],
    "library show": ANSWERS["library-show"],
    "evidence list": ANSWERS["evidence-list"],
    "decision show": ("decision", "show", "--library", "unemployment_monitor", "--region", "total"),
    "debug failpoints": ANSWERS["debug-failpoints"],
}
"""Commands that change nothing, by their words, as they are asked."""

WRITES: dict[str, tuple[str, ...]] = {
    "line pause": ("line", "pause", "--peer", "140000", *WHY),
    "line resume": ("line", "resume", "--peer", "140000"),
    "line export": ("line", "export", "DIR", "--peer", "140000"),
    "database convert": ("database", "convert", "--zone", "exchange", "--to", "sqlite:///OUT"),
    "trust import": ("trust", "import", "TRUST", *WHY),
    "standby key rotate": ("standby", "key", "rotate", "--zone", "exchange"),
    "library export": ("library", "export", "pension_macro", "retiree", "--output", "OUT", *WHY),
    "audit export": ("audit", "export", "--output", "OUT"),
    "support bundle": ("support", "bundle", "OUT"),
}
"""Commands that record or write something, asked of a network of the test's own; OUT is a file, DIR a directory, TRUST
what the authorities say."""

AUTHORITY = {
    *(
        "ca crl",
        "ca csr",
        "ca export",
        "ca import",
        "ca init",
        "ca issue",
        "ca revoke",
        "ca rotate",
        "ca token",
    ),
    *("enrol", "trust seal"),
}
"""Commands that are held as an operator gives them one after the other."""

PENSIONS, UNEMPLOYED = (
    f"140100/production/{name}/line" for name in ("pension_macro", "unemployment_monitor")
)

TOPOLOGY = """
trust_domain = "jinbao.example"
version = 1
[[nodes]]
node = "100000"
name_zh = "部级数据中心"
name_en = "Ministry"
tier = "ministry"
zones = ["exchange"]
addresses.exchange = "127.0.0.1:1"
"""

_NO_CONFIG = {"debug failpoints"}


@pytest.mark.parametrize("name", READS)
def test_an_answer_keeps_its_shape(net: Net, say: Say, shaped: Shaped, name: str) -> None:
    """A program that reads a command's `--json` finds the keys and kinds it found before."""
    settings = () if name in _NO_CONFIG else ("--config", net.config())

    told = say(*READS[name], *settings, "--json")

    assert told.err == ""
    shaped(name, told)


@pytest.fixture
def own(net: Net, tmp_path: Path) -> Net:
    """The settled network, to change."""
    shutil.copytree(net.directory, tmp_path / "net", symlinks=True)
    for config in (tmp_path / "net").glob("*/node.toml"):
        text = config.read_text(encoding="utf-8").replace(str(net.directory), str(tmp_path / "net"))
        config.write_text(text, encoding="utf-8")
    return Net(tmp_path / "net")


@pytest.mark.parametrize("name", WRITES)
def test_an_act_keeps_its_shape(own: Net, say: Say, shaped: Shaped, tmp_path: Path, name: str) -> None:
    """A program that has a command do something finds in its `--json` the keys and kinds it found before."""
    trust = next(own.directory.glob("140100/exchange/identity/*/trust.pem"))
    places = {"OUT": str(tmp_path / "out"), "DIR": str(tmp_path), "TRUST": str(trust)}
    places["sqlite:///OUT"] = f"sqlite:///{tmp_path}/out"
    asked = (places.get(word, word) for word in WRITES[name])

    shaped(name, say(*asked, "--config", own.config(), "--json"))


def limited(own: Net) -> None:
    """The city goes by quick rounds, and its line has windows all day."""
    settings = load(Path(own.config()))
    body = settings.model_dump(exclude_unset=True) | {"pace": SETTINGS["pace"]}
    halves = (("00:00", "12:00"), ("12:00", "00:00"))
    windows = [{"from": begin, "to": end, "mbit_per_s": 100.0} for begin, end in halves]
    body["zones"][Zone.EXCHANGE] |= {"line": {"windows": windows}}
    write_settings(settings.data_directory, Settings(**body))


def peers(status: Said) -> list[dict[str, Any]]:
    """The neighbours that an answer names."""
    found: list[dict[str, Any]] = json.loads(status.out)["peers"]
    return found


def test_zones_that_run_keep_their_shapes(own: Net, say: Say, shaped: Shaped) -> None:
    """What a zone tells programs of itself is as it was, stopped and running, and so is what only one that runs does."""
    limited(own)
    config = ("--config", own.config(), "--json")
    settings = load(Path(own.config()))
    asked = (ANSWERS["status"], ANSWERS["line-status"])
    stopped = [say(*words, *config) for words in asked]

    with ExitStack() as stack:
        for zone in (Zone.EXCHANGE, Zone.PRODUCTION):
            stack.enter_context(serving(open_zone(settings, zone)))
        await_(lambda: any(peer["seconds_ago"] is not None for peer in peers(say("status", *config))))
        running = [say(*words, *config) for words in asked]
        pulled = say("line", "pull", *config)
        run = say("capture", "run", *config)

    shaped("status", stopped[0], running[0])
    shaped("line status", stopped[1], running[1])
    shaped("line pull", pulled)
    shaped("capture run", run)


def test_a_held_stream_keeps_its_shapes(own: Net, say: Say, shaped: Shaped, tmp_path: Path) -> None:
    """What the acts on a stream of a zone that was made anew tell programs is as it was: from its hold to its way on."""
    home, config = own.directory / "140100" / "production", ("--config", own.config(), "--json")
    for path in home.iterdir():
        if path.name != "identity":
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    with closing(open_zone(load(Path(own.config())), Zone.PRODUCTION)) as anew:
        assert anew.outbound is not None
        assert anew.outbound.step(PERIOD)
    medium = ("--peer", "140100/exchange", "--zone", "production")
    assert say("line", "export", str(tmp_path), *medium, *config).code == 0

    taken = say("line", "import", str(tmp_path), "--peer", "140100/production", *config)

    assert taken.code == 3
    shaped("line import", taken)
    shaped("line proof", say("line", "proof", PENSIONS, *config))
    steps = ((), ("--apply", *WHY))
    shaped("line rebase", *(say("line", "rebase", PENSIONS, *step, *config) for step in steps))
    shaped("line release", say("line", "release", UNEMPLOYED, *WHY, *config))


def test_a_backup_keeps_its_shapes(own: Net, say: Say, shaped: Shaped, tmp_path: Path) -> None:
    """What the commands of backups tell programs is as it was: made, listed, restored, gone on with, proved and not."""
    config, here = ("--config", own.config()), str(tmp_path / "backup")
    root = ("--root", str(next(own.directory.glob("140100/exchange/identity/*/anchors.pem"))))

    made = [say("backup", "create", here, *config, "--json")]
    proved = [say("backup", "verify", here, *root, *config, "--json")]
    shaped("backup list", say("backup", "list", here, "--json"))
    home, place = own.directory / "140100" / "production", tmp_path / "restored"
    asked = ("backup", "restore", here, "140100/production", "--to", str(place))
    shaped("backup restore", say(*asked, *root, *config, "--json"))
    shutil.move(home / "identity", place)
    shutil.rmtree(home)
    shutil.move(place, home)
    shaped("line proceed", say("line", "proceed", *WHY, *config, "--json"))

    for manifest in Path(here).rglob("backups/*.json"):
        manifest.write_bytes(b"{}")
    (Path(here) / "exchange" / "backups" / "stray").touch()
    proved.append(say("backup", "verify", here, *root, *config, "--json"))
    made.append(say("backup", "create", here, *config, "--json"))
    shaped("backup verify", *proved)
    shaped("backup create", *made)


def test_damage_keeps_its_shapes(own: Net, say: Say, shaped: Shaped) -> None:
    """What a journal tells programs of its segments is as it was: whole, and where one is gone that nobody has."""
    config, shelf = ("--config", own.config(), "--json"), own.directory / "140100" / "exchange" / "segments"
    whole = say("journal", "verify", *config)
    max(shelf.glob("*/*.parquet"), key=lambda path: path.stat().st_size).unlink()

    harmed, mended = say("journal", "verify", *config), say("journal", "mend", *config)

    assert (whole.code, harmed.code, mended.code) == (0, 1, 1)
    shaped("journal verify", whole, harmed)
    shaped("journal mend", mended)
    shaped("journal scrub", say("journal", "scrub", *config))


def test_a_trail_keeps_its_shapes(own: Net, say: Say, shaped: Shaped) -> None:
    """What the trail tells programs is as it was: entries about persons and others, whole and touched."""
    config = ("--config", own.config(), "--json")
    for asked in (
        ANSWERS["trace-stored"],
        ("library", "count", "pension_macro", "retiree"),
        ("audit", "list"),
    ):
        assert say(*asked, *config).code == 0
    listed, whole = say("audit", "list", *config), say("audit", "verify", *config)
    with closing(sqlite3.connect(own.database("140100", Zone.EXCHANGE))) as connection:
        connection.execute("DROP TRIGGER audit_entry_no_update")
        connection.execute("UPDATE audit_entry SET account = 'another' WHERE number = 2")
        connection.commit()

    shaped("audit list", listed)
    shaped("audit verify", whole, say("audit", "verify", *config))


def test_evidence_keeps_its_shapes(own: Net, say: Say, shaped: Shaped, tmp_path: Path) -> None:
    """What `evidence export` and `evidence verify` tell programs is as it was, also of a file that is not proved."""
    record = ("1401P000000012", "--library", "pension_macro", "--table", "active_person")
    file, altered, config = tmp_path / "record.json", tmp_path / "altered", ("--config", own.config())
    root = str(next(own.directory.glob("140100/exchange/identity/*/anchors.pem")))

    told = say("evidence", "export", *record, "--out", str(file), *config, *WHY, "--json")
    shaped("evidence export", told)
    altered.write_text(file.read_text(encoding="utf-8").replace("1401P000000012", "1401P000000013"))
    asked = ("--root", root, "--json")
    shaped("evidence verify", *(say("evidence", "verify", str(one), *asked) for one in (file, altered)))


def test_an_authority_keeps_its_shapes(
    say: Say, shaped: Shaped, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What authorities, enrolment and a sealed topology tell programs is as it was."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "node.toml").write_text(NODE.format(place=tmp_path))
    (tmp_path / "topology.toml").write_text(TOPOLOGY)
    (tmp_path / "pass").write_text("correct horse\n")
    (tmp_path / "pass").chmod(0o600)

    told: dict[str, list[Said]] = {}
    for line in (*WALK, "trust seal topology.toml --out topology.sealed --config node.toml"):
        said = say(*line.split(), "--json")
        assert said.code == 0, (line, said)
        name = " ".join(line.split()[: 1 if line.startswith("enrol") else 2])
        if name != "ca list":  # held where something was granted
            told.setdefault(name, []).append(said)

    assert told.keys() == AUTHORITY
    for name, answers in told.items():
        shaped(name, *answers)


def test_a_bundle_keeps_its_shape(say: Say, shaped: Shaped, tmp_path: Path) -> None:
    """What `bundle verify` tells programs of a bundle it proved is as it was."""
    folder, file = small_bundle(tmp_path / "made", small_info()), tmp_path / "bundle.tar.zst"
    pack(folder, file)

    shaped("bundle verify", say("bundle", "verify", str(file), "--key", str(public_key(tmp_path)), "--json"))


def test_a_sample_and_rules_keep_their_shapes(say: Say, shaped: Shaped, tmp_path: Path) -> None:
    """What `sample city` and `monitoring write` tell programs is as it was."""
    city = ("sample", "city", "140100", "--persons", "5000", "--url", f"sqlite:///{tmp_path}/a.db")

    shaped("sample city", say(*city, "--json"))
    shaped("monitoring write", say("monitoring", "write", str(tmp_path / "watch"), "--json"))


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"a": 1, "b": None}, {"a": "whole number", "b": "null"}),
        ([{"a": 1}, {"a": 1.5, "b": "x"}], [{"a": "number or whole number", "b?": "text"}]),
        ({"140100/exchange": 3, "140200/exchange": 4}, {"<name>": "whole number"}),
        ({"tables": {"person": 3}}, {"tables": {"<name>": "whole number"}}),
        ([], []),
        (
            [{"a": [{"b": 1}]}, {"a": []}, {"a": [{"c": True}]}],
            [{"a": [{"b?": "whole number", "c?": "true or false"}]}],
        ),
        ([{}, {"x/y": 1}], [{"<name>": "whole number"}]),
        ([{"a": True}, {"a": None}, {"a": 1}], [{"a": "null or true or false or whole number"}]),
    ],
    ids=[
        *("an object", "items that differ", "names that are values", "names by what they are of", "nothing"),
        *("lists that differ", "no names yet", "kinds that differ"),
    ],
)
def test_a_shape_has_no_values(value: Any, expected: Any) -> None:
    """A shape says keys and kinds, and nothing that differs from one network to another."""
    assert shape(value) == expected
