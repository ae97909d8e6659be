"""`make test-ops`: a province is deployed from a bundle, without a network, upgraded and rolled back; root on Debian 12.

Six machines with systemd of their own: a ministry, a province, two cities, a backup site, and a city that comes later.
The province and one of its cities have the release before this one, as its own installer left it, and are deployed by its
own collection; all others, and everything after, by today's, from nothing. So two releases exchange on the line before one
node after the other is upgraded.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from tests.ops import business, province
from tests.ops.controller import Controller, Played, key_pair
from tests.ops.machines import base, booted, missing
from tests.ops.province import ADDED, BACKUP, CITIES, DOMAIN, MINISTRY, PROVINCE, WATCH
from tests.ops.releases import Release, former, of_checkout, release_key

BEGAN = time.monotonic()
ARRIVES_S = 180.0
PROGRAM = business.PROGRAM


def told(what: str, holds: bool) -> None:
    """Say what holds, or end by what does not."""
    sys.stdout.write(f"{time.monotonic() - BEGAN:6.0f} s  {'ok  ' if holds else 'NOT '}  {what}\n")
    sys.stdout.flush()
    if not holds:
        sys.exit(1)


def within(seconds: float, holds: Callable[[], bool]) -> bool:
    """Whether it comes to hold in time."""
    until = time.monotonic() + seconds
    while not (held := holds()) and time.monotonic() < until:
        time.sleep(1)
    return held


def at_once(*plays: Callable[[], Played]) -> list[Played]:
    """What several playbooks say that are run at the same time; the first that failed raises."""
    with ThreadPoolExecutor(len(plays)) as pool:
        return [one.result() for one in [pool.submit(play) for play in plays]]


def changed(*played: Played) -> bool:
    """Whether each of them changed something at each of its hosts."""
    return all(one.is_everywhere for one in played)


def found_authorities(there: Controller, older: Release, begun: Future[Played]) -> None:
    """The root, offline; the authorities of ministry and province, which the root certifies by what is carried.

    The province's was `begun`: its release needs no bundle of today's.
    """
    authorities = (
        lambda: there.play("site", "-l", f"ca-{MINISTRY}"),
        lambda: there.play("site", "-l", f"ca-{PROVINCE}", release=older),
    )
    programs, *asked = at_once(
        lambda: there.play("site", "-l", f"{BACKUP},{CITIES[1]}", "--tags", "jinbao_install"),
        authorities[0],
        begun.result,
    )
    told("every machine has its release, and the authorities ask for certificates", changed(programs, *asked))
    there.copies["drill_key"] = re.findall(r'drill_key = \\"(.+?)\\"', programs.said)[0]
    there.jinbao(f"ca init root --domain {DOMAIN}")
    for node in (MINISTRY, PROVINCE):
        there.jinbao(f"ca issue root --request carried/{node}.csr --out carried/{node}.pem")
    there.jinbao("ca export root --out carried/root.pem")
    shutil.copyfile(there.carried / "root.pem", there.carried / "trust.pem")
    there.options |= {
        "ca_certificate": f"{there.carried}/{{{{ ca_issuing }}}}.pem",
        "ca_trust_documents": [str(there.carried / "trust.pem")],
        "node_trust_documents": [str(there.carried / "trust.pem")],
    }
    told("the authorities answer", changed(*at_once(*authorities)))
    for node in (MINISTRY, PROVINCE):
        published = there.network.machines[node].root / "var" / "lib" / "jinbao-ca" / "trust.pem"
        told(f"the authority {node} publishes what others need to trust", within(60, published.is_file))
        with (there.carried / "trust.pem").open("a", encoding="utf-8") as file:
            file.write(published.read_text(encoding="utf-8"))


def found_network(there: Controller) -> None:
    """The ministry is enrolled and signs the topology; only then can anybody else be known. A city is looked at."""
    city = CITIES[1]
    ministry, looked = at_once(
        lambda: there.play("site", "-l", MINISTRY, "-e", '{"node_started": false}'),
        lambda: there.play("site", "-l", city, "--check"),
    )
    root = there.network.machines[city].root
    told("check mode tells of a city", looked.changed > 0)
    told("and makes nothing", not (root / "etc" / "jinbao" / "node.toml").exists())
    told("the ministry enrols", ministry.changed > 0)
    seal(there, 1)
    sealed = str(there.carried / "topology.sealed")
    there.options |= {"node_topology": sealed, "ca_topology": sealed}


def seal(there: Controller, version: int) -> None:
    """Persons at the ministry sign the next topology there, and carry it to the controller."""
    at = there.network.machines[MINISTRY]
    place = at.root / "var" / "lib" / "jinbao" / "exchange"
    draft = place / "topology.toml"
    draft.write_text(province.topology(version, there.cities), encoding="utf-8")
    shutil.chown(draft, place.stat().st_uid, place.stat().st_gid)
    inside = "/var/lib/jinbao/exchange/topology"
    words = f"trust seal {inside}.toml --out {inside}.sealed --reason founding"
    at.run("runuser", "-u", "jinbao-exchange", "--", PROGRAM, *words.split())
    shutil.copyfile(place / "topology.sealed", there.carried / "topology.sealed")


def converge(there: Controller, older: Release) -> None:
    """Everything, from nothing, by several operators at once."""
    first, second = CITIES
    authorities = at_once(
        lambda: there.play("site", "-l", f"ca-{MINISTRY}"),
        lambda: there.play("site", "-l", f"ca-{PROVINCE}", release=older),
    )
    told("the authorities know the topology", changed(*authorities))
    played = at_once(
        lambda: there.play("site", "-l", f"{MINISTRY},{second}"),
        lambda: there.play("site", "-l", f"{BACKUP},{WATCH}"),
        lambda: there.play("site", "-l", PROVINCE, release=older),
        lambda: there.play("site", "-l", first, release=older),
    )
    told("ministry, province, two cities and the backup site run", changed(*played))
    everywhere(there, older.version, PROVINCE, first)
    everywhere(there, there.release.version, MINISTRY, BACKUP, second)
    told("Prometheus reaches every zone", within(60, lambda: watched(there)))


def watched(there: Controller) -> bool:
    """Whether who watches reaches every zone that the topology gives an address."""
    lines = {f"{node}/{zone}" for node in there.network.machines for zone in province.LINE}
    wanted = {f"{node}/{zone}" for node in there.nodes for zone in province.zones_of(node)} & lines
    return {one["endpoint"] for one in asked(there, "up == 1")} == wanted


def asked(there: Controller, query: str) -> list[dict[str, str]]:
    """Labels of each series Prometheus answers a query with."""
    words = ("promtool", "query", "instant", "--format", "json", "http://127.0.0.1:9090", query)
    return [one["metric"] for one in json.loads(there.network.machines[BACKUP].run(*words))]


def everywhere(there: Controller, version: str, *nodes: str) -> None:
    """Every zone of these nodes runs and is of this release, and so is an authority beside it."""
    for node in nodes:
        units = [f"jinbao-{zone}.service" for zone in province.zones_of(node)]
        units += ["jinbao-ca.service"] if node in {MINISTRY, PROVINCE} else []
        shown = "tr '\\0' ' ' < /proc/$(systemctl show --property=MainPID --value $unit)/cmdline; echo"
        said = there.network.machines[node].run(
            "sh", "-c", f"for unit in {' '.join(units)}; do {shown}; done"
        )
        for unit, command in zip(units, said.splitlines(), strict=True):
            if f"/releases/{version}/" not in command:
                told(f"{unit} of {node} runs {version}, and not {command[:60]}", holds=False)
    told(f"every zone of {', '.join(nodes)} runs {version}", holds=True)


def equal(there: Controller, when: str) -> None:
    """What the cities' business databases hold is at the ministry, each person once, as it is now."""
    for city in there.cities:
        business.capture(there.network.machines[city])
    for city in there.cities:
        wanted = business.written(there, city)
        told(
            f"{len(wanted)} persons of {city} are at the ministry as in its business database, {when}",
            within(ARRIVES_S, lambda c=city, w=wanted: business.arrived(there, MINISTRY, c) == w),
        )


