"""Two adapters to copy: `casebook` in Python, `jsonlines` in another language. Both pass the kit."""
