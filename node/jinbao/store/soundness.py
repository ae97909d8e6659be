"""Whether a database file is as it was written, as far as SQLite itself can tell.

A server looks after its own files, and nothing is asked of it. What rows mean is no question here:
the journal's chain and the roots of libraries answer that.
"""

from __future__ import annotations

from jinbao.model.errors import CorruptionError
from jinbao.model.quoting import quoted
from jinbao.store.engine import Store


def first_fault(store: Store, *, indexes: bool) -> str:
    """The first thing that is wrong in the file of a SQLite database; empty where nothing is.

    Every page is read; with `indexes` each is held against its table, which takes ten times as long.
    """
    if not store.is_sqlite:
        return ""
    check = "integrity_check" if indexes else "quick_check"
    with store.read() as connection:
        found = str(connection.exec_driver_sql(f"PRAGMA {check}(1)").scalar())
    return "" if found == "ok" else quoted(found.replace("\n", " "), 200)


def require_sound(store: Store) -> None:
    """Raise CorruptionError with the first page that is not as it was written."""
    fault = first_fault(store, indexes=False)
    if fault:
        raise CorruptionError(
            f"database {store.url.render_as_string(hide_password=True)}",
            expected="every page as it was written",
            got=fault,
            next_step="put back a copy or promote the backup; docs/how-to/when-a-disk-fails.md",
        )
