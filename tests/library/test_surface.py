"""Personal items of stored rows are masked for everybody who may not see them, or does not ask."""

from __future__ import annotations

from typing import Any

import polars as pl
import pytest
from tests.sim.world import PERIOD

from jinbao.appliance.assembly import OpenZone, stored_batch
from jinbao.appliance.callers import own
from jinbao.appliance.questions import Asked, dispatch
from jinbao.model import acts
from jinbao.model.acts import SegmentUse
from jinbao.model.audit import Caller, Way
from jinbao.model.batch import Header, Kind, SegmentRef, TableTotals
from jinbao.model.errors import UsageError
from jinbao.model.stream import StreamId
from jinbao.model.zone import Endpoint, Zone

CITY = Endpoint("140100", Zone.PRODUCTION)
LIBRARY, TABLE = "unemployment_monitor", "insured"
READER = Caller("clerk", 4711, Way.READ)
WHY = {"reason": "a test"}
PERSONAL = {"AAC001": "14010000000001", "AAC002": "140105198001011234", "AAC003": "张三丰"}
MASKED = {"AAC001": "1*************", "AAC002": "140105********1234", "AAC003": "张**"}


@pytest.fixture(scope="module")
def stored(province: OpenZone) -> OpenZone:
    """A province that applied one row of one person."""
    table = province.standards[LIBRARY].table(TABLE)
    types = {i.code: pl.String if i.is_text else pl.Int64 for i in table.items} | {"op": pl.String}
    row = dict.fromkeys(types) | PERSONAL | {"AAE002": int(PERIOD), "op": "U"}
    sha256, size = province.shelf.write(pl.DataFrame([row], schema=types))
    stream = StreamId(CITY, LIBRARY)
    ref = SegmentRef(TABLE, sha256, size, 1)
    header = Header(
        stream, 1, "a" * 32, 1, "", Kind.SNAPSHOT, province.ports.now_text(), period=PERIOD, segments=(ref,)
    )
    batch = stored_batch(province.seal(header))
    applied = acts.applied(
        stream=stream,
        first=1,
        seq=1,
        head=batch.head,
        library=LIBRARY,
        standard=province.standards[LIBRARY].id,
        period=PERIOD,
        segments=[SegmentUse(1, Kind.SNAPSHOT, TABLE, sha256, 1, size)],
        tables=[TableTotals(TABLE, 1, "d" * 64, {})],
    )
    province.ledger.record(acts.accepted(batch, CITY), applied)
    return province


def shown(zone: OpenZone, *, authorised: bool, **arguments: object) -> dict[str, Any]:
    """The personal items of the one row, as the question answers."""
    asked = Asked(zone, caller=own() if authorised else READER)
    body = dispatch(asked, "library.show", {"library": LIBRARY, "table": TABLE} | WHY | arguments).body
    (row,) = body["rows"]
    return {code: row[code] for code in PERSONAL}


@pytest.mark.parametrize(
    ("authorised", "unmask", "answer"),
    [(True, True, PERSONAL), (True, False, MASKED), (False, False, MASKED)],
    ids=["may and asks", "may", "neither"],
)
@pytest.mark.parametrize("as_of", ["", PERIOD], ids=["now", "as of a period"])
def test_personal_items_are_masked(
    stored: OpenZone, authorised: bool, unmask: bool, answer: dict[str, str], as_of: str
) -> None:
    """Only a caller who may see personal items and asks for them does, of today's rows and of the past's."""
    assert shown(stored, authorised=authorised, unmask=unmask, as_of=as_of) == answer


def test_asking_for_clear_rows_without_the_right_is_refused(stored: OpenZone) -> None:
    """A caller who may not see personal items is told so, instead of getting masked ones for clear ones."""
    with pytest.raises(UsageError, match=r"expected admin\.sock"):
        shown(stored, authorised=False, unmask=True)


def test_other_items_are_shown_as_they_are(stored: OpenZone) -> None:
    """Items that are not personal, and where the row came from, are never masked."""
    asked = Asked(stored, caller=READER)

    (row,) = dispatch(asked, "library.show", {"library": LIBRARY, "table": TABLE}).body["rows"]

    assert (row["_origin"], row["_seq"], row["AAE002"]) == (CITY.node, 1, int(PERIOD))


def test_an_export_is_for_the_authorised(stored: OpenZone) -> None:
    """Clear rows leave as a file for an authorised caller, and not at all for another."""
    arguments = {"library": LIBRARY, "table": TABLE} | WHY

    answer = dispatch(Asked(stored), "library.export", arguments)
    with pytest.raises(UsageError):
        dispatch(Asked(stored, caller=READER), "library.export", arguments)

    assert answer.attachment is not None
    (row,) = pl.read_parquet(answer.attachment).to_dicts()
    answer.attachment.unlink()
    assert {code: row[code] for code in PERSONAL} == PERSONAL


def test_counts_and_digests_are_of_stored_rows(stored: OpenZone) -> None:
    """Rows and digest per origin are those of the rows stored here."""
    asked, arguments = Asked(stored, caller=READER), {"library": LIBRARY, "table": TABLE}

    counts = dispatch(asked, "library.count", arguments).body["origins"]
    digests = dispatch(asked, "library.digest", arguments).body["digests"]

    found = stored.library.digest(LIBRARY, TABLE, CITY.node)
    assert counts == [{"origin": CITY.node, "rows": 1}]
    assert digests == [{"origin": CITY.node, "rows": 1, "digest": found.root}]
