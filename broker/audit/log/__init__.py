"""The log itself: tree, notes, checkpoints, tiles, and who writes it."""
