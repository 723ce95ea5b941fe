"""Training points seen from a test point, for the check of exact K-NN radii: with bounds of its own rounding."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from arml.certify.verdict import FittedNeighbors

Array = NDArray[np.float64]
Integers = NDArray[np.int64]

#: By how much a claim may exceed what the check shows, relatively.
ROUNDING = 1e-9

_U = 2.0**-53


@dataclass(frozen=True)
class View:
    """Training points seen from a test point, in units of ``unit``: a power of two near the size of what is seen.

    c (m,) squared distances, P (m, d) rows ``M (x_i - x)``, y (m,) labels; c_error (m,) and P_error (m,), in norm, are
    bounds of their rounding.
    """

    c: Array
    P: Array
    y: Integers
    c_error: Array
    P_error: Array
    unit: float

    @classmethod
    def of(cls, knn: FittedNeighbors, x: Array) -> View:
        """The whole training set of ``knn`` seen from x (d,)."""
        T = knn.X_train_ - x
        unit, divisor = power_of_two(np.abs(T).max()), power_of_two(np.abs(knn.metric_.components).max())
        T, G = T / unit, knn.metric_.components / divisor
        absolute, growth = np.abs(G), 2 * (sum(G.shape) + 8) * _U
        Z = T @ G.T
        Z_error = growth * (np.abs(T) @ absolute.T)
        P = Z @ G
        P_error = np.linalg.norm(Z_error @ absolute + growth * (np.abs(Z) @ absolute), axis=1)
        c, z_error = np.einsum("mr,mr->m", Z, Z), np.linalg.norm(Z_error, axis=1)
        c_error = growth * c + (2 * np.sqrt(c) + z_error) * z_error
        return cls(c, P, knn.y_train_, c_error, P_error, unit)

    def part(self, rows: Integers) -> View:
        """The points ``rows`` only."""
        return View(self.c[rows], self.P[rows], self.y[rows], self.c_error[rows], self.P_error[rows], self.unit)

    def distances(self, rows: Integers, others: Integers) -> Array:
        """``||p_j - p_i||``, rounded up, never 0."""
        A, B = self.P[rows], self.P[others]
        sq_A, sq_B = np.einsum("ad,ad->a", A, A)[:, None], np.einsum("bd,bd->b", B, B)
        sq = np.maximum(sq_A + sq_B - 2 * (A @ B.T), 0) + 4 * (A.shape[1] + 6) * _U * (sq_A + sq_B)
        return np.sqrt(sq) * (1 + 1e-15) + self.P_error[rows][:, None] + self.P_error[others] + 1e-300


def power_of_two(value: float) -> float:
    """The power of two next below a positive value; 1 for 0."""
    return float(2.0 ** np.floor(np.log2(value))) if value > 0 else 1.0


def row_values(view: View, rows: Integers, same: Integers, k: int) -> Array:
    """k-th largest margin of each row over the points ``same`` (Theorem 1), rounded down; 0 where there are fewer."""
    if len(same) < k:
        return np.zeros(len(rows))
    values = []
    for block in np.array_split(rows, max(1, len(rows) * len(same) // 2_000_000)):
        ahead = (view.c[block] - view.c_error[block])[:, None] - (view.c[same] + view.c_error[same])
        margins = ahead / (2 * view.distances(block, same))
        values.append(np.partition(margins, len(same) - k, axis=1)[:, len(same) - k])
    return np.concatenate(values)
