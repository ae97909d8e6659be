"""Files and directories of a host by one process: what differs is written whole, what does not is left alone."""

from __future__ import annotations

import os
import tempfile
from base64 import b64decode
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = r"""
module: lay
short_description: Lay small files and directories at once
description:
  - Does what C(file) and C(copy) would do for each, by one process for all of them.
  - A file is replaced by one rename, and only where its bytes differ. Nothing is removed.
version_added: 0.3.0
options:
  files:
    description: What is to be there, in this order.
    type: list
    elements: dict
    required: true
    suboptions:
      path:
        description: Where.
        type: path
        required: true
      content:
        description: The whole text of a file.
        type: str
      base64:
        description: The bytes of a file instead, as C(jinbao.node.to_lay) reads them. Neither for a directory.
        type: str
      owner:
        description: Account it is to belong to.
        type: str
      group:
        description: Group it is to belong to.
        type: str
      mode:
        description: Permissions, four octal digits.
        type: str
        required: true
author: The jinbao engineers (@jinbao)
"""

EXAMPLES = r"""
- name: Lay a directory and what is in it
  jinbao.node.lay:
    files:
      - {path: /etc/jinbao/trust, owner: root, group: jinbao, mode: "0750"}
      - {path: /etc/jinbao-ca/listen, content: "LISTEN=10.14.0.7:7443", mode: "0644"}
      - "{{ '/srv/jinbao/trust.pem' | jinbao.node.to_lay('/etc/jinbao/trust/', {'mode': '0640'}) }}"
"""

RETURN = r"""
laid:
  description: Paths that were made or changed, or in check mode would be.
  returned: always
  type: list
  elements: str
"""

_ATTRIBUTES = ("seuser", "serole", "setype", "selevel", "secontext", "attributes")
"""What Ansible asks after for every file; nothing of it is set here."""

OPTIONS = {
    "path": {"type": "path", "required": True},
    "content": {"type": "str"},
    "base64": {"type": "str"},
    "owner": {"type": "str"},
    "group": {"type": "str"},
    "mode": {"type": "str", "required": True},
}


def wanted(one: dict[str, Any]) -> bytes | None:
    """The bytes of a file that is to be there; None for a directory."""
    if one["base64"] is not None:
        return b64decode(one["base64"], validate=True)
    return None if one["content"] is None else str(one["content"]).encode()


def differs(path: Path, content: bytes | None) -> bool:
    """Whether a directory, or a file of these bytes, is yet to be made."""
    if content is None:
        return not path.is_dir()
    try:
        return path.read_bytes() != content
    except FileNotFoundError:
        return True


def make(module: AnsibleModule, path: Path, content: bytes | None) -> None:
    """Make it, whole or not at all."""
    if content is None:
        path.mkdir()
        return
    handle, name = tempfile.mkstemp(dir=module.tmpdir)
    with os.fdopen(handle, "wb") as file:
        file.write(content)
    module.atomic_move(name, str(path))


def lay(module: AnsibleModule, one: dict[str, Any]) -> bool:
    """Whether it was changed, or in check mode would be."""
    path, content = Path(one["path"]), wanted(one)
    is_new = differs(path, content)
    if is_new and not module.check_mode:
        make(module, path, content)
    if not path.exists():  # check mode
        return is_new
    attributes = module.load_file_common_arguments(dict.fromkeys(_ATTRIBUTES) | one, path=str(path))
    return bool(module.set_fs_attributes_if_different(attributes, is_new))


def main() -> None:
    """Answer Ansible."""
    spec = {
        "files": {
            "type": "list",
            "elements": "dict",
            "required": True,
            "options": OPTIONS,
            "mutually_exclusive": [["content", "base64"]],
        }
    }
    module = AnsibleModule(argument_spec=spec, supports_check_mode=True)
    laid = []
    for one in module.params["files"]:
        try:
            if lay(module, one):
                laid.append(one["path"])
        except OSError as exc:
            module.fail_json(msg=f"{one['path']}: expected it to be written, got {exc.strerror}")
    module.exit_json(changed=bool(laid), laid=laid)


if __name__ == "__main__":
    main()
