"""Models for vqcodec, one folder each; vqcodec finds them here."""
