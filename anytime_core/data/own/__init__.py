"""Data sets of the user's own: their formats, what is refused in them, and the cache that makes them quick to open."""
