"""The demo: a referral's whole life between two countries, told step by step, really happening.

Read `story` first: it is the list of what happens. `processes` starts and kills what runs,
`recount` counts what arrived from the gateways and their folders, never from the hub.
"""
