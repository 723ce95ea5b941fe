"""Sharpen the bounds of the few inner problems that decide a point's radius.

The search works with distances from one big matrix product, whose worst-case rounding error grows with the norms of
the points. The problems that matter are few, so they are looked at again: first with their distances and rows evaluated
from differences of points (`refine`), and, where even that leaves a doubt, in exact arithmetic (`refine_exactly`).
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from arml.certify.one_nn.cutting import PointState, local_names
from arml.certify.one_nn.kernels import proven_bound, search
from arml.classifier.differences import Differences
from arml.classifier.exactly import Dyadic, nearest_floats
from arml.classifier.fitted import FittedKNN
from arml.classifier.rounding import UNDERFLOW, UNIT_ROUNDOFF, gamma
from arml.least_distance.active_set import Workspace

Array = NDArray[np.float64]
Integers = NDArray[np.int64]

#: Relative gaps between bounds that are worth looking at from nearer by, and in exact arithmetic.
WORTHWHILE, WORTH_EXACT_WORK = 1e-9, 5e-7

_SAFETY = 1 + 1e-6


def refine(fitted: FittedKNN, x: Array, state: PointState) -> None:
    """Raise the bounds of the state's candidates that lie below its best value; x (d,) is the caller's test point.

    Does nothing where rounding has cost too little to be worth it.
    """
    if state.proven >= state.value * (1 - WORTHWHILE / 8):
        return
    points, rows = local_names(state.rows)
    low = np.flatnonzero((state.bound < state.value) & (state.weights > 0).any(axis=1))
    if not low.size:
        return
    index = fitted.train.order[np.concatenate([points, state.candidates[low]])]
    seen = Differences.of(fitted.train.metric, fitted.differences(x, index))
    for place, q in enumerate(low.tolist()):
        _raise(state, q, seen, len(points) + place, rows)
    # Of points that are far from x, and near each other, the difference of two distances keeps digits that both lose.
    for q in low.tolist() if state.proven < state.value * (1 - WORTHWHILE) else ():
        if state.bound[q] < state.value * (1 - WORTHWHILE):
            other = int(fitted.train.order[state.candidates[q]])
            _raise(state, q, _seen_from(fitted, x, other, fitted.train.order[points]), len(points), rows)


def _raise(state: PointState, q: int, seen: Differences, place: int, rows: Integers) -> None:
    """Raise the bound of candidate q, which is at ``place`` among the points seen, to what its multipliers prove."""
    bound = proven_bound(
        seen.P, seen.c, seen.p_error, seen.c_error, place, rows, state.weights[q], state.room,
        np.empty(seen.P.shape[1]),
    )  # fmt: skip
    state.bound[q] = max(state.bound[q], bound)


def _seen_from(fitted: FittedKNN, x: Array, other: int, points: Integers) -> Differences:
    """Rows ``p_i - p_j`` (m + 1, d) and distances ``c_i - c_j`` (m + 1,) as in `_seen_exactly`, in floats."""
    metric, G = fitted.train.metric, fitted.train.metric.components
    T = np.vstack([fitted.differences(fitted.X_train[other], points), np.zeros((1, len(x)))])
    seen = Differences.of(metric, T)
    here, there = fitted.differences(x, points), fitted.differences(x, np.array([other]))
    S = np.vstack([here + there, np.zeros((1, len(x)))])
    Z, W, absolute = T @ G.T, S @ G.T, np.abs(G).T
    z_error = gamma(len(x) + 6) * (np.abs(T) @ absolute)
    w_error = gamma(len(x) + 6) * (np.vstack([np.abs(here) + np.abs(there), np.zeros((1, len(x)))]) @ absolute)
    error = (np.abs(Z) * w_error + z_error * (np.abs(W) + w_error)).sum(axis=1)
    error += gamma(len(G) + 6) * (np.abs(Z) * np.abs(W)).sum(axis=1)
    return replace(seen, c=np.einsum("mr,mr->m", Z, W), c_error=_SAFETY * error + UNDERFLOW)


def refine_exactly(fitted: FittedKNN, x: Array, state: PointState) -> None:
    """Solve the candidates below the state's best value again, over rows that are right to the last digit.

    Seen from the candidate, its own row and distance are 0, and those of the others come from exact arithmetic.
    """
    points, rows = local_names(state.rows)
    low = np.flatnonzero(state.bound < state.value)
    order = fitted.train.order
    best, value, delta = -1, np.inf, state.delta
    for q in low[np.argsort(state.bound[low], kind="stable")]:
        P, c = _seen_exactly(fitted, x, int(order[state.candidates[q]]), order[points])
        p_error = 4 * UNIT_ROUNDOFF * np.linalg.norm(P, axis=1) + UNDERFLOW
        bound, weights = np.zeros(1), np.zeros((1, len(rows)))
        work = Workspace.make(len(rows), state.room, 0)
        found, length = search(
            P, c, p_error, 4 * UNIT_ROUNDOFF * np.abs(c) + UNDERFLOW, rows, np.array([len(points)]), bound, weights,
            value, work,
        )  # fmt: skip
        if bound[0] > state.bound[q]:
            state.bound[q], state.weights[q] = bound[0], weights[0]
        if found >= 0:
            best, value, delta = int(state.candidates[q]), float(length), work.normal.copy()
    if best >= 0:
        state.winner, state.value, state.delta = best, value, delta


def deeper(fitted: FittedKNN, x: Array, state: PointState, by: float) -> Array | None:
    """The shortest step (d,) within the state's room after which its winner is nearer than the points in use by ``by``.

    ``by`` is a difference of squared distances, in units of the frame. None if there is no such step.
    """
    points, rows = local_names(state.rows)
    P, c = _seen_exactly(fitted, x, int(fitted.train.order[state.winner]), fitted.train.order[points])
    c[-1] = by
    none, work = np.zeros(len(c)), Workspace.make(len(rows), state.room, 0)
    found, _ = search(
        P, c, none, none, rows, np.array([len(points)]), np.zeros(1), np.zeros((1, len(rows))), np.inf, work
    )
    return work.normal.copy() if found >= 0 else None


def _seen_exactly(fitted: FittedKNN, x: Array, other: int, points: Integers) -> tuple[Array, Array]:
    """Rows ``p_i - p_j`` (m + 1, d) and distances ``c_i - c_j`` (m + 1,), the last of the other point j itself: 0.

    ``c_i - c_j = (x_i - x_j)' M (x_i + x_j - 2 x)``, in units of the frame, rounded once.
    """
    here, there = Dyadic.of(fitted.X_train[points]), Dyadic.of(fitted.X_train[other])
    T = here.minus(there)
    S = here.minus(Dyadic.of(x)).plus(there.minus(Dyadic.of(x)))
    factor, unit = fitted.exact_factor, int(np.log2(fitted.frame.unit))
    Z, W = factor.embed(T), factor.embed(S)
    rows, c = factor.back(Z), (Z.values * W.values).sum(axis=1)
    P = nearest_floats(rows.values, rows.exponent - unit)
    distances = nearest_floats(c, Z.exponent + W.exponent - 2 * unit)
    return np.vstack([P, np.zeros((1, len(x)))]), np.append(distances, 0.0)
