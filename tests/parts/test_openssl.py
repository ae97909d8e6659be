"""The line as a stranger's tool meets it: `openssl s_client` against a real listener."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from tests.trust.flat import FlatAuthority

from jinbao.authority.identity_files import ANCHORS, CHAIN, KEY, load_identity
from jinbao.link.limits import LinkLimits
from jinbao.link.server import LineServer
from jinbao.link.standing import Standing
from jinbao.model.topology import NodeRow, Topology
from jinbao.model.zone import Endpoint, Tier, Zone
from jinbao.trust.book import TrustBook

pytestmark = pytest.mark.parts

MINISTRY = Endpoint("100000", Zone.EXCHANGE)


class EmptyCounter:
    """A journal without a batch."""

    def headers(self, *_: object) -> list[object]:
        """Nothing to follow."""
        return []

    def open_segment(self, *_: object) -> None:
        """Nothing to fetch."""


def _topology() -> Topology:
    row = NodeRow("100000", "部", "Ministry", Tier.MINISTRY, "100000", "", (Zone.EXCHANGE,), (), ())
    return Topology("jinbao.test", 1, (row,))


@pytest.fixture
def line(tmp_path: Path) -> Iterator[int]:
    """Port of a ministry's listener; its key and certificates lie in `tmp_path`."""
    topology = _topology()
    FlatAuthority().issue(MINISTRY, topology, tmp_path)
    identity = load_identity(tmp_path)
    book = TrustBook.of(identity.anchors)
    server = LineServer(
        Standing(
            MINISTRY,
            lambda: identity,
            lambda: book,
            lambda: topology,
            lambda: datetime.now(UTC),
            lambda _documents, _peer: None,
        ),
        "127.0.0.1:0",
        counter=EmptyCounter(),
        standards=(),
        refused=lambda _peer, _error: None,
        limits=LinkLimits(),
    )
    server.start()
    yield server.port
    server.stop()


def _answer(port: int, *options: str) -> subprocess.CompletedProcess[bytes]:
    """What the listener says after the handshake: its HTTP/2 settings, if it speaks at all."""
    command = ["openssl", "s_client", "-quiet", "-connect", f"127.0.0.1:{port}", "-alpn", "h2", *options]
    return subprocess.run(command, input=b"\n", capture_output=True, timeout=20, check=False)


def test_a_caller_without_a_certificate_is_refused(line: int, tmp_path: Path) -> None:
    """The listener speaks to a caller with a certificate of its authority, and hangs up on one without."""
    right = ("-cert", str(tmp_path / CHAIN), "-key", str(tmp_path / KEY), "-CAfile", str(tmp_path / ANCHORS))

    known, unknown = _answer(line, *right), _answer(line)

    assert known.stdout, f"expected HTTP/2 settings, got nothing: {known.stderr!r}"
    assert not unknown.stdout
    assert unknown.returncode != 0


def test_a_certificate_of_another_authority_is_refused(line: int, tmp_path: Path) -> None:
    """A certificate with the right names from an authority this zone does not trust gets no answer."""
    forged = tmp_path / "forged"
    FlatAuthority().issue(MINISTRY, _topology(), forged)

    answer = _answer(line, "-cert", str(forged / CHAIN), "-key", str(forged / KEY))

    assert not answer.stdout
    assert answer.returncode != 0
