"""Permissions 权限: what only the zone's account may read, and files in a zone's directory that are another's.

A key others can read is a key others have; a file that root made keeps a zone from starting. Changes no mode.
"""

from __future__ import annotations

import os
import shlex
import stat
from collections.abc import Iterator
from pathlib import Path

from jinbao.appliance.doctor.context import ZoneContext, account
from jinbao.appliance.doctor.findings import Finding, State, UnknownError, Words, same
from jinbao.audit.persons import FILE as AUDIT_KEY
from jinbao.authority.copy_keys import DIRECTORY as COPY_KEYS
from jinbao.authority.identity_files import KEY, SEAL_KEY, generation

_OTHERS = stat.S_IRWXG | stat.S_IRWXO
_DIRECTORY, _FILE = 0o700, 0o600

FOREIGN_MAX = 5
"""Files of another account that are named one by one."""


def look(zone: ZoneContext) -> Iterator[Finding]:
    """One finding for each thing others can read or own; one that there is none."""
    if not zone.directory.is_dir():
        yield Finding("permissions.ok", State.OK, got=Words("no directory yet", "尚无目录"))
        return
    if not os.access(zone.directory, os.R_OK | os.X_OK):
        raise UnknownError(
            Words(
                "this account may not enter the zone's directory: run as the zone's own",
                "本账户无权进入分区目录：请以分区账户运行",
            )
        )
    found = [*_modes(zone), *_foreign(zone), *_settings(zone)]
    yield from found
    if not found:
        yield Finding(
            "permissions.ok", State.OK, got=Words("private to the zone's account", "仅分区账户可读")
        )


def private(zone: ZoneContext) -> Iterator[tuple[Path, int]]:
    """What is private of a zone, with the mode it has then."""
    identity = zone.directory / "identity"
    place = generation(identity) if identity.is_dir() else identity
    for directory in (zone.directory, identity, place):
        yield directory, _DIRECTORY
    for file in (place / KEY, place / SEAL_KEY, zone.directory / AUDIT_KEY):
        yield file, _FILE
    for file in sorted((zone.directory / COPY_KEYS).glob("*.pem")):
        yield file, _FILE


def _modes(zone: ZoneContext) -> Iterator[Finding]:
    seen = set[Path]()
    for path, mode in private(zone):
        if path in seen or not path.exists():
            continue
        seen.add(path)
        got = stat.S_IMODE(path.stat().st_mode)
        if got & _OTHERS:
            fix = f"chmod {mode:o} {shlex.quote(str(path))}"
            yield Finding(
                "permissions.open", State.RED, same(f"{mode:04o}"), same(f"{got:04o}"), str(path), fix,
                numbers={"mode": got},
            )  # fmt: skip


def _foreign(zone: ZoneContext) -> Iterator[Finding]:
    """Files at the top of a zone's directory that are another account's; its owner is the zone's account."""
    owner = zone.owner
    foreign = [path for path in sorted(zone.directory.iterdir()) if path.lstat().st_uid != owner]
    if foreign:
        named = ", ".join(path.name for path in foreign[:FOREIGN_MAX])
        whose = account(owner)
        yield Finding(
            "permissions.foreign",
            State.RED,
            Words(f"files of {whose}", f"属主为 {whose}"),
            Words(
                f"{named} of {account(foreign[0].lstat().st_uid)}",
                f"{named} 属于 {account(foreign[0].lstat().st_uid)}",
            ),
            str(zone.directory),
            f"chown -R {whose.lstrip('#')}: {shlex.quote(str(zone.directory))}",
            numbers={"files": len(foreign)},
        )


def _settings(zone: ZoneContext) -> Iterator[Finding]:
    """A settings file that holds a password is for its account alone."""
    config = zone.node.config
    urls = [zone.settings.database(zone.zone), *(source.url for source in zone.settings.sources)]
    has_password = any(":" in url.partition("://")[2].rpartition("@")[0] for url in urls)
    mode = stat.S_IMODE(config.stat().st_mode) if config.exists() else 0
    if has_password and mode & stat.S_IRWXO:
        yield Finding(
            "permissions.password",
            State.RED,
            same("0640"),
            same(f"{mode:04o}"),
            str(config),
            f"chmod 640 {shlex.quote(str(config))}",
            Words("better: the driver's own password file", "更好的做法：使用驱动自己的口令文件"),
        )
