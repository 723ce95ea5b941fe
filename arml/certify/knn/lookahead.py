"""What is still to come at a node of the search for exact K-NN radii: a bound, and the point to decide next.

A node has solved its cell (`arml.least_distance.cell`): delta is the shortest perturbation that respects what is
decided, of length ``value``. It is the projection of the origin onto a convex set that holds all attacks z of the
node, so

    ||z||^2 >= value^2 + ||z - delta||^2                                                                           (2)

and how far z still is from delta follows from the moved distances f there, as Theorem 1 does at the test point. For an
undecided other-class point j to become low it must pass all same-class points but those that may be low: that is as
far as the largest of ``(f_j - f_i) / (2 ||p_i - p_j||)``, the *row value* at delta, over all i but the largest few. At
least ``missing`` more must become low, so the ``missing``-th smallest row value bounds the node. Likewise all
same-class points that low ones have not passed yet must be passed, but for ``spare`` of them.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from arml.compiled import compiled
from arml.least_distance.cell import HIGH, LOW, UNDECIDED

Array = NDArray[np.float64]
Bytes = NDArray[np.int8]


@compiled
def beyond(value: float, step: float) -> float:
    """Length needed by a point that is at least ``step`` away from the projection, of length ``value``; see (2)."""
    return np.sqrt(value * value + step * step)


@compiled
def insert(largest: Array, value: float) -> None:
    """Keep the largest values seen, in descending order."""
    q = largest.shape[0] - 1
    if value <= largest[q]:
        return
    while q > 0 and largest[q - 1] < value:
        largest[q] = largest[q - 1]
        q -= 1
    largest[q] = value


@compiled
def _row_value(j: int, f: Array, D: Array, status: Bytes, blur: float, enough: float, largest: Array) -> float:
    """Row value of the other-class point j at the moved point; ``largest`` (spare + 1,) is overwritten.

    Parameters
    ----------
    f (m,) moved distances, D (n_other, n_own) the distances ``||p_i - p_j||``
    blur : subtracted from differences of f, to make up for their rounding
    enough : a value of at least this may come out too small, but not below it
    """
    n_other, n_own = D.shape
    largest[:] = 0.0
    needed, last = 0.0, largest.shape[0] - 1
    for i in range(n_own):
        ahead = f[j] - f[n_other + i] - blur
        if ahead > 0.0 and status[n_other + i] != LOW:
            margin = ahead / (2.0 * D[j, i])
            if status[n_other + i] == HIGH:
                needed = max(needed, margin)
            else:
                insert(largest, margin)
            if needed >= enough or largest[last] >= enough:
                break
    return max(needed, largest[last])


@compiled
def next_row(
    f: Array, D: Array, status: Bytes, spare: int, missing: int, blur: float, enough: float
) -> tuple[float, int]:
    """The ``missing``-th smallest row value of undecided points, and whose it is; (inf, -1) if there are fewer.

    At least ``enough`` is all that is said of a value that is; ``spare`` is how many more same-class points may be low,
    the other parameters are those of `_row_value`. Points whose value turns out too large are left half-way.
    """
    values, points = np.full(missing, np.inf), np.full(missing, -1)
    largest = np.empty(spare + 1)
    for j in range(D.shape[0]):
        if status[j] != UNDECIDED:
            continue
        value = _row_value(j, f, D, status, blur, min(enough, values[missing - 1]), largest)
        if value >= values[missing - 1]:
            continue
        q = missing - 1
        while q > 0 and values[q - 1] > value:
            values[q], points[q] = values[q - 1], points[q - 1]
            q -= 1
        values[q], points[q] = value, j
    return values[missing - 1], points[missing - 1]


@compiled
def own_at(f: Array, D: Array, status: Bytes, blur: float, margins: Array) -> None:
    """How far it is until the low points have passed an undecided same-class point, written to ``margins`` (n_own,).

    -1 where a point is decided or has been passed; the parameters are those of `_row_value`.
    """
    n_other, n_own = D.shape
    margins[:] = -1.0
    for j in range(n_other):
        if status[j] == LOW:
            for i in range(n_own):
                if status[n_other + i] == UNDECIDED:
                    ahead = f[j] - f[n_other + i] - blur
                    if ahead > 0.0:
                        margins[i] = max(margins[i], ahead / (2.0 * D[j, i]))


@compiled
def look_ahead(
    f: Array,
    D: Array,
    status: Bytes,
    spare: int,
    missing: int,
    value: float,
    closing: float,
    blur: float,
    margins: Array,
) -> tuple[float, int]:
    """Bound of a node, and the point to decide next (-1 for none).

    Of the same-class points that must be decided the one that is farthest from being passed comes first; of the
    other-class points the last of those that are needed, because then either choice raises the bound.

    Parameters
    ----------
    f, D, status, spare, blur : see `next_row`; missing : how many more other-class points must become low
    value : length of delta; closing : value from which on a bound is of no interest
    margins (n_own,) : overwritten
    """
    n_other = D.shape[0]
    bound, split = value, -1
    if spare > 0:
        own_at(f, D, status, blur, margins)
        largest = np.zeros(spare + 1)
        first, n_ahead = -1, 0
        for i in range(margins.shape[0]):
            if margins[i] > 0.0:
                n_ahead += 1
                insert(largest, margins[i])
                if first < 0 or margins[i] > margins[first]:
                    first = i
        bound = beyond(value, largest[spare])
        if n_ahead > spare:
            split = n_other + first
    if missing > 0:
        enough = np.sqrt(max(closing * closing - value * value, 0.0))
        step, last = next_row(f, D, status, spare, missing, blur, enough)
        if last < 0:
            return np.inf, -1
        bound = max(bound, beyond(value, step))
        if split < 0:
            split = last
    return bound, split
