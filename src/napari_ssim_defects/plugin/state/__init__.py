"""Everything that the panel shows, edits and remembers; no Qt."""
