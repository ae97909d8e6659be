"""A zone's log is its own: strangers write nothing into it past the house's words."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.link.parts import CITY, Network

SCRIPT = """
import socket, ssl, sys, jinbao
from concurrent import futures
from pathlib import Path
import grpc

key, chain = (Path(name).read_bytes() for name in sys.argv[1:])
server = grpc.server(futures.ThreadPoolExecutor(1))
credentials = grpc.ssl_server_credentials([(key, chain)], chain, require_client_auth=True)
port = server.add_secure_port("127.0.0.1:0", credentials)
server.start()
context = ssl.create_default_context()
context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
context.set_alpn_protocols(["h2"])
for _ in range(3):
    try:
        with context.wrap_socket(socket.create_connection(("127.0.0.1", port))) as stranger:
            while stranger.recv(100):
                pass
    except OSError:
        pass
    print("let go")
server.stop(None)
"""


def test_a_stranger_writes_nothing_into_the_log(network: Network, tmp_path: Path) -> None:
    """Connections without a certificate are refused, and the library of the line says nothing of it by itself."""
    identity = network.identity(CITY)
    for name in ("key.pem", "chain.pem"):
        (tmp_path / name).write_bytes(identity.pem(name))

    said = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(tmp_path / "key.pem"), str(tmp_path / "chain.pem")],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )

    assert said.stdout.split("\n")[:3] == ["let go"] * 3
    assert said.stderr == ""
