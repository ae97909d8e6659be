"""Evidence after a promotion: an epoch the topology does not know is proved by the parent's grant, and by nothing else."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from tests.house.tree import ROOT as TOP
from tests.trust.example import CITY, NOW, PROVINCE, ROOT, TOPOLOGY, with_epoch
from tests.trust.hierarchy import DAY, Sealer, root
from tests.trust.submission import EVERYBODY, EXCHANGE, Hierarchy, at, evidence, file, flat, hierarchy
from tests.trust.test_evidence import places, refused, verdict, with_change

from jinbao.model.acts import envelope_json
from jinbao.model.batch import Kind, SealedBatch
from jinbao.model.errors import EvidenceError
from jinbao.model.grant import Grant
from jinbao.model.zone import Endpoint, Zone
from jinbao.trust.encoding import TOPOLOGY_TYPE, encode_topology
from jinbao.trust.evidence import Evidence, canonical, open_evidence, seal_evidence
from jinbao.trust.evidence_proof import verify_evidence
from jinbao.trust.grants import GRANT_TYPE, encode_grant

TOWN = Endpoint("310000", Zone.EXCHANGE)


@pytest.fixture(scope="module")
def net() -> Hierarchy:
    """A hierarchy whose city seals at epoch 2, which its topology does not know."""
    of = hierarchy()
    return with_sealers(of, {CITY: of.province.leaf(CITY, epoch=2)})


def with_sealers(of: Hierarchy, sealers: dict[Endpoint, Sealer]) -> Hierarchy:
    """A hierarchy with other sealers of some zones."""
    return replace(of, sealers={**of.sealers, **sealers})


def grant(sealer: Sealer, node: str = "140100", epoch: int = 2, **more: Any) -> SealedBatch:
    """A grant, an hour before the record was sealed."""
    made = Grant(TOPOLOGY.trust_domain, node, epoch, (), (), (), "lost; A and B", at(-1))
    return sealer(GRANT_TYPE, encode_grant(replace(made, **more)))


def with_grants(of: Hierarchy, *grants: SealedBatch, **more: Any) -> Evidence:
    """Evidence that carries grants."""
    return replace(evidence(of, **more), grants=grants)


@pytest.mark.parametrize("kind", [Kind.SNAPSHOT, Kind.CHANGE])
def test_a_promoted_signer_is_proved_by_the_grant(net: Hierarchy, kind: Kind) -> None:
    """What the new holder sealed is proved where the parent's grant is carried, and refused where it is not."""
    with_it = with_grants(net, grant(net.sealers[PROVINCE]), kind=kind)

    found = verdict(net, with_it)

    assert (found.origin, len(found.words), found.is_revocation_carried) == (CITY, 6, True)
    assert refused(net, replace(with_it, grants=())) == "E7"


def test_a_flat_root_proves_a_grant_too() -> None:
    """Where one root certified every zone, and no list is carried, the parent's grant counts as well."""
    of = flat()
    of = with_sealers(of, {CITY: of.root.leaf(CITY, intl=False, epoch=2)})

    assert verdict(of, with_grants(of, grant(of.sealers[PROVINCE]))).words
    assert refused(of, evidence(of)) == "E7"


def test_a_later_grant_covers_the_epochs_before(net: Hierarchy) -> None:
    """The newest grant of a node does for every epoch up to it, and for none after."""
    third = with_sealers(net, {CITY: net.province.leaf(CITY, epoch=3)})

    assert verdict(net, with_grants(net, grant(net.sealers[PROVINCE], epoch=3))).words
    assert refused(third, with_grants(third, grant(net.sealers[PROVINCE], epoch=2))) == "E7"


def test_a_topology_that_knows_the_epoch_needs_no_grant(net: Hierarchy) -> None:
    """Once a topology says the epoch, a file proves it without the grant, and is not hurt by it."""
    topology = net.sealers[ROOT](TOPOLOGY_TYPE, encode_topology(with_epoch("140100", 2)))
    without = replace(evidence(net), topology=topology)

    assert verdict(net, without).words
    assert verdict(net, replace(without, grants=(grant(net.sealers[PROVINCE]),))).words


