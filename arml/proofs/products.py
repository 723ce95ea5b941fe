"""The training set mapped once by the metric, about an origin near the test points, and squared distances from it.

One matrix product gives the squared distances of many test points to all training points. Its errors are bounded for
each pair by itself: with e the bound of the error of a mapped point and s its squared norm, ``||u - z||^2`` as computed
by expansion is off by at most ``gamma (s_u + s_z) + 2 ||u - z|| (e_u + e_z)``. Both terms are put into sums of one
number per point (``2 a b <= h a^2 + b^2 / h``), so they enter the product itself and cost nothing. A far training point
blurs its own distances only; a test point far from the origin blurs all of its own and is looked at about another.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from arml.proofs.claim import Integers, Subject
from arml.proofs.precision import DOUBLE, TINY, Array, Factor, middle, norms, power_of_two

# Share of a squared length that is given up so that errors can be split; see the module's docstring.
_SHARE = 1e-13
_ROWS = 4096


@dataclass(frozen=True)
class Mapped:
    """Points mapped: Z (n, r) = G t, P (n, d) = M t, their squared norms, and bounds of the norms of their errors."""

    Z: Array
    P: Array
    z_sq: Array
    p_sq: Array
    z_error: Array
    p_error: Array


@dataclass(frozen=True)
class Products:
    """The training set about an origin (d,), in units of ``unit``."""

    factor: Factor
    origin: Array
    unit: float
    train: Mapped

    @classmethod
    def of(cls, subject: Subject, origin: Array) -> Products:
        """The subject's training set about an origin."""
        factor = Factor.of(subject.components)
        sizes = np.abs(subject.X_train - origin).max(axis=1, initial=0.0)
        unit = power_of_two(middle(sizes))
        return cls(factor, origin, unit, mapped(factor, subject.X_train, origin, unit))

    def points(self, X: Array, delta: Array | None = None) -> Mapped:
        """Test points X (t, d), mapped; or ``X + delta``, which is not rounded on the way."""
        return mapped(self.factor, X, self.origin, self.unit, delta)

    @cached_property
    def _least(self) -> Array:
        return _ends(self.train.Z, self.train.z_sq, self.train.z_error, -1.0)[1]

    @cached_property
    def _most(self) -> Array:
        return _ends(self.train.P, self.train.p_sq, self.train.p_error, 1.0)[1]

    def least_sq_distances(self, points: Mapped) -> Array:
        """Lower bounds (t, n) of the squared distances of test points to all training points."""
        left, _ = _ends(points.Z, points.z_sq, points.z_error, -1.0)
        return np.asarray(left @ self._least.T)

    def sq_distance_slack(self) -> Array:
        """By how much at most a lower bound falls short of the squared distance c, beyond 1e-12 c: the share (n,) of
        each training point."""
        return 2.1 * _slack(self.train.Z.shape[1], self.train.z_sq, self.train.z_error)

    def point_slack(self, points: Mapped) -> Array:
        """The same for the test points (t,)."""
        return 2.1 * _slack(points.Z.shape[1], points.z_sq, points.z_error)

    def most_sq_lengths(self, anchors: Integers, factors: Array) -> Array:
        """``factors`` (t,) times upper bounds of the squared lengths of ``p_j - p_anchor``, for all j: (t, n)."""
        train = self.train
        left, _ = _ends(train.P[anchors], train.p_sq[anchors], train.p_error[anchors], 1.0)
        return np.asarray((left * (factors * (1 + 1e-14))[:, None]) @ self._most.T)

    def lengths_from(self, points: Mapped) -> Array:
        """Upper bounds (t, n) of the lengths of ``M (x_j - x)``."""
        left, _ = _ends(points.P, points.p_sq, points.p_error, 1.0)
        sq = left @ self._most.T
        return np.asarray(np.sqrt(sq, out=sq))

    def most_sq_lengths_between(self, rows: Integers, columns: Integers) -> Array:
        """Upper bounds (rows, columns) of the squared lengths of ``p_j - p_i``."""
        train = self.train
        left, _ = _ends(train.P[rows], train.p_sq[rows], train.p_error[rows], 1.0)
        return np.asarray(left @ self._most[columns].T)


def mapped(factor: Factor, X: Array, origin: Array, unit: float, delta: Array | None = None) -> Mapped:
    """Points X (n, d), or X + delta, about an origin, mapped."""
    parts = []
    for start in range(0, max(len(X), 1), _ROWS):
        some = slice(start, start + _ROWS)
        T = (X[some] - origin) / unit
        T_error = DOUBLE.u * np.abs(T)
        if delta is not None:
            T = T + delta[some] / unit
            T_error = T_error + DOUBLE.u * np.abs(T)
        Z, Z_error = factor.embed(T, T_error)
        P, p_error = factor.rows(Z, Z_error)
        z_sq, p_sq = np.einsum("nr,nr->n", Z, Z), np.einsum("nd,nd->n", P, P)
        parts.append((Z, P, z_sq, p_sq, 1.01 * norms(Z_error), p_error))
    return Mapped(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))


def _slack(r: int, sq: Array, error: Array) -> Array:
    return DOUBLE.gamma(4 * r + 32) * sq + 2.1 * error * error / _SHARE + TINY


def _ends(Z: Array, sq: Array, error: Array, sign: float) -> tuple[Array, Array]:
    """Factors whose product bounds squared distances from below (sign -1) or above (+1), as left and as right ones."""
    share = 1 + 1.1 * sign * _SHARE
    column = share * sq + sign * _slack(Z.shape[1], sq, error)
    ones = np.ones(len(Z))
    return np.column_stack([-2 * share * Z, ones, column]), np.column_stack([Z, column, ones])
