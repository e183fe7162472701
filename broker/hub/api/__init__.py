"""The hub's HTTP interface, one module per resource (docs/protocol.md, section 4).

Each module makes a router around the parts that it is given; none of them decides anything.
"""
