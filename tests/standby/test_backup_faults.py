"""Whatever becomes of a repository of backups is named: each fault by its kind, nothing removed, nothing built from it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.sim.conftest import MakeWorld
from tests.sim.world import Plan, World, world
from tests.standby.backing import CITY, EXCHANGE, PRODUCTION, Saving, kinds, quiet
from tests.standby.following import PROVINCE

from jinbao.appliance.backing_up import restore
from jinbao.appliance.restoring import Place
from jinbao.authority.demo import DemoAuthorities
from jinbao.authority.identity_files import load_identity
from jinbao.model.acts import envelope_json, envelope_of
from jinbao.model.errors import JinbaoError
from jinbao.model.zone import Endpoint, Zone
from jinbao.standby.manifests import Manifest, decode, seal_manifest
from jinbao.standby.repository import manifest_text


class Kept:
    """Two backups of a production zone, laid anew for each test by `again`."""

    def __init__(self, network: World, directory: Path) -> None:
        self.saving = Saving(network, directory / "backup")
        self.first = self.saving.create()
        self.saving.change()
        self.second = self.saving.create()
        names = (self.first.name, self.second.name)
        self._signed = {name: self.saving.backups.read(name, self.saving.anchors) for name in names}
        self._whole = directory / "whole"
        shutil.copytree(self.saving.directory, self._whole)

    def again(self) -> Saving:
        """The repository as it was."""
        shutil.rmtree(self.saving.directory)
        shutil.copytree(self._whole, self.saving.directory)
        return self.saving

    def manifest(self, name: str) -> Manifest:
        """What a backup's zone signed, whatever its file became."""
        return self._signed[name]

    def acts(self) -> Path:
        """The segment of the first backup's acts."""
        part = next(iter(self.saving.backups.parts(self.manifest(self.first.name))))
        return self.saving.backups.shelf.path(part.acts.sha256)

    def objects(self) -> list[Path]:
        """Segments that acts name, the largest first."""
        parts = self.saving.backups.parts(self.manifest(self.first.name))
        refs = [ref for part in parts for ref in part.segments[1:]]
        return [self.saving.backups.shelf.path(r.sha256) for r in sorted(refs, key=lambda r: -r.bytes)]

    def listing(self) -> Path:
        """The first backup's list of files."""
        return self.saving.backups.shelf.path(self.manifest(self.first.name).listings[0].sha256)

    def whole(self) -> list[Path]:
        """Every file that a backup is made of, by its place."""
        found = [path for path in self._whole.rglob("*") if path.suffix in {".json", ".parquet"}]
        return sorted(path.relative_to(self._whole) for path in found if path.parent != self._whole)


@pytest.fixture(scope="module")
def kept(guarded_plan: Plan, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kept]:
    """A production zone's repository with two backups."""
    directory = tmp_path_factory.mktemp("kept")
    with world(guarded_plan, directory / "network", seed=7) as network:
        yield Kept(network, directory)


def flip(path: Path, at: int = -1) -> None:
    """Alter one bit."""
    body = bytearray(path.read_bytes())
    body[at] ^= 1
    path.write_bytes(body)


def halve(path: Path) -> None:
    """Cut a file off in its middle."""
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


