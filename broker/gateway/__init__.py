"""PROCESS: one participant's gateway. The only place where a seal is opened.

app  settings  core  parts  home      the composition root and what it builds
api/                                  the local API of workers
send/      steps 2 and 3              drafts, compose, sender (number, seal, sign, store), outbox
receive/   steps 8 to 10              mailbox or queue, receiver, unpack, intake, filing, receipts
threads  content_check                what both directions ask
network/                              what others state and allow, and what we tell the hub beside messages
cases/                                decisions, questions and changes between exchanges and the case system
consent/  safeguards/                 what she allows; what protects her whatever she allows
rights/  erasure/  notices/           what she may ask for, how data end, what she is told
deadlines/                            what did not come in time
statistics/                           numbers that reveal nobody
vault/                                plaintext at rest, under keys that can be destroyed
own_log  metrics  notify  retention   our own decisions as leaves; counts; silent mail; forgetting in time
lending  batch                        what the adapter may use; one commit for many
store/                                tables, queries, migrations
"""
