"""metric-learn's ITML, with its projections gathered into blocks.

ITML (Davis et al., ICML 2007) sweeps over its pair constraints and answers each by a change of rank one,
``A += beta (A v)(A v)'``. Done one by one, as in metric-learn, every constraint reads and writes the whole (d, d)
matrix several times: memory, not arithmetic, sets the pace. Here the changes of a block of constraints are kept in the
span of ``A V``, V being the block's difference vectors, and enter A by one matrix product at the block's end. Every
number is the one the library computes, in another order of summation; `tests/learners/test_itml.py` holds the two
side by side.
"""

from __future__ import annotations

from typing import Self

import metric_learn
import numpy as np
from metric_learn._util import _initialize_metric_mahalanobis, components_from_metric
from metric_learn.constraints import Constraints, wrap_pairs
from numpy.typing import ArrayLike
from sklearn.metrics import pairwise_distances

from arml.learners.base import Array

#: Constraints answered between two updates of A; their Gram matrix must stay in the cache.
BLOCK = 32


class BlockwiseITML(metric_learn.ITML_Supervised):
    """`metric_learn.ITML_Supervised` with the same parameters, attributes and result, several times faster for large d.

    Of the library's ``fit`` only the explicit ``bounds`` and the verbose output are left out.
    """

    def fit(self, X: ArrayLike, y: ArrayLike) -> Self:
        """Learn from X (n, d) and labels y (n,), as the library does from ``n_constraints`` pairs of either kind."""
        X, y = self._prepare_inputs(X, y, ensure_min_samples=2)
        n_constraints = self.n_constraints
        if n_constraints is None:
            n_constraints = 20 * len(np.unique(y)) ** 2
        chosen = Constraints(y).positive_negative_pairs(n_constraints, random_state=self.random_state)
        pairs, kinds = self._prepare_inputs(*wrap_pairs(X, chosen), type_of_inputs="tuples")
        distances = pairwise_distances(np.unique(np.vstack(pairs), axis=0))
        self.bounds_ = np.percentile(distances, (5, 95))
        self.bounds_[self.bounds_ == 0] = 1e-9
        prior = _initialize_metric_mahalanobis(
            pairs, self.prior, self.random_state, strict_pd=True, matrix_name="prior"
        )
        differences = pairs[:, 0] - pairs[:, 1]
        metric, self.n_iter_ = _sweep(
            np.array(prior, dtype=np.float64),
            _Constraints(differences[kinds == 1], self.bounds_[0], -1.0),
            _Constraints(differences[kinds == -1], self.bounds_[1], 1.0),
            gamma=self.gamma,
            max_iter=self.max_iter,
            tol=self.tol,
        )
        self.components_ = components_from_metric(metric)
        return self


class _Constraints:
    """Pairs that shall be near (sign -1: distance at most the bound) or far (sign +1: at least), and their multipliers.

    differences : (m, d)
    bound : the squared distance asked for; ``slack`` (m,) is what the slack variables have made of it
    """

    def __init__(self, differences: Array, bound: float, sign: float) -> None:
        self.differences = differences
        self.sign = sign
        self.slack = np.full(len(differences), bound)
        self.multipliers = np.zeros(len(differences))


def _sweep(
    A: Array, near: _Constraints, far: _Constraints, *, gamma: float, max_iter: int, tol: float
) -> tuple[Array, int]:
    """Project until the multipliers stand still. Returns the metric (d, d) and the number of the last sweep from 0."""
    old = np.zeros(len(near.multipliers) + len(far.multipliers))
    for sweep in range(max_iter):
        for constraints in (near, far):
            for start in range(0, len(constraints.differences), BLOCK):
                _project_block(A, constraints, slice(start, start + BLOCK), gamma)
        new = np.concatenate([near.multipliers, far.multipliers])
        scale = np.linalg.norm(new) + np.linalg.norm(old)
        if scale == 0 or np.abs(old - new).sum() / scale < tol:
            return A, sweep
        old = new
    return A, max_iter - 1


def _project_block(A: Array, constraints: _Constraints, block: slice, gamma: float) -> None:
    """Answer the constraints of a block one after the other, then bring A (d, d) up to date in place.

    In the block's course the metric is ``A + sum_j beta_j w_j w_j'`` with every w_j in the span of the columns of
    ``A V'``: ``w_j = A V' t_j``. So the b-by-b matrices ``gram = V (metric) V'`` and T = (t_j) are all that changes.
    """
    V = constraints.differences[block]
    AV = A @ V.T
    gram = V @ AV
    T = np.eye(len(V))
    chosen, weights = [], []
    for j in range(len(V)):
        beta = _projection(constraints, block.start + j, gram[j, j], gamma)
        if beta == 0.0:
            continue
        along = gram[:, j].copy()
        chosen.append(T[:, j].copy())
        weights.append(beta)
        T += np.outer(chosen[-1], beta * along)
        gram += np.outer(along, beta * along)
    if weights:
        W = AV @ np.stack(chosen, axis=1)
        A += (W * np.asarray(weights)) @ W.T


def _projection(constraints: _Constraints, i: int, distance: float, gamma: float) -> float:
    """Bregman projection onto constraint i (Davis et al., Algorithm 1): updates multiplier and slack, returns beta."""
    sign = constraints.sign
    weight = 1.0 if gamma == np.inf else gamma / (gamma + 1.0)
    violation = sign * (1.0 / constraints.slack[i] - 1.0 / distance)
    alpha = min(constraints.multipliers[i], weight * violation)
    constraints.multipliers[i] -= alpha
    constraints.slack[i] = 1.0 / (1.0 / constraints.slack[i] - sign * alpha / gamma)
    return float(-sign * alpha / (1.0 + sign * alpha * distance))
