"""`jinbao standby declare`, `sign` and `grant`: two persons at three machines, in both languages."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.cli.conftest import Say
from tests.cli.harness import Net, Said, spawn
from tests.conftest import Shaped
from tests.sim.world import Plan
from tests.standby.network import standby_net

from jinbao.appliance.network import write_settings
from jinbao.appliance.settings import Settings, load
from jinbao.model.errors import SettingsError
from jinbao.standby.declaring import read_file

BACKUP, CITY, PROVINCE = "140000-backup", "140100", "140000"
REASON = ("--reason", "fire in the data centre")
ADDRESS = ("--address", "exchange=10.9.0.5:7443")

Signing = Callable[..., Said]


@pytest.fixture
def net(guarded_plan: Plan, tmp_path: Path) -> Net:
    """A network with a backup site after a first submission; every zone is stopped."""
    return standby_net(guarded_plan, tmp_path / "net")


@pytest.fixture
def signing(net: Net, say: Say, tmp_path: Path) -> Signing:
    """Keys of two persons whom the province knows, and one it does not know; signs a file by one of them."""
    lines = []
    for name in ("wang", "李娜", "stranger"):
        words = tmp_path / f"{name}.pass"
        words.write_text(f"words of {name}\n")
        words.chmod(0o600)
        to = ("--to", str(tmp_path / f"{name}.pem"), "--passphrase-file", str(words))
        made = say("standby", "key", "create", "person", *to)
        assert made.code == 0, made.err
        lines += [made.out] if name != "stranger" else []
    config = Path(net.config(PROVINCE))
    others = load(config).model_dump(exclude_unset=True, exclude={"promotion"})
    write_settings(config.parent, Settings(**others))  # without the persons of the network's first day
    with config.open("a", encoding="utf-8") as file:
        file.write("\n[promotion]\n" + "".join(lines))

    def sign(file: Path, name: str, *more: str, person: str = "", lang: str = "en") -> Said:
        key = ("--key", str(tmp_path / f"{name}.pem"), "--passphrase-file", str(tmp_path / f"{name}.pass"))
        return say("standby", "sign", str(file), "--person", person or name, *key, *more, lang=lang)

    return sign


def declared(net: Net, say: Say, out: Path, *more: str, lang: str = "en") -> Said:
    """The city is declared lost."""
    where = ("--config", net.config(BACKUP), "--out", str(out))
    return say("standby", "declare", CITY, *REASON, *ADDRESS, *where, *more, lang=lang)


def granted(net: Net, say: Say, file: Path, *more: str) -> Said:
    """The province is asked."""
    where = ("--config", net.config(PROVINCE), "--out", f"{file}.grant")
    return say("standby", "grant", str(file), *where, *REASON, *more)


def test_a_city_is_declared_signed_and_granted(net: Net, say: Say, signing: Signing, tmp_path: Path) -> None:
    """From the backup over two persons to the province: each says what it did, and the grant is a file to be imported."""
    file = tmp_path / "declared"

    first = declared(net, say, file)
    second = signing(file, "wang")
    too_few = granted(net, say, file)
    third = signing(file, "李娜")
    fourth = granted(net, say, file)

    assert (first.code, second.code, third.code, fourth.code) == (0, 0, 0, 0), fourth.err
    assert "nobody follows 140100 any more" in first.out
    assert "signed by wang: " in second.out
    assert "signed by wang, 李娜: " in third.out
    assert too_few.code == 2
    assert "got wang: 1 lack" in too_few.err
    assert "140100 is granted at epoch 2, signed by wang, 李娜" in fourth.out
    arguments = ("trust", "import", f"{file}.grant", *REASON, "--config", net.config(BACKUP))
    assert say(*arguments).code == 0
    paused = json.loads(say("line", "status", "--json", "--config", net.config(BACKUP)).out)["peers"]
    assert {peer["peer"] for peer in paused if peer["paused"]} == {f"{CITY}/exchange", f"{CITY}/production"}


def test_asked_again_the_grant_is_the_same(net: Net, say: Say, signing: Signing, tmp_path: Path) -> None:
    """Whoever lost the file of a grant asks again, and gets it byte by byte; JSON says where it is."""
    file = tmp_path / "declared"
    declared(net, say, file)
    signing(file, "wang")
    signing(file, "李娜")
    granted(net, say, file)
    first = (tmp_path / "declared.grant").read_bytes()
    (tmp_path / "declared.grant").unlink()

    said = json.loads(granted(net, say, file, "--json").out)

    assert (tmp_path / "declared.grant").read_bytes() == first
    assert (said["node"], said["epoch"], said["signed_by"]) == (CITY, 2, ["wang", "李娜"])
    assert "content" not in said


@pytest.mark.processes
def test_what_a_stopped_zone_tells_is_no_result(
    net: Net, signing: Signing, shaped: Shaped, tmp_path: Path
) -> None:
    """With `--json` stdout is one document also where the command itself opens the zone; its events are on stderr."""
    file, where = tmp_path / "declared", ("--config", net.config(BACKUP))
    first = spawn("standby", "declare", CITY, *REASON, *where, "--out", str(file), "--json")
    signing(file, "wang")
    signing(file, "李娜")
    where = ("--config", net.config(PROVINCE))
    second = spawn("standby", "grant", str(file), *REASON, *where, "--out", f"{file}.grant", "--json")

    assert json.loads(first.out)["node"] == json.loads(second.out)["node"] == CITY
    assert "node_declared" in first.err
    assert "identity_granted" in second.err
    shaped("standby grant", second)


@pytest.mark.parametrize(
    ("lang", "words"),
    [
        ("en", ("lost node", "epoch granted", "reason", "built up to act", "given up: what only these have")),
        ("zh", ("失效节点", "授予纪元", "原因", "重建至流水", "放弃：仅存于以下分区的数据")),
    ],
)
def test_a_person_sees_what_is_signed(
    net: Net, say: Say, signing: Signing, tmp_path: Path, lang: str, words: tuple[str, ...]
) -> None:
    """Node, epoch, reason, cuts and what is given up are shown in the person's language where they are signed."""
    file = tmp_path / "declared"
    declared(net, say, file, "--without", f"{PROVINCE}/exchange", lang=lang)
    found = read_file(file.read_bytes()).declaration

    shown = signing(file, "wang", lang=lang).out

    assert all(word in shown for word in words)
    assert all(f"{cut.zone} {cut.lsn} ({cut.hash[:12]})" in shown for cut in found.cuts)
    for fact in (CITY, BACKUP, "fire in the data centre", "exchange=10.9.0.5:7443", f"{PROVINCE}/exchange"):
        assert fact in shown


