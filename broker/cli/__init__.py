"""PROCESS: the command line `referral`, for people and scripts; the hub and the gateway start here.

root             every command, by the chapters of `referral --help`
commands/        one module per command
terminal/        how each of them speaks and ends
local  drafting  asking the gateway on this machine, as a worker; from options to a message
fetch            asking a hub what it tells everybody
cases/           the cases of a national file
homes/           the folders of gateways, hubs and whole networks
log/             what is done to a log as files
publishing/      pages that people read without a program
demo/  sandbox/  a whole network that tells its story; a partner that answers by script

Results go to standard output, everything else to standard error. Nothing is imported before
the command that needs it runs, so that `--help` is quick and `log verify` stays offline and small.
"""

from __future__ import annotations


def main() -> None:
    """Entry point of the `referral` script."""
    from broker.cli.root import referral

    referral()
