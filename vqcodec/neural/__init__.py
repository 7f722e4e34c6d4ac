"""The networks in torch, for training and for GPUs: the only importer of torch."""
