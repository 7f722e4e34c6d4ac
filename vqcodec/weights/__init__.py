"""Model folders <-> objects."""
