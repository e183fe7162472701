"""Where a message of ours stands, for the person who sent it: who knows of it, and what she can do.

Four facts are never mixed: the hub has it, the partner has it, it is filed, somebody read it. Whoever
says something moves her own side of an exchange at once, so she must see what the other has not heard.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from broker.cli.terminal.output import current

UNHEARD: Final = ("queued", "sending", "submitted", "relayed", "undelivered", "unknown", "failed")
"""States of a message of ours in which the partner may not have it."""


def of_message(sent: Mapping[str, Any]) -> str | None:
    """One sentence or two about a sent message; None where its state says all."""
    partner, named = sent["partner"], sent["id"]
    match sent["state"]:
        case "queued" | "sending":
            return f"It lies sealed on this machine and goes as soon as the hub takes it; {partner} knows nothing of it yet."
        case "submitted" | "relayed":
            return f"The hub has it; {partner} has not received it yet."
        case "undelivered":
            return f"The hub has it, and {partner} did not receive it in time; it may still come. Telephone {partner}."
        case "unknown":
            return (
                "Nobody knows whether the hub took it: it is asked as soon as it answers, and what it "
                f"has goes on. {partner} may or may not have it; the exchange here counts it as said."
            )
        case "failed" if not sent["submitted_at"]:
            return (
                f"The hub does not have it: {partner} knows nothing of it, and sees the exchange as it "
                f"was before. Send it, with the same bytes: referral gateway replay {named}. If it is not "
                f"sent by {sent['expires_at']}, it counts as not said."
            )
        case "failed":
            return f"{partner} has it, and its case system would not take it. Telephone {partner}."
        case "refused" | "stopped" | "expired":
            return f"It counts as not said. To say it anew, corrected: referral send --replaces {named}"
        case _:
            return None


def just_stored(answer: Mapping[str, Any]) -> str:
    """What `queued` means, to whoever has just sent it."""
    return (
        "It lies sealed on this machine, and goes as soon as the hub takes it. "
        f"Where it stands: referral show {answer['id']}"
    )


def show_sent(answer: Mapping[str, Any]) -> None:
    """The result of a command that sends, and what it means while nobody else has it."""
    voice = current()
    voice.result(answer)
    if answer["state"] == "queued":
        voice.say(just_stored(answer))


def of_thread(thread: Mapping[str, Any]) -> list[str]:
    """What of an exchange the partner may not have heard; the exchange here counts it as said."""
    return [
        f"{thread['partner']} may not have heard this: {said['type']}, {said['sent']} "
        f"(referral show {said['message']})"
        for said in thread["history"]
        if said["sent"] in UNHEARD and not said["unsaid"]
    ]
