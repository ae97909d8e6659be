"""One look at a host, by one process: what it is, which releases lie on it, which zones run, and of which release."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import time
from hashlib import sha256
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = r"""
module: look
short_description: Look at a host before and after it is changed
description:
  - Answers at once what a release needs of a host, which releases are there, and which zones run and of which release.
  - Changes nothing, in check mode too.
version_added: 0.3.0
options:
  python:
    description: The Python a release would be installed for; empty for the C(python3) in PATH.
    type: str
    default: ""
author: The jinbao engineers (@jinbao)
"""

EXAMPLES = r"""
- name: Look at the host
  jinbao.node.look:
  register: node_look
"""

RETURN = r"""
service_manager:
  description: C(systemd), or empty where another one runs.
  returned: always
  type: str
arch:
  description: The machine's architecture, as C(uname -m) says it.
  returned: always
  type: str
glibc:
  description: Version of the GNU C library, empty for another library.
  returned: always
  type: str
python:
  description: Version of that Python, C(3.11), empty where there is none or it has no module C(venv).
  returned: always
  type: str
free_mib:
  description: MiB that are free below /opt and /var/lib.
  returned: always
  type: dict
now:
  description: The host's clock, seconds since 1970, UTC.
  returned: always
  type: int
releases:
  description: The releases C(current) and C(previous) point to, empty where there is none.
  returned: always
  type: dict
release_key:
  description: SHA-256 of the release key that was laid, hexadecimal, empty where there is none.
  returned: always
  type: str
units:
  description: Units of the release that are installed.
  returned: always
  type: list
  elements: str
enabled:
  description: Those of them that start with the host.
  returned: always
  type: list
  elements: str
running:
  description: The release of each unit that runs, empty where that cannot be told.
  returned: always
  type: dict
listening:
  description: TCP ports something listens on.
  returned: always
  type: list
  elements: int
enrolled:
  description: Zones that have an identity.
  returned: always
  type: list
  elements: str
"""

PREFIX = Path("/opt/jinbao")
STATE = Path("/var/lib/jinbao")
RELEASE_KEY = Path("/etc/jinbao/release.pub.pem")
ZONES = ("production", "exchange", "decision")
UNITS = (*(f"jinbao-{zone}.service" for zone in ZONES), "jinbao-ca.service", "jinbao.target")
LISTENS = "0A"
"""The kernel's TCP_LISTEN, as /proc/net/tcp writes it."""


def glibc(said: str) -> str:
    """The version in what `confstr` says, `glibc 2.36`; empty for another library."""
    name, _, version = said.partition(" ")
    return version if name == "glibc" else ""


def ports(table: str) -> set[int]:
    """Ports that are listened on, of a table as /proc/net/tcp or tcp6 has it."""
    rows = [line.split() for line in table.splitlines()[1:]]
    return {int(row[1].rpartition(":")[2], 16) for row in rows if row[3] == LISTENS}


def shown(text: str) -> dict[str, dict[str, str]]:
    """Properties of each unit, as `systemctl show` says them: blocks of NAME=VALUE, an empty line between."""
    blocks = [dict(line.partition("=")[::2] for line in block.splitlines()) for block in text.split("\n\n")]
    return {block["Id"]: block for block in blocks if "Id" in block}


def release_of(command: str) -> str:
    """The release whose Python a command line begins with; empty for another program."""
    found = re.match(rf"{PREFIX}/releases/([^/\0]+)/venv/", command)
    return found[1] if found else ""


def read(path: Path) -> str:
    """A file of /proc; empty where there is none, as for a process that has ended."""
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def python(program: str) -> str:
    """Its version by two numbers; empty where it does not run or cannot make environments."""
    words = [program, "-c", "import sys, venv; print('%d.%d' % sys.version_info[:2])"]
    try:
        ran = subprocess.run(words, capture_output=True, text=True, check=False)  # noqa: S603  # what the inventory names
    except OSError:
        return ""
    return ran.stdout.strip() if ran.returncode == 0 else ""


def target(link: Path) -> str:
    """The name a link points to; empty where there is none."""
    return link.readlink().name if link.is_symlink() else ""


def units() -> dict[str, dict[str, str]]:
    """What systemd knows of our units; nothing where it does not run."""
    if shutil.which("systemctl") is None:
        return {}
    words = ["systemctl", "show", "--property=Id,LoadState,ActiveState,UnitFileState,MainPID", *UNITS]
    ran = subprocess.run(words, capture_output=True, text=True, check=False)  # noqa: S603  # words of our own
    return shown(ran.stdout)


def look(program: str) -> dict[str, object]:
    """All of it."""
    known = units()
    active = {name: one for name, one in known.items() if one["ActiveState"] == "active" and "MainPID" in one}
    free = {place: os.statvfs(place) for place in ("/opt", "/var/lib")}
    return {
        "service_manager": "systemd" if Path("/run/systemd/system").is_dir() else "",
        "arch": os.uname().machine,
        "glibc": glibc(os.confstr("CS_GNU_LIBC_VERSION") or "")
        if "CS_GNU_LIBC_VERSION" in os.confstr_names
        else "",
        "python": python(program or "python3"),
        "free_mib": {place: found.f_bavail * found.f_frsize >> 20 for place, found in free.items()},
        "now": int(time.time()),
        "releases": {name: target(PREFIX / name) for name in ("current", "previous")},
        "release_key": sha256(RELEASE_KEY.read_bytes()).hexdigest() if RELEASE_KEY.is_file() else "",
        "units": [name for name, one in known.items() if one["LoadState"] == "loaded"],
        "enabled": [name for name, one in known.items() if one["UnitFileState"] == "enabled"],
        "running": {
            name: release_of(read(Path(f"/proc/{one['MainPID']}/cmdline"))) for name, one in active.items()
        },
        "listening": sorted(ports(read(Path("/proc/net/tcp"))) | ports(read(Path("/proc/net/tcp6")))),
        "enrolled": [zone for zone in ZONES if os.path.lexists(STATE / zone / "identity" / "current")],
    }


def main() -> None:
    """Answer Ansible."""
    module = AnsibleModule(argument_spec={"python": {"type": "str", "default": ""}}, supports_check_mode=True)
    module.exit_json(changed=False, **look(module.params["python"]))


if __name__ == "__main__":
    main()
