"""Processes, threads, signals and progress."""
