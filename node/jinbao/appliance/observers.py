"""Observers: one fact, one event, read by log and metric alike. Never a person's data, never a key.

Logs are JSON lines on stderr, event names in the past tense. Anything that looks like an
identity number is masked before it is written, wherever it comes from.
"""

from __future__ import annotations

import logging
import sys
import traceback
from collections.abc import Callable, MutableMapping
from pathlib import Path
from typing import Any

import structlog

from jinbao.appliance.metrics import Metrics
from jinbao.model.masking import mask_numbers
from jinbao.model.zone import Endpoint

ALARMS = frozenset(
    {
        "stream_held",
        "equivocation_found",
        "peer_behind",
        "clock_odd",
        "peer_refused",
        "package_refused",
        "header_refused",
        "decoder_ended",
        "submission_refused",
        "submission_overdue",
        "receipt_missing",
        "step_failed",
        "trust_refused",
        "renewal_failed",
        "authority_ask_failed",
        "disk_slow",
        "disk_failed",
        "database_outdated",
        "database_log_kept",
        "disk_filling",
        "token_lied",
        "segment_damaged",
        "backup_went_back",
        "drill_failed",
        "node_declared",
        "identity_granted",
        "zone_superseded",
        "zone_failed",
    }
)

_COUNTED = frozenset({"stream_held", "peer_refused", "package_refused", "header_refused"})
"""What peers did and were refused: counted in the audit trail too, per minute and code."""


def masked(value: Any) -> Any:  # whatever is logged
    """The value with every identity number in it masked."""
    return mask_numbers(value) if isinstance(value, str) else value


def where_failed(exc: BaseException) -> str:
    """What kind of bug, and where in our own code it struck; its text is kept back: it may quote a person's row."""
    ours = [frame for frame in traceback.extract_tb(exc.__traceback__) if "jinbao" in frame.filename]
    at = f" at {Path(ours[-1].filename).name}:{ours[-1].lineno}" if ours else ""
    return f"{type(exc).__name__}{at}"


def _mask_all(_logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    return {key: masked(value) for key, value in event.items()}


def configure_logging() -> None:
    """JSON lines on stderr; colours when a person looks."""
    person = sys.stderr.isatty()
    renderer = (
        structlog.dev.ConsoleRenderer() if person else structlog.processors.JSONRenderer(ensure_ascii=False)
    )
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            _mask_all,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=lambda *_: structlog.PrintLogger(sys.stderr),  # as it is when a zone opens
    )


def log_beside() -> None:
    """A command that opens a stopped zone gives its own results: what the zone tells goes to stderr."""
    if not structlog.is_configured():
        configure_logging()


def log_nothing() -> None:
    """Zones opened in this process tell nobody what they do."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))


class ZoneObserver:
    """Writes the line and moves the metric of each event of one zone."""

    def __init__(self, me: Endpoint, metrics: Metrics) -> None:
        self._log = structlog.get_logger().bind(zone=str(me))
        self._metrics = metrics
        self.refusals: Callable[[str, str], None] | None = None

    def event(self, name: str, **values: Any) -> None:
        """One fact. A line that cannot be written, for the disk of the log is full, is counted and lost."""
        self._metrics.count(name, values)
        if name in _COUNTED and self.refusals is not None:
            self.refusals(name, str(values["code"]))
        try:
            (self._log.warning if name in ALARMS else self._log.info)(name, **values)
        except OSError:
            self._metrics.count("line_lost", {})
