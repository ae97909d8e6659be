"""What a bundle is made of, as CycloneDX 1.6 JSON: every wheel with version, hash, licence and what it needs.

Read from the wheels themselves, so that it tells what is installed and not what was asked for. Does not judge
licences nor look up weaknesses.
"""

from __future__ import annotations

import json
import uuid
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from email.message import Message
from email.parser import Parser
from pathlib import Path
from typing import Any

from jinbao.appliance.bundle.contents import BundleInfo, sha256_of
from jinbao.model.errors import LocalError

_SPACE = uuid.UUID("5f0c3a57-3c0b-5e0c-9d4b-0a4b0f6b7a11")
_UNKNOWN = {"", "UNKNOWN"}
_LICENCE_CHARACTERS_MAX = 80
"""A longer text is the licence itself, which lies in the wheel."""


@dataclass(frozen=True, slots=True)
class Wheel:
    """One wheel and what it says of itself."""

    path: Path
    sha256: str
    metadata: Message

    @property
    def name(self) -> str:
        """As an index normalises it."""
        return str(self.metadata["Name"]).lower().replace("_", "-").replace(".", "-")

    @property
    def version(self) -> str:
        """Of the wheel."""
        return str(self.metadata["Version"])

    @property
    def purl(self) -> str:
        """The package's address by the convention of package URLs."""
        return f"pkg:pypi/{self.name}@{self.version}"

    @property
    def licences(self) -> list[dict[str, Any]]:
        """By expression where the wheel has one, else by name or classifier."""
        expression = str(self.metadata.get("License-Expression", ""))
        if expression not in _UNKNOWN:
            return [{"expression": expression}]
        named = str(self.metadata.get("License", "")).strip()
        if named not in _UNKNOWN and "\n" not in named and len(named) <= _LICENCE_CHARACTERS_MAX:
            return [{"license": {"name": named}}]
        classifiers = [str(line) for line in self.metadata.get_all("Classifier", [])]
        names = [line.rpartition(" :: ")[2] for line in classifiers if line.startswith("License ::")]
        return [{"license": {"name": name}} for name in names]


def read_wheel(path: Path) -> Wheel:
    """A wheel's metadata; raises LocalError for a file that is none."""
    try:
        with zipfile.ZipFile(path) as archive:
            [name] = [
                n for n in archive.namelist() if n.count("/") == 1 and n.endswith(".dist-info/METADATA")
            ]
            text = archive.read(name).decode("utf-8")
    except (zipfile.BadZipFile, ValueError, OSError) as exc:
        raise LocalError(f"wheel {path.name}", expected="one METADATA", got=str(exc)[:120]) from exc
    return Wheel(path, sha256_of(path), Parser().parsestr(text))


def sbom(info: BundleInfo, own: Wheel, wheels: Sequence[Wheel]) -> bytes:
    """The document; the same wheels give the same bytes."""
    mine = _component(own, "application")
    body = {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid.uuid5(_SPACE, info.name + ''.join(w.sha256 for w in wheels))}",
        "version": 1,
        "metadata": {"component": mine},
        "components": [_component(wheel, "library") for wheel in wheels],
        "dependencies": [
            {"ref": own.purl, "dependsOn": [wheel.purl for wheel in wheels]},
            *({"ref": wheel.purl} for wheel in wheels),
        ],
    }
    return (json.dumps(body, indent=1, ensure_ascii=False) + "\n").encode()


def _component(wheel: Wheel, kind: str) -> dict[str, Any]:
    return {
        "type": kind,
        "bom-ref": wheel.purl,
        "name": wheel.name,
        "version": wheel.version,
        "purl": wheel.purl,
        "hashes": [{"alg": "SHA-256", "content": wheel.sha256}],
        "licenses": wheel.licences,
    }
