"""Every event that the log can hold is explained, and nothing else is."""

from __future__ import annotations

import re
from pathlib import Path

from schemas.audit import Event

DOCUMENT = Path(__file__).parents[2] / "docs" / "audit-events.md"


def test_the_document_lists_each_event_once_and_no_other() -> None:
    listed = re.findall(r"^\| `([a-z:-]+)` \|", DOCUMENT.read_text("utf-8"), re.MULTILINE)
    assert listed == [event.value for event in Event]
