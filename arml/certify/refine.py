"""Sharpen the proven bounds of the few inner problems that decide a point's radius.

The search works with distances from one big matrix product, whose worst-case rounding error grows with the norms of
the points. For ill-conditioned metrics that error, not the radius, would limit what is proven. The problems that matter
are few, so their distances and rows are evaluated again from differences of points, with componentwise error bounds,
and the multipliers found by the search are applied to those.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from arml.certify.cutting import PointSearch
from arml.certify.rounding import UNIT_ROUNDOFF, gamma
from arml.certify.training_set import TrainingSet
from arml.qp import proven_bound

Array = NDArray[np.float64]
Integers = NDArray[np.int64]

_WORTHWHILE = 1e-9


def refine(train: TrainingSet, x: Array, state: PointSearch) -> None:
    """Raise the bounds of the state's candidates that lie below its best value; x (d,) is the test point.

    Does nothing where rounding has cost too little to be worth it.
    """
    if state.proven >= state.value * (1 - _WORTHWHILE):
        return
    for q in np.flatnonzero(state.bound < state.value):
        used = np.flatnonzero(state.weights[q])
        if used.size:
            rows, weights = state.rows[used], state.weights[q, used]
            A, b, row_error, limit_error = _constraints(train, x, state, rows, int(state.candidates[q]))
            bound = proven_bound(A, b, rows, weights, row_error, limit_error)
            state.bound[q] = max(state.bound[q], bound)


def _constraints(
    train: TrainingSet, x: Array, state: PointSearch, rows: Integers, other: int
) -> tuple[Array, Array, float, float]:
    """Rows and limits of one problem from differences of points, and bounds of their errors."""
    points = rows[rows >= 0]
    d = len(x)
    A, b = np.zeros((len(rows), d)), np.empty(len(rows))
    box = -1 - rows[rows < 0]
    A[np.flatnonzero(rows < 0), box % d] = np.where(box < d, -1.0, 1.0)
    b[rows < 0] = np.where(box < d, state.room_below[box % d], state.room_above[box % d])
    difference = train.X[points] - train.X[other]
    toward = (train.X[points] - x) + (train.X[other] - x)
    # Each centred point is off by a rounding, and so is each difference.
    blur = 3 * UNIT_ROUNDOFF * (np.abs(train.X[points]) + np.abs(train.X[other]))
    toward_blur = blur + 6 * UNIT_ROUNDOFF * np.abs(x)
    # d_M(x, x_i) - d_M(x, x_j) = (x_i - x_j)' M (x_i + x_j - 2 x): no two large numbers are subtracted.
    mapped, mapped_error = _embedded(train, difference, blur)
    sums, sums_error = _embedded(train, toward, toward_blur)
    b[rows >= 0] = np.einsum("kr,kr->k", mapped, sums) / 2
    limit_error = np.einsum("kr,kr->k", np.abs(mapped) + mapped_error, sums_error)
    limit_error += np.einsum("kr,kr->k", mapped_error, np.abs(sums))
    G = np.abs(train.metric.components)
    A[rows >= 0] = mapped @ train.metric.components
    row_error = np.linalg.norm(2 * mapped_error @ G, axis=1)
    return A, b, float(row_error.max(initial=0.0)), float(limit_error.max(initial=0.0))


def _embedded(train: TrainingSet, T: Array, T_error: Array) -> tuple[Array, Array]:
    """``G t`` of the rows t (k, d), and componentwise bounds (k, r) of its error.

    T_error (k, d) bounds the error of t itself. There is room for one further inner product with the result.
    """
    G = train.metric.components
    absolute = np.abs(G).T
    return T @ G.T, 2 * gamma(sum(G.shape) + 8) * (np.abs(T) @ absolute) + (1 + 1e-6) * (T_error @ absolute)
