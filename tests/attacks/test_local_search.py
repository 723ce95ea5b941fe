import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from arml.attacks.assignment import Assignments, solve_assignment
from arml.attacks.local_search import local_search
from arml.attacks.neighborhood import Neighborhood, mattering
from arml.geometry import Mahalanobis
from arml.least_distance.smallest import smallest
from arml.neighbors import MahalanobisKNN
from arml.radii import Status

from .brute_force import constraints, majority_radius, shortest, vote_radius

# The independent solver's tolerance.
SOLVED = {"rel": 1e-6, "abs": 1e-7}


def tiny(seed, *, K, classes, n=(7, 13)):
    """A fitted classifier of a handful of points and one correctly classified point."""
    rng = np.random.default_rng(seed)
    d = 2 + seed % 2
    n = int(rng.integers(max(n[0], K + 1), n[1]))
    X = rng.normal(size=(n, d))
    y = np.concatenate([np.arange(classes), rng.integers(classes, size=n - classes)])
    G = rng.normal(size=(1 if seed % 5 == 0 else d, d))  # every fifth metric is singular
    if seed % 4 == 0:
        X[-1] = X[0]  # a duplicate, often of another class
    knn = MahalanobisKNN(K, metric=Mahalanobis.from_components(G)).fit(X, y)
    x = rng.normal(size=d)
    return knn, x, int(knn.predict(x[None])[0])


def larger(seed, *, K, classes, n=150, d=4):
    """A fitted classifier of noisy regions, and test points with its own labels."""
    rng = np.random.default_rng(seed)
    X, points = rng.random((n, d)), rng.random((25, d))
    y = np.argmax((X - 0.5) @ rng.normal(size=(d, classes)) + 0.1 * rng.normal(size=(n, classes)), axis=1)
    knn = MahalanobisKNN(K, metric=Mahalanobis.from_components(rng.normal(size=(d, d)))).fit(X, y)
    return knn, points, knn.predict(points)


def assert_confirmed(knn, X, y, bounds):
    """Every perturbation changes the answer, has the norm it is said to have, and lies above what is proven."""
    found = np.isfinite(bounds.upper) & (bounds.status != Status.MISCLASSIFIED.value)
    assert (knn.predict(X + bounds.perturbation)[found] != np.asarray(y)[found]).all()
    np.testing.assert_allclose(bounds.upper[found], np.linalg.norm(bounds.perturbation, axis=1)[found], rtol=1e-12)
    assert not bounds.perturbation[~found].any()
    assert (bounds.lower <= bounds.majority).all()
    assert (bounds.majority <= bounds.upper).all()


@pytest.mark.parametrize("K", [1, 3, 5])
@pytest.mark.parametrize("classes", [2, 3, 4])
@pytest.mark.parametrize("seed", range(12))
def test_the_truth_lies_between_the_certificate_and_the_attack(seed, classes, K):
    knn, x, label = tiny(100 * K + seed, K=K, classes=classes)
    M, X, y = knn.metric_.matrix, knn.X_train_, knn.y_train_
    box = (-0.8, 0.9) if seed % 3 == 0 else None
    bounds = knn.attacked_radius(x[None], [label], box=box)
    assert_confirmed(knn, x[None], [label], bounds)
    majority = majority_radius(M, X, y, x, label, K, box)
    vote = vote_radius(M, X, y, x, label, K, box)
    assert majority <= vote * (1 + 1e-6) + 1e-7
    assert bounds.lower[0] <= majority * (1 + 1e-6) + 1e-7
    assert bounds.majority[0] >= majority * (1 - 1e-6) - 1e-7
    assert bounds.upper[0] >= vote * (1 - 1e-6) - 1e-7


def test_it_often_is_the_truth():
    ratios = []
    for seed in range(20):
        knn, x, label = tiny(seed + 1, K=3, classes=2)
        truth = majority_radius(knn.metric_.matrix, knn.X_train_, knn.y_train_, x, label, 3)
        if 1e-3 < truth < np.inf:
            ratios.append(knn.attacked_radius(x[None], [label]).upper[0] / truth)
    assert len(ratios) >= 10
    assert np.median(ratios) < 1 + 1e-5


