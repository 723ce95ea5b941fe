"""ARML as an estimator: the algorithm against an independent one, its options, its errors, scikit-learn's contract."""

import json
import pickle
from collections.abc import Callable

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.utils.estimator_checks import check_estimator

from arml.geometry import triplet_margin
from arml.learners.arml import ARML
from arml.learners.sampling import ClassLayout
from arml.learners.training import RefreshSchedule, Training

Array = NDArray[np.float64]


@pytest.fixture(scope="module")
def digits() -> tuple[Array, NDArray[np.int64]]:
    """Digits of 300 points in [0, 1]; several of the 64 pixels are constant."""
    X, y = load_digits(return_X_y=True)
    return X[:300] / 16, y[:300]


def _straightforward(X: Array, y: NDArray[np.int64], epochs: int, k: int, seed: int) -> tuple[Array, list[float]]:
    """Algorithm 1 written once more, in NumPy but for Adam and the draws: full distances, full G, all features."""
    generator = torch.Generator().manual_seed(seed)
    order = np.argsort(y, kind="stable")
    X, y = X[order], y[order]
    same_class = y[:, None] == y[None, :]
    G = torch.eye(X.shape[1], dtype=torch.float64, requires_grad=True)
    adam, losses = torch.optim.Adam([G], lr=1e-3), []
    for _ in range(epochs):
        difference = (X[:, None, :] - X[None, :, :]) @ G.detach().numpy().T
        distance = (difference**2).sum(-1)
        same = np.argsort(np.where(same_class & ~np.eye(len(X), dtype=bool), distance, np.inf), axis=1)[:, :k]
        other = np.argsort(np.where(same_class, np.inf, distance), axis=1)[:, :k]
        u = torch.rand(2, len(X), dtype=torch.float64, generator=generator).numpy()
        rows = np.arange(len(X))
        x_pos, x_neg = X[same[rows, (u[0] * k).astype(int)]], X[other[rows, (u[1] * k).astype(int)]]
        M = G.T @ G
        positive, negative, x = (torch.tensor(part) for part in (x_pos, x_neg, X))
        d_negative = (((x - negative) @ M) * (x - negative)).sum(1)
        d_positive = (((x - positive) @ M) * (x - positive)).sum(1)
        norm = ((positive - negative) @ M).norm(dim=1)
        loss = -((d_negative - d_positive) / (2 * norm)).mean()
        adam.zero_grad()
        loss.backward()
        adam.step()
        losses.append(loss.item())
    return G.detach().numpy(), losses


@pytest.fixture(scope="module")
def untied() -> tuple[Array, NDArray[np.int64]]:
    """120 points without equal distances, so that no list depends on rounding; the third feature is constant."""
    rng = np.random.default_rng(5)
    X = rng.normal(size=(120, 8)) * np.array([1.0, 2.0, 0.0, 0.5, 1.0, 1.0, 3.0, 0.2])
    return X, (X[:, 0] + X[:, 3] + 0.3 * rng.normal(size=120) > 0).astype(np.int64) + (X[:, 4] > 1)


def test_it_is_algorithm_1_when_it_searches_at_every_epoch(untied: tuple) -> None:
    X, y = untied
    G, losses = _straightforward(X, y, epochs=40, k=5, seed=3)
    learner = ARML(max_iter=40, n_neighbors=5, refresh_tolerance=0, random_state=3)
    layout = ClassLayout.from_labels(y)
    points, start = torch.tensor(X[layout.order]), torch.eye(8, dtype=torch.float64)
    training = Training(points, layout, start, learner._check_parameters(), seed=3)
    np.testing.assert_allclose([training.run_epoch() for _ in range(40)], losses, rtol=1e-10)
    np.testing.assert_allclose(training.G.detach().numpy(), G, rtol=0, atol=1e-8)
    # And in the float32 of the estimator, without the constant feature.
    learner.fit(X, y)
    assert [epoch for epoch, _ in learner.fit_report_["searches"]] == list(range(40))
    np.testing.assert_allclose(learner.loss_curve_, losses, rtol=1e-3)
    np.testing.assert_allclose(learner.components_, G, rtol=0, atol=1e-2)


def test_lists_kept_for_some_epochs_reach_the_same_loss(digits: tuple) -> None:
    every = ARML(max_iter=150, refresh_tolerance=0, random_state=0).fit(*digits)
    some = ARML(max_iter=150, random_state=0).fit(*digits)
    assert len(some.fit_report_["searches"]) < 20
    assert np.mean(some.loss_curve_[-30:]) == pytest.approx(np.mean(every.loss_curve_[-30:]), rel=0.02)


