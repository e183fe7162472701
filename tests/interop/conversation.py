"""A conversation with a participant written from the document: `participant.mjs` and a real network.

The hub and Italy's gateway are our processes; the participant is Node. It makes its keys itself, its
country publishes them; it registers a consent, tells it sealed, refers, is answered, reads the answer
and says so. What it did wrong, the gateway would have refused.
"""

from __future__ import annotations

import json
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from broker.cli.demo.processes import until
from broker.cli.homes.network import Network, usual_terms
from keys.ceremony import Repository, RoleSigner
from keys.custody import open_custody
from keys.signing import sign_agreement
from schemas.directory import Participant
from tests.support.processes import Running, running

NODE, ITALY = "al.node", "it.nrm"


def node(folder: Path, *arguments: str) -> subprocess.Popen[bytes]:
    """The participant, as a process in the folder where its packages are."""
    return subprocess.Popen(
        ["node", "participant.mjs", *arguments],
        cwd=folder,
        stdout=subprocess.PIPE,
    )


def said(process: subprocess.Popen[bytes]) -> dict[str, Any]:
    """What it printed at its end."""
    out, _ = process.communicate(timeout=90)
    assert process.returncode == 0, "the participant failed"
    found: dict[str, Any] = json.loads(out)
    return found


def publish(network: Network, entry: Participant) -> None:
    """Its country enrols it, as it does with everybody."""
    authority = network.path / "authority"
    passphrase = (authority / "passphrase").read_bytes()

    def signer(role: str) -> RoleSigner:
        return RoleSigner.of(open_custody(f"file:{authority / role}.json", passphrase))

    Repository(network.path / "directory").publish_participants(
        [entry],
        country_signers=[signer(entry.id.partition(".")[0])],
        online=signer("online"),
        now=datetime.now(UTC),
    )


def talk(folder: Path) -> int:
    """The whole conversation. Returns the number of agreements; an `AssertionError` is the contrary.

    Args:
        folder: Has the participant and its packages.
    """
    entry = Participant.from_json(json.dumps(said(node(folder, "enrol", ".", NODE))))
    with running(folder / "network", gateways=(ITALY,)) as made:
        publish(made.network, entry)
        terms = usual_terms(ITALY, NODE, datetime.now(UTC))
        task = {
            "hub": made.network.url,
            "hub_id": made.network.hub.hub,
            "to": ITALY,
            "agreement": sign_agreement(terms, made.network.identity(ITALY).signer()).decode(),
            "agreement_id": str(terms.id),
            "entries": [one.to_dict() for one in published(made)],
        }
        (folder / "task.json").write_text(json.dumps(task), encoding="utf-8")
        at_work = node(folder, "work", ".")
        try:
            return judged(made, at_work)
        finally:
            at_work.kill()


def published(made: Running) -> list[Participant]:
    """Every entry of the directory."""
    targets = made.network.path / "directory" / "targets"
    return [Participant.from_json(path.read_bytes()) for path in sorted(targets.rglob("*.json"))]


def judged(made: Running, at_work: subprocess.Popen[bytes]) -> int:
    """Italy answers what comes, and both sides are asked what they saw."""
    worker = made.network.worker(ITALY)

    def came() -> dict[str, Any] | None:
        assert at_work.poll() in (None, 0), "the participant failed"
        rows = worker.get("/v1/messages?box=inbox")["messages"]
        return next((row for row in rows if row["type"] == "referral.request"), None)

    until("its referral", lambda: came() is not None, seconds=60)
    request = came() or {}
    opened = worker.post(f"/v1/messages/{request['id']}/open")
    assert opened["sections"] == {"case_admin": {"status": "Active"}}, "we opened something else"
    answer = worker.post(
        "/v1/messages",
        {
            "type": "referral.accept",
            "to": NODE,
            "case_ref": request["case_ref"],
            "thread": request["thread"],
            "in_reply_to": request["id"],
            "body": {"worker_role": "case manager"},
        },
    )
    seen = said(at_work)
    facts = {(by, fact) for by, fact, about in seen["facts"] if about == request["id"]}
    assert facts >= {(ITALY, "delivered"), (ITALY, "read")}, "it knows what became of its referral"
    read = {one["type"]: one["body"] for one in seen["read"]}
    assert read["referral.accept"]["worker_role"] == "case manager", "it opened something else"

    def delivered() -> bool:
        return bool(worker.get(f"/v1/messages/{answer['id']}")["state"] == "delivered")

    until("its receipt", delivered)
    assert worker.get("/v1/quarantine")["items"] == [], "nothing of it was suspect"
    return len(facts) + len(read) + 3
