"""The inner problems of eq. (13), compiled: one for each other-class point, over the constraints in use.

Other-class point j is reached by the shortest delta with

    (p_i - p_j)' delta <= (c_i - c_j) / 2      for the same-class points i in use, and the bounds of the box      (14)

where p_i = M x_i and c_i = d_M(x, x_i). Rows are named by integers: ``i >= 0`` is training point i, ``-1 - k`` the
lower and ``-1 - d - k`` the upper bound of the box for feature k. Multipliers belong to rows of norm 1, and prove

    ||delta|| >= -b' lam / ||A' lam||                                                                              (D)

whatever they are, as long as none is negative. With one row (D) is eq. (8) of the paper.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from arml.compiled import compiled
from arml.least_distance.active_set import Workspace, activate, pair_row
from arml.least_distance.inner_products import ABOVE, BELOW

Array = NDArray[np.float64]
Integers = NDArray[np.int64]

# A constraint violated by less than this, relative to the largest limit, counts as satisfied (rows have norm 1).
_FEASIBLE = 1e-12
_MOST_STEPS = 50
_U = 2.0**-53


@compiled
def _limits(P: Array, c: Array, j: int, rows: Integers, work: Workspace, norms: Array, limits: Array) -> None:
    """Norms (m,) of the rows of j's problem and limits (m,) of the unit rows; infinite for rows that say nothing."""
    d = P.shape[1]
    row = work.back
    for q in range(rows.shape[0]):
        if rows[q] >= 0:
            limits[q], norms[q] = pair_row(P, c, j, rows[q], 0.0, work.room, row)
        else:
            feature = -1 - rows[q] if rows[q] >= -d else -1 - d - rows[q]
            limits[q], norms[q] = work.room[0 if rows[q] >= -d else 1, feature], 1.0


@compiled
def _most_violated(P: Array, j: int, rows: Integers, norms: Array, limits: Array, delta: Array, least: float) -> int:
    """Position of the row that delta violates most, by more than ``least``; -1 if there is none."""
    d = P.shape[1]
    moved_j = np.dot(P[j], delta)
    worst, position = least, -1
    for q in range(rows.shape[0]):
        if limits[q] == np.inf:
            continue
        if rows[q] >= 0:
            reached = (np.dot(P[rows[q]], delta) - moved_j) / norms[q]
        elif rows[q] >= -d:
            reached = -delta[-1 - rows[q]]
        else:
            reached = delta[-1 - d - rows[q]]
        if reached - limits[q] > worst:
            worst, position = reached - limits[q], q
    return position


@compiled
def _solve(
    P: Array,
    c: Array,
    j: int,
    rows: Integers,
    work: Workspace,
    pairs: Integers,
    lam: Array,
    norms: Array,
    limits: Array,
    cutoff: float,
) -> tuple[int, bool]:
    """Solve j's problem, or stop once its value reaches ``cutoff``: (number of active pairs, solved?).

    ``work.delta`` is left at the solution, pairs (s, 2) and lam (s,) at the active rows and their multipliers.
    """
    d = P.shape[1]
    work.delta[:] = 0.0
    scale = 0.0
    for q in range(rows.shape[0]):
        if np.isfinite(limits[q]):
            scale = max(scale, abs(limits[q]))
    k = 0
    for _ in range(_MOST_STEPS * (rows.shape[0] + 1)):
        q = _most_violated(P, j, rows, norms, limits, work.delta, _FEASIBLE * scale)
        if q < 0:
            return k, True
        if k >= work.b.shape[0]:
            return k, False
        if rows[q] >= 0:
            pairs[k, 0], pairs[k, 1] = j, rows[q]
        elif rows[q] >= -d:
            pairs[k, 0], pairs[k, 1] = BELOW, -1 - rows[q]
        else:
            pairs[k, 0], pairs[k, 1] = ABOVE, -1 - d - rows[q]
        work.b[k], work.lengths[k] = pair_row(P, c, pairs[k, 0], pairs[k, 1], 0.0, work.room, work.A[k])
        k, feasible = activate(work, pairs, lam, k)
        if not feasible or np.dot(work.delta, work.delta) >= cutoff * cutoff:
            return k, False
    return k, False


