"""Interoperation: Node reads what we write, and we read what Node writes, in both suites.

`tests/interop/peer.mjs` and `participant.mjs` follow `docs/protocol.md` with jose, hpke and noble;
the second talks to a real hub and gateway (`conversation.py`). The packages are
installed into a temporary folder by `npm`, from the registry that it is configured for.

    ./run interop            compares
    ./run interop --keep     and keeps what Node wrote as vectors, tests/vectors/interop.json
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from datetime import timedelta
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parents[1]))

from adapters.base import Tools  # noqa: E402
from adapters.conformance import conform  # noqa: E402
from broker.audit.log.leaves import new_leaf  # noqa: E402
from broker.audit.proofs.tlog_proof import FIRST_LINE  # noqa: E402
from keys.binding import blind_scope  # noqa: E402
from keys.sealing import clear_header, seal_envelope  # noqa: E402
from keys.signing import parse_envelope, verify_envelope  # noqa: E402
from keys.unsealing import unseal_envelope  # noqa: E402
from schemas.audit import Event  # noqa: E402
from schemas.base import b64u, unb64u  # noqa: E402
from schemas.directory import Compartment  # noqa: E402
from tests.interop.conversation import talk  # noqa: E402
from tests.support.audit_log import MemoryLog  # noqa: E402
from tests.support.parties import (  # noqa: E402
    GRANT_KEY,
    NOW,
    Party,
    directory_of,
    make_draft,
    make_party,
)
from tests.support.published import FOLDER as PUBLISHED  # noqa: E402

PLAINTEXT = '{"greeting":"Përshëndetje nga Tirana"}'
SUITES = (1, 2)
SCOPES = [
    {"grantKey": b64u(GRANT_KEY), "purpose": purpose, "section": section}
    for purpose, section in (("protection", "identity_core"), ("justice", "case_admin"))
]


def private_jwk(party: Party, kid: str) -> dict[str, str]:
    """The private half of a key."""
    return next(key.jwk for key in party.keys.keys if key.kid == kid)


def tasks(italy: Party, albania: Party) -> dict[str, Any]:
    """Envelopes for the peer to read, and headers for it to write envelopes under."""
    read, write = [], []
    for suite in SUITES:
        ours = seal_envelope(
            make_draft(suite),
            {Compartment.CASEWORK: PLAINTEXT.encode()},
            recipient=albania.entry,
            signer=italy.signer(suite),
            now=NOW,
        )
        read.append(
            {
                "suite": suite,
                "envelope": ours.raw.decode(),
                "senderKey": italy.signing_key(suite).jwk,
                "recipientKey": private_jwk(albania, albania.sealing_key(suite).kid),
            }
        )
        header = {
            **clear_header(make_draft(suite)),
            "from": "al.nrm",
            "to": "it.nrm",
            "issued_at": (NOW + timedelta(milliseconds=250)).strftime("%Y-%m-%dT%H:%M:%S.250Z"),
        }
        signing_key, sealing_key = albania.signing_key(suite), italy.sealing_key(suite)
        write.append(
            {
                "suite": suite,
                "header": header,
                "plaintext": PLAINTEXT,
                "kid": signing_key.kid,
                "senderKey": private_jwk(albania, signing_key.kid),
                "recipientKid": sealing_key.kid,
                "recipientKey": sealing_key.jwk,
            }
        )
    return {"read": read, "write": write, "scopes": SCOPES, "proofs": proofs()}


def proofs() -> list[dict[str, Any]]:
    """Every leaf of a log of seven, proven; the peer checks path, note, and what the leaf is about.

    The log signs its head in all three kinds: plain, and dated with Ed25519 and with ML-DSA-44.
    """
    log, told = MemoryLog(), list[dict[str, str]]()
    for number in range(7):
        subject = number.to_bytes(32, "big")
        leaf, opening = new_leaf(Event.ENVELOPE_SUBMITTED, NOW, subject)
        log.entries.append(leaf)
        told.append({"leaf": b64u(leaf), "salt": b64u(opening.salt), "subject": b64u(subject)})
    head = log.head()
    vkeys = [log.keys.vkey, log.keys.signers[0].dated().verifier.to_text(), log.keys.pq_vkey]
    return [{**one, "vkeys": vkeys, "proof": log.proof(at, head)} for at, one in enumerate(told)]


def ask_peer(task: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Install the peer's packages and let it work."""
    for name in ("package.json", "wire.mjs", "peer.mjs", "participant.mjs"):
        shutil.copy(HERE / name, folder / name)
    shutil.copytree(PUBLISHED, folder / "published")
    npm = ["npm", "install", "--no-audit", "--no-fund", "--no-package-lock", "--silent"]
    subprocess.run(npm, cwd=folder, check=True, timeout=300)
    done = subprocess.run(
        ["node", "peer.mjs"],
        cwd=folder,
        input=json.dumps(task).encode(),
        stdout=subprocess.PIPE,
        check=True,
        timeout=60,
    )
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def check(result: dict[str, Any], italy: Party, albania: Party) -> int:
    """Compare; the number of agreements. An `AssertionError` is a disagreement."""
    directory, agreed = directory_of(italy, albania), 0
    for found in result["read"]:
        key = italy.signing_key(found["suite"])
        assert found["kid"] == found["thumbprint"] == key.kid, "thumbprint"
        assert found["opened"] == PLAINTEXT, "the peer opened something else"
        agreed += 2
    for asked, scope in zip(SCOPES, result["scopes"], strict=True):
        grant_key = unb64u(asked["grantKey"])
        assert scope == blind_scope(grant_key, asked["purpose"], asked["section"]), "blinded scope"
        agreed += 1
    for proven in result["proofs"]:
        assert proven.pop("format") == FIRST_LINE, "tlog-proof"
        assert set(proven.values()) == {True}, f"the log's proof: {proven}"
        agreed += len(proven)
    for made in result["written"]:
        sealed = parse_envelope(made["envelope"].encode())
        verified = verify_envelope(sealed, directory, now=NOW)
        opened = unseal_envelope(verified, italy, italy.entry)
        assert list(opened.values()) == [PLAINTEXT.encode()], "we opened something else"
        agreed += 2
    return agreed


