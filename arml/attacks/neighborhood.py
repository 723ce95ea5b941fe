"""The training points that can matter to one test point within a given reach, and how their distances move.

After the term common to all points is dropped, every squared distance is affine in the perturbation delta:

    d_M(x + delta, x_i) = c_i - 2 delta' M (x_i - x) + delta' M delta,      c_i = d_M(x, x_i)

A point that stays behind K others of its own side (same class, or other classes) for every ``||delta|| <= reach`` is
left out; that changes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Integers = NDArray[np.int64]
Booleans = NDArray[np.bool_]


@dataclass(frozen=True)
class Neighborhood:
    """Training points around one test point x with label y.

    Attributes
    ----------
    index (m,) the points' rows in the training set; P (m, d) rows ``M (x_i - x)``; c (m,) squared distances;
    votes (m,) class numbers; own, other : positions of the points with and without the label y
    """

    index: Integers
    P: Array
    c: Array
    votes: Integers
    own: Integers
    other: Integers

    def moved(self, delta: Array) -> Array:
        """Squared distances (m,) from ``x + delta``, without the term common to all."""
        return np.asarray(self.c - 2.0 * (self.P @ delta))

    def sides(self, moved: Array, n_other: int, n_own: int) -> tuple[Integers, Integers]:
        """The ``n_other`` nearest points of other classes and the ``n_own`` nearest of the same, by ``moved`` (m,)."""
        return self.other[smallest(moved[self.other], n_other)], self.own[smallest(moved[self.own], n_own)]

    def tally(self, moved: Array, n_neighbors: int, n_classes: int) -> Integers:
        """Votes (C,) of the K nearest points by ``moved`` (m,)."""
        return np.bincount(self.votes[smallest(moved, n_neighbors)], minlength=n_classes)


def mattering(c: Array, e: Array, P: Array, own: Booleans, reach: float, n_neighbors: int) -> Integers:
    """Rows of the training points that can be among the K nearest of their side for some ``||delta|| <= reach``.

    ``c`` (n,) are squared distances to x, ``e`` (n,) the norms ``||M (x_i - x)||``, ``P`` (n, d) rows ``M x_i``.
    A point i stays behind a point l where ``c_i - c_l > 2 reach ||M (x_i - x_l)||``; it is left out if it stays behind
    K others. First the norm is bounded by ``e_i + e_l``, then it is taken exactly for a few l. Rounding is of no
    concern here, as every attack is verified by the classifier.
    """
    kept = []
    for side in (np.flatnonzero(own), np.flatnonzero(~own)):
        nearest = side[smallest(c[side], 2 * n_neighbors)]
        if len(nearest) > n_neighbors and np.isfinite(reach):
            limit = np.partition(c[nearest] + 2 * reach * e[nearest], n_neighbors - 1)[n_neighbors - 1]
            side = side[c[side] - 2 * reach * e[side] <= limit]
            A, B = P[side], P[nearest]
            sq = (A * A).sum(-1)[:, None] + (B * B).sum(-1) - 2 * (A @ B.T)
            behind = c[side, None] - c[nearest] > 2 * reach * np.sqrt(np.maximum(sq, 0))
            side = side[behind.sum(axis=1) < n_neighbors]
        kept.append(side)
    return np.sort(np.concatenate(kept))


def smallest(values: Array, count: int) -> Integers:
    """Positions of the ``count`` smallest values, ascending; all of them where there are fewer."""
    if count >= len(values):
        return np.argsort(values, kind="stable")
    chosen = np.argpartition(values, count)[:count] if count else np.empty(0, dtype=np.int64)
    return np.asarray(chosen[np.argsort(values[chosen], kind="stable")])
