"""Steps 4 to 6: from bytes to an accepted envelope, or a signed refusal."""
