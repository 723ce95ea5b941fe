"""Theorem 1 of *Provably Robust Metric Learning*, evaluated literally: the yardstick of `arml.certify.knn.theorem1`.

    radius(x, y) >= [ k-th min over j with y_j != y of  k-th max over i with y_i = y of  m(x_i, x_j, x) ]_+

with ``k = (K + 1) / 2`` and ``m(x_i, x_j, x) = (d_M(x, x_j) - d_M(x, x_i)) / (2 ||M (x_i - x_j)||)``, eq. (9).

`PlainTheorem1` computes all margins of a test point in float32, in chunks of 100 x 100 pairs, as a plain reading of the
theorem in torch does; the training points are mapped by M once. There are two variants, because there are two ways to
the denominators:

* ``plain``: from the differences ``M x_i - M x_j``, an array of 100 x 100 x d per chunk;
* ``products``: from one small matrix product per chunk, which needs no such array.

`literal_radii` is the theorem in float64, by differences and without any shortcut but one: the denominators, which do
not depend on the test point, are computed once per class. It says what the values should be.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial.distance import cdist

from arml.geometry import Mahalanobis

Array = NDArray[np.float64]
Integers = NDArray[np.int64]
Variant = Literal["plain", "products"]

#: Same-class and other-class points of a chunk.
CHUNK = 100


@dataclass
class PlainTheorem1:
    """The training points X (n, d) with labels y (n,), mapped by the metric once: Z (n, r) = X G', P (n, d) = X M."""

    metric: Mahalanobis
    X: Array
    y: Integers
    n_neighbors: int
    variant: Variant = "plain"
    Z: torch.Tensor = field(init=False)
    P: torch.Tensor = field(init=False)

    def __post_init__(self) -> None:
        self.Z = torch.from_numpy(self.metric.embed(self.X)).float()
        self.P = torch.from_numpy(self.X @ self.metric.matrix).float()

    def radii(self, X: Array, y: Integers) -> Array:
        """`radius` of each of the points X (t, d) with labels y (t,)."""
        return np.array([self.radius(point, int(label)) for point, label in zip(X, y, strict=True)])

    def radius(self, x: Array, y: int) -> float:
        """The theorem's value at the point x (d,) with label y; both sides must have at least k training points."""
        k = (self.n_neighbors + 1) // 2
        u = torch.from_numpy(self.metric.components @ x).float()
        sq_dist = (self.Z - u).square().sum(dim=1)
        own = torch.from_numpy(self.y == y)
        P_own, c_own, P_other, c_other = self.P[own], sq_dist[own], self.P[~own], sq_dist[~own]
        rows = []
        for P_j, c_j in zip(P_other.split(CHUNK), c_other.split(CHUNK), strict=True):
            margins = [
                (c_j - c_i[:, None]) / (2 * self._lengths(P_i, P_j))
                for P_i, c_i in zip(P_own.split(CHUNK), c_own.split(CHUNK), strict=True)
            ]
            rows.append(torch.cat(margins).nan_to_num(nan=0.0).topk(k, dim=0).values[-1])
        return max(0.0, float(torch.cat(rows).topk(k, largest=False).values[-1]))

    def _lengths(self, P_i: torch.Tensor, P_j: torch.Tensor) -> torch.Tensor:
        """``||M (x_i - x_j)||`` of all pairs: (a, b)."""
        if self.variant == "plain":
            return torch.linalg.vector_norm(P_i[:, None] - P_j, dim=2)
        return torch.cdist(P_i, P_j, compute_mode="use_mm_for_euclid_dist")


def literal_radii(
    metric: Mahalanobis, X_train: Array, y_train: Integers, X: Array, y: Integers, n_neighbors: int
) -> Array:
    """The theorem's values (t,) at the points X (t, d) with labels y (t,), in float64."""
    k = (n_neighbors + 1) // 2
    P, radii = X_train @ metric.matrix, np.empty(len(y))
    for label in np.unique(y):
        own = y_train == label
        lengths = cdist(P[~own], P[own])
        for q in np.flatnonzero(y == label):
            sq_dist = metric.sq_dist(X[q], X_train)
            excess = sq_dist[~own][:, None] - sq_dist[own]
            # Points that M does not tell apart are always tied: the margin is 0.
            margins = np.divide(excess, 2 * lengths, out=np.zeros_like(excess), where=lengths > 0)
            position = margins.shape[1] - k
            rows = np.partition(margins, position, axis=1)[:, position]
            radii[q] = max(0.0, float(np.partition(rows, k - 1)[k - 1]))
    return radii
