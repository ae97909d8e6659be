"""The collection as Ansible itself reads it: its linter, its syntax, what it refuses, and what it would write."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import sqlalchemy as sa
import yaml
from tests.audit.parts import settings_of
from tests.bundles import KEY, public_key, sign_again, small_bundle, small_info
from tests.house.tree import ROOT
from tests.newer import CONTRACT, EXPAND, folder_of, upgraded

from jinbao.appliance.assembly import open_zone
from jinbao.appliance.bundle.packing import pack
from jinbao.appliance.settings import load
from jinbao.model.zone import Zone

pytestmark = pytest.mark.parts

COLLECTION = ROOT / "ansible"
INVENTORY = COLLECTION / "inventories" / "shanxi" / "hosts.yml"
PLAYBOOKS = sorted((COLLECTION / "playbooks").glob("*.yml"))
VERIFIER = COLLECTION / "roles" / "node" / "files" / "verify_bundle.sh"

NODE = {"node": "140100", "tier": "city", "zones": {"exchange": {"http": "127.0.0.1:9102"}}}


class Controller:
    """A machine with Ansible on which the collection is installed, as a link to this checkout."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        place = directory / "collections" / "ansible_collections" / "jinbao"
        place.mkdir(parents=True)
        (place / "node").symlink_to(COLLECTION)

    def run(self, program: str, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
        """A program of Ansible's end and all it said."""
        ours = {"ANSIBLE_COLLECTIONS_PATH": str(self.directory / "collections"), "ANSIBLE_NOCOLOR": "1"}
        ours |= {
            "ANSIBLE_HOME": str(self.directory / "home"),
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        }
        return subprocess.run(
            [str(Path(sys.executable).parent / program), *arguments],
            cwd=COLLECTION,
            env=os.environ | ours | more,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=280,
            check=False,
        )

    def play(
        self, *tasks: dict[str, object], variables: dict[str, object], **more: str
    ) -> subprocess.CompletedProcess[str]:
        """A play of these tasks on this machine, in check mode: nothing is changed."""
        play = {
            "hosts": "localhost",
            "connection": "local",
            "gather_facts": False,
            "vars": variables,
            "tasks": list(tasks),
        }
        file = self.directory / "play.yml"
        file.write_text(yaml.safe_dump([play], allow_unicode=True), encoding="utf-8")
        return self.run("ansible-playbook", "--check", "-i", "localhost,", str(file), **more)


@pytest.fixture
def controller(tmp_path: Path) -> Controller:
    """A controller with nothing else on it."""
    return Controller(tmp_path)


def test_the_linter_has_nothing_to_say(controller: Controller) -> None:
    """ansible-lint's strictest profile passes, without a network."""
    linted = controller.run("ansible-lint", "--offline", "--profile", "production", "--nocolor", "-q")

    assert linted.returncode == 0, linted.stdout


@pytest.mark.parametrize("playbook", [pytest.param(path, id=path.stem) for path in PLAYBOOKS])
def test_a_playbook_is_read_without_a_remark(controller: Controller, playbook: Path) -> None:
    """Every playbook, with every role it names, passes Ansible's own reading."""
    read = controller.run("ansible-playbook", "--syntax-check", "-i", str(INVENTORY), str(playbook))

    assert read.returncode == 0, read.stdout


WRONG: dict[str, tuple[dict[str, object], str]] = {
    "a tier there is not": (
        {"tier": "county"},
        "value of tier must be one of: ministry, province, city, got: county",
    ),
    "a zone there is not": (
        {"zones": {"border": {}}},
        "border. Supported parameters include: decision, exchange, production",
    ),
    "a misspelt limit": ({"limits": {"header_max": 5}}, "header_max. Supported parameters include:"),
    "words for a number": ({"limits": {"headers_max": "many"}}, "headers_max"),
    "no node": ({"node": None}, "missing required arguments: node"),
}


@pytest.mark.parametrize(("change", "said"), WRONG.values(), ids=WRONG)
def test_a_wrong_value_is_refused_before_anything_is_touched(
    controller: Controller, change: dict[str, object], said: str
) -> None:
    """What settings cannot be is refused by the argument specification, with the name and what may stand there."""
    settings = {name: value for name, value in (NODE | change).items() if value is not None}
    variables: dict[str, object] = {"node_settings": settings, "node_bundle": "x", "node_release_key": "x"}

    ran = controller.play({"ansible.builtin.import_role": {"name": "jinbao.node.node"}}, variables=variables)

    assert ran.returncode != 0
    assert said in " ".join(ran.stdout.split()), ran.stdout
    assert "Preflight" not in ran.stdout


def test_a_skipped_release_is_refused_by_what_is_installed(controller: Controller) -> None:
    """The filter that guards an upgrade is found by its name within the collection, and its words arrive."""
    said = "{{ '1.2.0' | jinbao.node.step_refused('1.4.0') }}"

    ran = controller.play({"ansible.builtin.debug": {"msg": said}}, variables={})

    assert "expected a step from 1.2.0 to 1.3 or 2.0, got a skipped release" in ran.stdout, ran.stdout


def test_every_node_of_the_example_gets_settings_that_start(controller: Controller, tmp_path: Path) -> None:
    """The settings the role would write for each node of Shanxi are read by the node as that node's."""
    roles = COLLECTION / "roles" / "node"
    play = {
        "hosts": "ministry:province:city:backup_site",
        "connection": "local",
        "gather_facts": False,
        "vars_files": [str(roles / "vars" / "main.yml")],
        "vars": {"ansible_python_interpreter": sys.executable},
        "tasks": [
            {
                "ansible.builtin.template": {
                    "src": str(roles / "templates" / "node.toml.j2"),
                    "dest": f"{tmp_path}/{{{{ inventory_hostname }}}}.toml",
                    "mode": "0600",
                }
            }
        ],
    }
    (tmp_path / "write.yml").write_text(yaml.safe_dump([play]), encoding="utf-8")

    ran = controller.run("ansible-playbook", "-i", str(INVENTORY), str(tmp_path / "write.yml"))
    assert ran.returncode == 0, ran.stdout
    written = {path.stem: load(path) for path in tmp_path.glob("*.toml")}

    assert len(written) == 14
    assert all(settings.node == name for name, settings in written.items())
    assert [set(written[name].zones) for name in ("141100", "140000", "140000-backup")] == [
        set(Zone),
        {Zone.EXCHANGE, Zone.DECISION},
        {Zone.EXCHANGE},
    ]


def _append(folder: Path) -> None:
    with (folder / "docs" / "page.md").open("a", encoding="utf-8") as file:
        file.write("more\n")


def _sign_with_another(folder: Path) -> None:
    sign_again(folder)
    signature = folder / "SHA256SUMS.sig"
    signature.write_bytes(bytes(byte ^ 1 for byte in signature.read_bytes()))


CHANGES: dict[str, tuple[Callable[[Path], None], str]] = {
    "one line more": (_append, "expected the bytes that were signed"),
    "another key": (_sign_with_another, "expected the signature of the key"),
}


def _verified(bundle: Path, key: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["sh", str(VERIFIER), str(bundle), str(key)], capture_output=True, text=True, check=False
    )


def test_a_good_bundle_is_verified_on_the_controller(tmp_path: Path) -> None:
    """What the release key signed is believed, and says which release it is."""
    folder = small_bundle(tmp_path, small_info("7.1.0"))
    bundle = tmp_path / f"{folder.name}.tar.zst"
    pack(folder, bundle)

    verified = _verified(bundle, public_key(tmp_path))

    assert (verified.returncode, "version=7.1.0" in verified.stdout.splitlines()) == (0, True), (
        verified.stderr
    )
    assert KEY.public_pem == (tmp_path / "release.pub.pem").read_bytes()


@pytest.mark.parametrize(("change", "said"), CHANGES.values(), ids=CHANGES)
def test_a_changed_bundle_goes_no_further_than_the_controller(
    tmp_path: Path, change: Callable[[Path], None], said: str
) -> None:
    """One line that was not signed, or another's signature, and the controller refuses the bundle."""
    folder = small_bundle(tmp_path, small_info("7.1.0"))
    change(folder)
    bundle = tmp_path / f"{folder.name}.tar.zst"
    pack(folder, bundle)

    verified = _verified(bundle, public_key(tmp_path))

    assert (verified.returncode, said in verified.stderr) == (1, True)


@pytest.mark.parametrize("ends", [0, 1], ids=["well", "not well"])
def test_of_a_brought_bundle_nothing_is_left(tmp_path: Path, ends: int) -> None:
    """Its installer is given the words and its end is told; bundle, what was unpacked and a killed run's rest are gone."""
    folder, place = tmp_path / "made" / "jinbao-7.1.0", tmp_path / "opt"
    folder.mkdir(parents=True)
    (folder / "install.sh").write_text(f'echo "told $*"; exit {ends}\n', encoding="utf-8")
    bundle = place / "jinbao-7.1.0.tar.zst"
    (place / f"{bundle.name}.unpacked" / "jinbao-7.0.0").mkdir(parents=True)
    subprocess.run(["tar", "--zstd", "-cf", bundle, "-C", folder.parent, folder.name], check=True)
    script = VERIFIER.with_name("install_bundle.sh").read_text(encoding="utf-8")

    words = ["sh", "-c", script, "install_bundle.sh", str(bundle), "--key", "a b"]
    ran = subprocess.run(words, capture_output=True, text=True, check=False)

    assert (ran.returncode, ran.stdout) == (ends, "told --key a b\n"), ran.stderr
    assert list(place.iterdir()) == []


def test_its_scripts_are_shell_that_every_shell_reads() -> None:
    """Shellcheck has nothing to say of what the roles run."""
    scripts = [str(path) for path in COLLECTION.rglob("*.sh")]

    checked = subprocess.run(
        ["shellcheck", "--shell=sh", *scripts], capture_output=True, text=True, check=False
    )

    assert (checked.returncode, checked.stdout) == (0, "")


def test_the_collection_is_built_and_installed_from_its_file(controller: Controller, tmp_path: Path) -> None:
    """Without a network the collection becomes one file, and that file a collection with every role."""
    built = controller.run("ansible-galaxy", "collection", "build", "--output-path", str(tmp_path / "built"))
    assert built.returncode == 0, built.stdout
    [file] = (tmp_path / "built").glob("jinbao-node-*.tar.gz")

    installed = controller.run(
        "ansible-galaxy",
        "collection",
        "install",
        "--offline",
        str(file),
        "--collections-path",
        str(tmp_path / "there"),
        ANSIBLE_COLLECTIONS_PATH=str(tmp_path / "there"),
    )

    assert installed.returncode == 0, installed.stdout
    roles = tmp_path / "there" / "ansible_collections" / "jinbao" / "node" / "roles"
    assert {path.name for path in roles.iterdir()} == {"node", "ca", "database", "standby", "monitoring"}


WHO_ASKS: dict[str, tuple[dict[str, object], list[str], dict[str, str]]] = {
    "roles are not apart": ({}, ["exchange"], {"exchange": "jinbao-exchange", "decision": "jinbao-decision"}),
    "roles are apart": (
        {"security": ["@staff", "li_sec"]},
        ["exchange"],
        {"exchange": "li_sec", "decision": "jinbao-decision"},
    ),
}


@pytest.mark.parametrize(("roles", "running", "asked_by"), WHO_ASKS.values(), ids=WHO_ASKS)
def test_a_running_zone_is_asked_to_renew_by_who_may(
    controller: Controller, roles: dict[str, object], running: list[str], asked_by: dict[str, str]
) -> None:
    """With roles apart a running zone is asked by an account of `security`, a stopped one opened by its own."""
    tasks = yaml.safe_load(
        (COLLECTION / "roles" / "node" / "tasks" / "renew.yml").read_text(encoding="utf-8")
    )
    named = next(task for task in tasks if task["name"] == "Name who asks")
    variables: dict[str, object] = {
        "node_zones": list(asked_by),
        "node_running": [f"jinbao-{zone}.service" for zone in running],
        "node_settings": {"roles": roles},
        "wanted": asked_by,
    }

    ran = controller.play(
        named, {"ansible.builtin.assert": {"that": "node_asked_by == wanted"}}, variables=variables
    )

    assert ran.returncode == 0, ran.stdout


WHO_DRILLS: dict[str, tuple[dict[str, object], str]] = {
    "roles are not apart": ({}, "jinbao-exchange"),
    "roles are apart": ({"roles": {"system": ["@staff", "zhang_sys"], "security": ["li_sec"]}}, "zhang_sys"),
}


@pytest.mark.parametrize(("settings", "asked_by"), WHO_DRILLS.values(), ids=WHO_DRILLS)
def test_the_backup_site_is_asked_to_drill_by_who_may(
    controller: Controller, settings: dict[str, object], asked_by: str
) -> None:
    """With roles apart the zone is asked by an account of `system`, else by its own; it drills, and not root."""
    (play,) = yaml.safe_load((COLLECTION / "playbooks" / "drill.yml").read_text(encoding="utf-8"))
    named, drilled = play["tasks"][:2]
    argv = drilled["ansible.builtin.command"]["argv"]
    variables: dict[str, object] = {
        "node_settings": NODE | settings,
        "drill_node": "140100",
        "argv": argv,
        "who": ["runuser", "-u", asked_by, "--"],
        "what": ["standby", "drill", "--by-zone", "--json", "--node", "140100"],
    }

    ran = controller.play(
        named,
        {"ansible.builtin.assert": {"that": ["argv[:4] == who", "argv[5:] == what"]}},
        variables=variables,
    )

    assert ran.returncode == 0, ran.stdout


def a_zone_with(step: str, body: str, directory: Path) -> Path:
    """Settings of a node whose exchange zone is stopped, its schema as a release 9.1 left it by one step more."""
    settings = settings_of(directory)
    zone = open_zone(settings, Zone.EXCHANGE)
    zone.close()
    engine = sa.create_engine(f"sqlite:///{settings.directory(Zone.EXCHANGE) / 'zone.db'}")
    upgraded(engine, folder_of(directory / "newer", step=step, body=body), "20991231T000000Z-before-9.1.0-x")
    engine.dispose()
    return directory / settings.node / "node.toml"


def go_back(controller: Controller, config: Path, runs: str, times: int = 1, **more: object) -> str:
    """What the real tasks say that look before a node goes back to 0.3.0, where the zone runs that one or not."""
    tasks = COLLECTION / "roles" / "node" / "tasks" / "rollback_preflight.yml"
    found = yaml.safe_load(tasks.read_text(encoding="utf-8"))
    assert found[0]["ansible.builtin.import_tasks"] == "look.yml"
    programs = {
        "runuser": 'shift 3; exec "$@"',  # a machine of tests has no accounts of ours
        "jinbao": f'echo "$*" >> {controller.directory}/asked\n'
        f'JINBAO_CONFIG={config} exec {sys.executable} -m jinbao.cli.main "$@"',
    }
    (controller.directory / "bin").mkdir()
    for name, text in programs.items():
        program = controller.directory / "bin" / name
        program.write_text(f"#!/bin/sh\n{text}\n", encoding="utf-8")
        program.chmod(0o755)
    variables: dict[str, object] = {
        "ansible_python_interpreter": sys.executable,
        "node_settings": NODE,
        "node_zones": ["exchange"],
        "node_rollback_to": "0.3.0",
        "node_current_version": "9.1.0",
        "node_program": str(controller.directory / "bin" / "jinbao"),
        "node_look": {
            "releases": {"previous": "0.3.0"},
            "enrolled": ["exchange"],
            "running": {"jinbao-exchange.service": runs} if runs else {},
        },
    }
    path = f"{controller.directory / 'bin'}:{Path(sys.executable).parent}:{os.environ['PATH']}"
    ran = controller.play(*found[1:] * times, variables=variables | more, PATH=path)
    said = " ".join(ran.stdout.split())
    assert (ran.returncode == 0) == ("failed=0" in said), said
    return said


def test_every_zone_is_asked_once_before_a_node_goes_back(controller: Controller, tmp_path: Path) -> None:
    """One zone that is well speaks for no other; and a node that is looked at again is not asked again."""
    config = a_zone_with("expand", EXPAND, tmp_path / "net")
    open_zone(load(config), Zone.DECISION).close()
    look = {"releases": {"previous": "0.3.0"}, "enrolled": ["decision", "exchange"], "running": {}}

    said = go_back(controller, config, "", times=2, node_zones=["decision", "exchange"], node_look=look)

    assert "failed=0" in said, said
    asked = (controller.directory / "asked").read_text(encoding="utf-8").splitlines()
    assert sorted(line.partition("--zone ")[2].split()[0] for line in asked) == ["decision", "exchange"]


def test_a_node_whose_schema_was_contracted_does_not_go_back(controller: Controller, tmp_path: Path) -> None:
    """Before anything is touched the refusal names the zone, the revision, and the copy to go back to; unless told so."""
    config = a_zone_with("contract", CONTRACT, tmp_path / "net")

    said = go_back(controller, config, "")

    assert "failed=1" in said, said
    assert (
        "Zone 140100/exchange: expected a schema that release 0.3.0 can run on, got no: journal_9001" in said
    )
    assert "the copy 20991231T000000Z-before-9.1.0-x made before: jinbao backup list --zone exchange" in said


LETS_GO: dict[str, tuple[str, str, str, dict[str, object]]] = {
    "the newer one only added": ("expand", EXPAND, "", {}),
    "the zone runs on it already": ("contract", CONTRACT, "0.3.0", {}),
    "told to go all the same": ("contract", CONTRACT, "", {"node_rollback_anyway": True}),
}


@pytest.mark.parametrize(("step", "body", "runs", "more"), LETS_GO.values(), ids=LETS_GO)
def test_a_node_goes_back_where_the_former_release_can_run(
    controller: Controller, tmp_path: Path, step: str, body: str, runs: str, more: dict[str, object]
) -> None:
    """A schema that was only expanded is no hindrance, nor is a zone that runs on the former release, nor a clear word."""
    said = go_back(controller, a_zone_with(step, body, tmp_path / "net"), runs, **more)

    assert "failed=0" in said, said


def test_a_zone_that_cannot_be_asked_is_no_zone_that_can_go_back(
    controller: Controller, tmp_path: Path
) -> None:
    """Where nobody can say whether the former release can run, the node does not go back, and is told what is wrong."""
    said = go_back(controller, tmp_path / "no-such-node.toml", "")

    assert "failed=1" in said, said
    assert "no-such-node.toml" in said
    assert "-e rollback_anyway=true" in said


def lay(controller: Controller, files: list[dict[str, str]], *words: str) -> subprocess.CompletedProcess[str]:
    """What the module `lay` says of these files, on this machine."""
    here = (
        "-i",
        "localhost,",
        "localhost",
        "-c",
        "local",
        "-e",
        f"ansible_python_interpreter={sys.executable}",
    )
    asked = json.dumps({"files": files})
    return controller.run("ansible", *here, "-m", "jinbao.node.lay", "-a", asked, *words)


def test_files_and_directories_are_laid_at_once(controller: Controller, tmp_path: Path) -> None:
    """Check mode tells what the first run then makes, the second changes nothing, and what was changed is put right."""
    there, mode = tmp_path / "etc", {"mode": "0640"}
    files = [
        {"path": str(there), "mode": "0750"},
        {"path": str(there / "a.pem"), "content": "甲\n"} | mode,
        {"path": str(there / "b"), "base64": "/wo="} | mode,
    ]
    paths = [str(one["path"]) for one in files]

    def laid(*words: str) -> list[str]:
        ran = lay(controller, files, *words)
        assert ran.returncode == 0, ran.stdout
        found: dict[str, list[str]] = json.loads(ran.stdout[ran.stdout.index("{") :])
        assert found["changed"] is bool(found["laid"])
        return found["laid"]

    assert laid("--check") == paths
    assert not there.exists()
    assert laid() == paths
    assert (there / "a.pem").read_text(encoding="utf-8") == "甲\n"
    assert (there / "b").read_bytes() == b"\xff\n"
    assert [oct(path.stat().st_mode & 0o777) for path in (there, there / "a.pem")] == ["0o750", "0o640"]
    assert laid("--check") == laid() == []
    there.chmod(0o700)
    (there / "a.pem").write_text("乙", encoding="utf-8")
    (there / "b").write_bytes(b"\xff")
    assert laid("--check") == laid() == paths
    assert laid() == []


def test_what_cannot_be_laid_is_named(controller: Controller, tmp_path: Path) -> None:
    """A file below what is no directory is told by its path and the system's words."""
    (tmp_path / "file").touch()

    ran = lay(controller, [{"path": str(tmp_path / "file" / "a"), "content": "", "mode": "0640"}])

    assert ran.returncode != 0
    assert f"{tmp_path}/file/a: expected it to be written, got Not a directory" in ran.stdout


RUNS = {"jinbao-exchange.service": "1.3.0", "jinbao-decision.service": "1.2.0", "jinbao-ca.service": "1.3.0"}
STALE: dict[str, tuple[dict[str, object], list[str]]] = {
    "forward": ({"node_bundle": "jinbao-1.3.0-linux-x86_64.tar.zst"}, ["jinbao-decision.service"]),
    "back": (
        {"node_bundle": "", "node_rollback_to": "1.2.0"},
        ["jinbao-ca.service", "jinbao-exchange.service"],
    ),
    "of a bundle that is not used": (
        {"node_bundle": "jinbao-1.3.0-linux-x86_64.tar.zst", "node_rollback_to": "1.3.0"},
        ["jinbao-decision.service"],
    ),
}


@pytest.mark.parametrize(("names", "stale"), STALE.values(), ids=STALE)
def test_a_service_of_another_release_is_found(
    controller: Controller, names: dict[str, object], stale: list[str]
) -> None:
    """Zones and authority that still run by the release a run comes from are told, on the way forward and back."""
    file = COLLECTION / "roles" / "node" / "vars" / "main.yml"
    variables = yaml.safe_load(file.read_text(encoding="utf-8"))
    variables |= {"node_settings": NODE | {"zones": {"exchange": {}, "decision": {}}}, "wanted": stale}
    variables |= {"node_look": {"running": RUNS | {"jinbao-production.service": ""}}} | names

    ran = controller.play(
        {"ansible.builtin.assert": {"that": "node_stale | sort == wanted"}}, variables=variables
    )

    assert ran.returncode == 0, ran.stdout


def test_a_way_back_that_was_ended_is_gone_on_with() -> None:
    """Run again after `current` pointed back and before the restart, it leaves `current` and restarts what is stale."""
    tasks = COLLECTION / "roles" / "node" / "tasks"
    note, go = yaml.safe_load((tasks / "rollback.yml").read_text(encoding="utf-8"))[1:]
    point, find, restart = go["block"][:3]

    assert "node_stale" in note["ansible.builtin.set_fact"][go["when"]]
    assert point["when"] == "node_current_version != node_rollback_to"
    assert find["ansible.builtin.import_tasks"] == "stale.yml"
    assert restart["ansible.builtin.meta"] == "flush_handlers"


def test_every_node_is_looked_at_before_one_goes_back() -> None:
    """The first play of a way back looks at the hosts of all others, and its end by an error is everybody's."""
    plays = yaml.safe_load((COLLECTION / "playbooks" / "rollback.yml").read_text(encoding="utf-8"))
    looks, *go = plays

    assert looks["hosts"].split(":") == [group for one in go for group in one["hosts"].split(":")]
    assert go[-1]["hosts"] == "authority", (
        "a node goes back with the authority beside it, which alone would leave its zones"
    )
    assert looks["any_errors_fatal"] is True
    assert "serial" not in looks
    assert looks["tasks"][0]["ansible.builtin.include_role"]["tasks_from"] == "rollback_preflight"
