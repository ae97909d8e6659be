"""Questions of analysts: indicators over the packages this decision zone took in."""

from __future__ import annotations

from difflib import get_close_matches

from jinbao.appliance.questions.registry import Arguments, Asked, Body, question
from jinbao.model.errors import UsageError


class Chosen(Arguments):
    """One library, indicator, period or region; empty means all."""

    library: str = ""
    indicator: str = ""
    period: str = ""
    region: str = ""


@question("decision.show", arguments=Chosen)
def show(asked: Asked, arguments: Chosen) -> Body:
    """Values by indicator, period, region and group, exact as text."""
    from jinbao.decision.indicators import INDICATORS  # noqa: PLC0415  # an engine only analysts start
    from jinbao.decision.publish import evaluate  # noqa: PLC0415  # as above

    zone = asked.zone
    for thing, wanted, known in (
        ("library", arguments.library, zone.mappings),
        ("indicator", arguments.indicator, INDICATORS),
    ):
        if wanted and wanted not in known:
            near = get_close_matches(wanted, known, 1)
            hint = f"did you mean {near[0]}?" if near else ""
            raise UsageError(thing, expected=f"one of {len(known)} known", got=wanted, next_step=hint)
    libraries = [arguments.library] if arguments.library else sorted(zone.mappings)
    segments = [s for name in libraries for s in zone.decision.segments(name)]
    frame = evaluate(segments, zone.standards, path=zone.shelf.open_path, period=arguments.period or None)
    for column in ("indicator", "region"):
        wanted = getattr(arguments, column)
        if wanted:
            frame = frame.filter(frame.get_column(column) == wanted)
    rows = [
        row
        | {"name_zh": INDICATORS[row["indicator"]].name_zh, "name_en": INDICATORS[row["indicator"]].name_en}
        for row in frame.to_dicts()
    ]
    return {"zone": str(zone.me), "values": rows}
