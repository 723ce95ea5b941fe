"""Moved distances from inner products of the points, which are computed once and then serve all nodes of a search.

The solution of a cell is ``delta = -sum w (p_high - p_low)`` over a handful of active pairs, hence

    f_i(delta) = c_i - 2 delta' p_i = c_i + 2 sum w (p_high' p_i - p_low' p_i)

costs two numbers per active pair instead of one per feature. The same few points are active all over a tree: a row of
inner products is made when a point first becomes active, and kept.

Where perturbed points must stay in a box, its active bounds stand among the pairs, as (`BELOW` or `ABOVE`, feature).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from arml.compiled import compiled
from arml.least_distance.arrays import assign

Array = NDArray[np.float64]
Integers = NDArray[np.int64]

#: In place of the low point of a pair: the feature may not fall, or rise, any further.
BELOW, ABOVE = -1, -2

# A pair whose squared distance is below this, relative to the squared norms of its points, would lose digits.
_CLOSE = 1e-4


class InnerProducts(NamedTuple):
    """Inner products of some points with all m: ``rows`` (r, m), the row of each point or -1, and how many are made."""

    rows: Array
    row_of: Integers
    made: Integers

    @classmethod
    def empty(cls, m: int, memory: int) -> InnerProducts:
        """None made yet, and room for as many rows as fit into ``memory`` bytes (which are claimed when written)."""
        rows = min(m, memory // (8 * max(m, 1)))
        return cls(np.empty((rows, m)), np.full(m, -1, np.int64), np.zeros(1, np.int64))


@compiled
def cover(P: Array, inner: InnerProducts, pairs: Integers, lengths: Array) -> bool:
    """Make the rows of all points in pairs (s, 2); whether they serve.

    They do not where there is no room, or where the points of a pair, ``lengths`` (s,) apart, nearly coincide.
    """
    for q in range(lengths.shape[0]):
        if pairs[q, 0] < 0:
            continue
        sq_size = 0.0
        for side in range(2):
            i = pairs[q, side]
            if inner.row_of[i] < 0:
                if inner.made[0] >= inner.rows.shape[0]:
                    return False
                assign(inner.rows[inner.made[0]], np.dot(P, P[i]))
                inner.row_of[i] = inner.made[0]
                inner.made[0] += 1
            sq_size += inner.rows[inner.row_of[i], i]
        if lengths[q] * lengths[q] <= _CLOSE * sq_size:
            return False
    return True


@compiled
def move_all(P: Array, c: Array, inner: InnerProducts, pairs: Integers, weights: Array, f: Array) -> None:
    """Moved distances f (m,) for the weights (s,) of covered pairs (s, 2)."""
    assign(f, c)
    for q in range(weights.shape[0]):
        twice = 2.0 * weights[q]
        if pairs[q, 0] < 0:
            twice = -twice if pairs[q, 0] == BELOW else twice
            for i in range(f.shape[0]):
                f[i] += twice * P[i, pairs[q, 1]]
            continue
        low, high = inner.rows[inner.row_of[pairs[q, 0]]], inner.rows[inner.row_of[pairs[q, 1]]]
        for i in range(f.shape[0]):
            f[i] += twice * (high[i] - low[i])


@compiled
def move_some(
    P: Array, c: Array, inner: InnerProducts, pairs: Integers, weights: Array, points: Integers, f: Array
) -> None:
    """The same for the given points alone."""
    for i in points:
        f[i] = c[i]
    for q in range(weights.shape[0]):
        twice = 2.0 * weights[q]
        if pairs[q, 0] < 0:
            twice = -twice if pairs[q, 0] == BELOW else twice
            for i in points:
                f[i] += twice * P[i, pairs[q, 1]]
            continue
        low, high = inner.rows[inner.row_of[pairs[q, 0]]], inner.rows[inner.row_of[pairs[q, 1]]]
        for i in points:
            f[i] += twice * (high[i] - low[i])