@compiled
def proven_bound(
    P: Array,
    c: Array,
    p_error: Array,
    c_error: Array,
    j: int,
    rows: Integers,
    lam: Array,
    room: Array,
    direction: Array,
) -> float:
    """What multipliers ``lam >= 0`` (m,) of unit rows prove about the norm of j's solution, rounding included.

    P (n, d) and c (n,) are computed values, off by at most p_error (n,) in norm and c_error (n,); the room of the box
    is off by one rounding. The result is (D) with every error taken at its worst. ``direction`` (d,) is overwritten.
    """
    m, d = rows.shape[0], P.shape[1]
    accumulated = 2.0 * (m + d + 8) * _U
    direction[:] = 0.0
    gain, slack, blur = 0.0, 0.0, 0.0
    for q in range(m):
        if not lam[q] > 0.0:
            continue
        i = rows[q]
        if i >= 0:
            sq = 0.0
            for p in range(d):
                sq += (P[i, p] - P[j, p]) ** 2
            length = np.sqrt(sq)
            if length == 0.0:
                continue
            w = lam[q] / length
            for p in range(d):
                direction[p] += w * (P[i, p] - P[j, p])
            gain -= w * 0.5 * (c[i] - c[j])
            slack += w * 0.5 * (c_error[i] + c_error[j] + accumulated * (abs(c[i]) + abs(c[j])))
            blur += w * (p_error[i] + p_error[j] + accumulated * length)
        else:
            low = i >= -d
            feature = -1 - i if low else -1 - d - i
            direction[feature] += -lam[q] if low else lam[q]
            limit = lam[q] * room[0 if low else 1, feature]
            gain -= limit
            slack += accumulated * limit
            blur += accumulated * lam[q]
    length = np.sqrt(np.dot(direction, direction)) * (1.0 + accumulated) + blur * (1.0 + accumulated)
    gain -= slack * (1.0 + accumulated)
    if not (gain > 0.0 and length > 0.0):
        return 0.0
    return gain / length * (1.0 - 4.0 * _U)


@compiled
def search(
    P: Array,
    c: Array,
    p_error: Array,
    c_error: Array,
    rows: Integers,
    others: Integers,
    bound: Array,
    weights: Array,
    incumbent: float,
    work: Workspace,
) -> tuple[int, float]:
    """Best other-class point among ``others`` with respect to the constraints ``rows``.

    Parameters
    ----------
    P (n, d), c (n,), p_error (n,), c_error (n,) : see `proven_bound`
    rows (m,) : the constraints in use; others (q,) : indices of other-class points, in the order of ``bound``
    bound : (q,) lower bounds already known, ascending; raised in place to the proven value of every problem worked on
    weights : (q, m) multipliers of unit rows, overwritten for every problem worked on: they prove its bound
    incumbent : problems proven to reach this value are left
    work : memory; its ``normal`` is overwritten by the best solution

    Returns
    -------
    best : position in others of the smallest solved problem, or -1
    value : its value (``incumbent`` when best is -1)
    """
    m, d = rows.shape[0], P.shape[1]
    norms, limits, direction = np.empty(m), np.empty(m), np.empty(d)
    size = work.b.shape[0]
    pairs, lam = np.zeros((size, 2), np.int64), np.zeros(size)
    best, value, solution = -1, incumbent, np.zeros(d)
    for q in range(others.shape[0]):
        if bound[q] >= value:
            break
        j = others[q]
        _limits(P, c, j, rows, work, norms, limits)
        weights[q, :] = 0.0
        single = int(np.argmin(limits))
        if -limits[single] >= value:
            weights[q, single] = 1.0
        else:
            # Whatever the outcome, the multipliers prove a bound; only a solved problem offers a perturbation.
            k, solved = _solve(P, c, j, rows, work, pairs, lam, norms, limits, value)
            length = np.sqrt(np.dot(work.delta, work.delta))
            if solved and length < value:
                best, value = q, length
                solution[:] = work.delta
            for a in range(k):
                name = pairs[a, 1]
                if pairs[a, 0] == BELOW:
                    name = -1 - pairs[a, 1]
                elif pairs[a, 0] == ABOVE:
                    name = -1 - d - pairs[a, 1]
                for p in range(m):
                    if rows[p] == name:
                        weights[q, p] = lam[a]
                        break
        bound[q] = max(bound[q], proven_bound(P, c, p_error, c_error, j, rows, weights[q], work.room, direction))
    work.normal[:] = solution
    return best, value
