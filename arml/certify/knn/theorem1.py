"""Certified radii of a Mahalanobis K-NN classifier (Theorem 1, eq. 10).

    radius(x, y) >= [ k-th min over j with y_j != y of  k-th max over i with y_i = y of  m(x_i, x_j, x) ]_+

with ``k = (K + 1) / 2`` and the signed margin m of eq. (9). The right-hand side is evaluated over all training points.

What is certified
-----------------
Below the radius, at least k of the K nearest neighbours keep the label y: y keeps its *majority*, so the answer cannot
change. With more than two classes y can win the vote without a majority; such a point is answered correctly, but its
certified radius is 0. So is that of a point whose class has fewer than k training points. Where fewer than k training
points have other labels, y can never lose its majority and the radius is infinite. A tie counts as lost.

Why a handful of rows is enough
-------------------------------
Write ``v_j = [k-th max over i of m(x_i, x_j, x)]_+`` for the *row* of x_j, ``c_i = d_M(x, x_i)`` and
``D_ij = ||M (x_i - x_j)||``, so that ``m(x_i, x_j, x) = (c_j - c_i) / (2 D_ij)``.

1. By the triangle inequality ``D_ij <= e_i + e_j`` with ``e_i = ||M (x_i - x)||``. The k nearest same-class points have
   ``c_i <= C`` and ``e_i <= E``, hence ``v_j >= (c_j - C) / (2 (E + e_j))``: a bound of every row from two products.
2. Over any k or more same-class points, the *anchors*, the k-th maximum is at most that over all of them. For the rows
   with the smallest bounds 1 it is evaluated over a few nearest same-class points.
3. Rows are evaluated in full in the order of these bounds. Let V be the k-th smallest of the values so far. If V is at
   most the next bound then every row not evaluated has ``v_j >= V``, so V is the k-th smallest of all rows: stop.
4. Only same-class points with ``c_i < c_j`` have a positive margin, so only these are looked at in a row.

Other norms
-----------
For perturbations measured in the l1 or l-infinity norm, Hoelder's inequality puts the dual norm of ``M (x_i - x_j)``
(l-infinity, l1) in the denominator; everything above holds word for word.

Rounding
--------
Every margin is rounded down by a proven bound of its error (`arml.classifier.rounding`), and k-th minima and maxima are
monotone, so what is returned never exceeds the theorem's value in exact arithmetic. Test points that see their
neighbours blurred get a frame of their own (`arml.classifier.homes`).

Differences from the paper
--------------------------
* The paper evaluates the theorem in float32 with all margins; here it is in float64, proven, and over few rows.
* l1 and l-infinity norms are an addition.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from arml.certify.knn.norms import Norm, norms_between, norms_to_all
from arml.classifier.chunks import class_chunks
from arml.classifier.fitted import Compute, FittedKNN
from arml.classifier.homes import Sight, sights
from arml.classifier.training_set import TrainingSet
from arml.threads import Map, blas_on_one_thread, workers
from arml.versions import VERSIONS

Array = NDArray[np.float64]
Integers = NDArray[np.int64]

#: Bump when the numbers this module returns change: it is part of every record's identity.
VERSION = VERSIONS["certify.knn_bound"]

#: Rows handed on per test point, best first: good places to start an attack from.
BEST_ROWS = 8

_FIRST_ROWS = 64
_BLOCK = 256
_DOWN = 1 - 2.0**-48
_UP = 1 + 2.0**-48
_TINY = 1e-300


@dataclass(frozen=True)
class KNNBounds:
    """Result of `certified_radii`: ``lower`` (t,) and ``rows`` (t, `BEST_ROWS`).

    ``rows`` are the caller's training indices of the rows with the smallest values that were evaluated, smallest
    first, filled up with -1.
    """

    lower: Array
    rows: Integers


def certified_radii(
    fitted: FittedKNN, X: Array, labels: Integers, *, norm: Norm = 2, compute: Compute | None = None
) -> KNNBounds:
    """Theorem 1 for a K-NN classifier at the points X (t, d) of class numbers labels (t,).

    A label without training points (-1) has radius 0. ``norm`` is that of the perturbation: 2, 1 or ``inf``.
    """
    compute = compute or Compute()
    k, n_train, unit = fitted.k, len(fitted.X_train), fitted.frame.unit
    lower, rows = np.zeros(len(X)), np.full((len(X), BEST_ROWS), -1, dtype=np.int64)
    with workers() as side_by_side:
        for label, chunk in class_chunks(labels, compute.rows(n_train, 5)):
            own = fitted.train.classes.get(label, slice(0, 0))
            n_own = own.stop - own.start
            if n_train - n_own < k:
                lower[chunk] = np.inf
            elif n_own >= k:
                for sight in sights(fitted, X[chunk], own):
                    solved = _solve(sight, own, k, norm, side_by_side)
                    for i, (value, best) in zip(chunk[sight.positions], solved, strict=True):
                        lower[i], rows[i, : len(best)] = value * unit * _DOWN, fitted.train.order[best]
            compute.advance(len(chunk))
    return KNNBounds(lower, rows)


def _solve(sight: Sight, own: slice, k: int, norm: Norm, side_by_side: Map) -> list[tuple[float, Integers]]:
    """Value and best rows of each of the points, all of the class with the rows ``own``."""
    train, C = sight.train, sight.C
    bounds, anchors = row_bounds(sight, own, k, norm)
    n_rows = C.shape[1] - (own.stop - own.start)
    first = bounds.topk(min(_FIRST_ROWS, n_rows), dim=1, largest=False)
    C_host, bounds_host, shares = C.cpu().numpy(), bounds.cpu().numpy(), sight.share.cpu().numpy()
    candidates, anchors_host = first.indices.cpu().numpy(), anchors.cpu().numpy()

    def solve(q: int) -> tuple[float, Integers]:
        point = PointRows(train, own, C_host[q], float(shares[q]), k, norm)
        return point.solve(bounds_host[q], candidates[q], anchors_host[q])

    with blas_on_one_thread():
        return list(side_by_side(solve, range(len(C_host))))


def row_bounds(sight: Sight, own: slice, k: int, norm: Norm) -> tuple[torch.Tensor, torch.Tensor]:
    """Bound 1 of the module's docstring for all rows (t, n), infinite in the columns ``own``; the anchors (t, a)."""
    train, C, share = sight.train, sight.C, sight.share
    nearest = C[:, own].topk(min(2 * k, own.stop - own.start), dim=1, largest=False)
    anchors = nearest.indices + own.start
    if anchors.shape[1] < k:
        # A class that cannot have a majority has nothing to pass.
        bounds = torch.zeros_like(C)
        bounds[:, own] = torch.inf
        return bounds, anchors
    if norm == 2 and train.P_device is train.Z:
        # Where M is the identity e_j is the root of c_j, which is there already, but for what was taken off it.
        E = C.add(share[:, None] + 2 * train.share).clamp_(min=0).sqrt_().mul_(_UP)
    else:
        E = norms_to_all(train, sight.embedded @ train.G, norm)
    reach = E.gather(1, anchors[:, :k]).amax(dim=1)
    farthest = nearest.values[:, k - 1]
    bounds = C.sub((farthest + 2 * share)[:, None]).mul_(0.5 * _DOWN).div_(E.add_((reach + _TINY)[:, None]))
    bounds.clamp_(min=0)
    bounds[:, own] = torch.inf
    return bounds, anchors


