"""Is ``upper`` attained? Whether the perturbations have the stated norms, stay in the box, and change the answer.

Perturbed points are never rounded: training points are seen from ``x + delta`` as ``(x_i - x) - delta``. An answer
counts as changed where the rounding of these differences and of their squared lengths leaves room for it, no further.
"""

from __future__ import annotations

import numpy as np

from arml.proofs.claim import Integers
from arml.proofs.events import has_happened
from arml.proofs.precision import DOUBLE, Array, power_of_two
from arml.proofs.products import Products
from arml.proofs.result import ProvenResult

# Slack of a norm that was computed in another order of summation.
_NORM = 1e-12
_PAIRS = 8192


def norms_and_box(result: ProvenResult) -> list[tuple[int, str]]:
    """Refusals of perturbations (t, d) of another norm, or that leave the box."""
    delta, upper = result.perturbation, result.upper
    refused: list[tuple[int, str]] = []
    size = np.abs(delta).max(axis=1, initial=0.0)
    scale = np.array([power_of_two(value) for value in size.tolist()])
    norm = np.sqrt(np.square(delta / scale[:, None]).sum(axis=1)) * scale
    known = np.isfinite(upper)
    for i in np.flatnonzero(known & ~(np.abs(norm - upper) <= _NORM * upper)).tolist():
        refused.append((i, f"the perturbation has norm {norm[i]:.17g}, not {upper[i]:.17g}"))
    for i in np.flatnonzero(~known & (size > 0)).tolist():
        refused.append((i, "there is a perturbation although upper is infinite"))
    # The perturbed point as float64 has it, which is inside wherever the exact one is.
    X, (low, high) = result.subject.X, result.claim.box
    outside = ~((X + delta >= np.minimum(low, X)) & (X + delta <= np.maximum(high, X))).all(axis=1)
    refused.extend((i, "the perturbation leaves the box") for i in np.flatnonzero(known & outside).tolist())
    return refused


def unattained(result: ProvenResult, products: Products, chosen: Integers) -> list[int]:
    """Which of the chosen test points are still classified as their label at ``x + perturbation``."""
    subject, K = result.subject, result.claim.n_neighbors
    rows, columns = _candidates(products, subject.X[chosen], result.perturbation[chosen], K)
    c, error = _sq_distances(result, products, chosen[rows], columns)
    ends = np.searchsorted(rows, np.arange(len(chosen) + 1))
    failed = []
    for position, i in enumerate(chosen.tolist()):
        mine = slice(ends[position], ends[position + 1])
        y = subject.y_train[columns[mine]]
        if not has_happened(result.claim.event, c[mine], error[mine], y, int(subject.y[i]), K):
            failed.append(i)
    return failed


def _candidates(products: Products, X: Array, delta: Array, K: int) -> tuple[Integers, Integers]:
    """Pairs (test point, training point) that hold the K nearest of each of ``X + delta`` (t, d), and all ties."""
    points = products.points(X, delta)
    least = products.least_sq_distances(points)
    nearest = least.argmin(axis=1)[:, None] if K == 1 else np.argpartition(least, K - 1, axis=1)[:, :K]
    bound = np.take_along_axis(least, nearest, axis=1)
    most = np.maximum(bound, 0) * (1 + 1e-11) + products.sq_distance_slack()[nearest]
    limit = (most.max(axis=1) + products.point_slack(points)) * (1 + 1e-11)
    rows, columns = np.nonzero(~(least > limit[:, None]))
    return rows, columns


def _sq_distances(result: ProvenResult, products: Products, of: Integers, to: Integers) -> tuple[Array, Array]:
    """Squared distances of pairs (perturbed test point, training point) from differences; bounds of their errors."""
    subject, unit = result.subject, products.unit
    c, error = np.empty(len(of)), np.empty(len(of))
    for start in range(0, len(of), _PAIRS):
        some = slice(start, start + _PAIRS)
        there = (subject.X_train[to[some]] - subject.X[of[some]]) / unit
        T = there - result.perturbation[of[some]] / unit
        Z, Z_error = products.factor.embed(T, DOUBLE.u * (np.abs(there) + np.abs(T)))
        c[some], error[some] = products.factor.sq_norms(Z, Z_error)
    return c, error
