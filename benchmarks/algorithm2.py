"""Algorithm 2 of *Provably Robust Metric Learning*: the yardstick of `arml.certify.one_nn`.

For a correctly classified test point x, eq. (13) has one inner problem per other-class point x_j:

    min ||delta||  s.t.  A delta <= b,    a_i = M (x_i - x_j),  b_i = (d_M(x, x_i) - d_M(x, x_j)) / 2,  all same-class i

1. The closed form (eq. 8), maximised over 50 same-class points, bounds each inner problem from below.
2. The inner problems are solved in the order of these bounds; the first bound that is no better than the best value
   found ends the search.
3. An inner problem is solved through its full dual, ``max over lam >= 0 of -lam' A A' lam / 2 - b' lam`` with one
   variable per same-class point, by greedy coordinate ascent.

All in float32, NumPy. Rows of A are scaled to length 1, so that the coordinate with the largest projected step is the
one with the largest gain and an exact line step needs no division; the gradient is kept up to date. The ascent starts
at 0 and stops when no coordinate can move by more than ``TOLERANCE`` times the largest first step (a lower bound of the
solution's norm), or after ``MAX_STEPS`` steps.

There are two variants, because the description leaves open which 50 points and how A A' is had:

* ``published``: any 50 same-class points (drawn at random), and A A' formed for every inner problem. On USPS it takes
  the 0.2 s a point that the plain reading of the paper takes.
* ``tuned``: the 50 *nearest* same-class points, whose bounds are so much tighter that hardly an inner problem is left,
  and only those rows of A A' whose coordinate is chosen. That is a better algorithm than the description promises.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from arml.geometry import Mahalanobis

Array = NDArray[np.float64]
Array32 = NDArray[np.float32]
Integers = NDArray[np.int64]
Variant = Literal["published", "tuned"]

#: Same-class points used in the screening.
SCREENING = 50
#: With rows of length 1 a coordinate's step is the distance from delta to its half-space.
TOLERANCE = 1e-6
MAX_STEPS = 20_000
# Squared distances between rows of P below this fraction of their squared norms are rounding: no bound from them.
_CANCELLED = 1e-6


@dataclass
class Algorithm2:
    """The training points X (n, d) with labels y (n,), mapped by the metric once for all test points.

    Z (n, r) = X G', P (n, d) = X M; ``n_problems`` inner problems and ``n_steps`` steps of ascent were done so far.
    """

    metric: Mahalanobis
    X: Array
    y: Integers
    variant: Variant
    n_problems: int = 0
    n_steps: int = 0
    Z: Array32 = field(init=False)
    P: Array32 = field(init=False)
    sq_norm: Array32 = field(init=False)
    rng: np.random.Generator = field(init=False)

    def __post_init__(self) -> None:
        self.Z = self.metric.embed(self.X).astype(np.float32)
        self.P = (self.X @ self.metric.matrix).astype(np.float32)
        self.sq_norm = np.einsum("nd,nd->n", self.P, self.P)
        self.rng = np.random.default_rng(42)

    def radii(self, X: Array, y: Integers) -> Array:
        """`radius` of each of the points X (t, d) with labels y (t,)."""
        return np.array([self.radius(point, int(label)) for point, label in zip(X, y, strict=True)])

    def radius(self, x: Array, y: int) -> float:
        """Minimal perturbation of the point x (d,) with label y; 0 for a misclassified or tied point."""
        offset = self.Z - (self.metric.components @ x).astype(np.float32)
        sq_dist = np.einsum("nr,nr->n", offset, offset)
        own, other = np.flatnonzero(self.y == y), np.flatnonzero(self.y != y)
        if not own.size or sq_dist[other].min() <= sq_dist[own].min():
            return 0.0
        bounds = self._screen(sq_dist, own, other)
        P_own, c_own, best = self.P[own], sq_dist[own], np.inf
        for j in np.argsort(bounds):
            if bounds[j] >= best:
                break
            row = other[j]
            best = min(best, self._inner_problem(P_own - self.P[row], (c_own - sq_dist[row]) / 2))
        return float(best)

    def _screen(self, sq_dist: Array32, own: Integers, other: Integers) -> Array32:
        """Lower bound of the inner problem of each other-class point: (n_other,)."""
        count = min(SCREENING, len(own))
        if self.variant == "tuned":
            chosen = own[np.argpartition(sq_dist[own], count - 1)[:count]]
        else:
            chosen = self.rng.choice(own, count, replace=False)
        scale = self.sq_norm[chosen][:, None] + self.sq_norm[other]
        sq_length = scale - 2 * (self.P[chosen] @ self.P[other].T)
        floor = _CANCELLED * scale + np.finfo(np.float32).tiny
        bounds = (sq_dist[other] - sq_dist[chosen][:, None]) / (2 * np.sqrt(np.maximum(sq_length, floor)))
        bounds[sq_length < floor] = 0
        return np.asarray(bounds.max(axis=0).clip(min=0))

    def _inner_problem(self, A: Array32, b: Array32) -> float:
        """Norm of the shortest delta with A delta <= b; infinite where a row of zeros makes that impossible."""
        length = np.sqrt(np.einsum("nd,nd->n", A, A))
        usable = length > 0
        if not usable.all():
            if b[~usable].min() < 0:
                return np.inf
            A, b, length = A[usable], b[usable], length[usable]
        A /= length[:, None]
        b /= length
        self.n_problems += 1
        return float(np.linalg.norm(self._ascend(b, _gram_rows(A, self.variant)) @ A))

    def _ascend(self, b: Array32, gram_row: Callable[[int], Array32]) -> Array32:
        """Multipliers (n_own,) that maximise the dual."""
        multipliers, gradient, step = np.zeros_like(b), -b, np.empty_like(b)
        tolerance = TOLERANCE * float(gradient.max(initial=0.0))
        for _ in range(MAX_STEPS):
            np.maximum(gradient, -multipliers, out=step)
            k = int(np.abs(step).argmax())
            move = step[k]
            if abs(move) <= tolerance:
                break
            multipliers[k] += move
            gradient -= move * gram_row(k)
            self.n_steps += 1
        return multipliers


def _gram_rows(A: Array32, variant: Variant) -> Callable[[int], Array32]:
    """Row k of A A': of the whole matrix, or computed when first asked for."""
    if variant == "published":
        return (A @ A.T).__getitem__
    rows: dict[int, Array32] = {}

    def row(k: int) -> Array32:
        if k not in rows:
            rows[k] = A @ A[k]
        return rows[k]

    return row
