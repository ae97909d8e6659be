"""Certificates and lists as a stranger's tool reads them, and a stranger's tool as the signer of an authority."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from tests.authority.parts import CITY, DOMAIN, NOW, House, house, topology, zone_request

from jinbao.authority import rotation
from jinbao.authority.authority import Authority
from jinbao.authority.keys import FileKeys, command_spec
from jinbao.authority.ledger import Ledger
from jinbao.authority.state import der
from jinbao.authority.trust_files import write_trust

pytestmark = pytest.mark.parts


@pytest.fixture
def home(tmp_path: Path) -> House:
    """Root, ministry and province."""
    return house(tmp_path)


def openssl(*arguments: str | Path, code: int = 0) -> str:
    """What openssl says; it must end with `code`."""
    run = subprocess.run(["openssl", *map(str, arguments)], capture_output=True, timeout=20, check=False)
    said = (run.stdout + run.stderr).decode()
    assert run.returncode == code, said
    return said


def test_openssl_verifies_a_zones_chains(home: House) -> None:
    """Both chains of a zone verify to the root, for TLS on either side and with the lists of both authorities."""
    home.enrolled()
    home.root.crl(NOW)
    place = home.zone("city") / "current"
    trust = home.directory / "trust.pem"
    trust.write_bytes(write_trust((*home.root.documents(), *home.province.documents())))
    anchored = ("verify", "-x509_strict", "-CAfile", place / "anchors.pem", "-untrusted", trust)
    checked = (*anchored, "-CRLfile", trust, "-crl_check_all")

    for purpose in ("sslserver", "sslclient"):
        assert "OK" in openssl(*checked, "-purpose", purpose, place / "chain.pem")
    assert "OK" in openssl(*checked, place / "seal-chain.pem")
    openssl(*anchored, "-purpose", "sslserver", place / "seal-chain.pem", code=2)


def test_openssl_refuses_what_was_taken_back(home: House) -> None:
    """With the newest list a revoked zone verifies no more."""
    home.enrolled()
    home.province.revoke(home.province.serials_of("140100", now=NOW), "key-compromise", NOW)
    home.root.crl(NOW)
    home.province.crl(NOW)
    trust = home.directory / "trust.pem"
    trust.write_bytes(write_trust((*home.root.documents(), *home.province.documents())))
    place = home.zone("city") / "current"

    said = openssl(
        "verify", "-CAfile", place / "anchors.pem", "-untrusted", trust, "-CRLfile", trust, "-crl_check_all",
        place / "chain.pem", code=2,
    )  # fmt: skip

    assert "certificate revoked" in said


def test_openssl_follows_a_cross_certificate(home: House) -> None:
    """Who anchors the old root verifies a zone below the new one, and the other way round."""
    [old] = home.root.roots()
    rotation.prepare(home.root, NOW)
    rotation.activate(home.root, NOW)
    before = home.enrolled("before")
    rotation.certify_here(home.province, home.root, NOW)
    after = home.enrolled("after")
    _, new = home.root.roots()
    pool = home.directory / "pool.pem"
    pool.write_bytes(write_trust(d for d in home.province.documents() if d not in (der(old), der(new))))

    for anchor, identity in ((old, after), (new, before)):
        path = home.directory / "anchor.pem"
        path.write_bytes(write_trust([der(anchor)]))
        leaf = identity.directory / "chain.pem"
        assert "OK" in openssl("verify", "-x509_strict", "-CAfile", path, "-untrusted", pool, leaf)


def test_openssl_signs_for_an_authority(home: House, tmp_path: Path) -> None:
    """An authority whose key openssl holds is certified, issues and lists; the key is never read by us."""
    key, public = tmp_path / "hsm.pem", tmp_path / "hsm.pub"
    openssl("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:secp384r1", "-out", key)
    openssl("pkey", "-in", key, "-pubout", "-out", public)
    place = tmp_path / "far"
    authority = Authority(Ledger(place), FileKeys(place / "keys"))
    authority.found(
        "issuing", DOMAIN, "140000", NOW,
        command_spec(public, ["openssl", "dgst", "-sha384", "-sign", str(key)]),
    )  # fmt: skip

    rotation.certify_here(authority, home.root, NOW)
    pair = authority.issue(CITY, topology(), zone_request(), now=NOW)
    [listed] = authority.crl(NOW)

    pair.line[0].verify_directly_issued_by(pair.line[1])
    assert listed.is_signature_valid(pair.line[1].public_key())  # type: ignore[arg-type]
