"""Bytes <-> sections and streams; container.py has the specification."""
