"""Training points seen from a test point, from differences of points, with bounds of the rounding of each."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from arml.proofs.claim import Integers, Subject
from arml.proofs.precision import DOUBLE, EXTENDED, TINY, Array, Factor, Precision, middle, norms, power_of_two

_BLOCK = 2_000_000
# Same-class points that a doubtful other-class point is compared with in the wider format, beyond the k needed.
_AGAIN = 8


@dataclass(frozen=True)
class View:
    """Training points seen from a test point, in units of ``unit``: a power of two near the size of what is seen.

    c (m,) squared distances, P (m, d) rows ``M (x_i - x)``, y (m,) labels; c_error (m,) and P_error (m,), in norm, are
    bounds of their rounding. All are those of the training points ``index`` (m,).
    """

    c: Array
    P: Array
    y: Integers
    c_error: Array
    P_error: Array
    unit: float
    index: Integers
    precision: Precision

    @classmethod
    def of(cls, subject: Subject, x: Array, index: Integers, precision: Precision = DOUBLE) -> View:
        """The training points ``index`` of the subject, seen from x (d,)."""
        unit = unit_of(subject, x, index)
        T, factor = (
            (subject.X_train[index].astype(precision.dtype) - x) / unit,
            Factor.of(subject.components, precision),
        )
        Z, Z_error = factor.embed(T, precision.u * np.abs(T))
        P, P_error = factor.rows(Z, Z_error)
        c, c_error = factor.sq_norms(Z, Z_error)
        return cls(c, P, subject.y_train[index], c_error, P_error, unit, index, precision)

    def distances(self, rows: Integers, others: Integers) -> Array:
        """``||p_j - p_i||`` (rows, others), rounded up, never 0."""
        A, B = self.P[rows], self.P[others]
        sq_A, sq_B = (A * A).sum(axis=1)[:, None], (B * B).sum(axis=1)
        sq = np.maximum(sq_A + sq_B - 2 * (A @ B.T), 0) + self.precision.gamma(2 * A.shape[1] + 16) * (sq_A + sq_B)
        return np.sqrt(sq) * (1 + 4 * self.precision.u) + self.P_error[rows][:, None] + self.P_error[others] + TINY


@dataclass(frozen=True)
class Pairs:
    """Rows A (m, d) and limits b (m,) of (1) for pairs of points; bounds of their errors, that of A in norm (m,)."""

    A: Array
    b: Array
    A_error: Array
    b_error: Array

    @classmethod
    def of(cls, subject: Subject, x: Array, low: Integers, high: Integers, unit: float, precision: Precision) -> Pairs:
        """Pairs of training points low (m,) and high (m,), seen from x (d,), in units of ``unit``.

        Everything comes from the difference of the two points, so that pairs that lie close together lose no digits:
        ``c_h - c_l = (x_h - x_l)' M (x_h + x_l - 2 x)``.
        """
        X, u, factor = subject.X_train, precision.u, Factor.of(subject.components, precision)
        x_low, x_high = X[low].astype(precision.dtype), X[high].astype(precision.dtype)
        apart = (x_high - x_low) / unit
        to_high, to_low = (x_high - x) / unit, (x_low - x) / unit
        total = to_high + to_low
        Z, Z_error = factor.embed(apart, u * np.abs(apart))
        S, S_error = factor.embed(total, u * (np.abs(to_high) + np.abs(to_low) + np.abs(total)))
        A, A_error = factor.rows(Z, Z_error)
        size = (np.abs(Z) * np.abs(S)).sum(axis=1)
        slips = (np.abs(Z) * S_error + Z_error * (np.abs(S) + S_error)).sum(axis=1)
        b_error = 0.51 * (precision.gamma(Z.shape[1] + 8) * size + 1.01 * slips) + TINY
        return cls(A, (Z * S).sum(axis=1) / 2, A_error, b_error)

    def margins(self) -> Array:
        """How far a perturbation has to go before the low point has passed the high one (m,), rounded down."""
        length = norms(self.A) * (1 + DOUBLE.gamma(self.A.shape[1] + 4)) + self.A_error + TINY
        return (-self.b - self.b_error) / length * (1 - 1e-15)


def row_values(view: View, rows: Integers, same: Integers, k: int) -> Array:
    """k-th largest margin of each row over the points ``same`` (Theorem 1), rounded down; 0 where there are fewer."""
    if len(same) < k or not len(rows):
        return np.zeros(len(rows))
    values = []
    for block in np.array_split(rows, max(1, len(rows) * len(same) // _BLOCK)):
        margins = margins_of(view, block, same)
        values.append(np.partition(margins, len(same) - k, axis=1)[:, len(same) - k])
    return np.concatenate(values)


def margins_of(view: View, rows: Integers, same: Integers) -> Array:
    """How far a perturbation must go before each row's point has passed each of the same: rounded down, at least 0."""
    ahead = (view.c[rows] - view.c_error[rows])[:, None] - (view.c[same] + view.c_error[same])
    # What is not a number shows nothing.
    return np.asarray(np.fmax(ahead / (2 * view.distances(rows, same)) * (1 - 8 * view.precision.u), 0.0))


def still_unshown(subject: Subject, x: Array, rows: Integers, k: int, label: int, lower: float) -> Integers:
    """Those (one at least) of the other-class training points ``rows`` of which no row value ``lower`` can be shown."""
    same = np.flatnonzero(subject.y_train == label)
    if len(same) < k or not len(rows):
        return rows
    view = View.of(subject, x, np.concatenate([rows, same]))
    goal = float(scaled(np.array([lower]), view.unit)[0])
    left, same = np.arange(len(rows)), len(rows) + np.argsort(view.c[len(rows) :], kind="stable")
    for count in (4 * k, len(same)):
        left = left[~(row_values(view, left, same[:count], k) >= goal)]
        if not left.size:
            return view.index[left]
    for row in left.tolist():
        best = same[np.argsort(-margins_of(view, np.array([row]), same)[0], kind="stable")[: k + _AGAIN]]
        low = np.full(len(best), view.index[row])
        again = Pairs.of(subject, x, low, view.index[best], view.unit, EXTENDED).margins()
        if int((again >= goal).sum()) < k:
            return view.index[[row]]
    return view.index[:0]


def unit_of(subject: Subject, x: Array, index: Integers) -> float:
    """The power of two near the size of what is seen from x (d,): of a typical one of the training points."""
    return power_of_two(middle(np.abs(subject.X_train[index] - x).max(axis=1, initial=0.0)))


def scaled(goal: Array, unit: float) -> Array:
    """Bounds in another unit, rounded up, and never so small that their squares underflow."""
    return np.asarray(np.maximum(goal / unit * (1 + 4 * DOUBLE.u), 2.0**-400))