def protected(there: Controller) -> None:
    """The backup site holds every zone of the province and its cities up to what they wrote."""
    asked = f"{PROGRAM} standby status --json || [ $? = 3 ]"

    def holds() -> bool:
        found = json.loads(there.network.machines[BACKUP].run("sh", "-c", asked))
        zones = {line["zone"] for line in found["protected"] if line["restorable_to"]}
        wanted = {f"{n}/{z}" for n in (PROVINCE, *there.cities) for z in province.zones_of(n)}
        return wanted <= zones

    told("every zone that is protected can be restored from the backup site", within(ARRIVES_S, holds))


def upgrade(there: Controller, older: Release) -> None:
    """To today's release, one node after the other; the rest of what operators do; all while the clerks work."""
    newer = there.release.version
    back, renewed = CITIES
    with business.at_work(there, CITIES) as clerk:
        upgraded, brought, again = at_once(
            lambda: there.play("upgrade", "-e", "upgrade_serial=2"),
            lambda: there.play(
                "site", "-l", ADDED, "--tags", "jinbao_install", cities=(*there.cities, ADDED)
            ),
            lambda: there.play("site", "-l", f"ca-{MINISTRY},{MINISTRY},{BACKUP},{renewed},{WATCH}"),
        )
        told("the upgrade passes", upgraded.changed > 0)
        told(
            "a second run on what is of today's release changes nothing",
            not again.changed,
        )
        told("the city to come has its release", changed(brought))
        everywhere(there, newer, MINISTRY, PROVINCE, *there.cities, BACKUP)
        there.cities = (*there.cities, ADDED)
        seal(there, 2)
        before = identity(there, renewed)
        played = at_once(
            lambda: there.play("add_city", "-e", f"city={ADDED}"),
            lambda: there.play("rollback", "-e", f"rollback_to={older.version}", "-l", back),
            lambda: there.play("rotate_certificates", "-l", renewed),
            lambda: there.play("drill", "-e", f"drill_node={PROVINCE}"),
        )
        done = all(one.changed for one in played)
        told(f"a city is added, another goes back to {older.version}, and one has new keys", done)
        told("the backup site built the province again and found all well", drilled(there))
        everywhere(there, newer, ADDED, renewed)
        everywhere(there, older.version, back)
        told("its certificates are others", identity(there, renewed) != before)
    told(f"the clerks changed {clerk.changes} records meanwhile", clerk.changes > 0)