FAULTS: dict[str, tuple[Callable[[Kept], Path], Callable[[Path], None], str]] = {
    "a segment altered": (lambda k: k.objects()[0], flip, "altered"),
    "a segment cut": (lambda k: k.objects()[0], halve, "truncated"),
    "a segment gone": (lambda k: k.objects()[0], Path.unlink, "missing"),
    "acts altered": (Kept.acts, flip, "altered"),
    "acts cut": (Kept.acts, halve, "truncated"),
    "acts gone": (Kept.acts, Path.unlink, "missing"),
    "a list altered": (Kept.listing, flip, "altered"),
    "a list cut": (Kept.listing, halve, "truncated"),
    "a list gone": (Kept.listing, Path.unlink, "missing"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_bad_file_is_named(kept: Kept, tmp_path: Path, fault: str) -> None:
    """A file altered, cut or gone is named by its hash and kind; nothing is removed, and nothing is restored from it."""
    saving = kept.again()
    chosen, harm, kind = FAULTS[fault]
    path = chosen(kept)
    harm(path)
    left = sorted(saving.directory.rglob("*"))

    found = saving.inspect()

    assert kinds(found) == [(f"segment {path.stem}", kind)]
    assert sorted(saving.directory.rglob("*")) == left
    with pytest.raises(JinbaoError, match=path.stem[:12]):
        build(saving, tmp_path)


def build(saving: Saving, directory: Path) -> None:
    """Restore the newest backup."""
    manifest = saving.backups.choose("", saving.anchors)
    restore(saving.backups, manifest, saving.world.settings[CITY], Place(directory / "zone"), quiet)


def test_two_files_exchanged_are_swapped(kept: Kept, tmp_path: Path) -> None:
    """Two segments under each other's names are both named as swapped."""
    saving = kept.again()
    one, other = kept.objects()[:2]
    one.rename(tmp_path / "one")
    other.rename(one)
    (tmp_path / "one").rename(other)

    found = saving.inspect()

    assert sorted(kinds(found)) == sorted((f"segment {path.stem}", "swapped") for path in (one, other))


def test_a_manifest_rolled_back_is_named(kept: Kept) -> None:
    """An older manifest under the newest name is not that backup, whoever signed it; the older backup stays whole."""
    saving = kept.again()
    shutil.copy(saving.backups.path(kept.first.name), saving.backups.path(kept.second.name))

    found = saving.inspect()

    assert kinds(found) == [(f"backup {kept.second.name}", "swapped")]
    assert found.backups == 1


def test_a_manifest_spelt_otherwise_is_named(kept: Kept) -> None:
    """A manifest that says the same in other bytes is not the file that was written."""
    saving = kept.again()
    path = saving.backups.path(kept.first.name)
    path.write_text(json.dumps(json.loads(path.read_bytes())))

    assert kinds(saving.inspect()) == [(f"backup {kept.first.name}", "altered")]


def test_a_manifest_gone_is_named(kept: Kept) -> None:
    """The zone remembers its newest backup: where its manifest is gone it is missing, and what it named is a stray."""
    saving = kept.again()
    saving.backups.path(kept.second.name).unlink()

    found = saving.inspect()

    assert kinds(found) == [(f"backup {kept.second.name}", "missing")]
    saving.backups.path(kept.first.name).unlink()
    assert len(saving.inspect().damage) == 1


def test_a_repository_put_back_is_found(guarded: MakeWorld, tmp_path: Path) -> None:
    """An older state of the whole repository is whole in itself; the zone says that it made a newer backup there."""
    with guarded(3) as network:
        saving = Saving(network, tmp_path / "backup")
        saving.create()
        shutil.copytree(saving.directory, tmp_path / "older")
        saving.change()
        newest = saving.create()
        shutil.rmtree(saving.directory)
        shutil.copytree(tmp_path / "older", saving.directory)

        found = saving.inspect()

        assert kinds(found) == [(f"backup {newest.name}", "missing")]


def resealed(kept: Kept, endpoint: Endpoint, **other: object) -> None:
    """Write the newest manifest anew, as another zone seals it or with another word in it."""
    saving = kept.saving
    manifest = replace(kept.manifest(kept.second.name), **other)  # type: ignore[arg-type]
    sealed = seal_manifest(manifest, saving.world.zones[endpoint].identity)
    saving.backups.path(kept.second.name).write_bytes(manifest_text(sealed))


def test_nobody_else_seals_for_a_zone(kept: Kept, tmp_path: Path) -> None:
    """A manifest sealed by another zone, by a key of another network, or over other words proves nothing."""
    saving, name = kept.again(), kept.second.name
    for other in (EXCHANGE, Endpoint(PROVINCE, Zone.EXCHANGE)):
        resealed(kept, other)
        assert kinds(saving.inspect()) == [(f"backup {name}", "unprovable")]
    saving = kept.again()
    topology = saving.world.plan.topology
    DemoAuthorities(now=saving.world.now).issue(PRODUCTION, topology, tmp_path / "identity")
    manifest = kept.manifest(name)
    sealed = seal_manifest(manifest, load_identity(tmp_path / "identity"))
    saving.backups.path(name).write_bytes(manifest_text(sealed))
    assert kinds(saving.inspect()) == [(f"backup {name}", "unprovable")]
    saving = kept.again()
    sealed = envelope_of(json.loads(saving.backups.path(name).read_bytes()))
    text = sealed.payload.replace(b'"new_acts":', b'"new_acts":1')
    assert decode(text).new_acts != manifest.new_acts
    saving.backups.path(name).write_bytes(manifest_text(replace(sealed, payload=text)))
    assert kinds(saving.inspect()) == [(f"backup {name}", "unprovable")]


def test_a_zone_that_signs_what_is_not_so_is_found(kept: Kept) -> None:
    """A manifest whose hash, count of acts or lists are not what its files give is found, though the zone signed it."""
    name = kept.second.name
    for other, kind in (
        ({"hash": "a" * 64}, "altered"),
        ({"acts": kept.second.acts - 1}, "altered"),
        ({"listings": kept.manifest(name).listings[1:]}, "altered"),
    ):
        saving = kept.again()
        resealed(kept, PRODUCTION, **other)

        found = saving.inspect()

        assert kinds(found) == [(f"backup {name}", kind)], other


def test_a_list_that_lies_about_its_acts_is_found(kept: Kept) -> None:
    """A list whose parts end with another hash than their acts do is found, though the zone signed its name."""
    saving = kept.again()
    parts = [replace(p, hash="b" * 64) for p in saving.backups.parts(kept.manifest(kept.second.name))]
    resealed(kept, PRODUCTION, listings=saving.backups.list_parts(parts, ()))

    found = saving.inspect()

    assert kinds(found) == [(f"backup {kept.second.name}", "altered")]
    assert "part 1: expected act" in found.damage[0].detail


def test_what_lies_beside_is_a_stray(kept: Kept) -> None:
    """Files that no backup names and nothing reads are strays, and no damage."""
    saving = kept.again()
    (saving.backups.shelf.root / "photo").write_text("mine")
    (saving.backups.manifests / "notes.txt").write_text("mine")
    sha256, _ = saving.backups.shelf.write(saving.backups.shelf.read(kept.acts().stem).head(1))

    found = saving.inspect()

    assert found.damage == []
    assert {one.thing for one in found.strays} == {
        "segments/photo",
        "backups/notes.txt",
        f"segment {sha256}",
    }


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_bit_of_any_file_counts(kept: Kept, data: st.DataObject) -> None:
    """Whichever byte of whichever file is altered, cut away or added, a look at the repository says so."""
    saving = kept.again()
    path = saving.directory / data.draw(st.sampled_from(kept.whole()))
    body = path.read_bytes()
    at = data.draw(st.integers(0, len(body) - 1))
    bit = data.draw(st.sampled_from([1, 32, 128]))
    change = data.draw(st.sampled_from(["flip", "cut", "add"]))
    flipped = body[:at] + bytes([body[at] ^ bit]) + body[at + 1 :]
    path.write_bytes({"flip": flipped, "cut": body[:at], "add": body + bytes([bit])}[change])

    found = saving.inspect()

    assert found.damage != []


def test_a_damaged_base_is_passed_over(guarded: MakeWorld, tmp_path: Path) -> None:
    """A backup is not built upon one whose files are missing: what is missing is copied again, and the new one is whole."""
    with guarded(3) as network:
        kept = Kept(network, tmp_path)
        saving, path = kept.saving, kept.objects()[0]
        path.unlink()

        made = saving.create()
        manifest = saving.backups.read(made.name, saving.anchors)

        assert len(made.passed_over) == 2
        assert path.is_file()
        assert saving.backups.lacking(manifest) == []
        assert saving.inspect().damage == []


def test_an_envelope_survives_its_file(kept: Kept) -> None:
    """What is read back of a manifest is what was sealed, byte for byte."""
    saving = kept.again()
    sealed = envelope_of(json.loads(saving.backups.path(kept.first.name).read_bytes()))

    assert decode(sealed.payload) == kept.manifest(kept.first.name)
    assert envelope_of(envelope_json(sealed)) == sealed
