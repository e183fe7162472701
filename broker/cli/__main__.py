"""`python -m broker.cli`: the same as the `referral` script, without needing it installed."""

from broker.cli import main

main()
