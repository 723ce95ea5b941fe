import numpy as np
import pytest
import torch

from arml.attacks.knn_model import KNNModel
from arml.geometry import Mahalanobis
from arml.neighbors import MahalanobisKNN


def problem(seed, n=400, d=6, classes=3, rank=None, duplicates=False):
    """Training points in [0, 1], their labels and a metric of the given rank."""
    rng = np.random.default_rng(seed)
    X, y = rng.random((n, d)), rng.integers(classes, size=n)
    if duplicates:
        X[n // 2 :] = X[: n - n // 2]
    y[:classes] = np.arange(classes)
    return X, y, Mahalanobis.from_components(rng.normal(size=(rank or d, d)))


def answers(model, points):
    return model.classes[model(torch.as_tensor(points)).argmax(1).numpy()]


def clear(X, metric, K, points):
    """Points whose K-th and (K+1)-th neighbours differ by more than rounding."""
    ordered = np.sort([((metric.embed(X) - z) ** 2).sum(1) for z in metric.embed(points)], axis=1)
    return np.ones(len(points), bool) if len(X) == K else ordered[:, K] - ordered[:, K - 1] > 1e-10


@pytest.mark.parametrize("K", [1, 3, 11])
@pytest.mark.parametrize("classes", [2, 5])
@pytest.mark.parametrize("kind", [{}, {"rank": 2}, {"d": 40}, {"n": 30}])
@pytest.mark.parametrize("list_size", [12, 64])
def test_votes_equal_the_classifier_along_a_walk_of_small_and_large_steps(K, classes, kind, list_size):
    X, y, metric = problem(K, classes=classes, **kind)
    knn = MahalanobisKNN(K, metric).fit(X, y)
    model = KNNModel(metric, X, y, K, list_size=list_size)
    rng = np.random.default_rng(0)
    points = rng.random((20, X.shape[1])).astype(np.float32)
    compared = 0
    for step in np.concatenate([[0.0], np.geomspace(1e-6, 0.3, 60), [2.0], np.geomspace(0.3, 1e-4, 60)]):
        direction = rng.normal(size=points.shape)
        points = (points + step * direction / np.linalg.norm(direction, axis=1, keepdims=True)).astype(np.float32)
        exact = points.astype(np.float64)
        sure = clear(X, metric, K, exact)
        np.testing.assert_array_equal(answers(model, points)[sure], knn.predict(exact)[sure])
        compared += sure.sum()
    assert compared > 0.99 * 122 * 20
    assert model.calls == 122


def test_small_steps_do_not_move_the_anchors_and_an_empty_radius_does():
    X, y, metric = problem(0)
    model = KNNModel(metric, X, y, 3)
    points = np.random.default_rng(0).random((10, 6))
    model(torch.as_tensor(points))
    for _ in range(50):
        model(torch.as_tensor(points + 1e-6))
    assert model.moves == 10
    model(torch.as_tensor(points[::-1].copy()))
    assert model.moves == 20


def test_the_ball_ends_before_the_first_point_left_out_can_matter():
    """On a line, for K = 1: the midpoint to the first point that is not listed."""
    X = np.linspace(0, 1, 101)[:, None]
    model = KNNModel(Mahalanobis(np.eye(1), np.eye(1)), X, np.arange(101) % 2, 1, list_size=22)
    model(torch.tensor([[0.5]], dtype=torch.float64))
    listed = set(model._balls.listed[0].tolist())
    radius = float(model._balls.radii[0, -1])
    first_out = min(abs(X[i, 0] - 0.5) for i in set(range(101)) - listed)
    assert len(listed) == 22
    assert 0.9 * first_out / 2 < radius < first_out / 2


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_batches_of_any_size_and_order_are_answered_right(dtype):
    X, y, metric = problem(4)
    knn = MahalanobisKNN(5, metric).fit(X, y)
    model = KNNModel(metric, X, y, 5, memory_budget=8 * 6 * 400 * 7)
    rng = np.random.default_rng(5)
    points = rng.random((60, 6)).astype(dtype)
    for size in (60, 1, 60, 13, 13, 60):
        batch = points[rng.permutation(60)[:size]]
        np.testing.assert_array_equal(answers(model, batch), knn.predict(batch))


def test_labels_are_what_classes_says_and_equal_votes_go_to_the_smallest():
    X = np.array([[0.0], [0.1], [0.2], [5.0]])
    model = KNNModel(Mahalanobis(np.eye(1), np.eye(1)), X, np.array([7, -2, 4, 9]), 3)
    votes = model(torch.tensor([[0.1]]))
    np.testing.assert_array_equal(model.classes, [-2, 4, 7, 9])
    np.testing.assert_array_equal(votes.numpy(), [[1, 1, 1, 0]])
    assert answers(model, np.array([[0.1]])) == -2


def test_duplicates_with_other_labels_are_answered_the_same_wherever_the_anchor_is():
    X, y, metric = problem(6, n=300, duplicates=True)
    y[150:] = (y[:150] + 1) % 3
    rng = np.random.default_rng(1)
    points = rng.random((40, 6)).astype(np.float32)
    fresh = answers(KNNModel(metric, X, y, 5), points)
    model = KNNModel(metric, X, y, 5)
    for _ in range(20):
        answers(model, points + rng.normal(scale=0.02, size=points.shape).astype(np.float32))
        np.testing.assert_array_equal(answers(model, points), fresh)


def test_near_ties_are_decided_in_float64():
    """The nearer of two points by 1e-9, far below what float32 resolves at this distance from the anchor."""
    X = np.array([[0.0, 0.0], [1.0, 0.0]] + [[3 + i / 100, 3.0] for i in range(300)])
    y = np.array([0, 1] + [2] * 300)
    model = KNNModel(Mahalanobis(np.eye(2), np.eye(2)), X, y, 1)
    anchor = np.array([[0.5 + 1e-3, 0.1]])
    model(torch.as_tensor(anchor))
    for offset in (-1e-9, 1e-9):
        assert answers(model, np.array([[0.5 + offset, 0.3]])) == int(offset > 0)
    assert model.moves == 1


def test_a_metric_that_sees_nothing_ties_everything_and_is_still_answered():
    X, y, _ = problem(7, n=100)
    votes = KNNModel(Mahalanobis(np.zeros((1, 6)), np.zeros((6, 6))), X, y, 3)(torch.rand(5, 6))
    np.testing.assert_array_equal(votes.sum(1).numpy(), np.full(5, 3.0))


def test_more_neighbours_than_training_points_are_refused():
    X, y, metric = problem(8, n=10)
    with pytest.raises(ValueError, match="between 1 and the 10 training points"):
        KNNModel(metric, X, y, 11)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_cuda_answers_like_the_cpu():
    X, y, metric = problem(9)
    model = KNNModel(metric, X, y, 5, device="cuda")
    points = np.random.default_rng(2).random((50, 6)).astype(np.float32)
    for _ in range(5):
        points += np.float32(1e-3)
        votes = model(torch.as_tensor(points, device="cuda")).cpu()
        torch.testing.assert_close(votes, KNNModel(metric, X, y, 5)(torch.as_tensor(points)))
