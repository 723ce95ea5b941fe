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
from numpy.typing import NDArray

from arml.compiled import compiled
from arml.least_distance.smallest import smallest

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
    same = same[_may_pass(c, sq_norm, same, near_same, _products(P, same, near_same), k, reach)]
    for near, count in ((near_same, k), (near_other, K)):
        other = other[_may_pass(c, sq_norm, other, near, _products(P, other, near), count, reach)]
    if len(other) > most:
        value = _margins(c, sq_norm, other, near_same, _products(P, other, near_same), k)
        other = np.sort(other[np.argpartition(value, most)[:most]])
    return other, same


def _limit(c: Array, e: Array, nearest: Integers, reach: float, count: int) -> float:
    """A distance within which ``count`` of the ``nearest`` points stay."""
    if len(nearest) < count:
        return np.inf
    return float(np.partition(c[nearest] + 2 * reach * e[nearest], count - 1)[count - 1])


def _products(P: Array, rows: Integers, nearest: Integers) -> Array:
    """Inner products (r, l) of rows of P. Gathering many rows would cost more than multiplying all of them."""
    return P[rows] @ P[nearest].T if 4 * len(rows) < len(P) else (P @ P[nearest].T)[rows]


@compiled
def _may_pass(
    c: Array, sq_norm: Array, rows: Integers, nearest: Integers, products: Array, count: int, reach: float
) -> Booleans:
    """Which of the ``rows`` (r,) stay behind fewer than ``count`` of the ``nearest`` (l,) within the reach."""
    result = np.empty(len(rows), np.bool_)
    for r in range(len(rows)):
        i, ahead = rows[r], 0
        for q in range(len(nearest)):
            gap = c[i] - c[nearest[q]]
            sq = max(sq_norm[i] + sq_norm[nearest[q]] - 2 * products[r, q], 0.0)
            ahead += gap > 2 * reach * np.sqrt(sq)
            if ahead == count:
                break
        result[r] = ahead < count
    return result


def _margins(c: Array, sq_norm: Array, rows: Integers, nearest: Integers, products: Array, count: int) -> Array:
    """How far x must be moved at least before each of the ``rows`` (r,) passes all but ``count - 1`` of the nearest."""
    if len(nearest) < count:
        return np.full(len(rows), -np.inf)
    sq = sq_norm[rows, None] + sq_norm[nearest] - 2 * products
    with np.errstate(divide="ignore", invalid="ignore"):
        margin = (c[rows, None] - c[nearest]) / (2 * np.sqrt(np.maximum(sq, 0)))
    margin = np.nan_to_num(margin, nan=0.0, posinf=np.inf, neginf=-np.inf)
    return np.asarray(np.partition(margin, len(nearest) - count, axis=1)[:, len(nearest) - count])
