"""Capture: what changed in a business table since the last run, found by content.

Each run reads the whole table and compares a digest per row with those kept: only rows that
changed are written, as one more file of changes. A table is written whole the first time, when
its columns differ, and when a key repeats; its first file is its own change: everything. When
the changes have become many, they and the base become one file. No clock, trigger or log of the
source is trusted; where the operator says that a token stands for a row's content, tokens are
read instead, and checked. Rows with one key twice are a multiset: every one is kept and the
doubling is a finding.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from pathlib import Path

import polars as pl
import polars_hash as plh
from polars.io.plugins import register_io_source

from jinbao.model.errors import SourceError
from jinbao.source.catalogue import TableShape
from jinbao.source.decode import UNDECODABLE
from jinbao.source.kept import DELETE, KEY, OP, ROW, UPSERT, Kept, Look, picked
from jinbao.source.known import KNOWN_ROWS_MAX, Among, Known, Seen, of_share, shares
from jinbao.source.reader import ASKED_ROWS, TOKEN, Snapshot
from jinbao.trust.digest import encode, quick

GROUP_ROWS = 65_536
"""Rows of a row group: what the writer holds, and the least that is read again."""

_TOUCHED_SHARE = 20
"""Rows whose token changed and whose content did not, of all: above one in so many the table is written anew."""


@dataclass(frozen=True, slots=True)
class Trust:
    """What of a source stands for a row's content; without a `token` its content alone.

    `checked` are the keys whose content is compared all the same in this run, a truth value for each
    of the column KEY: a token that lies is found when its row's turn comes.
    """

    token: str = ""
    checked: pl.Expr = field(default_factory=lambda: pl.lit(value=False))

    @property
    def column(self) -> str:
        """Where the token is kept; another for every token, so that no two are compared."""
        return f"{TOKEN}_{self.token}"


BY_CONTENT = Trust()


@dataclass(frozen=True, slots=True)
class CaptureFiles:
    """What one capture of one table wrote; `changes` is None when nothing changed.

    `current` is a table written whole, or None where what was kept, with `changes`, says it all. The
    first capture's changes are `current` itself: every row, and no `op`. `folded` is what was kept
    before this run as one file, where it had become many. `lied` counts rows that changed under the
    same token.
    """

    current: Path | None
    changes: Path | None
    rows: int
    upserts: int
    deletes: int
    findings: tuple[str, ...]
    lied: int = 0
    folded: Path | None = None


def find_table(snapshot_tables: dict[str, TableShape], source: str, table: str) -> TableShape:
    """The shape of a table, whatever the case of its name; raises SourceError naming those there are."""
    shape = snapshot_tables.get(table.upper())
    if shape is None:
        raise SourceError(
            f"source {source}",
            expected=f"table {table}",
            got=", ".join(sorted(snapshot_tables)) or "no tables",
            next_step="correct the mapping, or grant the reading account this table",
        )
    return shape


def require_columns(shape: TableShape, source: str, columns: Sequence[str]) -> None:
    """Raise SourceError naming the first column of `columns` the table does not have."""
    have = {c.upper() for c in shape.columns}
    for column in columns:
        if column.upper() not in have:
            raise SourceError(
                f"source {source}: table {shape.name}",
                expected=f"column {column}",
                got=", ".join(shape.columns),
                next_step="correct the mapping, or grant the reading account this column",
            )


def key_of(shape: TableShape, source: str, declared: Sequence[str]) -> tuple[str, ...]:
    """The columns that tell rows apart; raises SourceError with the line that mends it if there are none."""
    key = tuple(declared) or shape.key
    if not key:
        raise SourceError(
            f"source {source}: table {shape.name}",
            expected="a key",
            got="no primary key",
            next_step=f'set keys.{shape.name} = ["COLUMN", …] for this source',
        )
    names = {c.upper(): c for c in shape.columns}
    require_columns(shape, source, key)
    return tuple(names[k.upper()] for k in key)


def capture_table(
    snapshot: Snapshot,
    shape: TableShape,
    key: Sequence[str],
    previous: Kept | None,
    directory: Path,
    trust: Trust = BY_CONTENT,
) -> CaptureFiles:
    """Read one table, or the tokens of its rows, and compare it with what was kept of it.

    Files are written under `directory`, complete but not yet durable: the caller shelves them.
    """
    with Seen(directory / f"capture-{shape.name}.seen") as seen:
        return _compared(_Reading(snapshot, shape, key, directory, trust, seen), previous, trust)


def _compared(reading: _Reading, previous: Kept | None, trust: Trust) -> CaptureFiles:
    if previous is None:
        return reading.first()
    if not reading.may_follow(previous):
        return reading.whole(previous)
    folded = reading.fold(previous) if previous.is_long else None
    latest = previous if folded is None else Kept(folded)
    found: CaptureFiles | None
    if latest.rows_max > KNOWN_ROWS_MAX:
        found = reading.whole(latest, is_kept=False)
    else:
        found = reading.by_token(latest) if trust.token else reading.by_content(latest)
    if found is not None and not found.lied and found.current is None:
        return replace(found, folded=folded)
    if folded is not None:
        folded.unlink()
    if found is not None and found.current is not None:
        return found
    # A token that lied once is not believed in this run: everything is compared.
    return reading.whole(previous, lied=0 if found is None else found.lied)


class _Reading:
    """One capture of one table."""

    def __init__(
        self,
        snapshot: Snapshot,
        shape: TableShape,
        key: Sequence[str],
        directory: Path,
        trust: Trust,
        seen: Seen,
    ) -> None:
        self._snapshot, self._shape, self._key, self._trust = snapshot, shape, key, trust
        self._seen = seen
        self._current = directory / f"capture-{shape.name}.current"
        self._changes = directory / f"capture-{shape.name}.changes"
        self._folded = directory / f"capture-{shape.name}.folded"
        self._schema: dict[str, pl.DataType] = dict.fromkeys((c.upper() for c in shape.columns), pl.String())
        self._schema |= {UNDECODABLE: pl.String(), KEY: pl.UInt128(), ROW: pl.UInt64()}
        if trust.token:
            self._schema[trust.column] = pl.UInt64()

    def may_follow(self, previous: Kept) -> bool:
        """Whether changes alone can say what the table is now."""
        return self._schema == previous.schema

    def fold(self, previous: Kept) -> Path:
        """Base and changes as one file, without a look at the source."""
        names = list(self._schema)
        self._write(self._folded, previous.slices(names, GROUP_ROWS))
        return self._folded

    def first(self) -> CaptureFiles:
        """Everything, once."""
        rows = self._write(self._current, self._batches())
        doubled = self._doubled() if self._seen.repeats() else 0
        return CaptureFiles(self._current, self._current, rows, rows, 0, _said(doubled, self._broken(), 0))

    def whole(self, previous: Kept, lied: int = 0, *, is_kept: bool = True) -> CaptureFiles:
        """Write the table whole, and what of it changed; without `is_kept` changes alone stay, where they say it all."""
        rows = self._write(self._current, self._batches())
        changed, gone, doubled = self._difference(previous, rows)
        findings = _said(doubled, self._broken(), lied)
        stays: Path | None = self._current
        if self._schema == previous.schema and not doubled and not is_kept:
            stays = None
        if changed is None and gone.is_empty():
            if self._schema == previous.schema and not previous.changes:
                stays = None
            if stays is None:
                self._current.unlink()
            return CaptureFiles(stays, None, rows, 0, 0, findings, lied)
        deletes = self._deletes(previous, gone)
        written = self._write(self._changes, chain(self._upserts(changed), deletes), OP)
        gone_rows = sum(part.height for part in deletes)
        if stays is None:
            self._current.unlink()
        return CaptureFiles(stays, self._changes, rows, written - gone_rows, gone_rows, findings, lied)

    def _difference(self, previous: Kept, rows: int) -> tuple[Among | None, pl.Series, int]:
        """Keys of the file just written whose rows are new or changed, those gone, and how many rows repeat a key.

        A share at a time: of a table of any size the keys and digests of one share are held.
        """
        of = shares(max(rows, previous.rows_max))
        changed, gone, doubled = list[pl.DataFrame](), [pl.Series(KEY, [], pl.UInt128)], 0
        for at in range(of):
            now = pl.scan_parquet(self._current).select(KEY, ROW).filter(of_share(at, of))
            current = now.collect(engine="streaming")
            doubled += _doubled(current)
            before = self._before(previous, of_share(at, of))
            new, old = _different(current, before)
            changed.append(new.select(pl.col(KEY)))
            gone.append(old.get_column(KEY))
        found = None if all(part.is_empty() for part in changed) else Among(changed)
        return found, pl.concat(gone), doubled

    def _doubled(self) -> int:
        """How many rows of the file just written repeat a key."""
        of = shares(self._seen.rows)
        keys = pl.scan_parquet(self._current).select(KEY)
        return sum(_doubled(keys.filter(of_share(at, of)).collect(engine="streaming")) for at in range(of))

    def _broken(self) -> int:
        """How many rows of the file just written hold bytes that do not decode."""
        count = pl.scan_parquet(self._current).select(pl.col(UNDECODABLE).count())
        return int(count.collect(engine="streaming").item())

    def _upserts(self, changed: Among | None) -> Iterator[pl.DataFrame]:
        """Rows of the file just written, by their keys."""
        if changed is None:
            return
        for rows in Kept(self._current).slices(list(self._schema), GROUP_ROWS, Look((KEY,), changed.has)):
            yield rows.with_columns(pl.lit(UPSERT).alias(OP))

    def by_content(self, previous: Kept) -> CaptureFiles | None:
        """Read every row and write those that changed; None if a key repeats, which changes cannot say."""
        known = Known(previous, ROW)
        counts, broken, is_odd = [0, 0], 0, False

        def changes() -> Iterator[pl.DataFrame]:
            nonlocal broken, is_odd
            for batch in self._batches():
                broken += batch.height - batch.get_column(UNDECODABLE).null_count()
                changed = picked(batch, ~known.has(batch))
                counts[0] += changed.height
                yield changed.with_columns(pl.lit(UPSERT).alias(OP))
            missing = self._seen.gone(previous)
            is_odd = missing is None
            for gone in [] if missing is None else self._deletes(previous, missing):
                counts[1] += gone.height
                yield gone

        self._write(self._changes, changes(), OP)
        if is_odd:
            self._changes.unlink()
            return None
        return self._followed(self._seen.rows, (counts[0], counts[1]), _said(0, broken, 0))

    def by_token(self, previous: Kept) -> CaptureFiles | None:
        """Read the tokens, then the rows whose token is another and those to be checked; None if that will not do."""
        asked = self._asked_for(previous)
        gone = None if asked is None else self._seen.gone(previous)
        if asked is None or gone is None:
            return None
        found = _Found()
        self._write(self._changes, self._asked(previous, asked, gone, found), OP)
        if found.is_odd or (not found.lied and found.touched * _TOUCHED_SHARE > self._seen.rows):
            self._changes.unlink()
            return None
        still = previous.lazy([KEY, UNDECODABLE]).filter(
            pl.col(UNDECODABLE).is_not_null(), ~pl.col(KEY).is_in(pl.concat([*found.keys, gone]).implode())
        )
        broken = still.select(pl.len()).collect(engine="streaming").item() + found.broken
        return self._followed(
            self._seen.rows, (found.upserts, found.deletes), _said(0, broken, 0), found.lied
        )

    def _asked_for(self, previous: Kept) -> pl.DataFrame | None:
        """Rows to be read: those whose token is another and those to be checked; None if they are too many."""
        trust, known = self._trust, Known(previous, self._trust.column)
        most, asked = previous.base_rows // 4 + GROUP_ROWS, 0
        nothing = pl.DataFrame(schema=dict.fromkeys([*self._key, TOKEN], pl.String()))
        parts = [self._marked(nothing).with_columns(pl.lit(value=True).alias(_SAME)).clear()]
        self._seen.clear()
        for batch in self._snapshot.tokens(self._shape, self._key, trust.token):
            marks = self._marked(batch)
            self._seen.add(marks)
            is_same = known.has(marks).alias(_SAME)
            some = picked(marks.with_columns(is_same), ~pl.col(_SAME) | trust.checked)
            asked += some.height
            if asked <= most:  # to read more one by one is dearer than to read all
                parts.append(some)
        if asked > most:
            return None
        found = pl.concat(parts)
        before = previous.lazy([KEY, ROW]).filter(pl.col(KEY).is_in(found.get_column(KEY).implode()))
        return found.join(before.collect(engine="streaming"), on=KEY, how="left", maintain_order="left")

    def _asked(
        self, previous: Kept, asked: pl.DataFrame, gone: pl.Series, found: _Found
    ) -> Iterator[pl.DataFrame]:
        """Of rows that are asked for by key, block by block, those whose content changed; then those gone."""
        for some in asked.iter_slices(ASKED_ROWS):
            rows = self._rows_of(some)
            if rows is None:
                found.is_odd = True
                return
            then = some.select(KEY, pl.col(ROW).alias(_BEFORE), _SAME)
            rows = rows.join(then, on=KEY, how="left")
            is_changed = (pl.col(ROW) != pl.col(_BEFORE)).fill_null(value=True)
            found.lied += rows.filter(is_changed & pl.col(_SAME)).height
            found.touched += rows.filter(~is_changed & ~pl.col(_SAME)).height
            changed = rows.filter(is_changed).drop(_BEFORE, _SAME)
            found.upserts += changed.height
            found.broken += changed.get_column(UNDECODABLE).count()
            found.keys.append(changed.get_column(KEY))
            yield changed.with_columns(pl.lit(UPSERT).alias(OP))
        for rows in self._deletes(previous, gone):
            found.deletes += rows.height
            yield rows

    def _followed(
        self, rows: int, counts: tuple[int, int], findings: tuple[str, ...], lied: int = 0
    ) -> CaptureFiles:
        if counts == (0, 0):
            self._changes.unlink()
            return CaptureFiles(None, None, rows, 0, 0, findings, lied)
        return CaptureFiles(None, self._changes, rows, *counts, findings, lied)

    def _batches(self) -> Iterator[pl.DataFrame]:
        """The table as it is read, every batch in the columns that are kept; its keys are seen."""
        self._seen.clear()
        for batch in self._snapshot.batches(self._shape, self._trust.token):
            made = self._named(batch)
            self._seen.add(made)
            yield made

    def _named(self, batch: pl.DataFrame) -> pl.DataFrame:
        """Add the digests, and the column of undecodable bytes where there is none."""
        if UNDECODABLE not in batch.columns:
            batch = batch.with_columns(pl.lit(None, dtype=pl.String).alias(UNDECODABLE))
        content = batch.drop(TOKEN, strict=False)
        made = content.hstack([_keys(batch, self._key), quick(content).alias(ROW)])
        if self._trust.token:
            made = made.hstack([self._token(batch)])
        return made.rename({c: c.upper() for c in self._shape.columns}).select(list(self._schema))

    def _marked(self, batch: pl.DataFrame) -> pl.DataFrame:
        """Key and token of rows whose content is not read, with the key's columns under the database's names."""
        return batch.select(self._key).hstack([_keys(batch, self._key), self._token(batch)])

    def _token(self, batch: pl.DataFrame) -> pl.Series:
        # NULL stays NULL: a row without a token is never the same as before.
        return batch.select(plh.col(TOKEN).nchash.xxh3_64()).to_series().alias(self._trust.column)

    def _rows_of(self, asked: pl.DataFrame) -> pl.DataFrame | None:
        """The rows of some keys; None unless each has one."""
        keys = asked.select(self._key)
        parts = [self._named(part) for part in self._snapshot.rows_of(self._shape, keys, self._trust.token)]
        nothing = pl.DataFrame(schema=self._schema)
        found = pl.concat([nothing, *parts]).join(asked.select(KEY), on=KEY, how="semi")
        return found if found.height == asked.height else None

    def _before(self, previous: Kept, share: pl.Expr) -> pl.DataFrame:
        """Digests of what was kept; none of its rows if columns or algorithm differ: then every row changed."""
        private = (KEY, ROW)
        names = [c for c in previous.schema if not c.startswith(TOKEN) and c not in private]
        if ROW in previous.schema and names == [
            c for c in self._schema if not c.startswith(TOKEN) and c not in private
        ]:
            return previous.lazy([KEY, ROW]).filter(share).collect(engine="streaming")
        keys = previous.lazy([KEY]).filter(share).collect(engine="streaming")
        return keys.with_columns(pl.lit(None, pl.UInt64).alias(ROW))

    def _deletes(self, previous: Kept, gone: pl.Series) -> list[pl.DataFrame]:
        """The last content of rows that are gone, in the columns of now."""
        if gone.is_empty():
            return []
        names = [c for c in self._schema if c in previous.schema]
        rows = previous.of_keys(gone, names)
        missing = [pl.lit(None, self._schema[c]).alias(c) for c in self._schema if c not in names]
        return [rows.with_columns(missing).select(*self._schema, pl.lit(DELETE).alias(OP))]

    def _write(self, path: Path, frames: Iterator[pl.DataFrame], *more: str) -> int:
        """Write rows in the order they come, while they are read; memory is a few batches. Returns how many."""
        schema = self._schema | dict.fromkeys(more, pl.String())
        rows = 0

        def source(
            columns: list[str] | None, _predicate: object, _rows: object, _size: object
        ) -> Iterator[pl.DataFrame]:
            nonlocal rows
            for frame in frames:
                rows += frame.height
                yield frame.select(columns or list(schema))

        # Statistics cost a quarter of a write, and nobody reads them.
        register_io_source(source, schema=schema).sink_parquet(
            path, compression="zstd", compression_level=1, statistics=False, row_group_size=GROUP_ROWS
        )
        return rows


_BEFORE, _SAME = "__before", "__same"


@dataclass
class _Found:
    """What rows asked for by key were: changed, changed under the same token, or under another and the same."""

    upserts: int = 0
    deletes: int = 0
    lied: int = 0
    touched: int = 0
    broken: int = 0
    is_odd: bool = False
    """Whether a key's text did not find its row, or found several."""
    keys: list[pl.Series] = field(default_factory=list)


