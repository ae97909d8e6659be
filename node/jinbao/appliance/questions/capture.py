"""Questions about capture: what the business databases gave last, and an act that captures now."""

from __future__ import annotations

from dataclasses import asdict

from jinbao.appliance.questions.registry import Arguments, Asked, Body, question
from jinbao.model.audit import Role
from jinbao.model.errors import LinkError


class NoArguments(Arguments):
    """A question that needs nothing more."""


@question("capture.show", arguments=NoArguments)
def show(asked: Asked, _arguments: NoArguments) -> Body:
    """The newest capture of every business table, and the newest verdict of every library."""
    state = asked.zone.state
    tables = [asdict(table) for table in state.captured_tables()]
    return {
        "zone": str(asked.zone.me),
        "run": state.last_run(),
        "asked_run": state.asked_run(),
        "tables": tables,
        "verdicts": state.verdicts(),
    }


@question("capture.run", kind="act", changes=True, arguments=NoArguments, role=Role.SYSTEM)
def run(asked: Asked, _arguments: NoArguments) -> Body:
    """Capture, convert, judge and seal as soon as the last run is done."""
    if asked.running is None or asked.zone.outbound is None:
        raise LinkError(
            f"zone {asked.zone.me}",
            expected="a running production zone with sources",
            got="none",
            next_step="start it: jinbao serve --zone production",
        )
    asked.running.capture_now()
    return {"zone": str(asked.zone.me), "after_run": asked.zone.state.last_run()}
