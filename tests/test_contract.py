"""The public face that later work and outside users build on."""

import numpy as np
import pytest

import arml


@pytest.fixture(scope="module")
def digits():
    return arml.load_dataset("digits")


def test_the_example_of_the_readme(digits):
    metric = arml.ARML(max_iter=20, random_state=42).fit(digits.X_train, digits.y_train)
    knn = arml.MahalanobisKNN(n_neighbors=1, metric=metric).fit(digits.X_train, digits.y_train)
    X, y = digits.evaluation_subset(60, seed=42)
    bounds = knn.exact_radius(X, y)
    assert isinstance(bounds, arml.RadiusBounds)
    assert bounds.lower.shape == bounds.upper.shape == bounds.status.shape == (60,)
    assert bounds.perturbation.shape == X.shape
    assert (bounds.lower <= bounds.upper).all()
    assert (bounds.gap <= 1e-6).all()
    wrong = knn.predict(X) != y
    np.testing.assert_array_equal(bounds.upper[wrong], 0)
    changed = knn.predict(X + bounds.perturbation) != y
    assert changed[bounds.status == arml.Status.EXACT].all()
    assert arml.recheck(knn, X, y, bounds).ok.all()


def test_every_metric_learn_estimator_is_a_metric(digits):
    from metric_learn import Covariance

    varying = digits.X_train.std(axis=0) > 0.05
    X_train, X_test = digits.X_train[:, varying], digits.X_test[:, varying]
    learner = Covariance().fit(X_train)
    knn = arml.MahalanobisKNN(metric=learner).fit(X_train, digits.y_train)
    np.testing.assert_allclose(knn.metric_.matrix, learner.get_mahalanobis_matrix(), atol=1e-9)
    assert knn.score(X_test, digits.y_test) > 0.8


def test_dataset_attributes(digits):
    assert digits.name == "digits"
    assert digits.X_train.dtype == digits.X_test.dtype == np.float64
    assert len(digits.X_train) == len(digits.y_train) == 1297
    X, y = digits.evaluation_subset(n=10, seed=0)
    assert X.shape == (10, 64)
    assert y.shape == (10,)


def test_names_are_complete():
    for name in arml.__all__:
        assert getattr(arml, name) is not None
