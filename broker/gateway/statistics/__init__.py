"""Statistics: counts of many, from what this gateway holds under a consent for statistics.

`people` reads, `tables` counts, `suppression` decides what may be seen of the counts, `ledger`
remembers what was, `export` writes records that nobody can be found in, `page` draws.
"""
