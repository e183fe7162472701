"""What an auditor takes away: a period or a corridor, with figures and proofs."""