def vectors(result: dict[str, Any], italy: Party, albania: Party) -> dict[str, Any]:
    """What Node wrote, with the keys that open it. They protect nothing."""
    return {
        "about": "Envelopes written by Node's jose and hpke; kept by `./run interop --keep`.",
        "now": NOW.isoformat(),
        "plaintext": PLAINTEXT,
        "participants": [party.entry.to_dict() for party in (italy, albania)],
        "insecure_recipient_keys": {
            key.kid: private_jwk(italy, key.kid) for key in italy.keys.keys if key.compartment
        },
        "envelopes": result["written"],
    }


def adapter_conforms(folder: Path) -> None:
    """The adapter to copy that is written in Node keeps every promise, also when it is killed."""
    (folder / "cases").mkdir()
    command = ["node", str(HERE.parents[1] / "adapters/samples/jsonlines/adapter.mjs")]
    settings = {"command": command, "settings": {"folder": str(folder / "cases")}}
    report = conform("external", settings, Tools(), now=NOW, kills=5)
    assert [each for each in report.results if each.outcome == "failed"] == []


def main() -> int:
    """Run it once. 0 if everything agreed."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        print("interop needs node 20 or newer, and npm", file=sys.stderr)  # noqa: T201
        return 1
    italy, albania = make_party("it.nrm"), make_party("al.nrm")
    with tempfile.TemporaryDirectory() as folder:
        result = ask_peer(tasks(italy, albania), Path(folder))
        agreed = check(result, italy, albania)
        agreed += talk(Path(folder))
        adapter_conforms(Path(folder))
    if "--keep" in sys.argv:
        kept = vectors(result, italy, albania)
        text = json.dumps(kept, indent=1, ensure_ascii=False) + "\n"
        (HERE.parent / "vectors" / "interop.json").write_text(text, encoding="utf-8")
    print(f"interop: {agreed} agreements with Node's jose, hpke and noble, suites 1 and 2")  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(main())
