"""The command line `referral`: people and scripts, processes and the demo.

Results go to standard output, everything else to standard error. Nothing is imported before
the command that needs it runs, so that `--help` is quick and `log verify` stays offline and small.
"""

from __future__ import annotations


def main() -> None:
    """Entry point of the `referral` script."""
    from broker.cli.root import referral

    referral()
