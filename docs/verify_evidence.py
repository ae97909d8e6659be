"""Verify evidence, docs/explanation/evidence.md: verify_evidence.py FILE ROOT.pem (0 proved, 3 without CRLs, 1 refused)."""
# One page, to be read as a whole. Of clauses E7 and E9 it knows the names, not the rows of the topology; E12 it leaves out.
import json
import sys
from base64 import b64decode, b64encode
from contextlib import suppress
from datetime import datetime
from hashlib import sha256
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA
from cryptography.hazmat.primitives.hashes import SHA256

file, ROOTS = json.loads(Path(sys.argv[1]).read_bytes()), x509.load_pem_x509_certificates(Path(sys.argv[2]).read_bytes())
body, said, row = file["evidence"], file["evidence"]["subject"], (file["evidence"]["record"], file["evidence"]["key"])
CRLS = [x509.load_der_x509_crl(b64decode(crl)) for crl in body["crls"]]
POOL = [x509.load_der_x509_certificate(b64decode(der)) for der in body["authorities"]]
def need(clause, holds): return holds or sys.exit(f"clause {clause} does not hold")
def sha(text): return sha256(text.encode()).hexdigest()
def part(of, kind): return next((e.value for e in of.extensions if e.oid == kind.oid), None)
def uri(of): return part(of, x509.SubjectAlternativeName).get_values_for_type(x509.UniformResourceIdentifier)[0]
def number(raw, byte): return byte if byte < 128 else byte - 128 + (number(raw, next(raw)) << 7)
def fields(raw):  # a protobuf message as {number: [numbers, or bytes]}
    found, raw = {}, iter(raw)
    for byte in raw:
        tag, value = number(raw, byte), number(raw, next(raw))
        found.setdefault(tag >> 3, []).append(bytes(next(raw) for _ in range(value)) if tag & 7 == 2 else value)
    return found
def root(cells, key, way):  # D1-D6: the root a row leads to by its way, or nothing
    row = ["N" if c is None else f"{'IT'[isinstance(c, str)]}{len(str(c).encode())}:{c}" for c in cells]
    mine = {sha("".join(row[k] for k in key))[:2]: sha("".join(f"{leaf}\n" for leaf in sorted(way["leaves"])))}
    lines = "".join(f"{b} {d}\n" for b, d in sorted({**way["buckets"], **mine}.items()))
    return sha(lines).encode() if sha("".join(row)) in way["leaves"] else b""
def issuer(below, at, path=()):  # E8, E10: who certified it, once the way on to a given root is proved; else nobody
    for up in [*ROOTS, *POOL]:
        with suppress(Exception):  # whatever does not hold, this is not the issuer
            below.verify_directly_issued_by(up)
            limits, crls = part(up, x509.BasicConstraints), [c for c in CRLS if c.is_signature_valid(up.public_key())]
            may = limits.ca and not (path and limits.path_length == 0) and up not in path and at <= up.not_valid_after_utc
            listed = [e for c in crls if (e := c.get_revoked_certificate_by_serial_number(below.serial_number))]
            may &= not any(e.revocation_date_utc <= at or "compromise" in str(part(e, x509.CRLReason)) for e in listed)
            may &= not CRLS or any(c.next_update_utc >= at for c in crls)
            if may and (up in ROOTS or issuer(up, at, (*path, up))): return up
def opened(envelope, made_at="", header=None):  # E6-E9: a header's fields, head and stream, or who sealed it
    end, *rest = map(x509.load_der_x509_certificate, map(b64decode, envelope["certificates"]))
    kind, raw, by = envelope["payload_type"].encode(), b64decode(envelope["payload"]), b64decode(envelope["signature"])
    how, use = {"p256-sha256": ([ECDSA(SHA256())], "clientAuth"), "intl-1": ([], "1.3.6.1.5.5.7.3.36")}[envelope["suite"]]
    end.public_key().verify(by, b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(raw), raw), *how)
    need("E6", use in str(part(end, x509.ExtendedKeyUsage)) and (made_at or kind.endswith(b".header.v1+protobuf")))
    POOL[len(POOL):], at = rest, datetime.fromisoformat(made_at or (header := fields(raw))[7][0].decode())
    need("E8", end.not_valid_before_utc <= at <= end.not_valid_after_utc and all(c in ROOTS or issuer(c, at) for c in rest))
    up, (*_, node, zone, _, epoch) = need("E8", issuer(end, at)), uri(end).split("/")
    need("E9", up in ROOTS or uri(up).split("/authority/")[1] in {"root", "100000", f"{node[:2]}0000"})
    stream = "/".join(v[0].decode() for v in fields(header[1][0]).values()) if header else f"{node}/{zone}/"
    need("E7", stream.startswith(f"{node}/{zone}/") and (made_at or header[4] == [int(epoch)]))
    return header, sha256(raw).hexdigest(), stream
canonical = b64encode(json.dumps(body, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode())
seal = {**file["seal"], "payload_type": "application/vnd.jinbao.evidence.v1+json", "payload": canonical}
need("E2", file["format"] == "jinbao-evidence/1" and opened(seal, body["made_at"])[2] == body["made_by"] + "/")
batches = [opened(batch) for batch in body["batches"]]
for (one, head, line), (two, _, other) in zip(batches, batches[1:], strict=False):
    need("E4", line == other and two[2] == [one[2][0] + 1] and two[5] == [head.encode()] and one[6] != [b"manifest"])
(first, _, stream), (last, closing, _) = batches[0], batches[-1]
manifest, segment = fields(last[15][0]), next(s for s in map(fields, first[14]) if s[2][0].decode() == body["segment"])
named = [stream.split("/")[2], *(v[0].decode() for v in (segment[1], first[12], first[11]))]
need("E3", [said[n] for n in ("library", "table", "standard", "period")] == named)
need("E3", root(*row, body["way"]) == segment[5][0])
tables = {t[1][0].decode(): (t.get(2, [0])[0], t[3][0].decode()) for t in map(fields, manifest[2])}
need("E4", last[6] == [b"manifest"] and manifest[1][0] <= first[2][0])
need("E5", first[6] == [b"snapshot"] or root(*row, body["state"]).decode() == tables[named[1]][1])
print(f"{named} sealed by {stream} #{first[2][0]} at {first[7][0].decode()}", *body["record"], sep="\n  ")
for receipt in body["receipts"]:
    (header, _, line), (who, of, seq, head, stage, _, digest, reason, at, _) = opened(receipt["batch"]), receipt["cells"]
    need("E11", line == f"{who}/{'notices' if stage == 'overdue' else 'receipts'}/{stream[:6]}" and of == stream)
    need("E11", root(receipt["cells"], (0, 1, 2, 4), receipt["way"]) in [fields(s)[5][0] for s in header[14]])
    need("E11", (seq, head) in [(h[2][0], name) for h, name, _ in batches if stage == "accepted" or name == closing])
    need("E11", stage != "applied" or digest == sha("".join(f"{n} {r} {d}\n" for n, (r, d) in sorted(tables.items()))))
    print(f"  {stage} by {who} at {at} {reason}")
print("proved" if CRLS else "proved, without revocation state"); sys.exit(0 if CRLS else 3)