def identity(there: Controller, node: str) -> str:
    """Where a node's exchange zone has its keys now: each renewal is a place of its own."""
    place = there.network.machines[node].root / "var" / "lib" / "jinbao" / "exchange" / "identity"
    return str((place / "current").readlink())


def drilled(there: Controller) -> bool:
    """Whether the newest drill of the province went well, as the backup site says."""
    asked = f"{PROGRAM} standby status --json || [ $? = 3 ]"
    found = json.loads(there.network.machines[BACKUP].run("sh", "-c", asked))
    return [one["ok"] for one in found["drills"] if one["node"] == PROVINCE] == [True]


def main() -> None:
    """Hold that this machine can do it, then do it."""
    if os.geteuid() or (lacking := missing()):
        wanted = "root" if os.geteuid() else f"apt-get install --no-install-recommends {' '.join(lacking)}"
        sys.exit(f"test-ops: expected root and its Debian packages, got neither or one; as root: {wanted}")
    try:
        deploy()
    except RuntimeError as exc:
        sys.exit(f"test-ops: {exc}")


def deploy() -> None:
    """Build, boot, deploy, upgrade."""
    with tempfile.TemporaryDirectory(prefix="jb-place-") as scratch, ThreadPoolExecutor() as pool:
        place = Path(scratch)
        (place / "carried").mkdir()
        unpacked, key = pool.submit(base), release_key()
        older, newer = former(place, key), of_checkout(place)
        built = pool.submit(newer.build, key)
        unpacked.result()
        there_already = dict.fromkeys((PROVINCE, CITIES[0]), older.installed(key))
        with booted(province.ADDRESSES, key_pair(place), there_already) as network:
            told("six machines run", len(network.machines) == 6)
            there = Controller(network, place, newer)
            there.know()
            there.install(older, newer)
            shutil.copyfile(key.public, there.carried / key.public.name)
            there.copies["escrow_key"] = escrow_key(there)
            begun = pool.submit(there.play, "site", "-l", f"ca-{PROVINCE}", release=older)
            for city in (*CITIES, ADDED):
                business.lay_down(there, city)
            built.result()
            told(f"there is a bundle of {newer.version}", holds=True)
            found_authorities(there, older, begun)
            found_network(there)
            converge(there, older)
            equal(there, "by two releases")
            protected(there)
            upgrade(there, older)
            equal(there, "after upgrade, rollback and the city that was added")
            told("Prometheus reaches the zones of the new city too", within(60, lambda: watched(there)))
            told("and wakes nobody", not asked(there, 'ALERTS{alertstate="firing",severity="critical"}'))


def escrow_key(there: Controller) -> str:
    """Have two persons make the key that opens every copy; returns its public half."""
    for name in ("first", "second"):
        (there.place / name).touch(0o600)
        (there.place / name).write_text(f"a passphrase of the {name} person\n", encoding="utf-8")
    words = "standby key create escrow --to escrow.pem --passphrase-file first --passphrase-file second"
    return there.jinbao(words).split('"')[1]


if __name__ == "__main__":
    main()
