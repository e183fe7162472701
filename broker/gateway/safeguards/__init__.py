"""What protects a person: known to her case's gateway, never said outside it.

`words` is what may be known, and what received sections tell by themselves; `known` finds it for a
message in either direction; `keeping` is how a worker writes it down, `sweep` asks to look again at what
has ended. The content rules
(`broker.rules.content`) get it as their `Person` at sending, at delivery and on opening.
"""