@pytest.mark.parametrize(
    ("clause", "make"),
    [
        ("E7", lambda n: grant(n.sealers[ROOT])),
        ("E7", lambda n: grant(n.sealers[EXCHANGE])),
        ("E7", lambda n: grant(n.sealers[CITY])),
        ("E7", lambda n: grant(n.ministry.leaf(Endpoint("140000", Zone.DECISION)))),
        ("E7", lambda n: grant(n.ministry.leaf(TOWN))),
        ("E7", lambda n: grant(n.ministry.leaf(PROVINCE, epoch=2))),
        ("E9", lambda n: grant(n.province.leaf(PROVINCE))),
        ("E8", lambda _: grant(root().issuing("100000").leaf(PROVINCE))),
        ("E8", lambda n: grant(n.ministry.leaf(PROVINCE, first=NOW))),
        ("E8", lambda n: grant(n.sealers[PROVINCE], made_at=f"{NOW + 20 * DAY:%Y-%m-%dT%H:%M:%SZ}")),
        ("E7", lambda n: grant(n.sealers[PROVINCE], trust_domain="other.test")),
        ("E7", lambda n: grant(n.sealers[PROVINCE], node="140200")),
        ("E7", lambda n: grant(n.sealers[PROVINCE], node="140900")),
        ("E7", lambda n: grant(n.sealers[ROOT], node="100000")),
        ("E7", lambda n: grant(n.sealers[PROVINCE], made_at="yesterday")),
        ("E7", lambda n: replace(grant(n.sealers[PROVINCE]), payload=b"noise")),
        ("E6", lambda n: replace(grant(n.sealers[PROVINCE]), signature=bytes(64))),
        ("E7", lambda n: n.sealers[PROVINCE](TOPOLOGY_TYPE, grant(n.sealers[PROVINCE]).payload)),
    ],
    ids=[
        "the ministry, over the province's head",
        "the node's own older holder",
        "the new holder itself",
        "the parent's other zone",
        "another province",
        "a parent at an epoch nobody granted it",
        "a parent certified by its own authority",
        "another hierarchy",
        "a parent's certificate of later",
        "a time after the parent's certificate",
        "another trust domain",
        "a grant of a sibling",
        "a grant of nobody",
        "a grant of the root node",
        "a time that is none",
        "noise",
        "a signature of nobody",
        "another kind of document",
    ],
)
def test_only_the_parent_grants(
    net: Hierarchy, clause: str, make: Callable[[Hierarchy], SealedBatch]
) -> None:
    """A grant anybody but the exchange zone of the node's parent sealed proves no epoch, whatever else it says."""
    assert refused(net, with_grants(net, make(net))) == clause


@pytest.mark.parametrize("turn", [1, -1], ids=["parent first", "child first"])
def test_a_promoted_parent_grants_by_its_own_grant(net: Hierarchy, turn: int) -> None:
    """A province at epoch 2 grants to its city where the ministry's grant of it is carried too, in any order."""
    of = with_sealers(net, {PROVINCE: net.ministry.leaf(PROVINCE, epoch=2)})
    both = (grant(of.sealers[ROOT], "140000"), grant(of.sealers[PROVINCE]))

    assert verdict(of, with_grants(of, *both[::turn])).exporter == PROVINCE
    assert refused(of, with_grants(of, both[1])) == "E7"


def test_the_older_holder_of_a_parent_stays_believed(net: Hierarchy) -> None:
    """What the province granted before it was promoted itself still counts."""
    of = with_sealers(net, {PROVINCE: net.ministry.leaf(PROVINCE, epoch=2)})
    made = with_grants(of, grant(net.sealers[ROOT], "140000", made_at=at(0)), grant(net.sealers[PROVINCE]))

    assert verdict(of, made).exporter == PROVINCE


