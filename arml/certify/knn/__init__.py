"""Theorem 1 and exact radii of K-NN, for any odd K."""
