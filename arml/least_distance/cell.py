"""The least-distance problem of a cell: some points are *low*, some are *high*, and low points must be nearer.

One test point x and m training points with *moved distances*

    f_i(delta) = c_i - 2 delta' p_i,       c_i = d_M(x, x_i),   p_i = M (x_i - x),

which are d_M(x + delta, x_i) up to a term that is the same for all. The shortest delta of a cell solves

    min ||delta||   subject to   (p_h - p_l)' delta <= (c_h - c_l) / 2     for all low l and high h,              (1)

by a dual active-set method (`arml.least_distance.active_set`), with a row for a pair made when it is violated. The
bounds of a box that perturbed points must stay in are rows too, named as in `arml.least_distance.inner_products`. Every
iterate is dual feasible: a parent's multipliers start its children, and stopping at any time leaves a proven bound.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from arml.compiled import compiled
from arml.least_distance.active_set import Workspace, activate, move, outside, pair_row, resume

Array = NDArray[np.float64]
Integers = NDArray[np.int64]
Bytes = NDArray[np.int8]

#: What is decided about a point. A FREE point is in no constraint, whatever is said of its side.
UNDECIDED, LOW, HIGH, FREE = 0, 1, 2, 3
# High because its side is full, and in the working set.
_IMPLIED = 4

_MAX_STEPS = 2000
_CUTS = 3
# By how much of its length a perturbation may leave the box.
_OUTSIDE = 1e-12


@compiled
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


@compiled
def _add_crossed(
    f: Array, top: float, n_other: int, status: Bytes, own_full: bool, other_full: bool, working: Integers, n: int
) -> int:
    """Add the high points nearest to x + delta that are nearer than ``top`` to the working set; returns its size."""
    first, last = 0 if other_full else n_other, f.shape[0] if own_full else n_other
    found = n
    for i in range(first, last):
        if not (f[i] < top and status[i] == UNDECIDED):
            continue
        if found < n + _CUTS:
            found += 1
        elif f[i] >= f[working[found - 1]]:
            continue
        q = found - 1
        while q > n and f[working[q - 1]] > f[i]:
            working[q] = working[q - 1]
            q -= 1
        working[q] = i
    for q in range(n, found):
        status[working[q]] = _IMPLIED
    return found


@compiled
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
    k = resume(P, c, strict, pairs, lam, k, work)
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
        move(P, c, pairs, lam, k, work, n_working)
        low, high = _extremes(f, working, n_working, status)
        if low < 0:
            break
        if high < 0 or f[low] - f[high] + strict <= tolerance or (low == last_low and high == last_high):
            move(P, c, pairs, lam, k, work, -1)
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
        work.b[k], work.lengths[k] = pair_row(P, c, low, high, strict, work.room, work.A[k])
        if work.b[k] == np.inf:
            # Points that M cannot tell apart are as near as each other, never strictly nearer.
            value = np.inf if strict > 0.0 else value
            break
        k, feasible = activate(work, pairs, lam, k)
        if not feasible:
            value = np.inf
            break
    if not complete and value < cutoff:
        move(P, c, pairs, lam, k, work, -1)
    for q in range(n_decided, n_working):
        status[working[q]] = UNDECIDED
    return k, value
