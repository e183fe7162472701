"""To try it and to learn it."""
