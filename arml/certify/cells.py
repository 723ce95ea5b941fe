"""The least-distance problem of a cell: some points are *low*, some are *high*, and low points must be nearer.

One test point x and m training points with *moved distances*

    f_i(delta) = c_i - 2 delta' p_i,       c_i = d_M(x, x_i),   p_i = M (x_i - x),

which are d_M(x + delta, x_i) up to a term that is the same for all. The shortest delta of a cell solves

    min ||delta||   subject to   (p_h - p_l)' delta <= (c_h - c_l) / 2     for all low l and high h,              (1)

by the dual active-set method of `arml.qp`, with a row for a pair made when it is violated. The bounds of a box that
perturbed points must stay in are rows too, named as in `arml.certify.inner_products`. Every iterate is dual feasible:
a parent's multipliers start its children, and stopping at any time leaves a proven bound.

numba's cache does not notice changes of functions imported from another file: after editing `arml.qp`, this file,
`inner_products` or `lookahead`, delete the ``__pycache__`` folders.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from arml.certify.inner_products import ABOVE, BELOW, InnerProducts, cover, move_all, move_some
from arml.qp import _append, _back_substitute, _orthogonal_part

Array = NDArray[np.float64]
Integers = NDArray[np.int64]
Bytes = NDArray[np.int8]

#: What is decided about a point. A FREE point is in no constraint, whatever is said of its side.
UNDECIDED, LOW, HIGH, FREE = 0, 1, 2, 3
# High because its side is full, and in the working set.
_IMPLIED = 4

_DEPENDENT = 1e-20
_SAME = 1e-27
_MAX_STEPS = 2000
_CUTS = 3
# By how much of its length a perturbation may leave the box.
_OUTSIDE = 1e-12


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

    @classmethod
    def make(cls, m: int, room: Array, memory: int) -> Workspace:
        """An empty one, with at most ``memory`` bytes for inner products."""
        d = room.shape[1]
        s = most_pairs(m, room)
        return cls(
            np.zeros((s, d)), np.zeros(s), np.zeros(s), np.zeros((s - 1, d)), np.zeros((s - 1, s - 1)), np.zeros(d),
            np.zeros(m), np.zeros(s), np.zeros(m, np.int64), room, InnerProducts.empty(m, memory),
        )  # fmt: skip


def most_pairs(m: int, room: Array) -> int:
    """One more than the rows that can be active at a time: differences of m points, and the bounds of a box."""
    d = room.shape[1]
    return (d if np.isfinite(room).any() else min(d, m)) + 1


@njit(cache=True, nogil=True)
def _pair_row(P: Array, c: Array, low: int, high: int, strict: float, room: Array, row: Array) -> tuple[float, float]:
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


@njit(cache=True, nogil=True)
def _remove(work: Workspace, pairs: Integers, lam: Array, k: int, position: int) -> int:
    """Remove an active row and rebuild the factors behind it; returns the new number of active rows."""
    A, Q, R = work.A, work.Q, work.R
    for q in range(position, k - 1):
        A[q], work.b[q], work.lengths[q], lam[q] = A[q + 1], work.b[q + 1], work.lengths[q + 1], lam[q + 1]
        pairs[q, 0], pairs[q, 1] = pairs[q + 1, 0], pairs[q + 1, 1]
    for q in range(position, k - 1):
        coefficients, normal = _orthogonal_part(Q, q, A[q])
        _append(Q, R, q, normal, coefficients, np.dot(normal, normal))
    return k - 1


@njit(cache=True, nogil=True)
def _activate(work: Workspace, pairs: Integers, lam: Array, k: int) -> tuple[int, bool]:
    """Satisfy row k of A, dropping rows whose multiplier reaches 0; returns (number of active rows, feasible?)."""
    A, b, Q, R, delta = work.A, work.b, work.Q, work.R, work.delta
    row, limit, length = A[k].copy(), b[k], work.lengths[k]
    low, high = pairs[k, 0], pairs[k, 1]
    weight = 0.0
    while True:
        coefficients, normal = _orthogonal_part(Q, k, row)
        sq_norm = np.dot(normal, normal)
        r = _back_substitute(R, k, coefficients)
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
            A[k], b[k], work.lengths[k], lam[k] = row, limit, length, 1.0
            pairs[k, 0], pairs[k, 1] = low, high
            return k + 1, False
        for q in range(k):
            lam[q] = max(lam[q] - step * r[q], 0.0)
        weight += step
        if independent:
            delta[:] -= step * normal
        if primal_step <= dual_step:
            _append(Q, R, k, normal, coefficients, sq_norm)
            A[k], b[k], work.lengths[k], lam[k] = row, limit, length, weight
            pairs[k, 0], pairs[k, 1] = low, high
            return k + 1, True
        k = _remove(work, pairs, lam, k, position)


@njit(cache=True, nogil=True)
def _resume(P: Array, c: Array, strict: float, pairs: Integers, lam: Array, k: int, work: Workspace) -> int:
    """Rows, factors and iterate of k active pairs with multipliers; returns how many are kept (independent ones)."""
    A, Q, R, delta = work.A, work.Q, work.R, work.delta
    delta[:] = 0.0
    kept = 0
    for q in range(k):
        pairs[kept, 0], pairs[kept, 1], lam[kept] = pairs[q, 0], pairs[q, 1], lam[q]
        work.b[kept], work.lengths[kept] = _pair_row(P, c, pairs[kept, 0], pairs[kept, 1], strict, work.room, A[kept])
        coefficients, normal = _orthogonal_part(Q, kept, A[kept])
        sq_norm = np.dot(normal, normal)
        if sq_norm > _DEPENDENT:
            _append(Q, R, kept, normal, coefficients, sq_norm)
            delta[:] -= lam[kept] * A[kept]
            kept += 1
    return kept


@njit(cache=True, nogil=True)
def _move(P: Array, c: Array, pairs: Integers, lam: Array, k: int, work: Workspace, n_points: int) -> None:
    """Moved distances at delta of the first n_points of the working set, or of all points if that is -1."""
    f, delta = work.f, work.delta
    active, points = pairs[:k], work.working[: max(n_points, 0)]
    if cover(P, work.inner, active, work.lengths[:k]):
        work.weights[:k] = lam[:k] / work.lengths[:k]
        if n_points < 0:
            move_all(P, c, work.inner, active, work.weights[:k], f)
        else:
            move_some(P, c, work.inner, active, work.weights[:k], points, f)
    elif n_points < 0:
        f[:] = c - 2.0 * np.dot(P, delta)
    else:
        for i in points:
            f[i] = c[i] - 2.0 * np.dot(P[i], delta)


@njit(cache=True, nogil=True)
def _extremes(f: Array, working: Integers, n_working: int, status: Bytes) -> tuple[int, int]:
    """The farthest low and the nearest other point of the working set, by moved distance; -1 for none."""
    low, high = -1, -1
    for q in range(n_working):
        i = working[q]
        if status[i] == LOW:
            if low < 0 or f[i] > f[low]:
                low = i
        elif high < 0 or f[i] < f[high]:
            high = i
    return low, high


@njit(cache=True, nogil=True)
def _add_crossed(
    f: Array, top: float, n_other: int, status: Bytes, own_full: bool, other_full: bool, working: Integers, n: int
) -> int:
    """Add the high points nearest to x + delta that are nearer than ``top`` to the working set; returns its size."""
    for _ in range(_CUTS):
        nearest = -1
        for i in range(f.shape[0]):
            full = other_full if i < n_other else own_full
            if full and status[i] == UNDECIDED and f[i] < top and (nearest < 0 or f[i] < f[nearest]):
                nearest = i
        if nearest < 0:
            return n
        working[n] = nearest
        n += 1
        status[nearest] = _IMPLIED
    return n


@njit(cache=True, nogil=True)
def outside(delta: Array, room: Array, slack: float) -> tuple[int, int]:
    """The bound of the box that is violated most, as a pair (`BELOW` or `ABOVE`, feature); (0, -1) if none is."""
    side, feature, worst = 0, -1, slack
    for q in range(delta.shape[0]):
        if -delta[q] - room[0, q] > worst:
            side, feature, worst = BELOW, q, -delta[q] - room[0, q]
        if delta[q] - room[1, q] > worst:
            side, feature, worst = ABOVE, q, delta[q] - room[1, q]
    return side, feature


@njit(cache=True, nogil=True)
def solve_cell(
    P: Array,
    c: Array,
    n_other: int,
    status: Bytes,
    own_full: bool,
    other_full: bool,
    strict: float,
    pairs: Integers,
    lam: Array,
    k: int,
    work: Workspace,
    cutoff: float,
    tolerance: float,
) -> tuple[int, float]:
    """Solve (1) for a cell, from k active pairs on, to the end or until its value reaches ``cutoff``.

    Parameters
    ----------
    P (m, d), c (m,) : the points; the first n_other are of other classes, the rest of the same
    status (m,) : what is decided; the undecided points of a side that is ``full`` are high
    strict : how much nearer low points must be, 0 for a bound
    pairs (s, 2), lam (s,), k : the active pairs (low, high) with their multipliers; changed in place
    work : overwritten but for its inner products, which are added to; holds delta and f afterwards
    tolerance : difference of moved distances that counts as zero

    Returns
    -------
    Number of active pairs and the value: the norm of delta, infinite for an empty cell.
    """
    working, delta, f = work.working, work.delta, work.f
    n_working = 0
    for i in range(c.shape[0]):
        if status[i] == LOW or status[i] == HIGH:
            working[n_working] = i
            n_working += 1
    n_decided = n_working
    k = _resume(P, c, strict, pairs, lam, k, work)
    for q in range(k):
        high = pairs[q, 1]
        if pairs[q, 0] >= 0 and status[high] == UNDECIDED:
            status[high] = _IMPLIED
            working[n_working] = high
            n_working += 1
    value, complete, last_low, last_high = 0.0, False, -1, -1
    for _ in range(_MAX_STEPS):
        value = np.sqrt(np.dot(delta, delta))
        if value >= cutoff:
            break
        _move(P, c, pairs, lam, k, work, n_working)
        low, high = _extremes(f, working, n_working, status)
        if low < 0:
            break
        if high < 0 or f[low] - f[high] + strict <= tolerance or (low == last_low and high == last_high):
            _move(P, c, pairs, lam, k, work, -1)
            before = n_working
            top = f[low] + strict - tolerance
            n_working = _add_crossed(f, top, n_other, status, own_full, other_full, working, n_working)
            if n_working > before:
                low, high = _extremes(f, working, n_working, status)
            else:
                low, high = outside(delta, work.room, _OUTSIDE * value)
                if low == 0:
                    complete = True
                    break
        last_low, last_high = low, high
        if k >= work.b.shape[0]:
            break
        pairs[k, 0], pairs[k, 1] = low, high
        work.b[k], work.lengths[k] = _pair_row(P, c, low, high, strict, work.room, work.A[k])
        if work.b[k] == np.inf:
            # Points that M cannot tell apart are as near as each other, never strictly nearer.
            value = np.inf if strict > 0.0 else value
            break
        k, feasible = _activate(work, pairs, lam, k)
        if not feasible:
            value = np.inf
            break
    if not complete and value < cutoff:
        _move(P, c, pairs, lam, k, work, -1)
    for q in range(n_decided, n_working):
        status[working[q]] = UNDECIDED
    return k, value
