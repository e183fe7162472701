"""Grants given and received, their withdrawal, and who has erased what."""