@pytest.mark.parametrize(
    ("reason", "clause"),
    [(x509.ReasonFlags.key_compromise, "E10"), (x509.ReasonFlags.superseded, "")],
    ids=["its key was lost", "replaced since"],
)
def test_a_grant_holds_as_its_signers_certificate_did(
    net: Hierarchy, reason: x509.ReasonFlags, clause: str
) -> None:
    """A grant by a key that was lost proves nothing; one whose signer was replaced afterwards stays."""
    granting = net.ministry.leaf(PROVINCE)
    crls = (net.ministry.crl((granting.certificate, NOW, reason)), *net.crls[1:])
    made = replace(with_grants(net, grant(granting)), crls=crls)

    if clause:
        assert refused(net, made) == clause
    else:
        assert verdict(net, made).is_revocation_carried


def test_a_grant_of_a_node_that_seals_nothing_is_refused(net: Hierarchy) -> None:
    """What the file does not rest on is not carried: nobody's promotion is told along."""
    idle = grant(net.sealers[ROOT], "310000")

    assert refused(net, with_grants(net, grant(net.sealers[PROVINCE]), idle)) == "E7"


# The file.


def test_without_grants_the_file_is_what_it_was(net: Hierarchy) -> None:
    """The member is there only where it says something; an empty one says the same; anything else is refused."""
    plain = hierarchy()
    body = json.loads(file(plain))["evidence"]

    assert "grants" not in body
    assert open_evidence(_again(plain, body | {"grants": []}))[0].grants == ()
    assert verify_evidence(_again(plain, body | {"grants": []}), [plain.root.certificate]).words
    for wrong in (None, {}, "x", ["x"], [json.loads(file(plain))["evidence"]["topology"]] * 17):
        with pytest.raises(EvidenceError) as found:
            open_evidence(_again(plain, body | {"grants": wrong}))
        assert found.value.clause == "E1"


def _again(of: Hierarchy, body: dict[str, Any]) -> bytes:
    """A body sealed by the exporter once more."""
    made = json.loads(seal_evidence(evidence(of), of.sealers[PROVINCE]))
    sealed = of.sealers[PROVINCE]("application/vnd.jinbao.evidence.v1+json", canonical(body))
    envelope = envelope_json(sealed)
    made["seal"] = {name: envelope[name] for name in made["seal"]}
    return json.dumps(made | {"evidence": body}).encode()


def test_a_changed_character_of_a_grant_is_refused(net: Hierarchy) -> None:
    """Whatever scalar of a carried grant is changed, the file is refused."""
    content = file(net, with_grants(net, grant(net.sealers[PROVINCE]), said=EVERYBODY[-1:]))
    ways = [way for way in places(json.loads(content)) if "grants" in way]

    assert len(ways) >= 5
    for way in ways:
        with pytest.raises(EvidenceError):
            verify_evidence(with_change(content, way), [net.root.certificate])


def test_the_script_proves_a_promoted_signer(net: Hierarchy, tmp_path: Path) -> None:
    """The stand-alone script, which knows no rows, proves a file that carries a grant, and refuses one that is changed."""
    content = file(net, with_grants(net, grant(net.sealers[PROVINCE])))
    [way] = [way for way in places(json.loads(content)) if way[-3:] == ("grants", 0, "payload")]
    (tmp_path / "root.pem").write_bytes(net.root.certificate.public_bytes(Encoding.PEM))

    codes = []
    for what in (content, with_change(content, way)):
        (tmp_path / "file.json").write_bytes(what)
        script = TOP / "docs" / "verify_evidence.py"
        command = [sys.executable, "-I", script, tmp_path / "file.json", tmp_path / "root.pem"]
        codes.append(subprocess.run(command, capture_output=True, check=False, timeout=60).returncode)

    assert codes == [0, 1]
