"""Encoder choices: quality -> step, layout, and the search for a step that meets a target."""
RATE = 0.13
FULL_CHROMA_BELOW = 10.0
