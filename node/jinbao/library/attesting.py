"""Attesting: the digest of what is stored of an origin, without reading unchanged rows again each time.

A table that was read back keeps, in a file beside the zone's database, the digest of each row's
key and its canonical leaf. After a change every key is read back, and whole those rows that were
written since; of the others the leaf of last time still holds. The file is a cache: it is believed
only for a submission before the one that is attested, only if it knows every key, only until it is some days old,
and only if what it comes to is what was promised. In every other case all rows are read.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import polars as pl
import polars_hash as plh

from jinbao.library.room import Library
from jinbao.library.tables import SEQ
from jinbao.trust.digest import Digest, digest_of_leaves, encode, leaves

KEPT_ROWS = 65_536
"""A table with fewer rows is read whole each time: that is as quick."""

_KEY, _LEAF, _BUCKET, _SAID = "key", "leaf", "bucket", "jinbao"


@dataclass(frozen=True)
class At:
    """A submission as applied here: its stream, seq and head."""

    stream: str
    seq: int
    head: str


@dataclass(frozen=True)
class _Kept:
    """Leaves as they were at a submission, and when every row was read for the last time."""

    at: At
    read_at: datetime
    rows: pl.DataFrame


class Attesting:
    """Digests of one origin's stored rows; keeps its files in `directory`."""

    def __init__(
        self,
        library: Library,
        directory: Path,
        now: Callable[[], datetime],
        reread: timedelta,
        kept_rows: int = KEPT_ROWS,
    ) -> None:
        self._library, self._directory = library, directory
        self._now, self._reread, self._kept_rows = now, reread, kept_rows

    def digests(
        self, library: str, origin: str, at: At, promised: Mapping[str, tuple[int, str]]
    ) -> dict[str, Digest]:
        """Digest of every table of one origin's library, by table id; `promised` are rows and root of each."""
        tables = self._library.standards[library].tables
        return {t.id: self._digest(library, t.id, origin, at, promised.get(t.id)) for t in tables}

    def _digest(
        self, library: str, table: str, origin: str, at: At, promised: tuple[int, str] | None
    ) -> Digest:
        path = self._directory / f"{library}.{table}.{origin}.parquet"
        kept = self._kept(path, at)
        if kept is not None:
            rows = self._followed(library, table, origin, kept)
            found = None if rows is None else digest_of_leaves([rows.select(_BUCKET, _LEAF)])
            if rows is not None and found is not None and (found.rows, found.root) == promised:
                self._keep(path, _Kept(at, kept.read_at, rows))
                return found
        rows = self._whole(library, table, origin)
        if rows.height >= self._kept_rows:
            self._keep(path, _Kept(at, self._now(), rows))
        return digest_of_leaves([rows.select(_BUCKET, _LEAF)])

    def _whole(self, library: str, table: str, origin: str) -> pl.DataFrame:
        """Leaves of all rows, read back in bounded blocks."""
        standard = self._library.standards[library].table(table)
        frames = self._library.blocks(library, table, origin, standard.columns)
        made = [_leaves(frame, standard.columns, standard.key) for frame in frames]
        return pl.concat(
            [_leaves(self._library.nothing(library, table), standard.columns, standard.key), *made]
        )

    def _followed(self, library: str, table: str, origin: str, kept: _Kept) -> pl.DataFrame | None:
        """Leaves of all rows, of which those written since were read back; None where a key is not known."""
        standard = self._library.standards[library].table(table)
        keys, written = list[pl.DataFrame](), 0
        for frame in self._library.blocks(library, table, origin, [*standard.key, SEQ]):
            old = frame.filter(pl.col(SEQ) <= kept.at.seq)
            written += frame.height - old.height
            keys.append(_keys(old, standard.key))
        if not keys or written * 2 > kept.rows.height:
            return None
        new = [
            _leaves(frame, standard.columns, standard.key)
            for frame in self._library.blocks(library, table, origin, standard.columns, after=kept.at.seq)
        ]
        still = pl.concat(keys).join(kept.rows, on=_KEY, how="left", maintain_order="left")
        if still.get_column(_LEAF).null_count() or sum(part.height for part in new) != written:
            return None
        return pl.concat([still.select(kept.rows.columns), *new])

    def _kept(self, path: Path, at: At) -> _Kept | None:
        """What is kept of a table, if it may still be believed."""
        if not path.is_file():
            return None
        try:
            said = json.loads(pl.read_parquet_metadata(path)[_SAID])
            then = At(said["stream"], said["seq"], said["head"])
            read_at = datetime.fromisoformat(said["read_at"])
            is_ours = then.stream == at.stream and self._library.only_changed_since(
                then.stream, then.seq, then.head
            )
            if not is_ours or then.seq >= at.seq or self._now() - read_at > self._reread:
                return None
            return _Kept(then, read_at, pl.read_parquet(path))
        except (pl.exceptions.PolarsError, OSError, ValueError, KeyError):
            return None  # a cache that cannot be read is one there is none of

    def _keep(self, path: Path, kept: _Kept) -> None:
        """Replace the file; a power loss may take it, and all rows are read once more."""
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        said = {"stream": kept.at.stream, "seq": kept.at.seq, "head": kept.at.head}
        text = json.dumps(said | {"read_at": kept.read_at.isoformat()})
        temporary = path.with_suffix(".tmp")
        # Leaves are as good as random: nothing compresses them.
        kept.rows.write_parquet(
            temporary, compression="uncompressed", statistics=False, metadata={_SAID: text}
        )
        temporary.replace(path)


def _keys(rows: pl.DataFrame, key: tuple[str, ...]) -> pl.DataFrame:
    """The digest of each row's key."""
    coded = pl.DataFrame({_KEY: encode(rows, key)})
    return coded.select(plh.col(_KEY).nchash.xxh3_128())


def _leaves(rows: pl.DataFrame, columns: tuple[str, ...], key: tuple[str, ...]) -> pl.DataFrame:
    """Digest of key, bucket, and leaf as its 32 bytes, of each row."""
    made = leaves(rows, columns, key).with_columns(pl.col(_LEAF).str.decode("hex"))
    return _keys(rows, key).hstack(made.select(_BUCKET, _LEAF).get_columns())
