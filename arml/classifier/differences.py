"""Distances and rows of single training points from differences of points: what a test point's own frame would show.

The expansion of ``|a - b|^2`` in a matrix product errs by the size of the points; a difference taken first errs by the
size of the difference, so that points near each other are told apart wherever they lie.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from arml.classifier.rounding import UNDERFLOW, gamma
from arml.geometry import Mahalanobis

Array = NDArray[np.float64]
Integers = NDArray[np.int64]

_SAFETY = 1 + 1e-6


@dataclass(frozen=True)
class Differences:
    """Training points seen from a point x: squared distances c (m,) and rows P = ``M (x_i - x)`` (m, d).

    c_error (m,) and p_error (m,), in norm, bound their rounding.
    """

    c: Array
    P: Array
    c_error: Array
    p_error: Array

    @classmethod
    def of(cls, metric: Mahalanobis, T: Array) -> Differences:
        """From differences T = ``x_i - x`` (m, d), each coordinate off by at most two relative roundings."""
        G = metric.components
        r, d = G.shape
        if r == d and np.array_equal(G, np.eye(d)):
            c = np.einsum("md,md->m", T, T)
            return cls(c, T, gamma(d + 8) * c + UNDERFLOW, gamma(4) * np.sqrt(c) + UNDERFLOW)
        absolute = np.abs(G)
        Z = T @ G.T
        Z_error = gamma(d + 6) * (np.abs(T) @ absolute.T)
        P = Z @ G
        P_error = Z_error @ absolute + gamma(r + 4) * (np.abs(Z) @ absolute)
        c = np.einsum("mr,mr->m", Z, Z)
        z_error = np.linalg.norm(Z_error, axis=1)
        c_error = gamma(r + 6) * c + (2 * np.sqrt(c) + z_error) * z_error
        return cls(c, P, _SAFETY * c_error + UNDERFLOW, _SAFETY * np.linalg.norm(P_error, axis=1) + UNDERFLOW)


def sq_distances(metric: Mahalanobis, T: Array, blur: Array | None = None) -> tuple[Array, Array]:
    """Squared distances (m,) of differences T (m, d), and bounds (m,) of their rounding.

    ``blur`` (d,) is by how much each coordinate of all T may be off besides.
    """
    G = metric.components
    r, d = G.shape
    if r == d and np.array_equal(G, np.eye(d)):
        c = np.einsum("md,md->m", T, T)
        error = gamma(d + 8) * c
        z_error: Array | float = 0.0 if blur is None else float(np.linalg.norm(blur))
    else:
        Z = T @ G.T
        z_error = gamma(d + 6) * np.linalg.norm(np.abs(T) @ np.abs(G).T, axis=1)
        if blur is not None:
            z_error = z_error + float(np.linalg.norm(np.abs(G) @ blur))
        c = np.einsum("mr,mr->m", Z, Z)
        error = gamma(r + 6) * c
    return c, _SAFETY * (error + (2 * np.sqrt(c) + z_error) * z_error) + UNDERFLOW
