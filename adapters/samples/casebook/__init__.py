"""A small case system of one's own, in SQLite: copy this folder, rename it, map."""
