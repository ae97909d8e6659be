"""A listener's certificates: unchanged is said as unchanged, a change reaches the next handshake, churn ends nothing."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import pytest
from tests.link.parts import CITY, PROVINCE, Network

from jinbao.link.reloading import Material, ReloadingCertificates

ROOT = Path(__file__).parent.parent.parent
CHURN = """
import socket, sys, time
from concurrent.futures import ThreadPoolExecutor
import grpc
from jinbao.link.reloading import ReloadingCertificates

pairs = [tuple(open(f"{d}/{n}.pem", "rb").read() for n in ("key", "chain")) for d in sys.argv[1:3]]
def now():
    return (*pairs[int(time.monotonic() * 2) % 2], None)

server = grpc.server(ThreadPoolExecutor(1), options=[("grpc.server_handshake_timeout_ms", 200)])
port = server.add_secure_port("127.0.0.1:0", ReloadingCertificates(now).credentials())
server.start()
until = time.monotonic() + 4
while time.monotonic() < until:
    for one in [socket.create_connection(("127.0.0.1", port), 10) for _ in range(100)]:
        one.close()
print("stands")
server.stop(None).wait()
"""


def _material(network: Network, endpoint: object) -> Material:
    mine = network.identity(endpoint)  # type: ignore[arg-type]
    return mine.pem("key.pem"), mine.pem("chain.pem"), None


def test_unchanged_certificates_are_not_handed_out_again(network: Network) -> None:
    """Asked again without a change, nothing is given; after a change it is given once."""
    shown = [_material(network, CITY)]
    certificates = ReloadingCertificates(lambda: shown[-1])

    before = [certificates.fetch() for _ in range(3)]
    shown.append(_material(network, PROVINCE))
    after = [certificates.fetch() for _ in range(3)]

    assert before == [None] * 3
    assert after[0] is not None
    assert after[1:] == [None] * 2


def test_a_change_is_given_once_to_many_at_a_time(network: Network) -> None:
    """Of many handshakes that ask at once exactly one takes the change."""
    shown = [_material(network, CITY)]
    certificates = ReloadingCertificates(lambda: shown[-1])
    shown.append(_material(network, PROVINCE))
    found: list[object] = []
    asking = [threading.Thread(target=lambda: found.append(certificates.fetch())) for _ in range(20)]

    for one in asking:
        one.start()
    for one in asking:
        one.join(20)

    assert len(found) == 20
    assert len([one for one in found if one is not None]) == 1


@pytest.mark.processes
@pytest.mark.fault_row(49)
def test_a_listener_outlives_churn_while_its_certificates_change(network: Network, tmp_path: Path) -> None:
    """Thousands of connections that come and go while certificates change twice a second do not end the process."""
    for endpoint, name in ((CITY, "one"), (PROVINCE, "two")):
        key, chain, _ = _material(network, endpoint)
        (tmp_path / name).mkdir()
        (tmp_path / name / "key.pem").write_bytes(key)
        (tmp_path / name / "chain.pem").write_bytes(chain)

    ran = subprocess.run(
        [sys.executable, "-c", CHURN, str(tmp_path / "one"), str(tmp_path / "two")],
        cwd=ROOT,
        env={"PYTHONPATH": str(ROOT / "node")},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert ran.returncode == 0, ran.stderr[-2000:]
    assert ran.stdout == "stands\n"