def test_searches_become_rarer_when_little_changes_and_more_frequent_when_much_does() -> None:
    schedule = RefreshSchedule(tolerance=0.2, max_interval=6)
    epochs = []
    for churn in (1.0, 0.1, 0.15, 0.0, 0.0, 0.3, 0.9, 0.9, 0.9):
        epochs.append(schedule.due)
        schedule.searched(schedule.due, churn)
    # Intervals: 1, doubled to 2, times 4/3, doubled to 5.33, capped at 6, times 2/3, halved, halved, at least 1.
    assert epochs == [0, 1, 3, 6, 11, 17, 21, 23, 24]


def _mean_leave_one_out_radius(X: Array, y: NDArray[np.int64], M: Array) -> float:
    """Mean over the points of the radius bound of the 1-NN classifier of all other points, Theorem 1 with K = 1."""
    difference = X[:, None, :] - X[None, :, :]
    distance = np.einsum("ijd,de,ije->ij", difference, M, difference, optimize=True)
    np.fill_diagonal(distance, np.inf)
    radii = []
    for i in range(len(X)):
        same, other = np.flatnonzero((y == y[i]) & (np.arange(len(X)) != i)), np.flatnonzero(y != y[i])
        margins = triplet_margin(X[same][None], X[other][:, None], X[i], M)
        radii.append(max(0.0, margins.max(axis=1).min()))
    return float(np.mean(radii))


def test_it_makes_the_training_points_more_robust(digits: tuple) -> None:
    X, y = digits[0][:200], digits[1][:200]
    learner = ARML(max_iter=100, random_state=0).fit(X, y)
    euclidean = _mean_leave_one_out_radius(X, y, np.eye(64))
    learned = _mean_leave_one_out_radius(X, y, learner.get_mahalanobis_matrix())
    assert learned > 1.05 * euclidean
    assert learner.loss_curve_[-1] < learner.loss_curve_[0]


@pytest.mark.parametrize("loss", ["hinge", "exponential", "logistic", "negative"])
@pytest.mark.parametrize("batch_size", [None, 64])
def test_every_loss_falls_with_and_without_batches(loss: str, batch_size: int | None, digits: tuple) -> None:
    curve = ARML(loss=loss, max_iter=40, batch_size=batch_size, random_state=0).fit(*digits).loss_curve_
    assert len(curve) == 40
    assert np.mean(curve[-5:]) < np.mean(curve[:2])


def test_a_batch_of_all_points_is_the_full_batch(digits: tuple) -> None:
    full, one_batch = (ARML(max_iter=4, batch_size=size, random_state=0).fit(*digits) for size in (None, 300))
    np.testing.assert_array_equal(full.components_, one_batch.components_)


def test_constant_features_keep_the_identity(digits: tuple) -> None:
    X, y = digits
    constant = np.ptp(X, axis=0) == 0
    assert constant.any()
    learner = ARML(max_iter=10, random_state=0).fit(X, y)
    np.testing.assert_array_equal(learner.components_[constant], np.eye(64)[constant])
    np.testing.assert_array_equal(learner.components_[:, constant], np.eye(64)[:, constant])
    without = ARML(max_iter=10, random_state=0).fit(X[:, ~constant], y)
    np.testing.assert_array_equal(learner.components_[np.ix_(~constant, ~constant)], without.components_)


@pytest.mark.parametrize("n_components", [1, 7, 60, 64])
def test_low_rank(n_components: int, digits: tuple) -> None:
    X, y = digits
    learner = ARML(n_components=n_components, max_iter=30, random_state=0).fit(X, y)
    assert learner.components_.shape == (n_components, 64)
    assert np.linalg.matrix_rank(learner.components_) == n_components
    assert learner.transform(X).shape == (300, n_components)
    assert learner.get_feature_names_out().shape == (n_components,)
    assert np.mean(learner.loss_curve_[-3:]) < learner.loss_curve_[0]


def test_lonely_points_are_left_out_and_still_serve_as_negatives() -> None:
    X = np.array([[0.0, 0.0], [1.0, 0.0], [0.5, 3.0]])
    y = np.array(["a", "a", "b"])
    learner = ARML(max_iter=1, random_state=0).fit(X, y)
    # Both anchors: x+ is the other "a", x- is "b"; by hand margin = p.(2x - x+ - x-) / (2 |p|) with M = I.
    assert learner.loss_curve_[0] == pytest.approx(-(8.25 / (2 * np.sqrt(9.25))), rel=1e-6)
    assert learner.fit_report_["n_left_out"] == 1


def test_attributes_and_report(digits: tuple) -> None:
    X, y = digits
    learner = ARML(max_iter=6, random_state=0).fit(X, y)
    assert learner.n_iter_ == len(learner.loss_curve_) == 6
    assert learner.components_.dtype == np.float64
    np.testing.assert_allclose(learner.transform(X), X @ learner.components_.T)
    np.testing.assert_allclose(learner.get_mahalanobis_matrix(), learner.components_.T @ learner.components_)
    report = json.loads(json.dumps(learner.fit_report_))
    assert report["n_iter"] == 6
    assert report["device"] == "cpu"
    assert report["converged"] is None
    assert report["searches"][0] == [0, 1.0]


