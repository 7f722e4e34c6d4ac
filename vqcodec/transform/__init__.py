"""Pixels <-> transform coefficients."""
