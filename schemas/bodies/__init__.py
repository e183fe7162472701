"""The typed body of each message type: what is said beside the sections. Always sealed.

A body never repeats what a section carries; it is the act (ask, accept, decline, sign) and not
the person's data. Codes stand where a choice is enough, and free text is never required of
anyone except where a question or a reason is the whole point.
"""
