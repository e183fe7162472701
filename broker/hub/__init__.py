"""The hub: accepts, judges, records, relays. It cannot read what it carries.

settings            what an operator writes
app                 composition root: settings in, ASGI application and background loops out
state               what all of them share while the process runs
api/                one module per resource of docs/protocol.md, section 4
intake              parse, key, signature, age, repetition, rules, one transaction (group commit)
refusals            signed refusals, quarantine, and what strangers get
evidence            what comes back, matched to what went out
handover            asks the rules again, for relay and mailbox alike
relay               delivery table to RabbitMQ, with confirms
deadlines           what did not come in time
retention           forgets ciphertext when its time is over
stops               withdrawals while the log cannot be written
store/              tables, one module of queries per table, migrations
"""
