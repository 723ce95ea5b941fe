"""The blockwise NCA evaluates what metric-learn's does."""

import warnings

import metric_learn
import numpy as np
import pytest

from arml.learners import nca
from arml.learners.nca import BlockwiseNCA

BOTH = (BlockwiseNCA, metric_learn.NCA)


def points(n=150, d=6, n_classes=3, seed=0):
    rng = np.random.default_rng(seed)
    y = rng.integers(0, n_classes, n)
    return rng.normal(size=(n, d)) + 0.8 * y[:, None], y


@pytest.mark.parametrize("n", [2, nca.BLOCK - 1, nca.BLOCK, 5 * nca.BLOCK + 3])
@pytest.mark.parametrize("scale", [1e-3, 1.0, 30.0])
def test_objective_and_gradient_are_the_librarys(n, scale):
    X, y = points(n)
    A = scale * np.random.default_rng(1).normal(size=(4, 6)).ravel()
    results = []
    for algorithm in BOTH:
        learner = algorithm()
        learner.n_iter_, learner.verbose = 0, False
        results.append(learner._loss_grad_lbfgs(A, X, y[:, None] == y, -1.0))
    assert results[0][0] == pytest.approx(results[1][0], rel=1e-9, abs=1e-12)
    largest = np.abs(results[1][1]).max()
    np.testing.assert_allclose(results[0][1], results[1][1], rtol=1e-7, atol=1e-9 * largest + 1e-12)


@pytest.mark.parametrize("params", [{}, {"n_components": 2, "init": "pca"}, {"tol": 1e-2}])
def test_transformation_is_the_librarys(params):
    X, y = points()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ours, library = (algorithm(max_iter=15, random_state=3, **params).fit(X, y) for algorithm in BOTH)
    assert ours.n_iter_ == library.n_iter_
    np.testing.assert_allclose(ours.components_, library.components_, rtol=1e-5, atol=1e-7)
