import cvxpy as cp
import numpy as np
import pytest
import torch

from arml.geometry import (
    InvalidMetricError,
    Mahalanobis,
    as_mahalanobis,
    sq_dist_matrix,
    triplet_margin,
    triplet_radius,
)


@pytest.fixture
def rng():
    return np.random.default_rng(7)


def test_sq_dist_is_the_quadratic_form(rng):
    G = rng.normal(size=(3, 5))
    metric = Mahalanobis.from_components(G)
    X, Y = rng.normal(size=(4, 5)), rng.normal(size=(4, 5))
    expected = [(x - z) @ metric.matrix @ (x - z) for x, z in zip(X, Y, strict=True)]
    np.testing.assert_allclose(metric.sq_dist(X, Y), expected)
    np.testing.assert_allclose(np.diag(sq_dist_matrix(metric.embed(X), metric.embed(Y))), expected)


def test_triplet_margin_is_equation_9(rng):
    G = rng.normal(size=(4, 4))
    M = G.T @ G
    x_pos, x_neg, x = rng.normal(size=(3, 10, 4))
    metric = Mahalanobis.from_matrix(M)
    numerator = metric.sq_dist(x, x_neg) - metric.sq_dist(x, x_pos)
    expected = numerator / (2 * np.linalg.norm((x_pos - x_neg) @ M, axis=1))
    np.testing.assert_allclose(triplet_margin(x_pos, x_neg, x, M), expected)
    tensors = [torch.from_numpy(a) for a in (x_pos, x_neg, x, M)]
    np.testing.assert_allclose(triplet_margin(*tensors).numpy(), expected)


@pytest.mark.parametrize("seed", range(10))
def test_triplet_radius_solves_the_triplet_problem(seed):
    rng = np.random.default_rng(seed)
    G = rng.normal(size=(int(rng.integers(1, 4)), 3))
    M = G.T @ G
    x_pos, x_neg, x = rng.normal(size=(3, 3))
    delta = cp.Variable(3)
    # (x + delta) at least as near to x- as to x+: both distances share delta' M delta, so this is affine.
    gap = (x - x_neg) @ M @ (x - x_neg) - (x - x_pos) @ M @ (x - x_pos)
    constraint = gap + 2 * (x_pos - x_neg) @ M @ delta <= 0
    value = cp.Problem(cp.Minimize(cp.norm(delta)), [constraint]).solve(solver=cp.CLARABEL)
    assert triplet_radius(x_pos, x_neg, x, M) == pytest.approx(value, abs=1e-6)


def test_indistinguishable_points_have_margin_zero_and_a_finite_gradient():
    M = torch.tensor([[1.0, 0.0], [0.0, 0.0]], dtype=torch.float64, requires_grad=True)
    x_pos, x_neg = torch.tensor([[0.0, 1.0]], dtype=torch.float64), torch.tensor([[0.0, 5.0]], dtype=torch.float64)
    margin = triplet_margin(x_pos, x_neg, torch.tensor([[0.3, 0.2]], dtype=torch.float64), M)
    margin.sum().backward()
    assert margin.item() == 0
    assert torch.isfinite(M.grad).all()


@pytest.mark.parametrize(
    ("matrix", "message"),
    [
        ([[1.0, 0.5], [0.0, 1.0]], "symmetric"),
        ([[1.0, 0.0], [0.0, -0.1]], "positive semi-definite"),
        ([[1.0, np.nan], [np.nan, 1.0]], "row 0, column 1"),
        ([[1.0 + 1e-3j, 0.0], [0.0, 1.0]], "complex"),
        ([[1.0, 0.0]], "square"),
        ([1.0, 2.0], "two-dimensional"),
        (np.empty((0, 0)), "non-empty"),
    ],
)
def test_matrices_that_are_no_metric_are_refused(matrix, message):
    with pytest.raises(InvalidMetricError, match=message):
        Mahalanobis.from_matrix(matrix)


def test_singular_matrix_keeps_its_matrix(rng):
    G = rng.normal(size=(2, 6))
    metric = Mahalanobis.from_matrix(G.T @ G)
    np.testing.assert_allclose(metric.components.T @ metric.components, G.T @ G, atol=1e-12)


class Learner:
    def __init__(self, M):
        self.M = M

    def get_mahalanobis_matrix(self):
        return self.M


def test_everything_that_means_a_metric_is_taken(rng):
    G = rng.normal(size=(4, 4))
    M = G.T @ G
    for metric in (M, M.tolist(), Mahalanobis.from_components(G), Learner(M)):
        np.testing.assert_allclose(as_mahalanobis(metric, 4).matrix, M)
    np.testing.assert_array_equal(as_mahalanobis("euclidean", 4).matrix, np.eye(4))


@pytest.mark.parametrize(
    ("metric", "message"),
    [("cosine", "'euclidean'"), (object(), "fit it first"), (np.eye(3), "3 features, the data have 4")],
)
def test_everything_else_is_refused(metric, message):
    with pytest.raises(InvalidMetricError, match=message):
        as_mahalanobis(metric, 4)