def test_with_several_classes_it_often_is_the_truth_too():
    ratios = []
    for seed in range(30):
        knn, x, label = tiny(seed + 1, K=5, classes=3)
        truth = vote_radius(knn.metric_.matrix, knn.X_train_, knn.y_train_, x, label, 5)
        if 1e-3 < truth < np.inf:
            ratios.append(knn.attacked_radius(x[None], [label]).upper[0] / truth)
    assert len(ratios) >= 10
    assert np.mean(np.array(ratios) < 1 + 1e-5) >= 0.7


def test_a_rival_that_wins_ties_needs_no_more_votes_than_are_left():
    # Label 1 has two of five votes left when two points of label 0 and the one of label 2 have passed its third.
    X = np.array([[0.0], [-0.5], [-3.0], [3.0], [3.5], [4.0], [9.0]])
    knn = MahalanobisKNN(5).fit(X, [1, 1, 1, 0, 0, 2, 0])
    bounds = knn.attacked_radius(np.array([[0.0]]), [1])
    assert bounds.upper[0] == pytest.approx(0.5)


@pytest.mark.parametrize("classes", [2, 4])
def test_one_neighbor_is_never_below_the_exact_radius_and_mostly_equals_it(classes):
    knn, X, y = larger(3, K=1, classes=classes)
    exact, attacked = knn.exact_radius(X, y), knn.attacked_radius(X, y)
    assert_confirmed(knn, X, y, attacked)
    assert (attacked.upper >= exact.lower * (1 - 1e-9)).all()
    assert (attacked.majority == attacked.upper).all()
    equal = attacked.upper <= exact.upper * (1 + 1e-6) + 1e-8
    assert equal.mean() >= 0.9


