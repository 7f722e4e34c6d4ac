"""Inference of networks in numpy."""
