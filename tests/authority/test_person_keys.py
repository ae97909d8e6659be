"""A person's key is one file under one passphrase, and nothing else opens it."""

from __future__ import annotations

from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
)

from jinbao.authority.copy_keys import PASSPHRASE_BYTES_MAX
from jinbao.authority.person_keys import create_person_key, load_person_key
from jinbao.model.declarant import KEY_BYTES, decoded
from jinbao.model.errors import JinbaoError, LocalError, SettingsError, UsageError

WORDS = b"correct horse"


def written(path: Path, key: Ed25519PrivateKey | X25519PrivateKey, how: KeySerializationEncryption) -> Path:
    """A key file of another maker."""
    path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, how))
    path.chmod(0o600)
    return path


def test_a_key_signs_after_it_was_read_again(tmp_path: Path) -> None:
    """The file gives the same key back to its passphrase, is its owner's alone, and its public half verifies."""
    made = create_person_key(tmp_path / "wang.pem", WORDS)

    found = load_person_key(tmp_path / "wang.pem", WORDS)

    assert found.public_text == made.public_text
    assert (tmp_path / "wang.pem").stat().st_mode & 0o777 == 0o600
    public = Ed25519PublicKey.from_public_bytes(decoded(found.public_text, KEY_BYTES))
    public.verify(found.sign(b"text"), b"text")


@pytest.mark.parametrize("words", [b"", b"another"])
def test_another_passphrase_opens_nothing(tmp_path: Path, words: bytes) -> None:
    """A wrong passphrase or an empty one is refused by the file's name, without any of the words."""
    create_person_key(tmp_path / "wang.pem", WORDS)

    with pytest.raises(UsageError, match=r"wang\.pem") as found:
        load_person_key(tmp_path / "wang.pem", words)
    assert "horse" not in str(found.value)


def test_a_key_is_made_once_and_never_bare(tmp_path: Path) -> None:
    """A file that is there is never written over, and no key is made without a passphrase or with one too long."""
    create_person_key(tmp_path / "wang.pem", WORDS)

    with pytest.raises(LocalError, match="none yet"):
        create_person_key(tmp_path / "wang.pem", WORDS)
    for words in (b"", b"x" * (PASSPHRASE_BYTES_MAX + 1)):
        with pytest.raises(UsageError, match="passphrase"):
            create_person_key(tmp_path / "li.pem", words)
    assert not (tmp_path / "li.pem").exists()


def test_only_a_persons_key_is_read(tmp_path: Path) -> None:
    """A key under no passphrase, of another kind, no key at all, and a file others may read are each refused."""
    bare = written(tmp_path / "bare.pem", Ed25519PrivateKey.generate(), NoEncryption())
    other = written(tmp_path / "other.pem", X25519PrivateKey.generate(), BestAvailableEncryption(WORDS))
    text = tmp_path / "text.pem"
    text.write_text("words")
    text.chmod(0o600)
    seen = written(tmp_path / "seen.pem", Ed25519PrivateKey.generate(), BestAvailableEncryption(WORDS))
    seen.chmod(0o644)
    wanted: list[tuple[Path, type[JinbaoError], str]] = [
        (bare, UsageError, "under a passphrase"),
        (other, SettingsError, "an Ed25519 key"),
        (text, UsageError, "the passphrase opens"),
        (seen, SettingsError, "mode 0600"),
        (tmp_path / "none.pem", SettingsError, "got none"),
    ]

    for path, kind, said in wanted:
        with pytest.raises(kind, match=said):
            load_person_key(path, WORDS)
