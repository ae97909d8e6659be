"""Declarants 声明人: the persons who may declare a data centre lost, as names and public keys in text.

Reads and checks the text; proves no signature, and knows no file.
"""

from __future__ import annotations

import base64
import re

from jinbao.model.quoting import quoted

KEY_BYTES = 32
"""Of an Ed25519 public key."""

_NAME = re.compile(r"\w[\w .·-]{0,39}")
"""Letters of any script: 王伟, 买买提·艾力, wang.wei; nothing that steers a terminal."""

_BARE = re.compile(r"[A-Za-z0-9_-]+")


def declarant(name: str) -> str:
    """A person's name; raises ValueError for one that is not on one line of at most 40 letters."""
    if not _NAME.fullmatch(name) or name != name.strip():
        msg = f"expected a name of at most 40 letters, got {quoted(name, 40) or 'nothing'}"
        raise ValueError(msg)
    return name


def decoded(text: str, size: int) -> bytes:
    """So many bytes out of base64; raises ValueError for any text but the one they are written as."""
    try:
        found = base64.b64decode(text, validate=True)
    except ValueError:
        found = b""
    if len(found) != size or encoded(found) != text:
        msg = f"expected {size} bytes in base64, got {quoted(text, 50) or 'nothing'}"
        raise ValueError(msg)
    return found


def encoded(content: bytes) -> str:
    """Bytes as base64."""
    return base64.b64encode(content).decode()


def settings_line(name: str, key: str) -> str:
    """A person as a line of the settings, under `[promotion]`."""
    return f'persons.{name if _BARE.fullmatch(name) else quoted_key(name)} = "{key}"'


def quoted_key(name: str) -> str:
    """A name as TOML takes it for a key."""
    return f'"{name}"'


def known_persons(persons: dict[str, str]) -> dict[str, bytes]:
    """Every person's key, 32 bytes; raises ValueError that names a bad name or key, or two names of one key."""
    found = dict[str, bytes]()
    for name, text in persons.items():
        try:
            key = decoded(text, KEY_BYTES)
        except ValueError as exc:
            msg = f"key of {declarant(name)}: {exc}"
            raise ValueError(msg) from exc
        other = next((o for o, k in found.items() if k == key), None)
        if other is not None:
            msg = f"expected a key of each person's own, got one of {other} and {name}"
            raise ValueError(msg)
        found[declarant(name)] = key
    return found
