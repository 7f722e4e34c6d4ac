"""Plugins for other libraries, each imported only with its library."""
