"""PROCESS: one participant's gateway. The only place where a seal is opened.

app  settings  core  parts  home      the composition root and what it builds
api/                                  the local API of workers
send/      steps 2 and 3              drafts, compose, sender (number, seal, sign, store), outbox
receive/   steps 8 to 10              mailbox or queue, receiver, unpack, intake, filing, receipts
consent/                              grants, withdrawal, erasures
evidence                              what others state about our messages
threads  agreements  content_check    what both directions ask
deadlines                             what did not come in time
vault                                 plaintext at rest, under keys that can be destroyed
own_log                               our own decisions, as leaves
store/                                tables, queries, migrations
"""
