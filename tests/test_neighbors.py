import math

import numpy as np
import pytest
from sklearn.neighbors import KNeighborsClassifier

import arml
from arml.devices import DeviceError
from arml.inputs import InvalidInputError
from arml.radii import AttackedBounds, Status


@pytest.fixture
def data():
    rng = np.random.default_rng(11)
    return rng.normal(size=(90, 4)), rng.integers(3, size=90), rng.normal(size=(200, 4))


@pytest.mark.parametrize("k", [1, 3, 11])
def test_predictions_equal_scikit_learn_under_the_same_metric(data, k):
    X, y, points = data
    G = np.random.default_rng(0).normal(size=(4, 4))
    ours = arml.MahalanobisKNN(k, metric=G.T @ G).fit(X, y).predict(points)
    theirs = KNeighborsClassifier(k).fit(X @ G.T, y).predict(points @ G.T)
    np.testing.assert_array_equal(ours, theirs)


def test_labels_need_not_start_at_zero_and_chunks_change_nothing(data):
    X, y, points = data
    knn = arml.MahalanobisKNN(3).fit(X, 10 * y - 5)
    small = arml.MahalanobisKNN(3, memory_budget=8 * 3 * 90 * 7).fit(X, 10 * y - 5)
    np.testing.assert_array_equal(knn.predict(points), small.predict(points))
    assert set(knn.predict(points)) <= {-5, 5, 15}


def test_score_is_the_accuracy(data):
    X, y, points = data
    knn = arml.MahalanobisKNN(1).fit(X, y)
    assert knn.score(X, y) == 1.0
    assert knn.score(points, knn.predict(points)) == 1.0


def test_radius_is_zero_exactly_where_the_prediction_is_wrong(data):
    X, y, points = data
    labels = np.random.default_rng(1).integers(3, size=200)
    knn = arml.MahalanobisKNN(1).fit(X, y)
    bounds = knn.exact_radius(points, labels)
    np.testing.assert_array_equal(bounds.upper == 0, knn.predict(points) != labels)


@pytest.mark.parametrize("k", [0, -1, 2, 1.0, True, "3"])
def test_k_must_be_odd_and_positive(data, k):
    with pytest.raises(InvalidInputError, match="odd positive integer"):
        arml.MahalanobisKNN(k).fit(*data[:2])


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda X, y: (np.where(X[3, 2] == X, np.nan, X), y), "nan at row 3, column 2"),
        (lambda X, y: (X[:, 0], y), "two-dimensional"),
        (lambda X, y: (X, y[:-1]), "one label for each of the 90 points"),
        (lambda X, y: (X, y + 0.5), "integer class labels"),
        (lambda X, y: (X, np.array(["a"] * 90)), "integer class labels"),
        (lambda X, y: (X, np.zeros(90, int)), "only class 0"),
        (lambda X, y: (X[:2], np.array([0, 1])), "larger than the training set of 2"),
        (lambda X, y: ([["a", "b"]], [1]), "cannot be read as numbers"),
    ],
)
def test_unusable_training_sets_are_refused(data, spoil, message):
    with pytest.raises(InvalidInputError, match=message):
        arml.MahalanobisKNN(3).fit(*spoil(data[0].copy(), data[1]))


def test_unusable_test_points_are_refused(data):
    X, y, points = data
    with pytest.raises(InvalidInputError, match="not fitted"):
        arml.MahalanobisKNN(1).predict(points)
    knn = arml.MahalanobisKNN(1).fit(X, y)
    with pytest.raises(InvalidInputError, match="3 features, the training set has 4"):
        knn.predict(points[:, :3])
    with pytest.raises(InvalidInputError, match="empty"):
        knn.exact_radius(points, y[:1].repeat(200), box=(1.0, 0.0))
    with pytest.raises(InvalidInputError, match="empty"):
        arml.MahalanobisKNN(3).fit(X, y).exact_radius(points[:1], y[:1], box=(1.0, 0.0))


def test_a_device_that_is_not_there_is_an_error(data):
    import torch

    if torch.cuda.is_available():
        knn = arml.MahalanobisKNN(1, device="cuda").fit(*data[:2])
        np.testing.assert_array_equal(knn.predict(data[2]), arml.MahalanobisKNN(1).fit(*data[:2]).predict(data[2]))
    else:
        with pytest.raises(DeviceError, match="device=cpu"):
            arml.MahalanobisKNN(1, device="cuda").fit(*data[:2])
    with pytest.raises(DeviceError, match="unknown device"):
        arml.MahalanobisKNN(1, device="gpu").fit(*data[:2])


def test_no_points_give_no_radii(data):
    X, y, _ = data
    bounds = arml.MahalanobisKNN(1).fit(X, y).exact_radius(np.empty((0, 4)), np.empty(0, int))
    assert len(bounds) == 0
    assert bounds.perturbation.shape == (0, 4)


