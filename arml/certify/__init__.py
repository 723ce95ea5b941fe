"""Certification of Mahalanobis nearest-neighbour classifiers: exact radii and Theorem 1, with proofs."""
