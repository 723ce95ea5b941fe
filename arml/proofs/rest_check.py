"""Other-class points that a proof does not mention: each must cost the claimed bound by itself (Theorem 1's row value).

For a bound l, point j costs at least l if k of the label's points i have

    c_j - c_i >= 2 l ||p_j - p_i||                                                                             (2)

First seen for all test points of a label together, from the products of `arml.proofs.products`; the few that this
leaves in doubt are seen from differences, point by point (`arml.proofs.view`), and in a wider format at last.
"""

from __future__ import annotations

import numpy as np

from arml.proofs.claim import Integers
from arml.proofs.events import Booleans
from arml.proofs.precision import DOUBLE, TINY, Array
from arml.proofs.products import Mapped, Products
from arml.proofs.view import scaled

# Same-class points that a doubtful other-class point is compared with in the batch.
_ANCHORS = 8
_PAIRS = 32_768


def unshown_by_one(products: Products, points: Mapped, lower: Array, own: Booleans) -> tuple[Integers, Integers]:
    """Pairs (test point, other-class point) for which the nearest of the label's points show no (2), K = 1.

    Parameters
    ----------
    points : test points (t,) of one label; lower (t,) : their bounds in the products' unit
    own (n,) : which training points have that label; there must be one
    """
    least = products.least_sq_distances(points)
    same = np.flatnonzero(own)
    count = min(_ANCHORS, len(same))
    to_same = least[:, same]
    nearest = np.argpartition(to_same, count - 1, axis=1)[:, :count] if count < len(same) else _all(to_same)
    order = np.argsort(np.take_along_axis(to_same, nearest, axis=1), axis=1)
    anchors = same[np.take_along_axis(nearest, order, axis=1)]
    taken = most_sq_distance(products, points, np.arange(len(lower)), anchors[:, 0])
    least -= taken[:, None]
    # (2) squared, with the sign kept: one pass less over the large arrays than with a square root.
    needed = products.most_sq_lengths(anchors[:, 0], 4 * lower * lower)
    have = np.abs(least)
    have *= least
    have *= 1 - 1e-14
    doubtful = ~(have >= needed)
    doubtful[:, same] = False
    points_left, others = np.nonzero(doubtful)
    # The squared distances again: what they lost when they were put together and apart is less than 8 roundings.
    c_other = (least[points_left, others] + taken[points_left]) * (1 - 8 * DOUBLE.u)
    for position in range(1, count):
        if not len(others):
            break
        keep = ~_shown(products, points, lower, points_left, others, anchors[points_left, position], c_other)
        points_left, others, c_other = points_left[keep], others[keep], c_other[keep]
    return points_left, others


def _all(values: Array) -> Integers:
    return np.broadcast_to(np.arange(values.shape[1]), values.shape)


def most_sq_distance(products: Products, points: Mapped, rows: Integers, columns: Integers) -> Array:
    """Upper bounds of the squared distances of pairs (test point, training point)."""
    apart = points.Z[rows] - products.train.Z[columns]
    error = points.z_error[rows] + products.train.z_error[columns]
    error = error + DOUBLE.u * np.sqrt(points.z_sq[rows] + products.train.z_sq[columns])
    length = np.sqrt(np.einsum("pr,pr->p", apart, apart)) * (1 + DOUBLE.gamma(apart.shape[1] + 4)) + 1.01 * error
    return np.asarray(length * length * (1 + 4 * DOUBLE.u))


def _shown(
    products: Products, points: Mapped, lower: Array, rows: Integers, others: Integers, same: Integers, c_other: Array
) -> Booleans:
    """Whether (2) holds for triples (test point, other-class point, same-class point)."""
    shown = np.zeros(len(rows), dtype=bool)
    P, p_error = products.train.P, products.train.p_error
    for start in range(0, len(rows), _PAIRS):
        some = slice(start, start + _PAIRS)
        i, j, s = rows[some], others[some], same[some]
        apart = P[j] - P[s]
        length = np.sqrt(np.einsum("pd,pd->p", apart, apart)) * (1 + DOUBLE.gamma(apart.shape[1] + 8))
        length += 1.01 * (p_error[j] + p_error[s]) + TINY
        have = (c_other[some] - most_sq_distance(products, points, i, s)) * (1 - 1e-15)
        shown[some] = have >= 2 * lower[i] * length * (1 + 1e-15)
    return shown


def unshown_by_k(
    products: Products, X: Array, lower: Array, own: Booleans, k: int, mentioned: Booleans
) -> list[Integers]:
    """For each of the test points X (t, d) of one label the other-class points of which too few pairs show (2).

    Parameters
    ----------
    lower (t,) : the test points' bounds; own (n,) : which training points have their label
    mentioned (t, n) : training points that need not show anything
    """
    same, doubtful = np.flatnonzero(own), ~(mentioned | own)
    if len(same) < k:
        return [np.flatnonzero(row) for row in doubtful]
    points, goal = products.points(X), scaled(lower, products.unit)
    least = products.least_sq_distances(points)
    lengths = products.lengths_from(points)
    lengths *= (2 * goal * (1 + 1e-14))[:, None]
    # With the triangle inequality ||p_j - p_i|| <= ||p_j|| + ||p_i||, as seen from the test point, j and i part.
    count = min(4 * k, len(same))
    near = same[np.argpartition(least[:, same], count - 1, axis=1)[:, :count]] if count < len(same) else None
    left = []
    for t in range(len(X)):
        mine = same if near is None else near[t]
        c_same = most_sq_distance(products, points, np.full(len(mine), t), mine)
        bar = np.partition((c_same + lengths[t, mine]) * (1 + 1e-15), k - 1)[k - 1]
        rows = np.flatnonzero(doubtful[t] & ~((least[t] - lengths[t]) * (1 - 1e-15) >= bar))
        left.append(_too_few(products, least[t, rows], c_same, rows, mine, k, float(goal[t])))
    return left


def _too_few(
    products: Products, c_other: Array, c_same: Array, others: Integers, same: Integers, k: int, goal: float
) -> Integers:
    """Those of the others (o,) for which fewer than k of the same (s,) show (2)."""
    if not len(others):
        return others
    needed = products.most_sq_lengths_between(others, same) * (4 * goal * goal * (1 + 1e-14))
    have = c_other[:, None] - c_same
    have *= np.abs(have) * (1 - 1e-14)
    return others[(have >= needed).sum(axis=1) < k]
