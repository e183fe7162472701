"""What the hub keeps: tables, one module of queries per table, migrations.

Functions here take the caller's connection and never commit.
"""
