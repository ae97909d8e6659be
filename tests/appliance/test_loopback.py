"""Ports for listeners on one machine: free, each once, and none the kernel gives to outgoing connections."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from jinbao.appliance.loopback import FreePorts, ephemeral, free_port, listening
from jinbao.model.errors import LocalError


@pytest.mark.parametrize(
    ("said", "ports"),
    [
        ("32768\t60999\n", range(10_000, 32_768)),
        ("1024 60999", range(61_000, 65_536)),
        ("1024 65535", range(10_000, 65_536)),
    ],
    ids=["as usual", "no room below", "no room at all"],
)
def test_listeners_lie_outside_the_kernels_range(tmp_path: Path, said: str, ports: range) -> None:
    """Ports come from below the range of outgoing connections, or from above it, where there is room."""
    file = tmp_path / "ip_local_port_range"
    file.write_text(said, encoding="ascii")

    assert listening(ephemeral(file)) == ports


def test_a_system_that_does_not_say_has_the_usual_range(tmp_path: Path) -> None:
    """Without the kernel's file its usual range is avoided."""
    assert listening(ephemeral(tmp_path / "none")) == range(10_000, 32_768)


def test_no_port_is_handed_out_twice() -> None:
    """A process gets every port once, none that is in use, and is told when there are no more."""
    with socket.socket() as mine:
        mine.bind(("127.0.0.1", 0))
        mine.listen()
        taken = mine.getsockname()[1]
        ports = FreePorts(range(taken, taken + 1))

        with pytest.raises(LocalError, match="expected one that is free"):
            ports.take()

    first = free_port()
    ports = FreePorts(range(first, first + 1))
    assert ports.take() == first
    with pytest.raises(LocalError, match=f"ports {first} to {first}"):
        ports.take()


def test_a_port_can_be_listened_on() -> None:
    """What is handed out can be bound at once, and lies where no outgoing connection begins."""
    for _ in range(50):
        port = free_port()
        assert port not in ephemeral()
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", port))
