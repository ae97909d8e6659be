"""Keys of copies on disk: made once, kept private, and opened by whoever they are for."""

from __future__ import annotations

from pathlib import Path

import pytest

from jinbao.authority.copy_keys import (
    ZONE_KEYS_MAX,
    ZoneKeys,
    create_copy_key,
    load_copy_key,
    read_zone_keys,
    recipient_of,
    zone_opens,
)
from jinbao.model.errors import LocalError, SettingsError, UsageError
from jinbao.model.zone import Endpoint, Zone

ME = Endpoint("140100", Zone.EXCHANGE)


def test_a_zone_makes_its_first_key_and_keeps_every_one(tmp_path: Path) -> None:
    """The newest key encrypts; those before stay, private, and no two zones' first keys have one name."""
    keys = ZoneKeys(ME, tmp_path / "keys")
    first = keys.newest()
    assert keys.newest() == first

    name = keys.rotate()

    assert keys.newest()[0] == name
    assert list(read_zone_keys(tmp_path / "keys")) == [first[0], name]
    assert {path.stat().st_mode & 0o777 for path in (tmp_path / "keys").iterdir()} == {0o600}
    assert ZoneKeys(ME, tmp_path / "again").newest()[0] != first[0]


def test_a_zone_has_no_more_keys_than_a_claim_has_room_for(tmp_path: Path) -> None:
    """One rotation too many is refused before it is made, and the newest key goes on."""
    keys = ZoneKeys(ME, tmp_path)
    for _ in range(ZONE_KEYS_MAX):
        keys.rotate()
    newest = keys.newest()

    with pytest.raises(LocalError, match="at most"):
        keys.rotate()
    assert keys.newest() == newest


def test_every_key_is_wrapped_for_everyone(tmp_path: Path) -> None:
    """Whoever is a recipient now opens what older keys encrypted too."""
    keys = ZoneKeys(ME, tmp_path / "keys")
    first = keys.newest()
    second = keys.rotate()
    made = {
        purpose: create_copy_key(tmp_path / f"{purpose}.pem", (), purpose) for purpose in ("drill", "escrow")
    }

    wraps = keys.wrapped([recipient_of(purpose, key.public_text) for purpose, key in made.items()])

    for key in made.values():
        assert key.key(first[0], wraps) == first[1]
        assert key.key(second, wraps) == read_zone_keys(tmp_path / "keys")[second]


def test_a_drill_key_opens_nothing_but_a_drill(tmp_path: Path) -> None:
    """Read for another purpose, the key of drills opens no copy, and who could is named."""
    keys = ZoneKeys(ME, tmp_path / "keys")
    name, _ = keys.newest()
    drill = create_copy_key(tmp_path / "drill.pem", (), "drill")
    wraps = keys.wrapped([recipient_of("drill", drill.public_text)])

    for purposes in (("escrow",), ()):
        with pytest.raises(UsageError, match="drill:"):
            load_copy_key(tmp_path / "drill.pem", (), purposes).key(name, wraps)
    assert load_copy_key(tmp_path / "drill.pem", (), ("drill", "escrow")).key(name, wraps)


def test_an_escrow_key_needs_every_persons_passphrase_in_order(tmp_path: Path) -> None:
    """One of two, both the other way round, or both joined as one open nothing."""
    made = create_copy_key(tmp_path / "escrow.pem", [b"first", b"second"], "escrow")

    found = load_copy_key(tmp_path / "escrow.pem", [b"first", b"second"], ("escrow",))
    assert found.public_text == made.public_text
    for wrong in ([], [b"first"], [b"second", b"first"], [b"firstsecond"], [b"first", b"secon", b"d"]):
        with pytest.raises(UsageError, match="passphrase"):
            load_copy_key(tmp_path / "escrow.pem", wrong, ("escrow",))
    assert b"ENCRYPTED" in (tmp_path / "escrow.pem").read_bytes()


def test_a_key_file_is_never_written_over(tmp_path: Path) -> None:
    """A second key asked for in one place is refused, and the first is as it was."""
    create_copy_key(tmp_path / "drill.pem", (), "drill")
    before = (tmp_path / "drill.pem").read_bytes()

    with pytest.raises(LocalError, match="none yet"):
        create_copy_key(tmp_path / "drill.pem", (), "drill")
    assert (tmp_path / "drill.pem").read_bytes() == before


@pytest.mark.parametrize(
    "content", ["", "140100/exchange#1", "140100/exchange#1 zz", "140100/exchange#1 00ff"]
)
def test_a_file_that_is_no_key_is_named(tmp_path: Path, content: str) -> None:
    """A key file that holds something else keeps a zone from giving copies, and its content is in no message."""
    (tmp_path / "0001.key").write_text(content, encoding="utf-8")
    (tmp_path / "0001.key").chmod(0o600)

    with pytest.raises(SettingsError, match=r"0001\.key") as found:
        read_zone_keys(tmp_path)
    assert "00ff" not in str(found.value)


def test_a_key_others_may_read_is_refused(tmp_path: Path) -> None:
    """A zone's key that is not its own account's alone is refused with the command that mends it."""
    ZoneKeys(ME, tmp_path).newest()
    (tmp_path / "0001.key").chmod(0o640)

    with pytest.raises(SettingsError, match="chmod 600"):
        read_zone_keys(tmp_path)


def test_a_zones_own_keys_open_its_copies_and_no_others(tmp_path: Path) -> None:
    """Brought to the copy, the directory of a zone's keys opens by name; an empty one is refused."""
    name, key = ZoneKeys(ME, tmp_path / "keys").newest()

    assert zone_opens(tmp_path / "keys")(name, ()) == key
    with pytest.raises(UsageError, match="expected key another"):
        zone_opens(tmp_path / "keys")("another", ())
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match="copy-keys"):
        zone_opens(tmp_path / "empty")


@pytest.mark.parametrize("text", ["", "not base64!", "AAAA"])
def test_a_public_key_that_is_none_keeps_a_zone_from_starting(text: str) -> None:
    """The setting is named, with the command that makes a key."""
    with pytest.raises(SettingsError, match=r"copies\.escrow_key") as found:
        recipient_of("escrow", text)
    assert "jinbao standby key create escrow" in str(found.value)
