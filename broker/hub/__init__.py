"""PROCESS: the hub. It accepts, judges, records and relays, and cannot read what it carries.

app  settings  state      the composition root, and what all parts share while the process runs
api/                      one module per resource of docs/protocol.md, section 4
intake/    steps 4 to 6   parse, key, signature, age, repetition, rules; one transaction for many
relay/     step 7         ask the rules again, hand over, RabbitMQ with confirms
evidence  testimony       what comes back, and what the hub itself states
registry                  grants, agreements, the directory's versions
closing  deadlines        what may not travel any more, what did not come in time
retention                 forgets ciphertext when its time is over
wake  grouping            who must hear of a change; many callers, one transaction
store/                    tables, one module of queries per table, migrations
"""
