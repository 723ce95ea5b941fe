"""The active pairs of a cell's problem: their rows, QR factors and multipliers, and where they move all points.

The dual active-set method of Goldfarb and Idnani (1983), with the identity as Hessian: it starts at delta = 0, adds a
violated row in each step, and every iterate is the exact solution for the rows active so far, so its norm is a lower
bound that only grows. Rows are named by pairs (low point, high point) as in (1) of `arml.least_distance.cell`, or by
bounds of a box as in `arml.least_distance.inner_products`. It serves 1-NN, the local search and the exact search.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from arml.compiled import compiled
from arml.least_distance.arrays import assign
from arml.least_distance.inner_products import ABOVE, BELOW, InnerProducts, cover, move_all, move_some

Array = NDArray[np.float64]
Integers = NDArray[np.int64]

_DEPENDENT = 1e-20
_SAME = 1e-27


class Workspace(NamedTuple):
    """Memory of `solve_cell` for up to s active pairs among m points in d dimensions, and what it leaves there.

    Attributes
    ----------
    A (s, d), b (s,), lengths (s,) : unit rows of the active pairs, their right-hand sides, their norms before
    Q (s - 1, d), R (s - 1, s - 1) : QR factors of the rows
    delta (d,), f (m,) : the solution, and the moved distances there
    weights (s,), working (m,) : weights of the pairs before scaling; the points looked at before all are
    room (2, d) : how far each feature may go down and up; infinite without a box
    inner : inner products of the points, kept from cell to cell
    coefficients, correction, ratios (s,), normal, back (d,) : of the row that is activated
    """

    A: Array
    b: Array
    lengths: Array
    Q: Array
    R: Array
    delta: Array
    f: Array
    weights: Array
    working: Integers
    room: Array
    inner: InnerProducts
    coefficients: Array
    correction: Array
    ratios: Array
    normal: Array
    back: Array

    @classmethod
    def make(cls, m: int, room: Array, memory: int) -> Workspace:
        """An empty one, with at most ``memory`` bytes for inner products."""
        d = room.shape[1]
        s = most_pairs(m, room)
        return cls(
            np.zeros((s, d)), np.zeros(s), np.zeros(s), np.zeros((s - 1, d)), np.zeros((s - 1, s - 1)), np.zeros(d),
            np.zeros(m), np.zeros(s), np.zeros(m, np.int64), room, InnerProducts.empty(m, memory),
            np.zeros(s), np.zeros(s), np.zeros(s), np.zeros(d), np.zeros(d),
        )  # fmt: skip


def most_pairs(m: int, room: Array) -> int:
    """One more than the rows that can be active at a time: differences of m points, and the bounds of a box."""
    d = room.shape[1]
    return (d if np.isfinite(room).any() else min(d, m)) + 1


@compiled
def pair_row(P: Array, c: Array, low: int, high: int, strict: float, room: Array, row: Array) -> tuple[float, float]:
    """Unit row of the pair (1), written to ``row`` (d,); returns its right-hand side and its norm before scaling.

    The former is +inf for points that M cannot tell apart, whose rows differ by rounding only.
    """
    if low < 0:
        row[:] = 0.0
        row[high] = -1.0 if low == BELOW else 1.0
        return room[0 if low == BELOW else 1, high], 1.0
    sq, size = 0.0, 0.0
    for q in range(row.shape[0]):
        row[q] = P[high, q] - P[low, q]
        sq += row[q] * row[q]
        size += P[high, q] * P[high, q] + P[low, q] * P[low, q]
    if sq <= _SAME * size:
        return np.inf, 0.0
    length = np.sqrt(sq)
    for q in range(row.shape[0]):
        row[q] /= length
    return 0.5 * (c[high] - c[low] - strict) / length, length


@compiled
def _split(Q: Array, row: Array, coefficients: Array, normal: Array, correction: Array, back: Array) -> float:
    """Split ``row`` (d,) into its ``coefficients`` (k,) in the rows of Q (k, d) and the rest, ``normal`` (d,).

    Returns the squared norm of the rest. Twice is enough.
    """
    assign(normal, row)
    if len(Q) > 0:
        np.dot(Q, row, coefficients)
        np.dot(coefficients, Q, back)
        for q in range(normal.shape[0]):
            normal[q] -= back[q]
        np.dot(Q, normal, correction)
        np.dot(correction, Q, back)
        for q in range(normal.shape[0]):
            normal[q] -= back[q]
        for q in range(len(Q)):
            coefficients[q] += correction[q]
    return float(np.dot(normal, normal))


@compiled
def _append(Q: Array, R: Array, k: int, coefficients: Array, normal: Array, sq_norm: float) -> None:
    """Extend the QR factors of k rows by one that was split."""
    length = np.sqrt(sq_norm)
    for q in range(normal.shape[0]):
        Q[k, q] = normal[q] / length
    for q in range(k):
        R[q, k] = coefficients[q]
    R[k, k] = length


@compiled
def _remove(work: Workspace, pairs: Integers, lam: Array, k: int, position: int) -> int:
    """Remove an active row and rebuild the factors behind it; returns the new number of active rows."""
    A, b, lengths = work.A, work.b, work.lengths
    for q in range(position, k - 1):
        assign(A[q], A[q + 1])
        b[q], lengths[q], lam[q] = b[q + 1], lengths[q + 1], lam[q + 1]
        pairs[q, 0], pairs[q, 1] = pairs[q + 1, 0], pairs[q + 1, 1]
    Q, R, coefficients, normal = work.Q, work.R, work.coefficients, work.normal
    for q in range(position, k - 1):
        sq_norm = _split(Q[:q], A[q], coefficients[:q], normal, work.correction[:q], work.back)
        _append(Q, R, q, coefficients, normal, sq_norm)
    return k - 1


@compiled
def activate(work: Workspace, pairs: Integers, lam: Array, k: int) -> tuple[int, bool]:
    """Satisfy row k of A, dropping rows whose multiplier reaches 0; returns (number of active rows, feasible?)."""
    A, b, lengths, Q, R, delta = work.A, work.b, work.lengths, work.Q, work.R, work.delta
    coefficients, normal, r = work.coefficients, work.normal, work.ratios
    row, limit, length = A[k], b[k], lengths[k]
    low, high = pairs[k, 0], pairs[k, 1]
    weight = 0.0
    while True:
        sq_norm = _split(Q[:k], row, coefficients[:k], normal, work.correction[:k], work.back)
        # How much each multiplier falls per unit of the new one's: R r = coefficients.
        for i in range(k - 1, -1, -1):
            total = coefficients[i]
            for j in range(i + 1, k):
                total -= R[i, j] * r[j]
            r[i] = total / R[i, i]
        dual_step, position = np.inf, -1
        for q in range(k):
            if r[q] > 0.0 and lam[q] < dual_step * r[q]:
                dual_step, position = lam[q] / r[q], q
        independent = sq_norm > _DEPENDENT and k < Q.shape[0]
        primal_step = (np.dot(row, delta) - limit) / sq_norm if independent else np.inf
        step = min(dual_step, primal_step)
        if step == np.inf:
            # Along this ray the dual bound grows without end: the multipliers prove that the cell is empty.
            for q in range(k):
                lam[q] = max(-r[q], 0.0)
            assign(A[k], row)
            b[k], lengths[k], lam[k] = limit, length, 1.0
            pairs[k, 0], pairs[k, 1] = low, high
            return k + 1, False
        for q in range(k):
            lam[q] = max(lam[q] - step * r[q], 0.0)
        weight += step
        if independent:
            for q in range(delta.shape[0]):
                delta[q] -= step * normal[q]
        if primal_step <= dual_step:
            _append(Q, R, k, coefficients, normal, sq_norm)
            assign(A[k], row)
            b[k], lengths[k], lam[k] = limit, length, weight
            pairs[k, 0], pairs[k, 1] = low, high
            return k + 1, True
        k = _remove(work, pairs, lam, k, position)


@compiled
def resume(P: Array, c: Array, strict: float, pairs: Integers, lam: Array, k: int, work: Workspace) -> int:
    """Rows, factors and iterate of k active pairs with multipliers; returns how many are kept (independent ones)."""
    A, Q, coefficients, normal, delta = work.A, work.Q, work.coefficients, work.normal, work.delta
    delta[:] = 0.0
    kept = 0
    for q in range(k):
        pairs[kept, 0], pairs[kept, 1], lam[kept] = pairs[q, 0], pairs[q, 1], lam[q]
        work.b[kept], work.lengths[kept] = pair_row(P, c, pairs[kept, 0], pairs[kept, 1], strict, work.room, A[kept])
        sq_norm = _split(Q[:kept], A[kept], coefficients[:kept], normal, work.correction[:kept], work.back)
        if sq_norm > _DEPENDENT:
            _append(Q, work.R, kept, coefficients, normal, sq_norm)
            for p in range(delta.shape[0]):
                delta[p] -= lam[kept] * A[kept, p]
            kept += 1
    return kept


@compiled
def move(P: Array, c: Array, pairs: Integers, lam: Array, k: int, work: Workspace, n_points: int) -> None:
    """Moved distances at delta of the first n_points of the working set, or of all points if that is -1."""
    f, delta = work.f, work.delta
    active, points = pairs[:k], work.working[: max(n_points, 0)]
    if cover(P, work.inner, active, work.lengths[:k]):
        for q in range(k):
            work.weights[q] = lam[q] / work.lengths[q]
        if n_points < 0:
            move_all(P, c, work.inner, active, work.weights[:k], f)
        else:
            move_some(P, c, work.inner, active, work.weights[:k], points, f)
    elif n_points < 0:
        products = np.dot(P, delta)
        for i in range(f.shape[0]):
            f[i] = c[i] - 2.0 * products[i]
    else:
        for i in points:
            f[i] = c[i] - 2.0 * np.dot(P[i], delta)


@compiled
def outside(delta: Array, room: Array, slack: float) -> tuple[int, int]:
    """The bound of the box that is violated most, as a pair (`BELOW` or `ABOVE`, feature); (0, -1) if none is."""
    side, feature, worst = 0, -1, slack
    for q in range(delta.shape[0]):
        if -delta[q] - room[0, q] > worst:
            side, feature, worst = BELOW, q, -delta[q] - room[0, q]
        if delta[q] - room[1, q] > worst:
            side, feature, worst = ABOVE, q, delta[q] - room[1, q]
    return side, feature
