"""The incremental LMNN takes metric-learn's steps."""

import warnings

import metric_learn
import numpy as np
import pytest

from arml.learners import lmnn
from arml.learners.lmnn import IncrementalLMNN

BOTH = (IncrementalLMNN, metric_learn.LMNN)


def points(n=160, d=7, n_classes=4, seed=0):
    rng = np.random.default_rng(seed)
    y = np.arange(n) % n_classes
    return rng.normal(size=(n, d)) + 0.5 * y[:, None], y


def fitted(algorithm, X, y, **params):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return algorithm(random_state=3, **params).fit(X, y)


@pytest.fixture
def searches(monkeypatch):
    """Counts the full searches."""
    made = []
    search = lmnn._Candidates.__init__
    monkeypatch.setattr(lmnn._Candidates, "__init__", lambda self, *given: made.append(0) or search(self, *given))
    return made


@pytest.mark.parametrize(
    "params",
    [
        {"learn_rate": 1e-5},
        {"learn_rate": 1e-3},
        {"learn_rate": 1e-5, "n_neighbors": 1},
        {"learn_rate": 1e-5, "n_neighbors": 6, "regularization": 0.2},
        {"learn_rate": 1e-5, "n_components": 3, "init": "pca"},
        {"learn_rate": 1e-3, "convergence_tol": 0.5, "min_iter": 5},
    ],
)
def test_transformation_is_the_librarys(params):
    X, y = points()
    ours, library = (
        fitted(algorithm, X, y, max_iter=60, **params) for algorithm in (IncrementalLMNN, metric_learn.LMNN)
    )
    assert ours.n_iter_ == library.n_iter_
    np.testing.assert_allclose(ours.components_, library.components_, rtol=1e-8, atol=1e-10)


def test_a_list_serves_several_steps_and_is_renewed_when_the_points_have_moved(searches):
    X, y = points()
    ours = fitted(IncrementalLMNN, X, y, max_iter=200, learn_rate=1e-4)
    assert 1 < len(searches) < 100
    library = fitted(metric_learn.LMNN, X, y, max_iter=200, learn_rate=1e-4)
    np.testing.assert_allclose(ours.components_, library.components_, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("seed", range(20))
def test_every_impostor_is_in_a_list_that_says_it_covers(seed):
    rng = np.random.default_rng(seed)
    Z, labels = points(seed=seed)
    radii = rng.uniform(0.5, 2.0, len(Z))
    candidates = lmnn._Candidates(Z, radii, labels)
    moved = Z + rng.normal(size=Z.shape) * rng.uniform(0, 0.02) + 5.0
    now = radii * rng.uniform(0.95, 1.02, len(Z))
    assert candidates.cover(moved, now)
    a, b, squared = candidates.impostors(moved, now)
    distances = np.linalg.norm(moved[:, None] - moved, axis=2)
    expected = (distances < np.maximum(now[:, None], now)) & (labels[:, None] < labels)
    assert set(zip(a, b, strict=True)) == set(zip(*np.nonzero(expected), strict=True))
    np.testing.assert_allclose(np.sqrt(squared), distances[a, b], rtol=1e-12)


def test_points_that_moved_beyond_the_slack_are_not_covered():
    Z, labels = points()
    candidates = lmnn._Candidates(Z, np.ones(len(Z)), labels)
    assert candidates.cover(Z + 100.0, np.ones(len(Z))), "a common shift moves no distance"
    moved = Z.copy()
    moved[0] += 1.0
    assert not candidates.cover(moved, np.ones(len(Z)))


def test_classes_without_impostors_leave_only_the_pull_of_the_targets():
    X, y = points(n_classes=2)
    X += 1000.0 * y[:, None]
    ours, library = (
        fitted(algorithm, X, y, max_iter=10, n_neighbors=2) for algorithm in (IncrementalLMNN, metric_learn.LMNN)
    )
    np.testing.assert_allclose(ours.components_, library.components_, rtol=1e-9)
