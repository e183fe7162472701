"""The hub and its log: what it says in it, who watches it, what an auditor takes away, and where it ends."""
