"""PROCESS: one participant's gateway. The only place where a seal is opened.

The life of a referral, in reading order: `compose` (rules, header, seal), `outbox` (durable
before the first attempt), `mailbox`/`queue` (two channels), `receive` (verify, unseal, store),
`filing` (the case system), `evidence` (receipts out and in), `withdrawal` (stop and erase).
"""
