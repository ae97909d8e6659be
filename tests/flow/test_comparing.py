"""What is sent is exactly what differs from what was sealed last, whatever that was and however it was kept."""

from __future__ import annotations

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jinbao.flow import comparing
from jinbao.flow.comparing import DELETE, OP, UPSERT, Comparer, leaves_of, lines_of
from jinbao.model.standard import Item, ItemType, Limits, Table
from jinbao.trust.digest import digest, digest_of_leaves, quick

TABLE = Table(
    "person",
    "人员",
    "persons",
    (
        Item("AAC001", "个人编号", "person number", ItemType.TEXT, 20),
        Item("AAC003", "姓名", "name", ItemType.TEXT, 50),
        Item("AAE180", "缴费基数", "base", ItemType.AMOUNT, 10, 2),
    ),
    ("AAC001",),
    (),
    (),
    Limits(0, 100, 1.0),
)
SCHEMA = {"AAC001": pl.String(), "AAC003": pl.String(), "AAE180": pl.Int64()}
Content = dict[str, tuple[str | None, int | None]]
contents = st.dictionaries(
    st.sampled_from("abcdefgh"),
    st.tuples(st.sampled_from([None, "", "王", "N"]), st.none() | st.integers(-2, 2)),
)
bounded = settings(max_examples=80, deadline=None)


def rows(content: Content) -> pl.DataFrame:
    """A table's rows, sorted by key."""
    return pl.DataFrame([(k, *v) for k, v in sorted(content.items())], schema=SCHEMA, orient="row")


def compared(
    content: Content, before: pl.DataFrame | None, part_rows: int = 3
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Lines of all rows and rows to be sent, by key, of a table that comes part by part."""
    comparer = Comparer(TABLE, before)
    parts = [comparer.part(part) for part in rows(content).iter_slices(part_rows)] or [
        comparer.part(rows({}))
    ]
    sent = [*(part.sent for part in parts), comparer.gone()]
    return pl.concat(part.lines for part in parts), pl.concat(sent).sort("AAC001")


@bounded
@given(contents, contents, st.integers(1, 9))
def test_what_is_sent_carries_the_old_content_to_the_new(old: Content, new: Content, part_rows: int) -> None:
    """Upserts are the rows that are new or differ, deletes the keys that are gone, and each row is sent once."""
    before, _ = compared(old, None)

    _, sent = compared(new, before, part_rows)

    changed = {k: v for k, v in new.items() if k not in old or old[k] != v}
    upserts = {k: (n, a) for k, n, a in sent.filter(pl.col(OP) == UPSERT).select(SCHEMA.keys()).rows()}
    assert upserts == changed
    assert sent.filter(pl.col(OP) == DELETE).get_column("AAC001").to_list() == sorted(old.keys() - new.keys())


@bounded
@given(contents, contents)
def test_lines_and_sent_rows_have_the_canonical_leaves(old: Content, new: Content) -> None:
    """The digest of a table by its lines is that of all its rows, and that of what is sent the one of its rows."""
    lines, sent = compared(new, compared(old, None)[0])

    assert digest_of_leaves([leaves_of(lines)]) == digest([rows(new)], TABLE.columns, TABLE.key)
    assert digest_of_leaves([leaves_of(sent)]) == digest([sent], TABLE.columns, TABLE.key)


def test_a_row_that_is_gone_leaves_its_key_alone() -> None:
    """A delete names the row and tells nothing of it."""
    before, _ = compared({"a": ("王", 1), "b": ("李", 2)}, None)

    _, sent = compared({"a": ("王", 1)}, before)

    assert sent.select(*SCHEMA, OP).rows() == [("b", None, None, DELETE)]


@pytest.mark.parametrize("kept", ["whole rows", "another release's digests"])
def test_what_another_release_kept_is_compared_by_leaf(kept: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whole rows of release 0.1, and lines with digests of another library, name only what really changed."""
    old: Content = {"a": ("王", 1), "b": ("李", 2)}
    before = rows(old) if kept == "whole rows" else compared(old, None)[0]
    monkeypatch.setattr(comparing, "QUICK", "__row_another")
    monkeypatch.setattr(comparing, "quick", lambda frame: quick(frame).alias("__row_another"))

    _, sent = compared(old | {"b": ("李", 3)}, lines_of(TABLE, before))

    assert sent.select(*SCHEMA, OP).rows() == [("b", "李", 3, UPSERT)]
