"""Training: a folder of images -> a model."""
