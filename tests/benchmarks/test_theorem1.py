import numpy as np
import pytest

import arml
from arml.geometry import Mahalanobis, as_mahalanobis, triplet_margin
from benchmarks.theorem1 import PlainTheorem1, Variant, literal_radii

VARIANTS: tuple[Variant, ...] = ("plain", "products")


def problem(seed: int, n: int = 340, d: int = 6) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, Mahalanobis]:
    rng = np.random.default_rng(seed)
    y = rng.integers(2, size=n)
    X = rng.normal(size=(n, d)) + y[:, None]
    metric = Mahalanobis.from_components(np.eye(d) + 0.3 * rng.normal(size=(d, d)))
    return X[40:], y[40:], X[:40], y[:40], metric  # more than a chunk of each class, and no whole number of chunks


@pytest.mark.parametrize("K", [1, 5, 11])
def test_literal_radii_are_the_theorem_by_triplets(K: int) -> None:
    X_train, y_train, X, y, metric = problem(0)
    k = (K + 1) // 2
    expected = []
    for x, label in zip(X, y, strict=True):
        own, other = X_train[y_train == label], X_train[y_train != label]
        margins = triplet_margin(own[:, None], other[None], x, metric.matrix)
        expected.append(max(0.0, np.sort(np.sort(margins, axis=0)[-k])[k - 1]))
    np.testing.assert_allclose(literal_radii(metric, X_train, y_train, X, y, K), expected, rtol=1e-9, atol=1e-12)
    assert np.count_nonzero(expected) > 20


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("K", [1, 11])
def test_plain_evaluation_is_the_theorem_in_float32(variant: Variant, K: int) -> None:
    X_train, y_train, X, y, metric = problem(1)
    plain = PlainTheorem1(metric, X_train, y_train, K, variant).radii(X, y)
    literal = literal_radii(metric, X_train, y_train, X, y, K)
    np.testing.assert_allclose(plain, literal, rtol=1e-4, atol=1e-5)
    assert np.count_nonzero(literal) > 20


@pytest.mark.parametrize("euclidean", [False, True])
def test_ours_is_the_literal_value(euclidean: bool) -> None:
    X_train, y_train, X, y, metric = problem(2)
    metric = as_mahalanobis("euclidean", X.shape[1]) if euclidean else metric
    ours = arml.MahalanobisKNN(11, metric=metric).fit(X_train, y_train).certified_radius(X, y).lower
    np.testing.assert_allclose(ours, literal_radii(metric, X_train, y_train, X, y, 11), rtol=1e-9, atol=1e-12)


def test_indistinguishable_points_of_two_classes_are_tied() -> None:
    # (0, 0) of class 0 and (0, 1) of class 1 coincide under M: 0/0 is a margin of 0.
    X_train, y_train = np.array([[0.0, 0.0], [0.0, 1.0]]), np.array([0, 1])
    metric, x = Mahalanobis.from_components(np.array([[1.0, 0.0]])), np.array([[3.0, 0.0]])
    assert literal_radii(metric, X_train, y_train, x, np.array([0]), 1) == 0.0
    assert PlainTheorem1(metric, X_train, y_train, 1, "plain").radius(x[0], 0) == 0.0
