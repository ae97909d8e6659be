"""A serving process that is asked to stop stops, whichever of its threads the kernel hands the signal to."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from jinbao.appliance.signals import Signals

ELSEWHERE = """
import signal, sys, threading, time
from jinbao.appliance.signals import Signals

def ask():
    time.sleep(0.5)  # the main thread waits by then
    signal.pthread_kill(threading.get_ident(), signal.{name})

reloaded = []
with Signals(reload=lambda: reloaded.append(1)) as asked:
    threading.Thread(target=ask).start()
    asked.wait(lambda: bool(reloaded))
sys.stdout.write(f"{{len(reloaded)}} reloads\\n")
"""


@pytest.mark.parametrize(("name", "reloads"), [("SIGTERM", 0), ("SIGINT", 0), ("SIGHUP", 1)])
def test_a_signal_another_thread_was_handed_is_not_lost(name: str, reloads: int) -> None:
    """A signal that a thread other than the main one receives ends its wait all the same."""
    ended = subprocess.run(
        [sys.executable, "-c", ELSEWHERE.format(name=name)],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )

    assert ended.stdout == f"{reloads} reloads\n"


def test_a_stop_asked_for_before_the_wait_is_kept() -> None:
    """Who is asked to stop while it starts does not wait at all."""
    with Signals() as asked:
        os.kill(os.getpid(), signal.SIGTERM)

        assert asked.wait()


def test_a_wait_ends_in_its_time() -> None:
    """Where nobody asks, the wait ends after the time it was given, and says that nobody asked."""
    with Signals() as asked:
        assert not asked.wait(within_s=0.1)
