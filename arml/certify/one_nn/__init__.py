"""Exact radii of 1-NN (K = 1)."""
