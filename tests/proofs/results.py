"""Random problems and their proven results, made to claim what is true of them and no more, in rational arithmetic."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import numpy as np

import arml
from arml.proofs import rational
from arml.proofs.claim import Claim, digest
from arml.proofs.result import ProvenResult
from arml.radii import Status

N_POINTS = 3


class Metric:
    """A metric given by its factor."""

    def __init__(self, G):
        self.components_ = G


def random_result(seed: int, **options) -> ProvenResult:
    """Proven result of a random problem: K, event, box, singular metrics, grids with ties, duplicates, far rows."""
    rng = np.random.default_rng(seed)
    n, d, classes = int(rng.integers(8, 28)), int(rng.integers(1, 6)), int(rng.integers(2, 5))
    K = options.get("K") or int(rng.choice([1, 1, 3, 5, 7]))
    d = options.get("d") or d
    n = options.get("n") or n
    grid = rng.random() < 0.3
    X = rng.integers(-3, 4, size=(n, d)).astype(float) if grid else rng.normal(size=(n, d))
    y = rng.integers(classes, size=n)
    if rng.random() < 0.3:
        X[1] = X[0]
    if rng.random() < 0.2:
        X[2] *= 10.0 ** rng.integers(2, 7)
    rank = d if rng.random() < 0.7 else max(1, d - 1)
    G = np.eye(d) if rng.random() < 0.3 else rng.normal(size=(rank, d))
    points = rng.integers(-3, 4, size=(N_POINTS, d)).astype(float) if grid else rng.normal(size=(N_POINTS, d))
    knn = arml.MahalanobisKNN(n_neighbors=K, metric=Metric(G)).fit(X, y)
    labels = np.where(rng.random(N_POINTS) < 0.8, knn.predict(points), rng.integers(classes, size=N_POINTS))
    box = (-1.5, 1.5) if rng.random() < 0.3 else None
    event = str(rng.choice(["majority", "plurality"]))
    bounds = knn.exact_radius(points, labels, box=box, event=event, proofs=True)
    return honest(as_result(bounds))


def as_result(bounds) -> ProvenResult:
    """What `RadiusBounds.save` would write."""
    return ProvenResult(
        bounds.subject, bounds.lower, bounds.upper, bounds.status, bounds.perturbation, bounds.certificate
    )


def honest(result: ProvenResult) -> ProvenResult:
    """The result with ``upper`` rounded up, ``lower`` a hair lower, and only perturbations that are exact attacks."""
    lower, upper, status = result.lower.copy(), result.upper.copy(), result.status.copy()
    perturbation = result.perturbation.copy()
    finite = np.isfinite(lower)
    lower[finite] *= 1 - 1e-9
    for i in np.flatnonzero(np.isfinite(upper)):
        upper[i] = norm_up(perturbation[i])
    lower = np.minimum(lower, upper)
    result = replace(result, lower=lower, upper=upper, status=status, perturbation=perturbation)
    at_zero = np.isin(status, [Status.TIED, Status.MISCLASSIFIED])
    attacks_only = replace(result, lower=np.zeros_like(lower), status=np.where(at_zero, status, Status.BOUNDED))
    for i, reason in rational.check(attacks_only).problems:
        if "has lost whichever" in reason:
            status[i] = Status.MISCLASSIFIED
        elif "does not change the answer" in reason or "leaves the box" in reason:
            upper[i], status[i], perturbation[i] = np.inf, Status.BOUNDED, 0.0
    return result


def norm_up(delta) -> float:
    """The smallest float that is at least the norm of delta."""
    sq = sum((Fraction(value) ** 2 for value in delta.tolist()), Fraction(0))
    norm = float(np.linalg.norm(delta))
    while norm > 0 and Fraction(float(np.nextafter(norm, 0))) ** 2 >= sq:
        norm = float(np.nextafter(norm, 0))
    while Fraction(norm) ** 2 < sq:
        norm = float(np.nextafter(norm, np.inf))
    return norm


def claiming(result: ProvenResult, i: int, **values) -> ProvenResult:
    """The result with other values for test point i."""
    changed = {}
    for name, value in values.items():
        array = getattr(result, name).copy()
        array[i] = value
        changed[name] = array
    return replace(result, **changed)


def about(result: ProvenResult, **arrays) -> ProvenResult:
    """The result with other data, and a claim that is about them."""
    subject = replace(result.subject, **arrays)
    claim: Claim = replace(result.claim, **{name: digest(array) for name, array in arrays.items()})
    return replace(result, subject=subject, proof=replace(result.proof, claim=claim))


def with_proof(result: ProvenResult, **arrays) -> ProvenResult:
    """The result with other arrays in its proof."""
    return replace(result, proof=replace(result.proof, **arrays))
