"""Every key of the settings with its default and what it is."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from jinbao.appliance.settings import (
    AuditSettings,
    CopySettings,
    EvidenceSettings,
    Limits,
    LineSettings,
    Paces,
    PromotionSettings,
    RoleSettings,
    Settings,
    SourceSettings,
    UpgradeSettings,
    WatchSettings,
    WindowSettings,
    ZoneSettings,
)

from .tables import Block, Rows, Tabled
from .words import Lang, Sentences

SECTIONS: dict[str, tuple[str, type[BaseModel]]] = {
    "node": ("", Settings),
    "zone": ("zones.<zone>.", ZoneSettings),
    "line": ("zones.<zone>.line.", LineSettings),
    "window": ("zones.<zone>.line.windows[].", WindowSettings),
    "source": ("sources[].", SourceSettings),
    "limits": ("limits.", Limits),
    "pace": ("pace.", Paces),
    "roles": ("roles.", RoleSettings),
    "audit": ("audit.", AuditSettings),
    "evidence": ("evidence.", EvidenceSettings),
    "copies": ("copies.", CopySettings),
    "promotion": ("promotion.", PromotionSettings),
    "watch": ("watch.", WatchSettings),
    "upgrade": ("upgrade.", UpgradeSettings),
}
"""Each table of settings by the name of its block: what its keys begin with, and its model."""

TITLES: dict[Lang, list[str]] = {
    "en": ["key", "default", "what it is, and why so much"],
    "zh": ["键", "默认", "含义，为何取这个值"],
}
REQUIRED: dict[Lang, str] = {"en": "required", "zh": "必填"}
EMPTY: dict[Lang, str] = {"en": "empty", "zh": "空"}


def setting_keys() -> list[str]:
    """Every key of the settings, as the pages write it, in their order."""
    return [key for section in SECTIONS.values() for key, _ in _keys(*section)]


def _keys(prefix: str, model: type[BaseModel]) -> Iterator[tuple[str, FieldInfo]]:
    for name, field in model.model_fields.items():
        if not _is_table(field):
            yield f"{prefix}{field.alias or name}", field


def _is_table(field: FieldInfo) -> bool:
    """Whether a setting is a section, or has one for each zone or source; windows are a key with a section beside it."""
    many = ("ZoneSettings", "SourceSettings")
    sections = [model for _, model in SECTIONS.values()]
    return field.annotation in sections or any(name in str(field.annotation) for name in many)


def _explained() -> dict[str, str]:
    return {key: field.description or "" for section in SECTIONS.values() for key, field in _keys(*section)}


def _tables() -> dict[str, str]:
    return {
        f"{prefix}{name}": field.description
        for prefix, model in SECTIONS.values()
        for name, field in model.model_fields.items()
        if _is_table(field) and field.description
    }


KEYS_SAID = Sentences("settings", _explained)
TABLES_SAID = Sentences("tables", _tables)
"""Of those tables of settings of which anything is said; Ansible's options show it, no page does."""


def _default(field: FieldInfo, lang: Lang) -> str:
    if field.is_required():
        return REQUIRED[lang]
    value = field.get_default(call_default_factory=True)
    return EMPTY[lang] if value is None or value in ("", (), {}) else f"`{value}`"


def _rows(prefix: str, model: type[BaseModel], lang: Lang) -> Rows:
    said = KEYS_SAID.of(lang)
    return ((f"`{key}`", _default(field, lang), said[key]) for key, field in _keys(prefix, model))


BLOCKS: dict[str, Block] = {
    f"settings-{name}": Tabled(TITLES, partial(_rows, *section)) for name, section in SECTIONS.items()
}
