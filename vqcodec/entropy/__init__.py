"""What predicts and codes latents: integer arithmetic, the same on every machine."""