@pytest.mark.parametrize(("K", "classes"), [(3, 2), (5, 3), (11, 4)])
def test_perturbations_are_confirmed_with_any_number_of_classes(K, classes):
    knn, X, y = larger(K, K=K, classes=classes)
    bounds = knn.attacked_radius(X, y)
    assert_confirmed(knn, X, y, bounds)
    assert (bounds.queries == 0).all()
    found = np.isfinite(bounds.upper)
    assert found.mean() > 0.9
    if classes == 2:
        assert (bounds.majority == bounds.upper).all()
    else:
        assert (bounds.majority < bounds.upper).any()
        # A second class short of a majority is enough to win the vote.
        winners = knn.votes((X + bounds.perturbation)[found]).max(axis=1)
        assert (winners < (K + 1) // 2).any()


@pytest.mark.parametrize("K", [1, 5])
def test_the_box_is_respected(K):
    knn, X, y = larger(K, K=K, classes=3)
    X = X + np.where(np.arange(4) == 1, 0.3, 0.0)  # some start outside, and may stay there but go no farther
    y = knn.predict(X)
    free, boxed = (knn.attacked_radius(X, y, box=box) for box in (None, (0.0, 1.0)))
    assert_confirmed(knn, X, y, boxed)
    found = np.isfinite(boxed.upper)
    moved = (X + boxed.perturbation)[found]
    assert (moved >= np.minimum(X[found], 0) - 1e-12).all()
    assert (moved <= np.maximum(X[found], 1) + 1e-12).all()
    assert found.mean() > 0.5
    outside = (
        (X + free.perturbation > np.maximum(X, 1) + 1e-6) | (X + free.perturbation < np.minimum(X, 0) - 1e-6)
    ).any(axis=1)
    assert outside.any()  # otherwise the box tested nothing
    assert (boxed.lower == free.lower).all()


def test_a_box_that_holds_no_other_answer_leaves_nothing_to_find():
    knn = MahalanobisKNN(1).fit(np.array([[0.2, 0.5], [3.0, 3.0]]), [0, 1])
    bounds = knn.attacked_radius(np.array([[0.2, 0.5]]), [0], box=(0.0, 1.0))
    assert np.isinf(bounds.upper[0])
    assert np.isinf(bounds.majority[0])
    assert not bounds.perturbation.any()


def test_runs_repeat_and_neither_order_nor_chunks_matter():
    knn, X, y = larger(5, K=5, classes=3)
    first, again = knn.attacked_radius(X, y), knn.attacked_radius(X, y)
    for name in ("lower", "upper", "majority", "perturbation", "status"):
        np.testing.assert_array_equal(getattr(first, name), getattr(again, name))
    single = MahalanobisKNN(5, metric=knn.metric_, memory_budget=1).fit(knn.X_train_, knn.y_train_)
    np.testing.assert_allclose(single.attacked_radius(X[::-1], y[::-1]).upper, first.upper[::-1], rtol=1e-7)


def test_the_rows_that_decide_the_certificate_are_good_starts():
    # Twelve other-class points beyond (1, 0) are the nearest, but it shields them: 1.5. On the other side, far behind
    # them all, nothing shields (-2.4, 0): 1.2.
    angle = np.linspace(-0.05, 0.05, 12)
    shielded = 2 * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    X = np.concatenate([[[0.0, 0.0], [1.0, 0.0]], shielded, [[-2.4, 0.0]]])
    y = np.array([0, 0] + [1] * 13)
    x, label = np.zeros((1, 2)), np.array([0])
    knn = MahalanobisKNN(1).fit(X, y)
    arguments = (knn.fitted_, x, label)
    assert local_search(*arguments).radius[0] == pytest.approx(1.5, rel=0.01)
    assert local_search(*arguments, promising=np.array([[14, -1]])).radius[0] == pytest.approx(1.2)
    assert knn.attacked_radius(x, label).upper[0] == pytest.approx(1.2)


def test_where_nothing_can_be_found_the_radius_is_infinite():
    # One point of another class never outvotes K = 3.
    knn = MahalanobisKNN(3).fit(np.array([[0.0], [1.0], [2.0], [3.0]]), [0, 0, 0, 1])
    bounds = knn.attacked_radius(np.array([[0.5], [3.0]]), [0, 0])
    assert np.isinf(bounds.lower).all()
    assert np.isinf(bounds.upper).all()
    assert np.isinf(bounds.majority).all()
    assert (bounds.status == Status.UNREACHABLE.value).all()
    # A metric of zero sees no difference between any two points, wherever they are moved.
    knn = MahalanobisKNN(1, metric=np.zeros((1, 1))).fit(np.array([[0.0], [1.0]]), [0, 1])
    x = np.array([[0.3]])
    bounds = knn.attacked_radius(x, knn.predict(x))
    assert bounds.lower[0] == 0
    assert np.isinf(bounds.upper[0])


def test_a_class_with_fewer_points_than_a_majority_has_lost_it_already():
    # Votes 2, 1, 1, 1: the first class wins with all of its two points.
    X, y = np.array([[0.0], [0.2], [1.0], [-1.5], [2.0], [5.0], [-9.0]]), [0, 0, 1, 2, 3, 1, 2]
    bounds = MahalanobisKNN(5).fit(X, y).attacked_radius(np.array([[0.1]]), [0])
    assert (bounds.lower[0], bounds.majority[0]) == (0, 0)
    assert bounds.upper[0] > 0
    assert bounds.status[0] == Status.BOUNDED


def test_a_point_that_wins_without_a_majority_has_a_radius_all_the_same():
    # Its class has a majority's worth of points, but the third is far away: votes 2, 1, 1, 1.
    X, y = np.array([[0.0], [0.2], [1.0], [-1.5], [2.0], [5.0], [20.0], [-9.0]]), [0, 0, 1, 2, 3, 1, 0, 2]
    knn = MahalanobisKNN(5).fit(X, y)
    x = np.array([[0.1]])
    np.testing.assert_array_equal(knn.votes(x), [[2, 1, 1, 1]])
    bounds = knn.attacked_radius(x, [0])
    assert (bounds.lower[0], bounds.majority[0]) == (0, 0)
    truth = vote_radius(np.eye(1), X, np.array(y), x[0], 0, 5)
    assert truth > 0.5
    assert bounds.upper[0] >= truth * (1 - 1e-6)
    assert_confirmed(knn, x, [0], bounds)


def test_ties_are_left_by_a_hair():
    # As near to the second other-class point as to the second own one; the first in the training set counts.
    knn = MahalanobisKNN(3).fit(np.array([[0.0], [-2.0], [1.0], [2.0]]), [0, 0, 1, 1])
    bounds = knn.attacked_radius(np.array([[0.0]]), knn.predict([[0.0]]))
    assert bounds.lower[0] == 0
    assert 0 < bounds.upper[0] < 1e-6


def test_duplicates_across_classes_are_attacked_as_a_tie():
    X = np.array([[0.0, 0.0], [0.0, 0.0], [4.0, 0.0], [4.0, 0.0]])
    knn = MahalanobisKNN(1).fit(X, [0, 1, 0, 1])
    bounds = knn.attacked_radius(np.array([[1.0, 0.0]]), [int(knn.predict([[1.0, 0.0]])[0])])
    assert bounds.lower[0] == 0
    assert bounds.majority[0] <= bounds.upper[0]  # no move parts the doubles: there may be nothing to confirm


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from([1, 3, 7]), st.floats(0.01, 3.0))
def test_points_left_out_are_never_among_the_nearest_within_the_reach(seed, K, reach):
    rng = np.random.default_rng(seed)
    X, x, G = rng.normal(size=(60, 3)), rng.normal(size=3), rng.normal(size=(3, 3))
    own, M = rng.random(60) < 0.5, G.T @ G
    P = (X - x) @ M
    c = np.einsum("nd,nd->n", P, X - x)
    Q, k = X @ M, (K + 1) // 2
    other, same = mattering(c, np.linalg.norm(P, axis=1), Q, (Q * Q).sum(1), own, reach, K, 60)
    for _ in range(30):
        delta = rng.normal(size=3)
        delta *= reach / np.linalg.norm(delta)
        moved = c - 2 * P @ delta
        own_rows, nearest = np.flatnonzero(own), np.argsort(moved)[:K]
        assert np.isin(own_rows[np.argsort(moved[own_rows])[:k]], same).all()
        if own[nearest].sum() < k:
            assert np.isin(nearest[~own[nearest]], other).all()


