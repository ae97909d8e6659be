"""Engine 数据库引擎: the ways in which SQLite loses committed rows while everybody says "ok".

Two SQLite libraries, or two writers of one, on a zone's file; and a log (WAL) on a file system of the network,
where the index that writers share cannot be shared. A file is never opened here: closing it would drop the locks
of a zone in this process. Of a server nothing is asked.
"""

from __future__ import annotations

import os
import shlex
import sqlite3
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import sqlalchemy as sa

from jinbao.appliance.doctor.context import ZoneContext
from jinbao.appliance.doctor.findings import Finding, State, UnknownError, Words, same

NETWORK = frozenset(
    {"nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "ceph", "fuse.sshfs", "fuse.glusterfs", "glusterfs", "lustre",
     "gpfs", "ocfs2", "gfs2", "afs", "beegfs", "fuse.s3fs", "fuse.rclone", "virtiofs"}
)  # fmt: skip
"""File systems on which several machines see one file."""

_LOG_LOSES = ((3, 7, 0), (3, 51, 3))
_MENDED = {(3, 44): 6, (3, 50): 7}
"""Releases between these two lose a commit when two connections empty the log at once; of two lines the mended ones."""


def look(zone: ZoneContext) -> Iterator[Finding]:
    """One finding for each trap; one that there is none."""
    path = zone.database
    if path is None:
        yield Finding("engine.ok", State.OK, got=same("PostgreSQL"))
        return
    found = [*_network(zone, path), *_sources(zone, path), *_others(zone, path)]
    yield from found
    if not found:
        yield Finding("engine.ok", State.OK, got=_version())


def _version() -> Words:
    version, numbers = sqlite3.sqlite_version, sqlite3.sqlite_version_info
    first, fixed = _LOG_LOSES
    if first <= numbers < fixed and numbers[2] < _MENDED.get(numbers[:2], 1 << 30):
        return Words(
            f"SQLite {version}: one connection empties the log, as this version needs",
            f"SQLite {version}：仅由一个连接清空日志，符合该版本的要求",
        )
    return same(f"SQLite {version}")


def _network(zone: ZoneContext, path: Path) -> Iterator[Finding]:
    kind = zone.node.around.file_system(path.parent.resolve())
    if kind in NETWORK:
        yield Finding(
            "engine.network",
            State.RED,
            Words("a disk of this machine", "本机磁盘"),
            same(kind),
            str(path),
            zone.command(f"database convert --to sqlite:////var/lib/jinbao/{zone.zone}.db"),
            Words("or to PostgreSQL; the zone is stopped meanwhile", "或转换到 PostgreSQL；其间分区须停止"),
        )


def _sources(zone: ZoneContext, path: Path) -> Iterator[Finding]:
    """A business database that is our own file would be read by another SQLite library in this process."""
    for source in zone.settings.sources:
        url = sa.make_url(source.url)
        is_file = url.get_backend_name() == "sqlite" and url.database
        if is_file and path.exists() and Path(str(url.database)).resolve() == path.resolve():
            yield Finding(
                "engine.source",
                State.RED,
                Words("a business database", "业务库"),
                Words("this zone's own database", "本分区自己的数据库"),
                source.name,
                f"sudoedit {shlex.quote(str(zone.node.config))}",
                Words("correct sources.url", "更正 sources.url"),
            )


def _others(zone: ZoneContext, path: Path) -> Iterator[Finding]:
    """Processes that have the file open and are not the zone's."""
    holder = None
    with suppress(UnknownError):
        holder = zone.holder
    ours = {os.getpid(), holder.pid if holder else 0}
    for pid in _openers(path):
        if pid not in ours:
            yield Finding(
                "engine.opened",
                State.RED,
                Words("the zone's own process alone", "仅分区自己的进程"),
                Words(f"process {pid} ({_name(pid)})", f"进程 {pid}（{_name(pid)}）"),
                str(path),
                f"kill {pid}",
                Words(
                    "ask the zone instead: jinbao library, jinbao journal; back up by jinbao backup",
                    "请改用 jinbao library、jinbao journal 查询，用 jinbao backup 备份",
                ),
            )


def _openers(path: Path) -> Iterator[int]:
    """Processes that have a database or its log open, as far as this account may see."""
    wanted = {str(path.resolve()) + suffix for suffix in ("", "-wal", "-shm", "-journal")}
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if any(_target(handle) in wanted for handle in (process / "fd").iterdir()):
                yield int(process.name)


def _target(handle: Path) -> str:
    try:
        return str(handle.readlink())
    except OSError:  # closed meanwhile
        return ""


def _name(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return "?"
