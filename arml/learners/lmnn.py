"""metric-learn's LMNN, with the search for impostors and the gradient made cheaper.

LMNN (Weinberger & Saul, JMLR 2009) descends on ``sum_targets d(x, t) + sum_triplets [1 + d(x, t) - d(x, i)]_+`` with
squared distances d. metric-learn evaluates every step anew: all distances between points of two classes, and a product
of (pairs, d) matrices for every target rank. Two observations make the same step cheap.

* A step moves the transformed points little. After one full search that also keeps the pairs that are near to being
  impostors, a pair outside the list cannot become one before the points have moved by the slack (triangle inequality,
  see `_Candidates`); only the list is looked at until then.
* The gradient ``sum_e w_e (x_a - x_b)(x_a - x_b)'`` over weighted edges e = (a, b) is ``X' L X`` with the edges' graph
  Laplacian L, a sparse matrix: one product of (d, n) with (n, d), whatever the number of edges.

The step itself, its line search and its stopping rule are the library's ``fit``; the impostors are the same set and the
gradient is the same matrix, summed in another order. `tests/learners/test_lmnn.py` holds the two side by side.

Where it parts from the library
-------------------------------
Whether a triplet counts is a strict comparison of two distances, ``1 + d(x, t) > d(x, i)``. Where the two sides are
equal in exact arithmetic, rounding decides, and the library rounds otherwise (it expands the squares, here they are
differences). At the identity start such ties occur on data on a grid: with one-hot or integer features all squared
distances are integers, and ``1 + 4 = 5`` is a tie. Pendigits, whose coordinates are hundredths, is such a set: fitted
on all 7,494 points to the end the two metrics have been seen a relative 2e-2 apart, since a triplet more or less in one
gradient leads the line search elsewhere. On its first 2,000 points (20 steps) they agree to 1e-15.
"""

from __future__ import annotations

from typing import Self

import metric_learn
import numpy as np
import scipy.sparse
from numpy.typing import ArrayLike, NDArray

from arml.learners.base import Array

Indices = NDArray[np.int64]

#: Pairs whose distance is measured at once: bounds the memory of the differences.
CHUNK = 20_000
#: How much farther than an impostor a pair may be and still be kept, relative to the mean radius of the neighbourhoods.
SLACK = 0.25


class IncrementalLMNN(metric_learn.LMNN):
    """`metric_learn.LMNN` with the same parameters, attributes and result, several times faster on large sets."""

    def fit(self, X: ArrayLike, y: ArrayLike) -> Self:
        """Learn from X (n, d) and labels y (n,) as the library does."""
        self._candidates: _Candidates | None = None
        try:
            super().fit(X, y)
        finally:
            del self._candidates
        return self

    def _loss_grad(
        self, X: Array, L: Array, dfG: Array, k: int, reg: float, target_neighbors: Indices, label_inds: Indices
    ) -> tuple[Array, float, int]:
        """The library's step: gradient (r, d) at L (r, d), objective, number of violated triplets."""
        Z = X @ L.T
        # margins[i, t]: squared distance an intruder must keep from point i so as not to violate its target t.
        margins = 1.0 + np.stack([_squared(Z - Z[targets]) for targets in target_neighbors.T], axis=1)
        radii = np.sqrt(margins.max(axis=1))
        if self._candidates is None or not self._candidates.cover(Z, radii):
            self._candidates = _Candidates(Z, radii, label_inds)
        first, second, distances = self._candidates.impostors(Z, radii)
        edges = scipy.sparse.csr_array((len(X), len(X)), dtype=np.float64)
        n_active = 0
        for anchors, intruders in ((first, second), (second, first)):
            # active[p, t]: pair p violates target t of its anchor.
            active = distances[:, None] < margins[anchors]
            n_active += int(active.sum())
            pulls = np.zeros_like(margins)
            np.add.at(pulls, anchors, active)
            edges = edges + _edges(np.arange(len(X)).repeat(k), target_neighbors.ravel(), pulls.ravel(), len(X))
            edges = edges - _edges(anchors, intruders, active.sum(axis=1), len(X))
        gradient = dfG * reg + _sum_of_outer_products(X, edges) * (1 - reg)
        gradient = L @ gradient
        objective = n_active * (1 - reg) + float((gradient * L).sum())
        return 2 * gradient, objective, n_active


