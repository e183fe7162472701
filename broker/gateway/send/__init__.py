"""Steps 2 and 3: from a draft to sealed, signed bytes on disk, and on to the hub."""
