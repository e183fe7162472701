"""An integrator alone meets everything that a partner country may do."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from broker.cli.demo.processes import until
from broker.cli.drafting import reply
from broker.cli.local import LocalApi, open_home

SCRIPT = "accept,decline,ask,redirect,withdraw,silent,garbage"


class Sandbox:
    """A running sandbox and the integrator's worker in it."""

    def __init__(self, told: dict[str, str]) -> None:
        self.home = Path(told["home"])
        self.partner = told["partner"]
        self.api: LocalApi = open_home(self.home, "first")

    def refer(self, case_ref: str) -> dict[str, Any]:
        grant = self.api.post(
            "/v1/consents",
            {
                "to": self.partner,
                "case_ref": case_ref,
                "scopes": [{"purpose": "protection", "section": "case_admin"}],
                "principal": f"sandbox-{case_ref}",
                "valid_until": "2027-01-31",
                "language": "eng",
                "notice": "invented-notice-1",
            },
        )["grant"]
        return self.api.post(
            "/v1/messages",
            {
                "type": "referral.request",
                "to": self.partner,
                "case_ref": case_ref,
                "grant": grant,
                "purpose": "protection",
                "sections": {"case_admin": {"status": "Active"}},
                "body": {"services": ["legal"]},
            },
        )

    def state(self, sent: dict[str, Any]) -> str:
        return str(self.api.get(f"/v1/threads/{sent['thread']}")["state"])

    def is_read(self, message: str) -> bool:
        return bool(self.api.get(f"/v1/messages/{message}")["state"] == "read")

    def becomes(self, sent: dict[str, Any], state: str) -> None:
        until(f"a referral to be {state}", lambda: self.state(sent) == state, seconds=40)

    def refused(self, sender: str) -> list[str]:
        """The codes with which the gateway refused what came from somebody."""
        with closing(sqlite3.connect(self.home / "gateway.sqlite3", timeout=20)) as database:
            query = "SELECT code FROM seen WHERE sender = ? AND outcome = 'refused'"
            return [code for (code,) in database.execute(query, (sender,))]

    def inbox(self, name: str) -> list[dict[str, Any]]:
        rows = self.api.items("/v1/messages", "messages", box="inbox")
        return [row for row in rows if row["type"] == name]


@pytest.fixture
def sandbox(tmp_path: Path) -> Iterator[Sandbox]:
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "broker.cli", "sandbox", "tn", "--as", "fr"),
            *("--script", SCRIPT, "--send", "1", "--dir", str(tmp_path / "sandbox"), "--json"),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "NO_COLOR": "1"},
        text=True,
    )
    assert process.stdout is not None
    try:
        yield Sandbox(json.loads(process.stdout.readline()))
    finally:
        process.terminate()
        assert process.wait(90) == 0
        process.stdout.close()


def test_a_partner_accepts_declines_asks_withdraws_is_silent_and_talks_nonsense(
    sandbox: Sandbox,
) -> None:
    words = SCRIPT.split(",")
    sent = {}
    for word in words:  # one after the other, so that each meets its own behaviour
        sent[word] = sandbox.refer(f"FR-{word}")
        message = sent[word]["id"]
        until(
            f"{word} to be read",
            partial(sandbox.is_read, message),
            seconds=40,
        )
    sandbox.becomes(sent["accept"], "completed")
    sandbox.becomes(sent["decline"], "declined")
    sandbox.becomes(sent["redirect"], "redirected")
    sandbox.becomes(sent["withdraw"], "withdrawn")

    (question,) = until(
        "the question", lambda: sandbox.inbox("referral.clarify.request"), seconds=20
    )
    reply(sandbox.api, question["id"], "referral.clarify.reply", {"answer": "Arabic."})
    sandbox.becomes(sent["ask"], "accepted")

    until("the nonsense to be refused", lambda: sandbox.refused("tn.stray"), seconds=20)
    assert sandbox.state(sent["silent"]) in ("sent", "delivered")

    (referred,) = sandbox.inbox("referral.request")
    filed = sandbox.home / "htcds" / "in" / f"{referred['business_id']}.csv"
    until("what the partner sent to be filed", filed.exists, seconds=20)
