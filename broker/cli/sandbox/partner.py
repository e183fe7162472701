"""The scripted partner at work: looks into its inbox, does the next move of each conversation."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from broker.cli.drafting import reply
from broker.cli.local import LocalApi
from broker.cli.sandbox.script import AwaitReply, Conversation, Garbage, Move, Say, Withdraw
from schemas.errors import BrokerError, Unavailable

REFERRALS = frozenset({"referral.request"})
Told = Callable[[str], None]


class Partner:
    """One participant that answers by script, through its own gateway."""

    def __init__(
        self, api: LocalApi, script: Iterator[str], garbage: Callable[[], str], tell: Told
    ) -> None:
        self._api = api
        self._script = script
        self._garbage = garbage
        self._tell = tell
        self._known: dict[str, Conversation] = {}

    @property
    def conversations(self) -> tuple[Conversation, ...]:
        """Every referral that arrived so far."""
        return tuple(self._known.values())

    def step(self) -> int:
        """Look once, and do what the script says; returns how many moves were made."""
        rows = [
            row for page in self._api.pages("/v1/messages", "messages", box="inbox") for row in page
        ]
        for row in rows:
            if row["type"] in REFERRALS and row["id"] not in self._known:
                self._take_up(row)
        return sum(self._go_on(one, rows) for one in list(self._known.values()))

    def send(self, to: str, case_ref: str, sections: Mapping[str, Any]) -> str:
        """Refer an invented person to the integrator; returns the message's id."""
        scopes = [{"purpose": "protection", "section": name} for name in sorted(sections)]
        consent: dict[str, Any] = {
            "to": to,
            "case_ref": case_ref,
            "scopes": scopes,
            "principal": f"sandbox-{case_ref}"[:64],
            "valid_until": (datetime.now(UTC).date() + timedelta(days=60)).isoformat(),
            "language": "eng",
            "notice": "invented-notice-1",
        }
        if "guardian_child" in sections:
            consent |= {
                "presumed_child": True,
                "guardian": {
                    "guardian_role": "court-appointed guardian (invented)",
                    "guardian_agrees": True,
                    "child_view": "Invented for a sandbox.",
                    "child_agrees": True,
                },
            }
        grant = self._api.post("/v1/consents", consent)["grant"]
        sent = self._api.post(
            "/v1/messages",
            {
                "type": "referral.request",
                "to": to,
                "case_ref": case_ref,
                "grant": grant,
                "purpose": "protection",
                "sections": dict(sections),
                "body": {"services": ["safe_house"]},
            },
        )
        self._tell(f"sent you {sent['id']}, about {case_ref}")
        return str(sent["id"])

    def _take_up(self, row: Mapping[str, Any]) -> None:
        behaviour = next(self._script)
        self._api.post(f"/v1/messages/{row['id']}/open")
        self._known[row["id"]] = Conversation(row["id"], row["thread"], row.get("grant"), behaviour)
        self._tell(f"got {row['id']}: will {behaviour}")

    def _go_on(self, one: Conversation, rows: list[dict[str, Any]]) -> int:
        move = one.next_move
        if move is None:
            return 0
        if isinstance(move, AwaitReply):
            if not any(r["thread"] == one.thread and r["type"] == move.type for r in rows):
                return 0
            one.done += 1
            return 1
        try:
            self._tell(f"{one.message}: {self._do(move, one)}")
        except Unavailable:
            raise
        except BrokerError as error:
            # The integrator moved first, by withdrawing or cancelling say: that is its right.
            self._tell(f"{one.message}: could not go on: {error.code}")
        one.done += 1
        return 1

    def _do(self, move: Move, one: Conversation) -> str:
        match move:
            case Say(type=name, body=body):
                mine = self._participant()
                filled = {
                    key: value.replace("PARTNER", mine.partition(".")[0])
                    if isinstance(value, str)
                    else value
                    for key, value in body.items()
                }
                reply(self._api, one.message, name, filled)
                return f"said {name}"
            case Withdraw():
                self._api.post(f"/v1/consents/{one.grant}/withdraw", {})
                return "the person withdrew her consent"
            case Garbage():
                return f"a neighbour sent nonsense, {self._garbage()}"
        return "waits"

    def _participant(self) -> str:
        return str(self._api.get("/v1/status")["participant"])
