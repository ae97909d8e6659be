"""Generations of an identity: whole or not at all, read once, and the layout of release 0.1 beside them."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import Encoding
from tests.authority.parts import House
from tests.trust.example import TOPOLOGY
from tests.trust.flat import FlatAuthority

from jinbao.authority.identity_files import (
    ANCHORS,
    CHAIN,
    CURRENT,
    KEY,
    SEAL_CHAIN,
    SEAL_KEY,
    TRUST,
    load_identity,
    number_of,
    write_generation,
)
from jinbao.authority.joining import private_pem, renew_request
from jinbao.model.errors import SettingsError, UsageError

ROOM = Path(__file__).parents[2]
WRITE_AND_DIE = """
import os, signal, sys
from pathlib import Path
from jinbao.authority import identity_files, private_files

left = int(sys.argv[2])
def dying(name, real):
    def call(*arguments, **named):
        global left
        left -= 1
        if left < 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return real(*arguments, **named)
    return call

os.fsync, os.open = dying("fsync", os.fsync), dying("open", os.open)
Path.rename = dying("rename", Path.rename)
Path.replace = dying("replace", Path.replace)
Path.symlink_to = dying("symlink", Path.symlink_to)
source = Path(sys.argv[3])
identity_files.write_generation(Path(sys.argv[1]), {p.name: p.read_bytes() for p in source.iterdir()})
"""


def test_a_generation_is_the_owners_alone(home: House) -> None:
    """Directories are 0700, files 0600, and `current` points to the newest generation."""
    identity = home.enrolled()
    place = home.zone("city")

    modes = {path.name: path.stat().st_mode & 0o777 for path in identity.directory.iterdir()}

    assert set(modes) >= {KEY, CHAIN, SEAL_KEY, SEAL_CHAIN, ANCHORS, TRUST}
    assert set(modes.values()) == {0o600}
    assert {p.stat().st_mode & 0o777 for p in (place, identity.directory)} == {0o700}
    assert (place / CURRENT).readlink().name == identity.directory.name == "g0001"


def test_the_one_before_stays_and_older_ones_go(home: House) -> None:
    """Of many generations two remain: the current one, and the one somebody may be reading."""
    home.enrolled()

    for _ in range(3):
        identity = home.renewed()

    kept = sorted(path.name for path in home.zone("city").iterdir())
    assert kept == [CURRENT, "g0003", "g0004"]
    assert number_of(home.zone("city")) == 4
    assert identity.directory.name == "g0004"


def test_a_kill_at_any_step_leaves_one_whole_identity(home: House, tmp_path: Path) -> None:
    """Whenever the writer of a new generation is killed, the zone has the old or the new identity, whole."""
    old = home.enrolled()
    new = home.enrolled("other")
    environment = os.environ | {"PYTHONPATH": str(ROOM / "node")}
    seen = set()

    for left in range(0, 90, 3):
        place = tmp_path / str(left)
        shutil.copytree(home.zone("city"), place, symlinks=True)
        command = [sys.executable, "-c", WRITE_AND_DIE, str(place), str(left), str(new.directory)]
        run = subprocess.run(command, env=environment, capture_output=True, timeout=60, check=False)
        found = load_identity(place).chain
        assert found in (old.chain, new.chain)
        seen.add(found == new.chain)
        write_generation(place, new.files)
        assert load_identity(place).chain == new.chain
        if run.returncode == 0:
            break
        assert run.returncode == -signal.SIGKILL, run.stderr

    assert run.returncode == 0
    assert left > 15
    assert seen == {False, True}


def test_an_identity_is_read_once(home: House) -> None:
    """What an identity gives the TLS library is what it was loaded with, whatever happens to the files."""
    identity = home.enrolled()
    before = {name: identity.pem(name) for name in (KEY, CHAIN, ANCHORS, SEAL_KEY, SEAL_CHAIN, TRUST)}

    shutil.rmtree(home.zone("city"))

    assert {name: identity.pem(name) for name in before} == before
    assert x509.load_pem_x509_certificates(identity.pem(CHAIN))[0].public_key() == identity.key.public_key()


def test_an_identity_seals_with_its_own_key(home: House) -> None:
    """With a key for seals, certificates and signatures are that key's, in the suite of that key."""
    identity = home.enrolled()

    signature = identity.sign(b"message")

    leaf = x509.load_der_x509_certificate(identity.certificates[0])
    key = leaf.public_key()
    assert isinstance(key, ed25519.Ed25519PublicKey)
    key.verify(signature, b"message")
    assert leaf == identity.seal_chain[0] != identity.tls_chain[0]
    assert identity.suite == "intl-1"
    assert len(identity.certificates) == 2


def test_the_layout_of_the_last_release_is_read(tmp_path: Path) -> None:
    """Files directly in the directory are an identity with one key for line and seals, which cannot renew."""
    endpoint = next(iter(TOPOLOGY.endpoints()))
    FlatAuthority().issue(endpoint, TOPOLOGY, tmp_path)

    identity = load_identity(tmp_path)

    assert identity.suite == "p256-sha256"
    assert identity.certificates == (identity.chain[0].public_bytes(Encoding.DER),)
    assert (identity.seal_chain, identity.trust, number_of(tmp_path)) == ((), (), 0)
    with pytest.raises(UsageError, match=r"got the layout of release 0\.1; enrol this zone with a token"):
        renew_request(identity, tmp_path)


def test_the_first_generation_takes_over_from_the_old_layout(home: House) -> None:
    """A zone of release 0.1 that enrols reads its generation from then on."""
    endpoint = next(iter(TOPOLOGY.endpoints()))
    FlatAuthority().issue(endpoint, TOPOLOGY, home.zone("city"))

    home.enrolled()

    assert load_identity(home.zone("city")).suite == "intl-1"


@pytest.mark.parametrize("name", [SEAL_KEY, SEAL_CHAIN, TRUST])
@pytest.mark.parametrize("how", ["missing", "noise", "cut"])
def test_a_generation_that_is_not_whole_is_refused(home: House, name: str, how: str) -> None:
    """A zone whose generation lacks a part or has a damaged one does not start, and the file is named."""
    path = home.enrolled().directory / name
    whole = path.read_bytes()
    path.unlink()
    if how != "missing":
        path.write_bytes(os.urandom(64) if how == "noise" else whole[: len(whole) // 3])
        path.chmod(0o600)

    if (name, how) == (TRUST, "missing"):
        assert load_identity(home.zone("city")).trust == ()
        return
    with pytest.raises(SettingsError, match=f"{name}: expected"):
        load_identity(home.zone("city"))


def test_a_key_for_seals_of_another_kind_is_refused(home: House) -> None:
    """Seals are Ed25519; a P-256 key, another's key or a readable one in its place is refused."""
    path = home.enrolled().directory / SEAL_KEY
    cases = {
        "expected an Ed25519 key, got another kind": private_pem(ec.generate_private_key(ec.SECP256R1())),
        "expected the key of the certificate beside it": private_pem(ed25519.Ed25519PrivateKey.generate()),
    }
    for got, content in cases.items():
        path.write_bytes(content)
        with pytest.raises(SettingsError, match=got):
            load_identity(home.zone("city"))
    path.chmod(0o640)
    with pytest.raises(SettingsError, match="expected mode 0600, got 0640"):
        load_identity(home.zone("city"))
