"""The blockwise ITML computes what metric-learn's computes."""

import warnings

import metric_learn
import numpy as np
import pytest

from arml.learners.itml import BLOCK, BlockwiseITML

BOTH = (BlockwiseITML, metric_learn.ITML_Supervised)


def both(X, y, **params):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return tuple(
            algorithm(random_state=3, **params).fit(X, y) for algorithm in (BlockwiseITML, metric_learn.ITML_Supervised)
        )


def points(n=150, d=12, n_classes=3, seed=0):
    rng = np.random.default_rng(seed)
    y = rng.integers(0, n_classes, n)
    return rng.normal(size=(n, d)) + 0.7 * y[:, None], y


@pytest.mark.parametrize("n_constraints", [1, BLOCK - 1, BLOCK, 3 * BLOCK + 5])
@pytest.mark.parametrize("d", [1, 12, 90])
def test_metric_is_the_librarys(d, n_constraints):
    X, y = points(d=d)
    ours, library = both(X, y, n_constraints=n_constraints, max_iter=40)
    assert ours.n_iter_ == library.n_iter_
    np.testing.assert_allclose(ours.get_mahalanobis_matrix(), library.get_mahalanobis_matrix(), rtol=1e-8, atol=1e-10)
    np.testing.assert_array_equal(ours.bounds_, library.bounds_)


@pytest.mark.parametrize("params", [{"gamma": 0.1}, {"gamma": np.inf}, {"prior": "covariance"}, {"tol": 0.3}, {}])
def test_parameters_mean_the_same(params):
    X, y = points()
    ours, library = both(X, y, max_iter=30, **params)
    assert ours.n_iter_ == library.n_iter_
    assert np.abs(library.get_mahalanobis_matrix() - np.eye(12)).max() > 1e-3
    np.testing.assert_allclose(ours.components_, library.components_, rtol=1e-7, atol=1e-9)