def test_votes_are_those_of_the_neighbors(data):
    X, y, points = data
    knn = arml.MahalanobisKNN(5).fit(X, 10 * y - 5)
    votes = knn.votes(points)
    theirs = KNeighborsClassifier(5).fit(X, y).kneighbors(points, return_distance=False)
    np.testing.assert_array_equal(votes, np.stack([(y[theirs] == c).sum(axis=1) for c in range(3)], axis=1))
    np.testing.assert_array_equal(knn.predict(points), knn.classes_[votes.argmax(axis=1)])
    small = arml.MahalanobisKNN(5, memory_budget=1).fit(X, 10 * y - 5)
    np.testing.assert_array_equal(small.votes(points), votes)


@pytest.mark.parametrize("K", [1, 5, 11])
def test_certified_and_attacked_radii_fit_together(data, K):
    X, y, points = data
    points, labels = points[:30], np.random.default_rng(1).integers(3, size=30)
    knn = arml.MahalanobisKNN(K).fit(X, y)
    certified, attacked = knn.certified_radius(points, labels), knn.attacked_radius(points, labels)
    wrong = knn.predict(points) != labels
    assert wrong.any()
    assert not wrong.all()
    assert isinstance(attacked, AttackedBounds)
    for bounds in (certified, attacked):
        np.testing.assert_array_equal(bounds.status == Status.MISCLASSIFIED.value, wrong)
        assert (bounds.lower[wrong] == 0).all()
        assert (bounds.upper[wrong] == 0).all()
    assert np.isinf(certified.upper[~wrong]).all()
    assert (attacked.majority[wrong] == 0).all()
    assert (attacked.upper[~wrong] > 0).all()
    np.testing.assert_allclose(attacked.lower, certified.lower, rtol=1e-9)
    has_majority = knn.votes(points)[np.arange(30), labels] > K // 2
    assert (certified.lower[~has_majority] == 0).all()
    assert (certified.lower[has_majority] > 0).all()
    assert (attacked.majority[~has_majority] == 0).all()


def test_a_label_that_the_training_set_does_not_hold_is_misclassified(data):
    X, y, points = data
    knn = arml.MahalanobisKNN(5).fit(X, y)
    labels = np.full(4, 7)
    for bounds in (knn.certified_radius(points[:4], labels), knn.attacked_radius(points[:4], labels)):
        assert (bounds.status == Status.MISCLASSIFIED.value).all()
        assert not bounds.lower.any()
        assert not bounds.upper.any()


def test_unusable_requests_for_certificates_and_attacks_are_refused(data):
    X, y, points = data
    knn = arml.MahalanobisKNN(3).fit(X, y)
    labels = y[:1].repeat(200)
    for norm in (0, 3, -1, math.nan, "two"):
        with pytest.raises(InvalidInputError, match="norm must be 2, 1 or inf, got"):
            knn.certified_radius(points, labels, norm=norm)
    with pytest.raises(InvalidInputError, match="unknown attack 'fgsm'; there are: local_search, boundary"):
        knn.attacked_radius(points, labels, attack="fgsm")
    with pytest.raises(InvalidInputError, match="empty"):
        knn.attacked_radius(points[:2], labels[:2], box=(1.0, 0.0))
    with pytest.raises(InvalidInputError, match="one label for each of the 200 points"):
        knn.certified_radius(points, labels[:-1])
    with pytest.raises(InvalidInputError, match="not fitted"):
        arml.MahalanobisKNN(3).attacked_radius(points, labels)


def test_no_points_give_no_certificates_and_no_attacks(data):
    X, y, _ = data
    knn = arml.MahalanobisKNN(3).fit(X, y)
    none = np.empty((0, 4)), np.empty(0, int)
    assert len(knn.certified_radius(*none)) == 0
    assert knn.attacked_radius(*none).perturbation.shape == (0, 4)


@pytest.mark.parametrize("offset", [1e3, 1e6, 1e8])
def test_answers_far_from_the_origin_are_those_near_it(offset):
    rng = np.random.default_rng(0)
    X, y, points = rng.normal(size=(200, 5)), rng.integers(0, 3, 200), rng.normal(size=(50, 5))
    X, points = (np.round(part * 2**16) / 2**16 for part in (X, points))  # so that the offset rounds nothing away
    near, far = arml.MahalanobisKNN(5).fit(X, y), arml.MahalanobisKNN(5).fit(X + offset, y)
    labels = near.predict(points)
    np.testing.assert_array_equal(far.predict(points + offset), labels)
    bounds = far.attacked_radius(points + offset, labels)
    np.testing.assert_allclose(bounds.lower, near.certified_radius(points, labels).lower, rtol=1e-9, atol=1e-12)
