"""Client-facing wire formats: each a `parse` and a `render`, never an attempt loop of its own."""
