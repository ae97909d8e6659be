"""Keys of a zone under the passphrase its service manager hands it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from tests.authority.parts import House

from jinbao.authority.identity_files import (
    KEY,
    SEAL_KEY,
    generation,
    load_identity,
    lock_keys,
    write_generation,
)
from jinbao.authority.joining import PENDING, renew_request, waiting
from jinbao.authority.key_protection import CREDENTIAL, DIRECTORY
from jinbao.model.errors import SettingsError

OPEN, LOCKED = b"-----BEGIN PRIVATE KEY-----", b"-----BEGIN ENCRYPTED PRIVATE KEY-----"


def hand(monkeypatch: pytest.MonkeyPatch, directory: Path, secret: str) -> None:
    """Hand this process a passphrase, as a service manager does."""
    directory.mkdir(exist_ok=True)
    (directory / CREDENTIAL).write_text(f"{secret}\n", encoding="utf-8")
    monkeypatch.setenv(DIRECTORY, str(directory))


def keys(identity: Path) -> list[bytes]:
    """Every key file that lies anywhere in an identity's directory."""
    return [path.read_bytes() for name in (KEY, SEAL_KEY) for path in sorted(identity.rglob(name))]


@pytest.fixture
def identity(home: House, tmp_path: Path) -> Path:
    """An enrolled zone's identity, keys open, with a generation before it."""
    home.enrolled()
    place = home.zone("city")
    write_generation(place, {p.name: p.read_bytes() for p in generation(place).iterdir()})
    return Path(shutil.copytree(place, tmp_path / "identity", symlinks=True))


def test_keys_that_lie_open_are_locked_and_no_open_one_stays(
    identity: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a passphrase the zone reads and uses the same keys, which lie on disk only as ciphertext; once is enough."""
    before = load_identity(identity)
    assert all(key.startswith(OPEN) for key in keys(identity))
    hand(monkeypatch, tmp_path / "credentials", "a long one")

    assert lock_keys(identity)
    after = load_identity(identity)

    assert [key[: len(LOCKED)] for key in keys(identity)] == [LOCKED, LOCKED]
    assert after.sign(b"x") == before.sign(b"x")
    assert after.chain == before.chain
    load_pem_private_key(after.pem(KEY), password=None)
    assert not lock_keys(identity)


def test_what_is_renewed_is_locked_too(
    identity: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A generation that is written with a passphrase at hand has no open key."""
    files = {path.name: path.read_bytes() for path in generation(identity).iterdir()}
    hand(monkeypatch, tmp_path / "credentials", "a long one")

    written = write_generation(identity, files)

    assert (written / KEY).read_bytes().startswith(LOCKED)
    assert (written / SEAL_KEY).read_bytes().startswith(LOCKED)


@pytest.mark.parametrize(
    ("secret", "message"),
    [("", "expected its passphrase"), ("another", "expected a key that the passphrase opens")],
    ids=["none", "another"],
)
def test_without_its_passphrase_a_key_is_no_key(
    identity: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, secret: str, message: str
) -> None:
    """A taken directory is of no use: the zone does not start, and says what is missing."""
    hand(monkeypatch, tmp_path / "credentials", "a long one")
    lock_keys(identity)
    monkeypatch.delenv(DIRECTORY)
    if secret:
        hand(monkeypatch, tmp_path / "others", secret)

    with pytest.raises(SettingsError, match=message):
        load_identity(identity)


def test_an_empty_credential_is_told(identity: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A passphrase file with nothing in it leaves no key open in silence."""
    hand(monkeypatch, tmp_path / "credentials", "")

    with pytest.raises(SettingsError, match="a passphrase on its first line"):
        lock_keys(identity)


def test_keys_that_wait_are_locked_and_a_lost_passphrase_does_not_keep_a_token_out(
    home: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Keys made for a renewal wait under the passphrase; whoever lost it enrols anew with a token all the same."""
    held = home.enrolled()
    place = home.zone("city")
    hand(monkeypatch, tmp_path / "credentials", "a long one")
    renew_request(held, place)
    assert [key[: len(LOCKED)] for key in keys(place / PENDING)] == [LOCKED, LOCKED]
    assert waiting(place) is not None

    monkeypatch.delenv(DIRECTORY)
    with pytest.raises(SettingsError, match="expected its passphrase"):
        waiting(place)
    again = home.enrolled()

    assert again.chain != held.chain
