"""Three roles apart: every question of the contract against every role, and lists that do not start."""

from __future__ import annotations

import grp
import os
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from tests.audit.parts import ACCOUNTS, APART, CLEAR, LIBRARY, TABLE, caller, opened, settings_of, trail
from tests.conftest import Golden

from jinbao.appliance.assembly import OpenZone, open_zone
from jinbao.appliance.callers import RoleBook, caller_of
from jinbao.appliance.questions import QUESTIONS, Asked, dispatch
from jinbao.appliance.settings import RoleSettings, Settings
from jinbao.model.audit import Caller, Role, Way
from jinbao.model.errors import JinbaoError, RoleError, SettingsError
from jinbao.model.zone import Zone

ROLES: list[Role | None] = [None, *Role]
IN_CLEAR = [name for name, asked in QUESTIONS.items() if asked.unmasks]
NAMED = {"library": LIBRARY, "table": TABLE, "origin": "140100", "buckets": [], "stream": "a", "key": "1"}
NAMED |= {"peer": "100000", "directory": "none", "lsn": 1, "batches": [], "keep": "none"}


def arguments(name: str, **more: Any) -> dict[str, Any]:
    """Enough for the question to be understood; what it then says of it is not asked here."""
    takes = QUESTIONS[name].arguments.model_fields
    return {key: value for key, value in (NAMED | {"reason": "a test"}).items() if key in takes} | more


def is_refused(zone: OpenZone, who: Caller, name: str, **more: Any) -> bool:
    """Whether the caller is turned away for its role, whatever else becomes of the question."""
    try:
        answer = dispatch(Asked(zone, caller=who), name, arguments(name, **more))
    except RoleError:
        return True
    except JinbaoError:
        return False
    if answer.attachment is not None:
        answer.attachment.unlink()
    return False


@pytest.mark.parametrize("role", ROLES, ids=lambda role: str(role or "none"))
@pytest.mark.parametrize("name", QUESTIONS)
def test_a_question_is_answered_to_its_role_alone(apart: OpenZone, name: str, role: Role | None) -> None:
    """With roles apart each question is answered to the one role it needs, and a masked read to everybody."""
    needed = QUESTIONS[name].role

    refused = is_refused(apart, caller(role), name)

    assert refused is (needed is not None and needed is not role)


@pytest.mark.parametrize("role", ROLES, ids=lambda role: str(role or "none"))
@pytest.mark.parametrize("name", IN_CLEAR)
def test_clear_data_is_shown_to_security_alone(apart: OpenZone, name: str, role: Role | None) -> None:
    """Personal data in clear is the security administrator's alone, not the system's and not the auditor's."""
    assert is_refused(apart, caller(role), name, unmask=True) is (role is not Role.SECURITY)


@pytest.mark.parametrize("name", [n for n, asked in QUESTIONS.items() if asked.role is not None])
def test_read_sock_has_no_role(apart: OpenZone, name: str) -> None:
    """Over read.sock no role is heard, whoever asks."""
    assert is_refused(apart, caller(QUESTIONS[name].role, Way.READ), name)


def test_who_has_two_roles_has_none(apart: OpenZone) -> None:
    """An account that came to a second role by a group may ask nothing that needs a role."""
    both = Caller(ACCOUNTS[0], 0, Way.ADMIN)
    book = RoleBook(RoleSettings(system=(ACCOUNTS[0],), security=("@staff",), audit=(ACCOUNTS[1],)))

    roles = book.roles_of(Caller(ACCOUNTS[0], 0, Way.ADMIN, ("staff",)))
    kept, apart.roles = apart.roles, book
    try:
        with pytest.raises(
            RoleError, match=r"expected an account in the role system and no other, got .*security"
        ):
            dispatch(Asked(apart, caller=Caller(both.account, 0, Way.ADMIN, ("staff",))), "line.resume", {})
    finally:
        apart.roles = kept

    assert roles == (Role.SYSTEM, Role.SECURITY)


def test_the_auditor_reads_and_nobody_else_does(apart: OpenZone) -> None:
    """The trail is read by the auditor, who can do nothing that needs another role; both are in the trail."""
    auditor = Asked(apart, caller=caller(Role.AUDIT))
    before = len(trail(apart))

    with pytest.raises(RoleError, match=r"act line\.pause: expected an account in the role system"):
        dispatch(auditor, "line.pause", {"peer": "100000"})
    found = dispatch(auditor, "audit.list", {"limit": 1, "who": APART["audit"][0], "outcome": "refused"}).body
    with pytest.raises(RoleError, match=r"question audit\.list: expected an account in the role audit"):
        dispatch(Asked(apart, caller=caller(Role.SECURITY)), "audit.list", {})

    assert [(e["action"], e["roles"]) for e in found["entries"]] == [("line.pause", ["audit"])]
    assert trail(apart)[before:] == [
        ("line.pause", "refused"),
        ("audit.list", "done"),
        ("audit.list", "refused"),
    ]


