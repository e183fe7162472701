"""PROCESS: the hub. It accepts, judges, records and relays, and cannot read what it carries.

app  settings  state      the composition root, and what all parts share while the process runs
api/                      one module per resource of docs/protocol.md, section 4
intake/    steps 4 to 6   parse, key, signature; then repetition, rules and record, one transaction for many
relay/     step 7         ask the rules again, hand over, RabbitMQ with confirms
evidence   step 10        what comes back
registry  revocations     grants, agreements, the directory's versions; keys in other hands
marks  finding            how far streams have gone; whom to call in which country
ending/                   what may not travel any more, what did not come in time, what is forgotten
log/                      what the hub itself states, its witnesses, an auditor's bundle, a log that was set back
words/                    what a page for people says, by language
wake  grouping            who must hear of a change; many callers, one transaction
health  metrics           whether it can keep its promises; what it counts
store/                    tables, one module of queries per table, migrations
"""