def test_of_many_points_those_are_kept_that_pass_the_label_soonest():
    X = np.concatenate([np.zeros((3, 1)), np.arange(1.0, 21)[:, None]])
    own = np.arange(23) < 3
    other, same = mattering(X[:, 0] ** 2, X[:, 0], X, X[:, 0] ** 2, own, 10.0, 3, 5)
    assert other.tolist() == [3, 4, 5, 6, 7]
    assert same.tolist() == [0, 1, 2]


@pytest.mark.parametrize("boxed", [False, True])
@pytest.mark.parametrize("seed", range(10))
def test_an_assignment_is_solved_to_optimality(seed, boxed):
    rng = np.random.default_rng(seed)
    d = int(rng.integers(2, 5))
    X, G, x = rng.normal(size=(300, d)), rng.normal(size=(d, d)), rng.normal(size=d)
    M, label = G.T @ G, X[:, 0] > 0.7
    other, own = np.flatnonzero(label), np.flatnonzero(~label)
    index = np.concatenate([other, own])
    T = X[index] - x
    view = Neighborhood(index, len(other), T @ M, np.einsum("nd,nd->n", T @ M, T), label[index].astype(int))
    moved = view.c - 2 * view.P @ (X[other[seed]] - x)
    front, spared = smallest(moved[: len(other)], 3), view.nearest_own(moved, 2)
    room = rng.uniform(0.3, 2, (2, d)) if boxed else np.full((2, d), np.inf)
    problem = Assignments.of(view, room)
    norm = solve_assignment(problem, front, spared, np.inf, False)
    A, b = constraints(M, X, x, index[front], np.setdiff1d(own, index[spared]))
    expected = shortest(A, b, *((None, None) if not boxed else room))
    if np.isinf(norm):
        assert np.isinf(expected)
        return
    assert norm == pytest.approx(expected, **SOLVED)
    delta = problem.work.delta.copy()
    assert (A @ delta <= b + 1e-9).all()
    np.testing.assert_allclose(problem.work.f, view.c - 2 * view.P @ delta)
    assert np.isinf(solve_assignment(problem, front, spared, 0.99 * norm, False))


def test_progress_counts_every_point_once_also_the_misclassified():
    knn, X, y = larger(1, K=3, classes=2)
    y = y.copy()
    y[4] = 1 - y[4]
    done = []
    knn.attacked_radius(X, y, progress=done.append)
    assert sum(done) == 25