def test_a_file_is_signed_once_and_stays_whole(
    net: Net, say: Say, signing: Signing, shaped: Shaped, tmp_path: Path
) -> None:
    """A second time, under another's name or by a wrong key file, nothing of the file changes, and why is said."""
    file = tmp_path / "declared"
    declared(net, say, file, "--without", f"{PROVINCE}/exchange")
    first = signing(file, "wang", "--json")
    body = json.loads(first.out)
    before = file.read_bytes()

    again, renamed = signing(file, "wang"), signing(file, "wang", person="李娜")
    nobody = signing(file, "wang", person="a\tb")

    assert (body["signed_by"], body["node"], body["epoch"]) == (["wang"], CITY, 2)
    assert (again.code, renamed.code, nobody.code) == (2, 2, 2)
    assert "wang signed already" in again.err
    assert "the key of wang signed already" in renamed.err
    assert file.read_bytes() == before
    assert file.stat().st_mode & 0o777 == 0o600
    assert [path.name for path in tmp_path.glob(".declared*")] == []
    shaped("standby sign", first)


def test_a_stranger_grants_nothing(net: Net, say: Say, signing: Signing, tmp_path: Path) -> None:
    """Whoever the settings do not know may sign, also under a known name, and nothing is granted by it."""
    file, other = tmp_path / "declared", tmp_path / "other"
    for path, person in ((file, ""), (other, "李娜")):
        declared(net, say, path)
        signing(path, "wang")
        assert signing(path, "stranger", person=person).code == 0

    unknown, posing = granted(net, say, file), granted(net, say, other)

    assert (unknown.code, posing.code) == (2, 1)
    assert "got one of stranger" in unknown.err
    assert "signature of 李娜: expected by the key that is known" in posing.err
    assert list(tmp_path.glob("*.grant")) == []


def test_a_declaration_is_not_written_over(net: Net, say: Say, tmp_path: Path) -> None:
    """A file that is there may have signatures: it stays, and the node is not paused."""
    (tmp_path / "declared").write_text("signed")

    said = declared(net, say, tmp_path / "declared")

    assert said.code == 2
    assert (tmp_path / "declared").read_text() == "signed"
    peers = json.loads(say("line", "status", "--json", "--config", net.config(BACKUP)).out)["peers"]
    assert not any(peer["paused"] for peer in peers)


@pytest.mark.parametrize(
    ("more", "text"),
    [
        (("--address", "exchange"), "ZONE=HOST:PORT"),
        (("--address", "exchange=a:1"), "each zone once"),
        (("--address", "production=nowhere"), "host:port"),
        (("--without", "nobody"), "NODE/ZONE"),
    ],
)
def test_a_wrong_option_is_named(
    net: Net, say: Say, tmp_path: Path, more: tuple[str, ...], text: str
) -> None:
    """What cannot be read is refused with how it is written, and no file appears."""
    said = declared(net, say, tmp_path / "declared", *more)

    assert said.code == 2
    assert text in said.err
    assert not (tmp_path / "declared").exists()


@pytest.mark.parametrize("count", [0, 2])
def test_a_persons_key_has_one_passphrase(say: Say, tmp_path: Path, count: int) -> None:
    """A key of a person without a passphrase, or with those of two, is not made."""
    words = tmp_path / "words"
    words.write_text("words\n")
    words.chmod(0o600)

    said = say(
        *("standby", "key", "create", "person", "--to", str(tmp_path / "wang.pem")),
        *("--passphrase-file", str(words)) * count,
    )

    assert said.code == 2
    assert not (tmp_path / "wang.pem").exists()


def test_settings_with_one_key_for_two_do_not_start(net: Net, signing: Signing) -> None:
    """A key under a second name is found before anything starts."""
    del signing
    config = Path(net.config(PROVINCE))
    text = config.read_text(encoding="utf-8")
    key = next(line for line in text.splitlines() if line.startswith("persons.wang")).partition(" = ")[2]
    config.write_text(text + f"persons.again = {key}\n", encoding="utf-8")

    with pytest.raises(SettingsError, match="one of wang and again"):
        load(config)
