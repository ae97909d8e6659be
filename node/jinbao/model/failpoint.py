"""Failpoints: named places before and after every durable act, where a test may stop the process.

Declared at import by the room that hits them, so that the list is generated from code
and a new one without a test is found. Off unless `JINBAO_FAILPOINT` names one or a
simulator installs a hook; the cost is then one dictionary look-up per durable act.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable

ENVIRONMENT = "JINBAO_FAILPOINT"

FAILPOINTS: dict[str, str] = {}
"""Name to sentence, of every failpoint of the modules imported so far."""

_hook: Callable[[str], None] | None = None
_counts: dict[str, int] = {}


def declare(name: str, text: str) -> str:
    """Register a failpoint once and return its name; `text` says what is durable there, and what is not."""
    assert FAILPOINTS.get(name, text) == text, f"failpoint {name} declared twice"
    FAILPOINTS[name] = text
    return name


def set_hook(hook: Callable[[str], None] | None) -> None:
    """Let a simulator decide what a hit does; None returns to the environment's word."""
    global _hook  # noqa: PLW0603  # one switch per process is the point
    _hook = hook


def hit(name: str) -> None:
    """Pass a failpoint: SIGKILL this process if `JINBAO_FAILPOINT` is `name` or `name:N` and this is the N-th hit."""
    assert name in FAILPOINTS, f"failpoint {name} was never declared"
    if _hook is not None:
        _hook(name)
        return
    armed, _, count = os.environ.get(ENVIRONMENT, "").partition(":")
    if armed != name:
        return
    _counts[name] = _counts.get(name, 0) + 1
    if _counts[name] >= int(count or 1):
        os.kill(os.getpid(), signal.SIGKILL)
