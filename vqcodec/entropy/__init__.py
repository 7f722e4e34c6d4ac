"""Prediction and vector quantisation of latents, in integer arithmetic that is the same on every machine."""