class _Candidates:
    """The pairs of two classes that were within ``reach`` of one of their points when the transformed points were Z.

    A pair (a, b) outside the list had ``d(a, b) >= reach_a`` and ``>= reach_b``. When the points have since moved by at
    most e_i (up to a common shift, which moves no distance), its distance is at least ``reach_a - e_a - max e``, so it
    is no impostor while ``radius_i + e_i + max e <= reach_i`` holds for all points; `cover` says whether it does.
    The radius of a point is that of its neighbourhood: distance to the farthest target, with the margin.
    """

    def __init__(self, Z: Array, radii: Array, labels: Indices) -> None:
        self._Z = Z
        self._moved = np.zeros(len(Z))
        self._reach = radii + SLACK * radii.mean()
        found = [self._between(np.flatnonzero(labels == c), np.flatnonzero(labels > c)) for c in np.unique(labels)]
        self._first, self._second, self._distances = (np.concatenate(part) for part in zip(*found, strict=True))

    def _between(self, inside: Indices, outside: Indices) -> tuple[Indices, Indices, Array]:
        """Pairs of the points of a class and those of later classes, and their distances."""
        origin = self._Z.mean(axis=0)
        A, B = self._Z[inside] - origin, self._Z[outside] - origin
        squared = (B * B).sum(axis=1)[:, None] + (A * A).sum(axis=1) - 2.0 * (B @ A.T)
        # The expanded square is off by its rounding; what it may have lost is added.
        lost = 1e-12 * ((A * A).sum(axis=1).max(initial=0.0) + (B * B).sum(axis=1).max(initial=0.0))
        reach = np.maximum(self._reach[outside][:, None], self._reach[inside])
        rows, columns = np.nonzero(squared < reach * reach + lost)
        distances = np.sqrt(np.maximum(squared[rows, columns] - lost, 0.0))
        return inside[columns], outside[rows], distances

    def cover(self, Z: Array, radii: Array) -> bool:
        """Whether every impostor among the transformed points Z (n, r) is in the list."""
        shift = Z - self._Z
        self._moved = np.sqrt(_squared(shift - shift.mean(axis=0)))
        return bool((radii + self._moved + self._moved.max() <= self._reach).all())

    def impostors(self, Z: Array, radii: Array) -> tuple[Indices, Indices, Array]:
        """Pairs nearer than the radius of one of the two, and their squared distances at Z.

        To be called for the Z that `cover` was asked about last, or for the one the list was made at.
        """
        a, b, moved = self._first, self._second, self._moved
        wider = np.maximum(radii[a], radii[b])
        possible = self._distances - moved[a] - moved[b] < wider * (1 + 1e-12)
        a, b, wider = a[possible], b[possible], wider[possible]
        starts = range(0, len(a), CHUNK)
        measured = [_squared(Z[a[s : s + CHUNK]] - Z[b[s : s + CHUNK]]) for s in starts]
        squared = np.concatenate(measured) if measured else np.zeros(0)
        inside = squared < wider * wider
        return a[inside], b[inside], squared[inside]


def _squared(differences: Array) -> Array:
    return np.asarray(np.einsum("ij,ij->i", differences, differences))


def _edges(a: Indices, b: Indices, weights: NDArray[np.generic], n: int) -> scipy.sparse.csr_array:
    heavy = weights != 0
    return scipy.sparse.coo_array((weights[heavy].astype(np.float64), (a[heavy], b[heavy])), shape=(n, n)).tocsr()


def _sum_of_outer_products(X: Array, edges: scipy.sparse.csr_array) -> Array:
    """``sum w_ab (x_a - x_b)(x_a - x_b)'`` (d, d) over the entries w_ab of a sparse (n, n) matrix."""
    both = edges + edges.T
    degrees = np.asarray(both.sum(axis=1)).ravel()
    centred = X - X.mean(axis=0)
    return np.asarray(centred.T @ (degrees[:, None] * centred - both @ centred))
