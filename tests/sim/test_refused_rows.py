"""A database that refuses the rows of one stream, and no others."""

from __future__ import annotations

import pytest
from tests.sim.conftest import MakeWorld

from jinbao.model.errors import LocalError
from jinbao.model.stream import StreamId
from jinbao.model.zone import Endpoint, Zone

CITY, PROVINCE = Endpoint("140100", Zone.PRODUCTION), Endpoint("140000", Zone.EXCHANGE)
PENSION, UNEMPLOYMENT = (StreamId(CITY, name) for name in ("pension_macro", "unemployment_monitor"))


def test_a_stream_whose_rows_are_refused_stops_no_other(quiet: MakeWorld) -> None:
    """What the database refuses is told, the streams after it are applied, and it is made up for once it is mended."""
    with quiet(1) as world:
        zone = world.zones[PROVINCE]
        before = {stream: zone.index.mark(stream, "applied").seq for stream in (PENSION, UNEMPLOYMENT)}
        with zone.store.writer.connect() as connection, connection.begin():
            connection.exec_driver_sql(
                "CREATE TRIGGER refuse BEFORE INSERT ON library_submission WHEN NEW.library = 'pension_macro' "
                "BEGIN SELECT RAISE(ABORT, 'refused'); END"
            )
        for _ in range(12):  # of both libraries
            world.business[CITY].edit()
        world.capture_all()
        for endpoint, other in (
            (Endpoint("140100", Zone.EXCHANGE), CITY),
            (PROVINCE, Endpoint("140100", Zone.EXCHANGE)),
        ):
            world.follow(endpoint, other)
        sealed = {stream: zone.index.mark(stream).seq for stream in (PENSION, UNEMPLOYMENT)}

        with pytest.raises(LocalError, match="refused"):
            zone.applier.step()
        refused = {stream: zone.index.mark(stream, "applied").seq for stream in (PENSION, UNEMPLOYMENT)}
        with zone.store.writer.connect() as connection, connection.begin():
            connection.exec_driver_sql("DROP TRIGGER refuse")
        world.settle()

        assert all(sealed[stream] > before[stream] for stream in sealed)
        assert refused == {PENSION: before[PENSION], UNEMPLOYMENT: sealed[UNEMPLOYMENT]}
        assert zone.index.mark(PENSION, "applied").seq == sealed[PENSION]
