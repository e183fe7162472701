"""Who may speak and who may read: all cryptography and all custody of keys. Never a key file.

Reading order: `strict_json` and `jwk` (what comes in), `binding` (what is bound to what), `signing`,
`sealing`, `unsealing`, `streams` (what travels), `http_signing` (who is asking), `trust` and
`ceremony` (whose key it is), `lifecycle` and `custody` (where the private halves live).
"""
