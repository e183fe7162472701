"""How a country says it: translation between a national case system and the sections of a case.

An adapter knows `schemas` and nothing else of ours: no keys, no queue, no database. The gateway
calls it through the port in `adapters.base`. To add one, read `docs/adapters.md`.
"""