def _keys(batch: pl.DataFrame, key: Sequence[str]) -> pl.Series:
    """The digest of each row's key."""
    return pl.DataFrame({KEY: encode(batch, key)}).select(plh.col(KEY).nchash.xxh3_128()).to_series()


def _doubled(rows: pl.DataFrame) -> int:
    return rows.height - rows.get_column(KEY).n_unique()


def _said(doubled: int, broken: int, lied: int) -> tuple[str, ...]:
    said = [
        (doubled, "rows repeat a key"),
        (broken, "rows hold bytes that do not decode"),
        (lied, 'rows changed under the same token: set change = "content" for this source'),
    ]
    return tuple(f"{count} {text}" for count, text in said if count)


def _different(now: pl.DataFrame, before: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Keys whose rows are new or changed, and keys that are gone; a key's rows count as one multiset."""
    current, previous = _by_key(now), _by_key(before)
    return current.join(previous, on=[KEY, ROW], how="anti"), previous.join(current, on=KEY, how="anti")


def _by_key(digests: pl.DataFrame) -> pl.DataFrame:
    """One line per key: the digest of its row, or of all its rows together."""
    if digests.get_column(KEY).n_unique() == digests.height:
        return digests
    together = pl.col(ROW).sort().implode().hash(1)
    many = pl.col(KEY).is_duplicated()
    grouped = digests.filter(many).group_by(KEY, maintain_order=True).agg(together.alias(ROW))
    # A key of one row keeps its digest: a repeated key elsewhere must not make every row look changed.
    return pl.concat([digests.filter(~many), grouped])
