"""What a worker is shown before a message goes: the clear part, the sealed part, what is missing.

Nothing is sent or stored.
"""

from __future__ import annotations

import json
from typing import Any

from broker.gateway.core import Core
from broker.gateway.send.compose import Composed
from schemas.base import instant_text
from schemas.envelope import BUCKETS, WIRE_VERSION
from schemas.families.expected import expected_sections


def expected_too(composed: Composed) -> list[str]:
    """Sections that the other side expects besides, and that are the person's to give or not."""
    return sorted(expected_sections(composed.row) - composed.message.sections.keys())


def preview(core: Core, composed: Composed) -> dict[str, Any]:
    """What would travel in the clear, and what would be sealed, for a worker's eyes.

    Of the sealed parts everybody sees how many there are and the bucket that each is padded to.
    """
    tag, suite = composed.consent, core.settings.suite
    return {
        "clear": {
            "suite": suite,
            "version": WIRE_VERSION,
            "id": str(composed.id),
            "replaces": None if composed.replaces is None else str(composed.replaces),
            "from": core.participant,
            "to": composed.recipient.id,
            "lane": composed.lane.value,
            "kind": composed.row.kind.value,
            "thread": str(composed.thread),
            "in_reply_to": None if composed.in_reply_to is None else str(composed.in_reply_to),
            "issued_at": instant_text(composed.issued_at),
            "expires_at": instant_text(composed.expires_at),
            "answer_by": None if composed.answer_by is None else instant_text(composed.answer_by),
            "pauses_clock": composed.row.pauses_clock,
            "agreement": None if composed.agreement is None else str(composed.agreement),
            "consent": None
            if tag is None
            else {"grant": str(tag.grant), "scopes": list(tag.scopes), "until": str(tag.until)},
            "stream": {"incarnation": core.incarnation, "number": "taken when it is sent"},
            "parts": [
                {"to_key": key.kid, "padded_to": _bucket(len(composed.parts.get(name, b"{}")))}
                for name, key in composed.recipient.sealing_keys(core.now(), suite).items()
            ],
            "attachments": [ref.to_dict() for ref in composed.attachments],
        },
        "expected_too": expected_too(composed),
        "hosted_by": composed.recipient.hosted_by,
        "sealed": {
            compartment.value: _without_key(json.loads(part))
            for compartment, part in composed.parts.items()
        },
    }


def _bucket(size: int) -> int | None:
    """The size that content is padded to; None if it is too large to travel."""
    return next((bucket for bucket in BUCKETS if size <= bucket), None)


def _without_key(part: dict[str, Any]) -> dict[str, Any]:
    # The grant key links blinded scopes to a person; nobody needs to see it on a screen. Whom she
    # keeps away is for workers who may know, and looks alike whether there is anybody or not.
    part.pop("not_to", None)
    if part.get("grant_key"):
        part["grant_key"] = "<sealed>"
    for file in part.get("attachments", ()):
        file["key"] = "<sealed>"
    return part
