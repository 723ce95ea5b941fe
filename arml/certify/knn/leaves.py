"""What the nodes of a tree prove, rounding included.

The search (`arml.certify.knn.tree`) works with computed numbers. Here the multipliers it left at the nodes are applied
to the points again, with every rounding error taken at its worst, and the smallest bound over the leaves is what holds
for the test point. P and c are computed values, off by at most ``p_error`` (m,) in norm and ``c_error`` (m,).

For weights w >= 0 on pairs, ``a = sum w (p_h - p_l)`` and ``g = -sum w (c_h - c_l) / 2`` every attack z of the cell has
``-a'z >= g``. With the computed a the right-hand side falls by at most ``blur ||z||``; only attacks shorter than the
``reach`` of interest count, so ``-a'z >= g - blur reach``, z is at least ``beta = (g - blur reach) / ||a||`` long, and
``||z||^2 >= beta^2 + ||z - delta||^2`` for ``delta = -beta a / ||a||``, which is all that `lookahead` needs. A bound
of a box adds ``w`` times its row to a and takes ``w`` times its room, which is off by one rounding, from g.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from arml.certify.knn.lookahead import look_ahead
from arml.certify.knn.tree import SPLIT, VOTE, low_counts, path_status, rows_bound
from arml.compiled import compiled
from arml.least_distance.inner_products import BELOW

Array = NDArray[np.float64]
Integers = NDArray[np.int64]
Bytes = NDArray[np.int8]

_U = 2.0**-53


@compiled
def _halfspace(
    P: Array,
    c: Array,
    room: Array,
    pairs: Integers,
    lam: Array,
    p_error: Array,
    c_error: Array,
    reach: float,
    delta: Array,
) -> float:
    """beta of the module's docstring for unit-row multipliers lam (s,) on pairs (s, 2); delta (d,) is overwritten."""
    d = P.shape[1]
    accumulated = 2.0 * (lam.shape[0] + d + 8) * _U
    delta[:] = 0.0
    gain, slack, blur = 0.0, 0.0, 0.0
    for q in range(lam.shape[0]):
        low, high = pairs[q, 0], pairs[q, 1]
        if low < 0 and lam[q] > 0.0:
            delta[high] += -lam[q] if low == BELOW else lam[q]
            limit = lam[q] * room[0 if low == BELOW else 1, high]
            gain -= limit
            slack += accumulated * limit
            blur += accumulated * lam[q]
        if low < 0:
            continue
        row = P[high] - P[low]
        length = np.sqrt(np.dot(row, row))
        if lam[q] <= 0.0 or length == 0.0:
            continue
        w = lam[q] / length
        delta += w * row
        gain -= w * 0.5 * (c[high] - c[low])
        slack += w * (0.5 * (c_error[high] + c_error[low]) + accumulated * (c[high] + c[low]))
        blur += w * (p_error[high] + p_error[low] + accumulated * length)
    length = np.sqrt(np.dot(delta, delta))
    if blur == 0.0 or gain <= 0.0:
        delta[:] = 0.0
        return 0.0
    gain -= (slack + blur * reach) * (1.0 + accumulated)
    if gain <= 0.0:
        delta[:] = 0.0
        return 0.0
    if gain >= reach * length * (1.0 + accumulated):
        # Beyond the reach: the cell holds no attack of interest, and delta is of no use.
        delta[:] = 0.0
        return reach
    beta = gain / (length * (1.0 + accumulated)) * (1.0 - 4.0 * _U)
    delta *= -beta / length
    return beta


@compiled
def _node_bound(
    node: int,
    P: Array,
    c: Array,
    D: Array,
    room: Array,
    values: Array,
    k: int,
    p_error: Array,
    c_error: Array,
    slopes: Array,
    reach: float,
    parent: Integers,
    point: Integers,
    side: Bytes,
    first_pair: Integers,
    all_pairs: Integers,
    all_lam: Array,
    status: Bytes,
    delta: Array,
    margins: Array,
) -> float:
    """What the node itself proves: by row values, its multipliers, and what is seen from where these lead."""
    n_other = D.shape[0]
    path_status(node, parent, point, side, status)
    low_other, low_own = low_counts(status, n_other)
    missing, spare = k - low_other, k - 1 - low_own
    bound = rows_bound(values, status, missing)
    if bound >= reach:
        return reach
    used = slice(first_pair[node], first_pair[node + 1])
    beta = _halfspace(P, c, room, all_pairs[used], all_lam[used], p_error, c_error, reach, delta)
    bound = max(bound, beta)
    if bound >= reach:
        return reach
    f = c - 2.0 * np.dot(P, delta)
    for i in range(f.shape[0]):
        # Each of them at its worst: other-class points as near as they can be, same-class points as far.
        error = (c_error[i] + 2.0 * slopes[i] * beta + 8.0 * _U * c[i]) * (1.0 + 1e-9)
        f[i] += -error if i < n_other else error
    ahead, _ = look_ahead(f, D, status, spare, missing, beta, reach, 0.0, margins)
    return min(max(bound, ahead * (1.0 - 8.0 * _U)), reach)


@compiled
def proven_bound(
    P: Array,
    c: Array,
    D: Array,
    room: Array,
    values: Array,
    k: int,
    p_error: Array,
    c_error: Array,
    reach: float,
    claimed: float,
    ancestors: int,
    parent: Integers,
    point: Integers,
    side: Bytes,
    kind: Bytes,
    first_pair: Integers,
    all_pairs: Integers,
    all_lam: Array,
    first: int,
    end: int,
) -> float:
    """Smallest proven bound over the leaves among the nodes from ``first`` to before ``end`` of a tree.

    Over all nodes: no attack is shorter than that, or than ``reach``.

    Parameters
    ----------
    P, c, D, values, parent ... all_lam : see `arml.certify.knn.tree.grow`; D and the row values have their own rounding
        included; room : see `arml.least_distance.active_set.Workspace`; k = (K + 1) / 2
    p_error, c_error (m,) : rounding of P and c; claimed : the bound that the search computed
    ancestors : how many of a leaf's ancestors may be asked where it shows less than claimed itself
    """
    m, d = P.shape
    # What a moved distance may be off by, per unit of the step.
    slopes = np.empty(m)
    for i in range(m):
        slopes[i] = p_error[i] + (d + 8) * _U * np.sqrt(np.dot(P[i], P[i]))
    status, delta = np.zeros(m, np.int8), np.empty(d)
    margins = np.empty(D.shape[1])
    smallest = reach
    for leaf in range(first, end):
        if kind[leaf] == SPLIT or kind[leaf] == VOTE:
            continue
        bound, node = 0.0, leaf
        # What holds for a node holds for those below it, and may say more than they do.
        for _ in range(1 + ancestors):
            bound = max(
                bound,
                _node_bound(
                    node, P, c, D, room, values, k, p_error, c_error, slopes, reach, parent, point, side, first_pair,
                    all_pairs, all_lam, status, delta, margins,
                ),
            )  # fmt: skip
            if bound >= min(claimed, reach) * (1.0 - 1e-9) or node == 0:
                break
            node = parent[node]
        smallest = min(smallest, bound)
    return smallest
