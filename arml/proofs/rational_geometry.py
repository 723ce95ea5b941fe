"""Distances and rows of training points in whole numbers.

Points are integers in units of one power of two, and so are the entries of G; the unit of G may be dropped, for all
squared distances and rows grow by the same factor with it. With M = G'G and u_i = x_i - x, in integers

    p_i = M u_i,   c_i = u_i'p_i,   f_i(delta) = c_i - 2 delta'p_i,

where delta is in the unit of the points. Nothing is divided, so there is nothing to normalise. M x_i of a training
point is made when it is first asked for, and kept for all test points of a result.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from arml.proofs.claim import Subject
from arml.proofs.rational_numbers import Array, BigInts, finest, integers, times_power

# Numbers of z and p that are kept at once; beyond that they are made again.
_KEPT = 20_000_000


@dataclass(frozen=True)
class Goal:
    """A length l > 0 to be shown, as the fraction ``l^2 = num / den`` in the squared unit of the points."""

    num: int
    den: int

    @classmethod
    def of(cls, sq_length: Fraction, unit: int) -> Goal:
        """Goal from a squared length in units of 1."""
        value = sq_length / times_power(1, 2 * unit)
        return cls(value.numerator, value.denominator)

    def reached(self, ahead: int, sq_length: int) -> bool:
        """Whether ``ahead / (2 length) >= l``; with length 0, where ahead is 0, it is not."""
        return ahead > 0 and ahead * ahead * self.den >= 4 * self.num * sq_length


class ExactSet:
    """The training set of a subject under its metric.

    Attributes
    ----------
    unit : points are in units of ``2**unit``; limits of a box are whole numbers of them, too
    factor : G (r, d) in integers, None for the identity
    """

    def __init__(self, subject: Subject, limits: Array) -> None:
        self.X, self.y = subject.X_train, subject.y_train
        parts = [finest(values) for values in (subject.X_train, subject.X, limits)]
        self.unit = min((part for part in parts if part is not None), default=0)
        G = subject.components if len(subject.components) else np.zeros((1, subject.X_train.shape[1]))
        is_identity = G.shape[0] == G.shape[1] and bool((np.eye(len(G)) == G).all())
        self.factor = None if is_identity else integers(G, finest(G) or 0)
        # One product with M instead of two with G, where G is not much flatter than M.
        self._metric = self.factor.T @ self.factor if self.factor is not None and 2 * len(G) > G.shape[1] else None
        self._rows: dict[int, tuple[BigInts, BigInts]] = {}
        self._most = max(1, _KEPT // (2 * G.shape[1]))

    def times(self, u: BigInts) -> BigInts:
        """``M u`` of an integer vector u (d,)."""
        if self.factor is None:
            return u
        return (self.factor @ u) @ self.factor if self._metric is None else self._metric @ u

    def row(self, i: int) -> tuple[BigInts, BigInts]:
        """``x_i`` and ``M x_i`` of training point i."""
        found = self._rows.get(i)
        if found is None:
            if len(self._rows) >= self._most:
                self._rows.clear()
            x = integers(self.X[i], self.unit)
            found = self._rows[i] = x, self.times(x)
        return found


class ExactView:
    """The training set seen from one test point x (d,)."""

    def __init__(self, train: ExactSet, x: Array) -> None:
        self.train = train
        self.x = integers(x, train.unit)
        self.p = train.times(self.x)
        self._c: dict[int, int] = {}
        self._lengths: dict[tuple[int, int], int] = {}

    def c(self, i: int) -> int:
        """Squared distance of training point i."""
        if i not in self._c:
            x, p = self.train.row(i)
            self._c[i] = int((x - self.x) @ (p - self.p))
        return self._c[i]

    def between(self, i: int, j: int) -> int:
        """``||p_i - p_j||^2``."""
        pair = (i, j) if i < j else (j, i)
        if pair not in self._lengths:
            self._lengths[pair] = sq_norm(self.train.row(i)[1] - self.train.row(j)[1])
        return self._lengths[pair]

    def distances(self, points: list[int], delta: BigInts, finer: int) -> list[int]:
        """Squared distances of training points from ``x + delta``, in one unit; delta is in ``2**(unit - finer)``."""
        here = (self.x << finer) + delta
        p = self.train.times(here)
        rows = (self.train.row(i) for i in points)
        return [int(((x << finer) - here) @ ((row << finer) - p)) for x, row in rows]


def sq_norm(vector: BigInts) -> int:
    """Sum of the squares of integers."""
    return int(vector @ vector) if len(vector) else 0
