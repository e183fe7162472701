"""What runs: the hub, the gateway, the command line, and what they share.

hub/       PROCESS  accepts, judges, records, relays; cannot read
gateway/   PROCESS  one per participant; the only one that opens a seal
cli/       PROCESS  `referral ...`
rules/     LIBRARY  pure decisions: header (both sides), content (gateway only)
client/    LIBRARY  talks to a hub
audit/     LIBRARY  the Merkle log, its proofs, its witnesses
amqp/  database  migrating  http  telemetry  clock  heap   PLUMBING
"""
