"""Exact K-NN radii within a box, through the public face; the check of their proofs is tested in tests/proofs."""

from dataclasses import replace

import numpy as np
import pytest

from arml import MahalanobisKNN
from arml.inputs import InvalidInputError
from arml.radii import Status

BOX = (0.0, 1.0)


@pytest.fixture(scope="module")
def problem():
    """Points of which many lie on the box's bounds, as pixels do; a few test points lie outside."""
    rng = np.random.default_rng(5)
    y = rng.integers(0, 3, 240)
    X = np.clip(rng.normal(size=(240, 5)) * 0.4 + 0.3 * y[:, None], *BOX)
    G = rng.normal(size=(4, 5))
    knn = MahalanobisKNN(n_neighbors=5, metric=G.T @ G).fit(X, y)
    points = np.clip(rng.normal(size=(30, 5)) * 0.4 + 0.3 * rng.integers(0, 3, 30)[:, None], -0.1, 1.05)
    return knn, points, knn.predict(points)


@pytest.fixture(scope="module", params=["majority", "plurality"])
def results(request, problem):
    knn, points, labels = problem
    event = request.param
    free = knn.exact_radius(points, labels, event=event)
    kept = knn.exact_radius(points, labels, event=event, box=BOX, proofs=True)
    return free, kept


def room(points):
    return points - np.minimum(BOX[0], points), np.maximum(BOX[1], points) - points


def test_a_box_only_lengthens_radii_and_keeps_perturbations_inside(problem, results):
    free, kept = results
    points = problem[1]
    assert (kept.gap[np.isfinite(kept.upper)] <= 1e-6).all()
    assert (kept.upper >= free.lower).all()
    assert (kept.lower > free.upper * (1 + 1e-4)).sum() >= 5
    below, above = room(points)
    assert (kept.perturbation >= -below).all()
    assert (kept.perturbation <= above).all()


def test_a_wide_box_changes_nothing(problem, results):
    knn, points, labels = problem
    free = results[0]
    wide = knn.exact_radius(points, labels, event=free.event, box=(-1e3, 1e3))
    np.testing.assert_allclose(wide.upper, free.upper, rtol=2e-6)


def test_a_bound_that_only_reaches_the_diagonal_does_not_prove_that_there_is_no_attack(monkeypatch):
    """It might be the diagonal's rounding, and an attack in the very corner."""
    from arml import exact

    X, y = np.array([[0.0], [0.1], [0.2], [5.0], [5.1], [5.2]]), np.array([0, 0, 0, 1, 1, 1])
    knn = MahalanobisKNN(n_neighbors=3).fit(X, y)
    search = exact.search_radii

    def barely(*arguments, **options):
        found = search(*arguments, **options)
        return replace(found, lower=np.full(1, 0.95 * (1 + 1e-12)))

    monkeypatch.setattr(exact, "search_radii", barely)
    bounds = knn.exact_radius(np.array([[0.05]]), np.array([0]), box=BOX)
    assert np.isfinite(bounds.lower[0])
    assert bounds.status[0] == Status.BOUNDED.value


def test_an_empty_box_is_refused(problem):
    knn, points, labels = problem
    with pytest.raises(InvalidInputError, match="is empty"):
        knn.exact_radius(points, labels, box=(1.0, 0.0))
