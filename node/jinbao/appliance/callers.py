"""Callers: from the kernel's uid to account, groups and roles. Never from what a caller says of itself."""

from __future__ import annotations

import grp
import os
import pwd
from collections.abc import Mapping

from jinbao.appliance.settings import RoleSettings
from jinbao.model.audit import Caller, Role, Way
from jinbao.model.errors import SettingsError

CLAIM_CHARACTERS_MAX = 64


def caller_of(uid: int, way: Way, claimed: str = "") -> Caller:
    """The account of a uid with all its groups; an unknown uid is `uid:N` and in no group."""
    claim = "".join(c for c in claimed if c.isprintable())[:CLAIM_CHARACTERS_MAX]
    try:
        account = pwd.getpwuid(uid)
    except KeyError:
        return Caller(f"uid:{uid}", uid, way, claimed=claim)
    gids = os.getgrouplist(account.pw_name, account.pw_gid)
    groups = tuple(sorted(name for gid in gids if (name := _group(gid))))
    return Caller(account.pw_name, uid, way, groups, claim)


def _group(gid: int) -> str:
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return ""


def own(claimed: str = "") -> Caller:
    """This process itself, which opened the zone."""
    return caller_of(os.geteuid(), Way.PROCESS, claimed)


class RoleBook:
    """Which account has which role on this node."""

    def __init__(self, settings: RoleSettings) -> None:
        self.is_separated = settings.is_separated
        self._lists: Mapping[Role, tuple[str, ...]] = {
            Role.SYSTEM: settings.system,
            Role.SECURITY: settings.security,
            Role.AUDIT: settings.audit,
        }

    def roles_of(self, caller: Caller) -> tuple[Role, ...]:
        """Roles of a caller: by the lists, or all three where they are not apart; none on read.sock."""
        if not caller.authorised:
            return ()
        if not self.is_separated:
            return tuple(Role)  # who could open this socket or this zone owns it
        if caller.way is Way.ZONE:
            return (Role.SYSTEM,)  # the calendar is the system administrator's, in the settings
        names = {caller.account, *(f"@{group}" for group in caller.groups)}
        return tuple(role for role, accounts in self._lists.items() if names & set(accounts))

    def check(self) -> None:
        """Refuse lists that name nobody, or by their groups one account twice; raises SettingsError."""
        if not self.is_separated:
            return
        seen: dict[str, Role] = {}
        for role, accounts in self._lists.items():
            for member in sorted({m for account in accounts for m in _members(role, account)}):
                if member in seen:
                    raise SettingsError(
                        f"roles: account {member}",
                        expected="one role of an account, as roles are apart",
                        got=f"{seen[member]} and {role}",
                        next_step="take it out of one list or group",
                    )
                seen[member] = role


def _members(role: Role, account: str) -> list[str]:
    """The account itself, or the members of a group the account database lists."""
    try:
        if account.startswith("@"):
            return list(grp.getgrnam(account[1:]).gr_mem)
        return [pwd.getpwnam(account).pw_name]
    except KeyError as exc:
        raise SettingsError(
            f"roles.{role}", expected="accounts and @groups of this host", got=account
        ) from exc