class PointRows:
    """Rows of one test point: ``c`` (n,) are its pessimistic distances to the training points but for ``error``.

    ``rows`` and ``values`` are the rows evaluated in full so far and their values, rounded down.
    """

    def __init__(self, train: TrainingSet, own: slice, c: Array, error: float, k: int, norm: Norm) -> None:
        self.train, self.own, self.c, self.error, self.k, self.norm = train, own, c, error, k, norm
        self.rows, self.values = np.empty(0, dtype=np.int64), np.empty(0)

    def solve(self, bounds: Array, first: Integers, anchors: Integers) -> tuple[float, Integers]:
        """The k-th smallest value over all rows, rounded down, and the best rows.

        ``bounds`` (n,) bounds all rows from below; ``first`` are the rows with the smallest bounds. What they give is
        an upper bound of the result, so of the others only the rows bounded below it can matter.
        """
        value = self._evaluate(bounds, first, anchors)
        mattering = bounds < value
        mattering[first] = False
        if mattering.any():
            value = self._evaluate(bounds, np.flatnonzero(mattering), anchors)
        return value, self.rows[np.argsort(self.values, kind="stable")[:BEST_ROWS]]

    def below(self, bounds: Array, anchors: Integers, threshold: float) -> tuple[Integers, Array]:
        """All rows with a value below ``threshold``, and these values, rounded down, in ascending order."""
        rows = np.flatnonzero(bounds < threshold)
        rows = rows[self._values(rows, anchors) < threshold]
        values = np.concatenate([np.empty(0), *(self._values(block, self.own) for block in _blocks(rows))])
        order = np.argsort(values, kind="stable")
        order = order[values[order] < threshold]
        return rows[order], values[order]

    def _evaluate(self, bounds: Array, candidates: Integers, anchors: Integers) -> float:
        """Evaluate candidates in the order of their bounds until no further one can be among the k smallest.

        Returns the k-th smallest value so far, infinite while there are fewer than k.
        """
        bound = np.maximum(bounds[candidates], self._values(candidates, anchors))
        order = np.argsort(bound, kind="stable")
        candidates, bound = candidates[order], bound[order]
        block = max(self.k, 4)
        for start in range(0, len(candidates), block):
            if self._kth() <= bound[start]:
                break
            rows = candidates[start : start + block]
            self.rows = np.concatenate([self.rows, rows])
            self.values = np.concatenate([self.values, self._values(rows, self._nearer(rows))])
        return self._kth()

    def _kth(self) -> float:
        if len(self.values) < self.k:
            return np.inf
        return float(np.partition(self.values, self.k - 1)[self.k - 1])

    def _nearer(self, rows: Integers) -> Integers | slice:
        """Same-class points nearer than the farthest of the ``rows``; all where picking them would cost more."""
        nearer = np.flatnonzero(self.c[self.own] < self.c[rows].max()) + self.own.start
        return self.own if 4 * len(nearer) > self.own.stop - self.own.start else nearer

    def _values(self, rows: Integers, same: Integers | slice) -> Array:
        """k-th largest positive part of the margins of each row over the points ``same``, rounded down."""
        c_same = self.c[same]
        if len(c_same) < self.k:
            return np.zeros(len(rows))
        excess = (self.c[rows] - 2 * self.error)[:, None] - c_same
        np.maximum(excess, 0, out=excess)
        excess *= 0.5 * _DOWN
        excess /= norms_between(self.train, rows, same, self.norm)
        position = len(c_same) - self.k
        return np.asarray(np.partition(excess, position, axis=1)[:, position])


def _blocks(rows: Integers) -> list[Integers]:
    return [rows[start : start + _BLOCK] for start in range(0, len(rows), _BLOCK)]
