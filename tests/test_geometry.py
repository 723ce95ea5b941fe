import warnings

import cvxpy as cp
import numpy as np
import pytest
import torch
from sklearn.datasets import load_wine
from sklearn.decomposition import NMF, PCA, FactorAnalysis, FastICA, TruncatedSVD
from sklearn.neighbors import NeighborhoodComponentsAnalysis

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


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(("r", "d"), [(1, 2), (1, 5), (5, 20), (10, 64), (3, 200)])
@pytest.mark.parametrize(
    "made", ["as it is", "symmetrised", "in float64", "symmetrised in float64", "in another order"]
)
def test_low_rank_metrics_kept_in_float32_are_taken(seed, r, d, made):
    G = np.random.default_rng(seed).normal(size=(r, d)).astype(np.float32)
    M = np.asarray([[sum(a * b) for b in G.T] for a in G.T]) if made == "in another order" and d < 30 else G.T @ G
    if made == "symmetrised":
        M = (M + M.T) / 2
    if "float64" in made:
        M = M.astype(np.float64)
    if made == "symmetrised in float64":
        M = (M + M.T) / 2
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        metric = Mahalanobis.from_matrix(M)
    largest = np.linalg.norm(G.astype(np.float64), 2) ** 2
    np.testing.assert_allclose(metric.matrix, G.T.astype(np.float64) @ G, atol=1e-6 * np.sqrt(d) * largest)
    np.testing.assert_allclose(metric.components.T @ metric.components, metric.matrix, atol=1e-13 * d * largest)
    assert metric.clipped == pytest.approx(max(0.0, -np.linalg.eigvalsh((M + M.T).astype(np.float64) / 2)[0]), rel=1e-6)


def rotated(eigenvalues, dtype):
    Q = np.linalg.qr(np.random.default_rng(1).normal(size=(len(eigenvalues),) * 2))[0]
    M = (Q * eigenvalues) @ Q.T
    return ((M + M.T) / 2).astype(dtype)


def test_what_was_clipped_is_said_once_and_kept():
    M = rotated([6.74, 1.0, 0.5, 0.1, 1e-3, -2.75e-7], np.float32)
    with pytest.warns(
        RuntimeWarning, match=r"eigenvalues down to -\S+ were set to 0 .* \(largest eigenvalue 6.74\)"
    ) as said:
        metric = Mahalanobis.from_matrix(M)
    assert len(said) == 1
    assert metric.clipped == pytest.approx(-np.linalg.eigvalsh(M.astype(np.float64))[0], rel=1e-6)
    assert metric.asymmetry == np.abs(M - M.T).max()
    assert np.linalg.eigvalsh(metric.matrix)[0] > -1e-14


@pytest.mark.parametrize(
    ("smallest", "dtype"),
    [(-2.75e-7, np.float64), (-1e-5, np.float32), (-0.1, np.float32), (-1e-7, np.float64)],
)
def test_what_the_rounding_of_its_type_does_not_explain_is_refused(smallest, dtype):
    with pytest.raises(InvalidMetricError, match=r"smallest eigenvalue is -\S+ \(largest 6.74\)"):
        Mahalanobis.from_matrix(rotated([6.74, 1.0, 0.5, 0.1, 1e-3, smallest], dtype))


@pytest.mark.parametrize("exponent", [-300, -200, -151, 0, 151, 200, 300])
def test_the_scale_of_a_matrix_changes_nothing_but_the_scale(exponent, recwarn):
    metric = Mahalanobis.from_matrix(np.eye(3) * 10.0**exponent)
    np.testing.assert_array_equal(metric.matrix, np.eye(3) * 10.0**exponent)
    np.testing.assert_allclose(np.abs(metric.components).max(axis=0), np.sqrt(10.0**exponent), rtol=1e-15)
    assert metric.clipped == 0
    with pytest.raises(InvalidMetricError, match="smallest eigenvalue"):
        Mahalanobis.from_matrix(np.diag([1.0, -0.1]) * 10.0**exponent)
    with pytest.raises(InvalidMetricError, match="symmetric"):
        Mahalanobis.from_matrix(np.array([[1.0, 0.5], [0.0, 1.0]]) * 10.0**exponent)
    assert not list(recwarn)


@pytest.mark.parametrize("scale", [1e-170, 1e170])
def test_a_factor_whose_matrix_leaves_the_range_of_numbers_is_refused(scale):
    with pytest.raises(InvalidMetricError, match=r"leaves the range of float64; divide G by it"):
        Mahalanobis.from_components(np.eye(2) * scale)


@pytest.mark.parametrize(
    ("matrix", "message"),
    [
        (np.ma.masked_greater(np.eye(2), 0.5), "masked entries; fill them"),
        ([["1", "0"], ["0", "1"]], "must hold numbers, got the type <U1"),
        (np.array([["a", 0], [0, 1]], dtype=object), "cannot be read as numbers"),
    ],
)
def test_metrics_that_would_have_to_be_guessed_are_refused(matrix, message):
    with pytest.raises(InvalidMetricError, match=message):
        Mahalanobis.from_matrix(matrix)


WINE = load_wine(return_X_y=True)[0]


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (PCA(3, whiten=True), r"transform of PCA .*components_ / numpy.sqrt\(explained_variance_\)"),
        (NMF(3, max_iter=2000), r"transform of NMF .* fit on transformed points, 'euclidean'"),
        (FactorAnalysis(3), r"transform of FactorAnalysis is not x -> components_ @ x"),
    ],
)
def test_transforms_that_are_not_the_components_are_refused(made, message):
    with pytest.raises(InvalidMetricError, match=message):
        as_mahalanobis(made.fit(WINE), 13)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize(
    "made", [PCA(3), TruncatedSVD(3), FastICA(3, random_state=0), NeighborhoodComponentsAnalysis(3)]
)
def test_linear_transforms_are_taken_with_or_without_a_shift(made, dtype):
    X = (WINE - WINE.min(axis=0)) / np.ptp(WINE, axis=0)
    made.fit(X.astype(dtype), load_wine().target)
    np.testing.assert_array_equal(as_mahalanobis(made, 13).components, made.components_)


def test_the_remedy_for_a_whitened_pca_is_its_own_distance():
    X = (WINE - WINE.mean(axis=0)) / WINE.std(axis=0)
    made = PCA(3, whiten=True).fit(X)
    metric = Mahalanobis.from_components(made.components_ / np.sqrt(made.explained_variance_)[:, None])
    there = made.transform(X)
    np.testing.assert_allclose(metric.sq_dist(X[:50], X[50:100]), ((there[:50] - there[50:100]) ** 2).sum(axis=1))


def test_a_transform_that_fails_is_no_linear_map():
    class Broken:
        components_ = np.eye(2)

        def transform(self, X):
            raise TypeError("no arrays")

    with pytest.raises(
        InvalidMetricError, match=r"transform of Broken .* no arrays; if it is, pass Mahalanobis.from_c"
    ):
        as_mahalanobis(Broken(), 2)


def test_one_entry_of_few_digits_does_not_make_a_matrix_one_of_float32():
    """A negative eigenvalue of 1e-8 is rounding where all numbers went through float32, and no metric otherwise."""
    M = np.diag([1.0, 0.1, -1e-8])
    with pytest.raises(InvalidMetricError, match="positive semi-definite"):
        Mahalanobis.from_matrix(M)
    with pytest.warns(RuntimeWarning, match="float32"):
        Mahalanobis.from_matrix(M.astype(np.float32).astype(np.float64))
