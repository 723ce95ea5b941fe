import numpy as np
import pytest

import arml
from arml.geometry import Mahalanobis
from benchmarks.algorithm2 import Algorithm2, Variant

VARIANTS: tuple[Variant, ...] = ("published", "tuned")


def problem(seed: int, n: int = 240, d: int = 6) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, Mahalanobis]:
    rng = np.random.default_rng(seed)
    y = rng.integers(3, size=n)
    X = rng.normal(size=(n, d)) + 0.8 * y[:, None]
    metric = Mahalanobis.from_components(np.eye(d) + 0.3 * rng.normal(size=(d, d)))
    return X[40:], y[40:], X[:40], y[:40], metric


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("seed", [0, 1])
def test_radii_equal_ours(variant: Variant, seed: int) -> None:
    X_train, y_train, X, y, metric = problem(seed)
    ours = arml.MahalanobisKNN(1, metric=metric).fit(X_train, y_train).exact_radius(X, y).upper
    reference = Algorithm2(metric, X_train, y_train, variant)
    np.testing.assert_allclose(reference.radii(X, y), ours, rtol=1e-5, atol=1e-5)
    assert (ours > 0).sum() > 20  # enough points are classified correctly for this to say something
    assert reference.n_problems >= (ours > 0).sum()


@pytest.mark.parametrize("variant", VARIANTS)
def test_hand_computed_radius(variant: Variant) -> None:
    # The bisector of (0, 0) and (2, 0) is one away, but (1.2, 0) of the own class holds the cell up to x = 1.6.
    X_train, y_train = np.array([[0.0, 0.0], [1.2, 0.0], [2.0, 0.0]]), np.array([0, 0, 1])
    reference = Algorithm2(Mahalanobis.from_matrix(np.eye(2)), X_train, y_train, variant)
    assert reference.radius(np.zeros(2), 0) == pytest.approx(1.6, abs=1e-6)
    assert reference.radius(np.zeros(2), 1) == 0.0


def test_tuned_screening_leaves_fewer_inner_problems() -> None:
    X_train, y_train, X, y, metric = problem(3, n=700)
    solved = {}
    for variant in VARIANTS:
        reference = Algorithm2(metric, X_train, y_train, variant)
        reference.radii(X, y)
        solved[variant] = reference.n_problems
    assert solved["tuned"] < solved["published"]
