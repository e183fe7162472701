"""Section 8 of the protocol, written from the error tree: `python -m tests.support.errors_table`."""

from __future__ import annotations

import re
import sys

from schemas.errors import BrokerError, codes

HEADING = "## 8. Error codes"
INTRODUCTION = """\
Written from `schemas/errors.py`; a test keeps the two equal. The family says what to do now: *refused*, the request is wrong, do not retry;
*unavailable*, keep the message and try again later; *suspect*, it was put into quarantine. A `suspect` answer never says which code it was."""


def table() -> str:
    """The section's text, sorted by family and code."""
    ranks = {"refused": 0, "unavailable": 1, "suspect": 2}
    kinds = sorted(codes().values(), key=lambda kind: (ranks[kind.family], kind.code))
    rows = [
        f"| `{kind.code}` | {kind.family} | {kind.status} | {first_line(kind)} |" for kind in kinds
    ]
    head = ["| code | family | HTTP | meaning |", "|---|---|---|---|"]
    return "\n".join([HEADING, "", INTRODUCTION, "", *head, *rows]) + "\n"


def first_line(kind: type[BrokerError]) -> str:
    return (kind.__doc__ or "").splitlines()[0].replace("|", "\\|")


def section_of(document: str) -> str | None:
    """The section as the document has it, up to the next heading of its level."""
    found = re.search(rf"^{re.escape(HEADING)}\n.*?(?=^## |\Z)", document, re.MULTILINE | re.DOTALL)
    return found.group(0).rstrip("\n") + "\n" if found else None


if __name__ == "__main__":
    sys.stdout.write(table())
