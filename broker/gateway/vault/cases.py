"""What the vault calls a case: ours, or one that a partner sent."""

from __future__ import annotations


def own_case(case_ref: str) -> str:
    """The vault's name for a case of our own."""
    return f"own:{case_ref}"


def partner_case(sender: str, case_ref: str) -> str:
    """The vault's name for a case that a partner sent us."""
    return f"{sender}:{case_ref}"