def test_equal_seeds_give_equal_results(digits: tuple) -> None:
    one, same, other = (ARML(max_iter=5, random_state=seed).fit(*digits) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one.components_, same.components_)
    assert not np.array_equal(one.components_, other.components_)


def test_the_global_random_state_plays_no_part(digits: tuple) -> None:
    before = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002 - it is what must not change
    ARML(max_iter=2, random_state=1).fit(*digits)
    assert torch.equal(torch.get_rng_state(), before[0])
    assert np.array_equal(np.random.get_state()[1], before[1])  # noqa: NPY002 - as above


def test_early_stopping_stops_when_the_loss_no_longer_falls(digits: tuple) -> None:
    learner = ARML(max_iter=2000, early_stopping=True, tol=0.02, patience=10, random_state=0).fit(*digits)
    assert 20 <= learner.n_iter_ < 2000
    assert learner.fit_report_["converged"] is True
    before, last = np.mean(learner.loss_curve_[-20:-10]), np.mean(learner.loss_curve_[-10:])
    assert before - last < 0.02 * abs(before)


def test_far_from_the_origin_float32_is_still_accurate(untied: tuple) -> None:
    X, y = untied
    near, far = (ARML(max_iter=5, random_state=0).fit(X + shift, y) for shift in (0, 2.0**20))
    np.testing.assert_allclose(near.loss_curve_, far.loss_curve_, rtol=1e-5)


def test_clone_and_pickle(digits: tuple) -> None:
    learner = ARML(n_components=5, max_iter=3, random_state=0, refresh_tolerance=0.3)
    assert clone(learner).get_params() == learner.get_params()
    copy = pickle.loads(pickle.dumps(learner.fit(*digits)))
    np.testing.assert_array_equal(copy.transform(digits[0]), learner.transform(digits[0]))


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has CUDA")
def test_asking_for_cuda_without_cuda_is_an_error(digits: tuple) -> None:
    with pytest.raises(RuntimeError, match="sees no CUDA device"):
        ARML(device="cuda", max_iter=1).fit(*digits)
    assert ARML(device="auto", max_iter=1).fit(*digits).fit_report_["device"] == "cpu"


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_cuda_draws_the_same_triplets(digits: tuple) -> None:
    cpu, cuda = (ARML(device=device, max_iter=20, random_state=0).fit(*digits) for device in ("cpu", "cuda"))
    np.testing.assert_allclose(cuda.loss_curve_, cpu.loss_curve_, rtol=1e-3)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"loss": "squared"}, "unknown loss 'squared'"),
        ({"max_iter": 0}, "max_iter == 0, must be >= 1"),
        ({"learning_rate": 0.0}, "learning_rate == 0.0, must be > 0"),
        ({"n_neighbors": 0}, "n_neighbors == 0, must be >= 1"),
        ({"batch_size": 0}, "batch_size == 0, must be >= 1"),
        ({"refresh_tolerance": 1.5}, "refresh_tolerance == 1.5, must be <= 1"),
        ({"n_components": 65}, "n_components=65 exceeds the number of features, 64"),
        ({"checkpoint_path": "x.pt"}, "needs an integer random_state"),
    ],
)
def test_impossible_parameters(params: dict, message: str, digits: tuple) -> None:
    with pytest.raises(ValueError, match=message):
        ARML(**params).fit(*digits)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda X, y: (np.where(X > 0.9, np.nan, X), y), "NaN"),
        (lambda X, y: (X[:-1], y), "inconsistent numbers of samples"),
        (lambda X, y: (X[0], y), "Expected 2D array"),
        (lambda X, y: (X, np.zeros(len(y), dtype=int)), "at least two classes"),
        (lambda X, y: (X, y + 0.5 + X[:, 20]), "Unknown label type"),
        (lambda X, y: (X[:2], np.array([0, 1])), "one point only"),
        (lambda X, y: (np.ones_like(X), y), "every feature is constant"),
    ],
)
def test_impossible_data(spoil: Callable, message: str, digits: tuple) -> None:
    with pytest.raises(ValueError, match=message):
        ARML(max_iter=1).fit(*spoil(*digits))


def test_a_diverging_loss_is_an_error() -> None:
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(40, 3)), np.repeat([0, 1], 20)
    with pytest.raises(FloatingPointError, match="exponential loss became inf in epoch 0; scale the features"):
        ARML(loss="exponential", max_iter=5).fit(X * 1e4, y)


def test_scikit_learn_contract_without_exceptions() -> None:
    results = check_estimator(ARML(max_iter=5), on_fail=None)
    assert len(results) > 30
    assert [(result["check_name"], result["exception"]) for result in results if result["status"] != "passed"] == []
