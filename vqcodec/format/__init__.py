"""Bytes <-> sections and streams. The specification of the format is container.py's docstring."""
