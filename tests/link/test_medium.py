"""A line that is cut: the same batches, marks and receipts on a medium that is carried by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.link.parts import CITY, PROVINCE
from tests.link.zones import TOPICS, accepted, seal, zones

from jinbao.appliance.assembly import OpenZone
from jinbao.appliance.questions import Asked, dispatch
from jinbao.model.errors import UsageError


def _ask(zone: OpenZone, question: str, peer: str, medium: Path) -> dict[str, Any]:
    return dispatch(Asked(zone), question, {"peer": peer, "directory": str(medium)}).body


def test_a_medium_stands_in_for_a_line(tmp_path: Path) -> None:
    """Batches, marks and receipts cross by hand; what the other side has is not carried twice."""
    medium = tmp_path / "stick"
    medium.mkdir()
    with zones(tmp_path / "network", CITY, PROVINCE) as opened:
        city, province = opened[CITY], opened[PROVINCE]
        seal(city, 2)

        first = _ask(city, "line.export", PROVINCE.node, medium)
        there = _ask(province, "line.import", CITY.node, medium)
        province.receipts.step()
        back = _ask(province, "line.export", CITY.node, medium)
        home = _ask(city, "line.import", PROVINCE.node, medium)
        seal(city, 1)
        second = _ask(city, "line.export", PROVINCE.node, medium)

        assert (first["packages"], there["accepted"]) == (2 * len(TOPICS), 2 * len(TOPICS))
        assert accepted(province) == {topic: [1, 2] for topic in TOPICS}
        assert (back["packages"], home["accepted"], home["held"]) == (1, 1, {})
        assert second["packages"] == len(TOPICS)


def test_an_altered_package_is_held_and_the_rest_goes_on(tmp_path: Path) -> None:
    """A segment altered on the way holds its stream, aloud; the other stream is accepted."""
    medium = tmp_path / "stick"
    medium.mkdir()
    with zones(tmp_path / "network", CITY, PROVINCE) as opened:
        seal(opened[CITY], 1)
        _ask(opened[CITY], "line.export", PROVINCE.node, medium)
        segment = min(medium.rglob("*.parquet"))
        segment.write_bytes(segment.read_bytes()[:-1] + b"!")

        found = _ask(opened[PROVINCE], "line.import", CITY.node, medium)

        assert found["accepted"] == len(TOPICS) - 1
        assert len(found["held"]) == 1


def test_a_medium_that_is_not_there_is_named(tmp_path: Path) -> None:
    """A directory that does not exist, or a peer that is none, is a usage error and writes nothing."""
    with zones(tmp_path / "network", CITY) as opened:
        with pytest.raises(UsageError, match="medium: expected the full path"):
            _ask(opened[CITY], "line.export", PROVINCE.node, tmp_path / "missing")
        with pytest.raises(UsageError, match="peer: expected"):
            _ask(opened[CITY], "line.export", "999999", tmp_path)

        assert not (tmp_path / "missing").exists()
