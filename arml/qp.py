"""Least-distance problems: the point of a polyhedron nearest to the origin, by a dual active-set method.

    minimise ||delta||_2   subject to   A delta <= b                                             (P)

Every exact radius in this package is a minimum of such problems (eq. 13-14 of *Provably Robust Metric Learning*).
They are small, there are many of them, and most are only needed until they prove to be worse than the best one known.
A dual active-set method (Goldfarb & Idnani, 1983, with the identity as Hessian) fits all three: it starts at
``delta = 0``, adds the most violated row in each step, and every iterate is the exact solution for the rows active so
far, so its norm is a lower bound of (P) that only grows. It stops as soon as that bound passes ``cutoff``.

The multipliers prove the bound without trusting any of this. For every ``lam >= 0`` a feasible delta satisfies
``(A' lam)' delta <= b' lam``, hence

    ||delta|| >= -b' lam / ||A' lam||                                                            (D)

and at the solution ``delta = -A' lam`` makes it an equality. With a single row (D) is eq. (8) of the paper.

`search` runs the problems of one test point, one per other-class point x_j. A same-class point x_i gives each the row

    (x_i - x_j)' M delta <= (d_M(x, x_i) - d_M(x, x_j)) / 2                                       (14)

Rows are named by integers: ``i >= 0`` is the constraint of training point i, ``-1 - k`` the lower and ``-1 - d - k``
the upper box bound of feature k.

The functions are compiled by numba, hold no global state and release the interpreter's lock, so that independent test
points run on all cores. They share one file because numba's cache only notices changes of the file a function is in.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

Array = NDArray[np.float64]
Integers = NDArray[np.int64]

OPTIMAL, CUTOFF, INFEASIBLE, STALLED = 0, 1, 2, 3

# A row whose part orthogonal to the active rows has a squared norm below this (rows have norm 1) adds no direction.
_DEPENDENT = 1e-20
# Constraint violations below this, relative to the largest |b|, count as satisfied (rows have norm 1).
_FEASIBLE = 1e-12
_U = 2.0**-53


@njit(cache=True, nogil=True)
def normalise_rows(A: Array, b: Array) -> Array:
    """Scale the rows of A (m, d) to norm 1, and b (m,) with them, in place; returns the norms (m,).

    A row of norm 0 is left alone with ``b = +inf``, that is, switched off: as a constraint ``0 <= b`` it does not
    involve delta, and leaving a constraint out can only lower the value of (P).
    """
    m = A.shape[0]
    norms = np.empty(m)
    for i in range(m):
        norms[i] = np.sqrt(np.dot(A[i], A[i]))
        if norms[i] > 0.0:
            A[i] /= norms[i]
            b[i] /= norms[i]
        else:
            b[i] = np.inf
    return norms


@njit(cache=True, nogil=True)
def _append(Q: Array, R: Array, k: int, normal: Array, coefficients: Array, sq_norm: float) -> None:
    """Extend the QR factors of the k active rows by one whose orthogonal part is ``normal``."""
    length = np.sqrt(sq_norm)
    Q[k] = normal / length
    R[:k, k] = coefficients
    R[k, k] = length


@njit(cache=True, nogil=True)
def _orthogonal_part(Q: Array, k: int, row: Array) -> tuple[Array, Array]:
    """Split ``row`` into its coefficients (k,) in the orthonormal rows of Q and the rest (d,); twice is enough."""
    coefficients = np.dot(Q[:k], row)
    normal = row - np.dot(coefficients, Q[:k])
    correction = np.dot(Q[:k], normal)
    normal -= np.dot(correction, Q[:k])
    return coefficients + correction, normal


@njit(cache=True, nogil=True)
def _back_substitute(R: Array, k: int, h: Array) -> Array:
    """Solve ``R[:k, :k] x = h`` for an upper triangular R."""
    x = np.empty(k)
    for i in range(k - 1, -1, -1):
        total = h[i]
        for j in range(i + 1, k):
            total -= R[i, j] * x[j]
        x[i] = total / R[i, i]
    return x


@njit(cache=True, nogil=True)
def _drop(A: Array, active: Integers, k: int, position: int, Q: Array, R: Array) -> int:
    """Remove one active row and rebuild the factors of the others; returns the new number of active rows."""
    for q in range(position, k - 1):
        active[q] = active[q + 1]
    for q in range(k - 1):
        coefficients, normal = _orthogonal_part(Q, q, A[active[q]])
        _append(Q, R, q, normal, coefficients, np.dot(normal, normal))
    return k - 1


@njit(cache=True, nogil=True)
def _blocking(active: Integers, k: int, lam: Array, r: Array) -> tuple[float, int]:
    """Largest dual step that keeps the active multipliers nonnegative, and the position that stops it."""
    step, position = np.inf, -1
    for q in range(k):
        if r[q] > 0.0:
            candidate = lam[active[q]] / r[q]
            if candidate < step:
                step, position = candidate, q
    return step, position


@njit(cache=True, nogil=True)
def _activate(
    A: Array, b: Array, p: int, delta: Array, lam: Array, active: Integers, k: int, Q: Array, R: Array
) -> tuple[int, bool]:
    """Satisfy the violated row p, dropping rows whose multiplier reaches 0 on the way.

    Updates delta, lam, active, Q and R in place; returns (number of active rows, feasible?).
    """
    while True:
        coefficients, normal = _orthogonal_part(Q, k, A[p])
        sq_norm = np.dot(normal, normal)
        r = _back_substitute(R, k, coefficients)
        dual_step, position = _blocking(active, k, lam, r)
        independent = sq_norm > _DEPENDENT and k < Q.shape[0]
        primal_step = (np.dot(A[p], delta) - b[p]) / sq_norm if independent else np.inf
        step = min(dual_step, primal_step)
        if step == np.inf:
            # Along this ray the bound (D) grows without end: the multipliers prove that there is no solution.
            lam[:] = 0.0
            for q in range(k):
                lam[active[q]] = max(-r[q], 0.0)
            lam[p] = 1.0
            return k, False
        for q in range(k):
            lam[active[q]] = max(lam[active[q]] - step * r[q], 0.0)
        lam[p] += step
        if independent:
            delta -= step * normal
        if primal_step <= dual_step:
            _append(Q, R, k, normal, coefficients, sq_norm)
            active[k] = p
            return k + 1, True
        lam[active[position]] = 0.0
        k = _drop(A, active, k, position, Q, R)


@njit(cache=True, nogil=True)
def least_distance(A: Array, b: Array, cutoff: float) -> tuple[int, Array, Array]:
    """Solve (P) for rows of norm 1, or stop once its value is proven to be at least ``cutoff``.

    Parameters
    ----------
    A : (m, d) float64, C-contiguous, rows of norm 1 (see `normalise_rows`)
    b : (m,) float64; ``+inf`` switches a row off
    cutoff : value above which the solution is of no interest; ``inf`` to solve to the end

    Returns
    -------
    outcome : OPTIMAL, CUTOFF (bound reached cutoff), INFEASIBLE (no delta satisfies all rows), or STALLED (iteration
        limit; the bound is still valid)
    delta : (d,) the iterate; the solution when OPTIMAL
    lam : (m,) nonnegative multipliers; (D) is the proven lower bound, growing without end when INFEASIBLE
    """
    m, d = A.shape
    delta = np.zeros(d)
    lam = np.zeros(m)
    size = min(m, d)
    active = np.empty(size, np.int64)
    Q = np.empty((size, d))
    R = np.zeros((size, size))
    k = 0
    scale = 0.0
    for i in range(m):
        if np.isfinite(b[i]):
            scale = max(scale, abs(b[i]))
    for _ in range(50 * (m + 1)):
        violation = np.dot(A, delta) - b
        p = int(np.argmax(violation))
        if violation[p] <= _FEASIBLE * scale:
            return OPTIMAL, delta, lam
        k, feasible = _activate(A, b, p, delta, lam, active, k, Q, R)
        if not feasible:
            return INFEASIBLE, delta, lam
        if np.dot(delta, delta) >= cutoff * cutoff:
            return CUTOFF, delta, lam
    return STALLED, delta, lam


@njit(cache=True, nogil=True)
def constraint_rows(
    P: Array, c: Array, rows: Integers, j: int, room_below: Array, room_above: Array
) -> tuple[Array, Array]:
    """Rows A (m, d) and right-hand sides b (m,) of the problem of other-class point j, eq. (14).

    P (n, d) holds ``M x_i`` of all training points, c (n,) their squared distances from the test point, rows (m,) the
    constraints to use; room_below and room_above (d,) are how far each feature may move within the box.
    """
    m, d = rows.shape[0], P.shape[1]
    A = np.zeros((m, d))
    b = np.empty(m)
    for i in range(m):
        row = rows[i]
        if row >= 0:
            A[i] = P[row] - P[j]
            b[i] = 0.5 * (c[row] - c[j])
        elif row >= -d:
            A[i, -1 - row] = -1.0
            b[i] = room_below[-1 - row]
        else:
            A[i, -1 - d - row] = 1.0
            b[i] = room_above[-1 - d - row]
    return A, b


@njit(cache=True, nogil=True)
def proven_bound(A: Array, b: Array, rows: Integers, weights: Array, row_error: float, limit_error: float) -> float:
    """What multipliers ``weights >= 0`` prove about ``min ||delta||, A delta <= b``, rounding included.

    A (m, d) and b (m,) are computed values; the true rows of training points differ from them by at most row_error in
    norm and their right-hand sides by at most limit_error (box rows are exact up to one rounding of b). The result is
    the dual bound ``-b'w / ||A'w||`` with every error taken at its worst.
    """
    m, d = A.shape
    direction = np.zeros(d)
    gain, slack, blur = 0.0, 0.0, 0.0
    accumulated = (m + d + 4) * _U / (1.0 - (m + d + 4) * _U)
    for i in range(m):
        w = weights[i]
        if w > 0.0:
            direction += w * A[i]
            gain -= w * b[i]
            slack += w * accumulated * abs(b[i])
            blur += w * accumulated * np.sqrt(np.dot(A[i], A[i]))
            if rows[i] >= 0:
                slack += w * limit_error
                blur += w * row_error
    length = np.sqrt(np.dot(direction, direction)) * (1.0 + accumulated) + blur
    gain -= slack * (1.0 + accumulated)
    if gain <= 0.0 or length <= 0.0:
        return 0.0
    return gain / length * (1.0 - 4.0 * _U)


@njit(cache=True, nogil=True)
def search(
    P: Array,
    c: Array,
    rows: Integers,
    room_below: Array,
    room_above: Array,
    row_error: float,
    limit_error: float,
    candidates: Integers,
    bound: Array,
    weights: Array,
    incumbent: float,
) -> tuple[int, float, Array]:
    """Best other-class point among ``candidates`` with respect to the constraints ``rows``.

    Parameters
    ----------
    P, c, rows, room_below, room_above : see `constraint_rows`
    row_error, limit_error : see `proven_bound`
    candidates : (q,) training indices of other-class points, ordered by ``bound``
    bound : (q,) lower bounds already known, ascending; raised in place to the proven value of every problem worked on
    weights : (q, m) multipliers, overwritten for every problem worked on: they prove its bound
    incumbent : problems proven to reach this value are left

    Returns
    -------
    best : position in candidates of the smallest solved problem, or -1
    value : its value (``incumbent`` when best is -1)
    delta : (d,) its solution
    """
    best, value, delta = -1, incumbent, np.zeros(P.shape[1])
    for q in range(candidates.shape[0]):
        if bound[q] >= value:
            break
        A, b = constraint_rows(P, c, rows, candidates[q], room_below, room_above)
        unit, limit = A.copy(), b.copy()
        norms = normalise_rows(unit, limit)
        single = np.argmin(limit)
        if -limit[single] >= value:
            lam = np.zeros(b.shape[0])
            lam[single] = 1.0
        else:
            # Whatever the outcome, the multipliers prove a bound; only a solved problem offers a perturbation.
            outcome, solution, lam = least_distance(unit, limit, value)
            length = np.sqrt(np.dot(solution, solution))
            if outcome == OPTIMAL and length < value:
                best, value, delta = q, length, solution
        for i in range(b.shape[0]):
            weights[q, i] = lam[i] / norms[i] if lam[i] > 0.0 else 0.0
        bound[q] = max(bound[q], proven_bound(A, b, rows, weights[q], row_error, limit_error))
    return best, value, delta
