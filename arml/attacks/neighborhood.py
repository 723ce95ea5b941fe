"""The training points that can matter to one test point within a given reach, and how their distances move.

After the term common to all points is dropped, every squared distance is affine in the perturbation delta:

    d_M(x + delta, x_i) = c_i - 2 delta' M (x_i - x) + delta' M delta,      c_i = d_M(x, x_i)

For every ``||delta|| <= reach`` a point i stays behind a point l where ``c_i - c_l > 2 reach ||M (x_i - x_l)||``. With
``k = (K + 1) / 2``, left out are

* same-class points that stay behind k others of their class: as long as these are not passed the label has its
  majority, and whoever passes all but k - 1 of the kept has passed those left out too;
* other-class points that stay behind k same-class points: they are among the K nearest only where the label has its
  majority;
* other-class points that stay behind K others of their side: they are never among the K nearest.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

from arml.cells.smallest import smallest

Array = NDArray[np.float64]
Integers = NDArray[np.int64]
Booleans = NDArray[np.bool_]


@dataclass(frozen=True)
class Neighborhood:
    """Training points around one test point x with label y.

    Attributes
    ----------
    index (m,) the points' rows in the training set, those of the ``n_other`` points without the label y first; P (m, d)
    rows ``M (x_i - x)``; c (m,) squared distances; votes (m,) class numbers
    """

    index: Integers
    n_other: int
    P: Array
    c: Array
    votes: Integers

    def nearest_own(self, moved: Array, count: int) -> Integers:
        """Positions of the ``count`` nearest points with the label y, by ``moved`` (m,)."""
        return self.n_other + smallest(moved[self.n_other :], count)


def mattering(
    c: Array, e: Array, P: Array, sq_norm: Array, own: Booleans, reach: float, n_neighbors: int, most: int
) -> tuple[Integers, Integers]:
    """Rows of the other-class and of the same-class points that can matter for some ``||delta|| <= reach``.

    ``c`` (n,) are squared distances to x, ``e`` (n,) the norms ``||M (x_i - x)||``, ``P`` (n, d) rows ``M x_i`` and
    ``sq_norm`` (n,) their squared norms. The norms ``||M (x_i - x_l)||`` are first bounded by ``e_i + e_l``, then taken
    exactly for the points l nearest to x. If more than ``most`` other-class points are left, those are kept that pass
    the label's points soonest. Neither that nor rounding can do harm: every attack is verified by the classifier.
    """
    K, k = n_neighbors, (n_neighbors + 1) // 2
    same, other = np.flatnonzero(own), np.flatnonzero(~own)
    if not np.isfinite(reach):
        return other, same
    near_same, near_other = same[smallest(c[same], 2 * K)], other[smallest(c[other], 2 * K)]
    limit_same = _limit(c, e, near_same, reach, k)
    same = same[c[same] - 2 * reach * e[same] <= limit_same]
    other = other[c[other] - 2 * reach * e[other] <= min(limit_same, _limit(c, e, near_other, reach, K))]
    same = same[_margin(c, P, sq_norm, same, near_same, k) <= reach]
    value = _margin(c, P, sq_norm, other, near_same, k)
    other, value = other[value <= reach], value[value <= reach]
    kept = _margin(c, P, sq_norm, other, near_other, K) <= reach
    other, value = other[kept], value[kept]
    return other if len(other) <= most else np.sort(other[np.argpartition(value, most)[:most]]), same


def _limit(c: Array, e: Array, nearest: Integers, reach: float, count: int) -> float:
    """A distance within which ``count`` of the ``nearest`` points stay."""
    if len(nearest) < count:
        return np.inf
    return float(np.partition(c[nearest] + 2 * reach * e[nearest], count - 1)[count - 1])


def _margin(c: Array, P: Array, sq_norm: Array, rows: Integers, nearest: Integers, count: int) -> Array:
    """How far x must be moved at least before each of the ``rows`` (r,) passes all but ``count - 1`` of the nearest."""
    if len(nearest) < count:
        return np.full(len(rows), -np.inf)
    # Gathering many rows would cost more than multiplying all of them.
    products = P[rows] @ P[nearest].T if 4 * len(rows) < len(P) else (P @ P[nearest].T)[rows]
    return _passing(c, sq_norm, rows, nearest, products, count)


@njit(cache=True, nogil=True)
def _passing(c: Array, sq_norm: Array, rows: Integers, nearest: Integers, products: Array, count: int) -> Array:
    """The ``count``-th largest of each row's distances to where it passes one of the ``nearest``, given P_i' P_l."""
    largest = np.empty(count)
    result = np.empty(len(rows))
    for r in range(len(rows)):
        i = rows[r]
        largest[:] = -np.inf
        for q in range(len(nearest)):
            near = nearest[q]
            gap, sq = c[i] - c[near], sq_norm[i] + sq_norm[near] - 2 * products[r, q]
            margin = np.sign(gap) * np.inf if gap != 0 else 0.0
            if sq > 0:
                margin = gap / (2 * np.sqrt(sq))
            p = count - 1
            if margin <= largest[p]:
                continue
            while p > 0 and largest[p - 1] < margin:
                largest[p] = largest[p - 1]
                p -= 1
            largest[p] = margin
        result[r] = largest[count - 1]
    return result
