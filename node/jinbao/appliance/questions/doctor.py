"""Questions of the doctor: what a running zone knows of its own health, and a support bundle's metrics."""

from __future__ import annotations

from jinbao.appliance.doctor.facts import gather
from jinbao.appliance.questions.registry import Asked, Body, question
from jinbao.appliance.questions.status import NoArguments


@question("doctor.look", arguments=NoArguments)
def look(asked: Asked, _arguments: NoArguments) -> Body:
    """Schema, newest act, trust documents, segments missing or named by nobody, newest backup; nothing of a person."""
    zone = asked.zone
    facts = gather(zone.store, zone.me, zone.settings.directory(zone.me.zone), zone.ports.now())
    return facts.as_json()


@question("doctor.metrics", arguments=NoArguments)
def metrics(asked: Asked, _arguments: NoArguments) -> Body:
    """The metrics page as text."""
    return {"zone": str(asked.zone.me), "text": asked.zone.metrics.text().decode()}