def test_roles_of_the_contract_are_golden(golden: Golden) -> None:
    """Which question needs which role is a face of the product: a change of it is a change of this file."""
    lines = [
        f"{q.name} {q.kind} {q.role or ('security in clear' if q.unmasks else '-')}"
        for _, q in sorted(QUESTIONS.items())
    ]

    golden("roles.txt", "\n".join(lines) + "\n")


def test_without_lists_the_owner_has_all_three(zone: OpenZone) -> None:
    """A fresh zone works at once, its own account holding all roles, and its status says so as no fault."""
    dispatch(Asked(zone), "line.pause", {"peer": "100000"})
    dispatch(Asked(zone), "library.show", CLEAR)
    dispatch(Asked(zone), "audit.verify", {})

    status = dispatch(Asked(zone), "status", {}).body

    assert (status["roles_apart"], status["reasons"]) == (False, ["the zone is stopped"])


def test_a_zone_with_roles_apart_says_so(apart: OpenZone) -> None:
    """Status tells that roles are apart, to whoever asks."""
    assert dispatch(Asked(apart, caller=caller(None)), "status", {}).body["roles_apart"] is True


A, B, C = ACCOUNTS
BAD: dict[str, tuple[dict[str, Any], str]] = {
    "one account twice": (
        {"system": [A], "security": [A], "audit": [B]},
        "in one list, got it in system and",
    ),
    "a role of nobody": ({"system": [A], "security": [B]}, "at least one account each, got none in audit"),
    "apart and empty": ({"separation": True}, "got none in system, security, audit"),
    "no account's name": ({"system": ["no name"]}, "pattern"),
}


@pytest.mark.parametrize("case", BAD)
def test_lists_that_are_not_apart_do_not_start(case: str) -> None:
    """An account in two roles, a role of nobody and a name that is none are refused with the settings."""
    lists, message = BAD[case]

    with pytest.raises(ValidationError, match=message):
        RoleSettings(**lists)


def test_roles_apart_need_sockets_others_can_reach(tmp_path: Path) -> None:
    """Roles of other accounts with sockets in the zone's private directory would be of no use: refused."""
    with pytest.raises(
        ValidationError, match="sockets_directory: expected one that all three roles can enter"
    ):
        settings_of(tmp_path, roles=APART)


def test_an_account_may_hold_two_roles_where_separation_is_off(tmp_path: Path) -> None:
    """A small site may say that roles are not apart although it lists accounts."""
    with opened(tmp_path, roles={"system": [A], "security": [A], "separation": False}) as zone:
        assert zone.roles.roles_of(Asked(zone).caller) == tuple(Role)


@pytest.mark.parametrize("unknown", ["nobody.of.that.name", "@nogroupofthatname"])
def test_a_list_that_names_nobody_does_not_start(tmp_path: Path, unknown: str) -> None:
    """A misspelt account or group is refused when the zone opens, by its name, and nothing is left open."""
    settings = settings_of(tmp_path, apart=True)
    body = settings.model_dump(exclude_unset=True)
    body["roles"] = {"system": [unknown], "security": [B], "audit": [C]}

    with pytest.raises(SettingsError, match=f"accounts and @groups of this host, got {unknown}"):
        open_zone(Settings(**body), Zone.EXCHANGE)
    open_zone(settings, Zone.EXCHANGE).close()


@pytest.mark.parametrize("days", [0, 182])
def test_a_shorter_retention_than_the_law_asks_does_not_start(tmp_path: Path, days: int) -> None:
    """Less than six months of entries is refused with the settings."""
    with pytest.raises(ValidationError, match="greater than or equal to 183"):
        settings_of(tmp_path, audit={"retention_days": days})


def test_groups_are_those_of_the_account_database() -> None:
    """A caller's groups are what the host says of its account; an unknown uid has neither name nor group."""
    me = caller_of(os.geteuid(), Way.READ, "somebody\nelse")

    assert grp.getgrgid(os.getgid()).gr_name in me.groups
    assert me.claimed == "somebodyelse"
    assert caller_of(987654, Way.READ) == Caller("uid:987654", 987654, Way.READ)
