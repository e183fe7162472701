"""The gateway's tables and the queries on them, one module per table. None of them commits."""
