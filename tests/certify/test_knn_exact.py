"""Exact K-NN radii: the search against enumeration, a mixed-integer program, and the 1-NN code."""

import numpy as np
import pytest
import scipy.optimize

from arml import MahalanobisKNN
from arml.certify.knn.point_search import Budget, Question
from arml.certify.knn.search import search_radii
from arml.classifier.event import EVENTS
from arml.geometry import Mahalanobis
from tests.certify.enumeration import (
    by_cvxpy,
    by_nnls,
    cell_value,
    majority_radius,
    plurality_radius,
    predict_radius,
    random_problem,
    seen_from,
)
from tests.certify.fitted import fit


def search(X, y, G, x, label, K, incumbent, *, event="majority", budget=None, box=None):
    fitted = fit(G, X, y, K)
    question = Question(fitted, event, budget or Budget())
    numbers = fitted.class_numbers(np.array([label]))
    found = search_radii(question, x[None], numbers, np.array([incumbent]), box=box)
    attained = float(np.linalg.norm(found.perturbation[0])) if found.improved[0] else incumbent
    return float(found.lower[0]), attained, found


def truth(X, y, G, x, label, K, *, event, solve=by_nnls, room=None):
    P, c = seen_from(x, X, G)
    if event == "majority":
        return majority_radius(P, c, y == label, (K + 1) // 2, solve, room)
    vote = plurality_radius if event == "plurality" else predict_radius
    return vote(P, c, y, label, K, solve, room)


def room_of(x, box):
    return np.stack([x - np.minimum(box[0], x), np.maximum(box[1], x) - x])


@pytest.mark.parametrize("event", EVENTS)
@pytest.mark.parametrize("K", [1, 3, 5])
@pytest.mark.parametrize("seed", range(12))
def test_radius_within_a_box_is_that_of_the_best_assignment_there(seed, K, event):
    """Boxes around the points, across them, and with the test point outside: features beyond it may not go on."""
    rng = np.random.default_rng([seed, K, 7])
    tested = 0
    while tested < 3:
        X, y, G, x, label = random_problem(rng)
        box = tuple(np.sort(rng.normal(size=2) * 1.5))
        room = room_of(x, box)
        free = truth(X, y, G, x, label, K, event=event)
        exact = truth(X, y, G, x, label, K, event=event, room=room)
        if free < 1e-9 or (exact == free and rng.random() < 0.8):
            continue
        tested += 1
        incumbent = np.inf if rng.random() < 0.5 else exact * rng.choice([1 + 1e-9, 1.3, 5.0])
        lower, attained, found = search(X, y, G, x, label, K, incumbent, event=event, box=box)
        assert found.finished[0]
        if np.isinf(exact):
            # The whole box was searched, in vain.
            assert not found.improved[0]
            assert lower > np.linalg.norm(room.max(axis=0))
            continue
        assert exact * (1 - 1e-6) <= lower <= exact * (1 + 1e-9)
        assert attained == pytest.approx(exact, rel=1e-6)
        if found.improved[0]:
            moved = found.perturbation[0]
            assert (moved >= -room[0] - 1e-9).all()
            assert (moved <= room[1] + 1e-9).all()


@pytest.mark.parametrize("event", EVENTS)
@pytest.mark.parametrize("K", [1, 3, 5])
@pytest.mark.parametrize("seed", range(12))
def test_radius_is_that_of_the_best_assignment(seed, K, event):
    rng = np.random.default_rng([seed, K])
    tested = 0
    while tested < 3:
        X, y, G, x, label = random_problem(rng)
        exact = truth(X, y, G, x, label, K, event=event)
        if exact < 1e-9:
            continue
        tested += 1
        # The incumbent: as good as can be, mediocre, or hopeless.
        incumbent = 50.0 if np.isinf(exact) else exact * rng.choice([1 + 1e-9, 1.3, 5.0])
        expected = min(exact, incumbent)
        lower, attained, found = search(X, y, G, x, label, K, incumbent, event=event)
        assert lower <= expected * (1 + 1e-9)
        assert lower >= expected * (1 - 1e-6)
        assert attained == pytest.approx(expected, rel=1e-6)
        assert found.finished[0]


@pytest.mark.parametrize("event", EVENTS)
@pytest.mark.parametrize("seed", range(4))
def test_enumeration_itself_agrees_with_cvxpy(seed, event):
    rng = np.random.default_rng(100 + seed)
    X, y, G, x, label = random_problem(rng, n_max=7)
    ours, theirs = (truth(X, y, G, x, label, 3, event=event, solve=solve) for solve in (by_nnls, by_cvxpy))
    assert ours == pytest.approx(theirs, rel=1e-4, abs=1e-5)


@pytest.mark.parametrize("K", [3, 7, 11])
@pytest.mark.parametrize("seed", range(2))
def test_mixed_integer_program_agrees_on_a_mid_sized_problem(seed, K):
    """Which points are low as binaries, and the norm by tangent planes: HiGHS knows nothing of cells or row values."""
    rng = np.random.default_rng([7, seed, K])
    n, d, k = 26, 2, (K + 1) // 2
    y = np.arange(n) % 2
    X = rng.normal(size=(n, d)) + 0.8 * y[:, None]
    G, x = rng.normal(size=(d, d)), rng.normal(size=d) - 0.3
    P, c = seen_from(x, X, G)
    if (y[np.argsort(c)[:K]] == 0).sum() < k:
        x = X[y == 0].mean(axis=0)
        P, c = seen_from(x, X, G)
    exact = majority_by_milp(P, c, y == 0, k)
    lower, attained, _ = search(X, y, G, x, 0, K, np.inf)
    # The program's optimum is known to a thousandth from below, and attained by the assignment it found.
    assert exact * (1 - 1e-3) <= attained <= exact * (1 + 1e-6)
    assert lower == pytest.approx(attained, rel=1e-6)


def majority_by_milp(P, c, own, k):
    """min r over delta, t, r and binaries z: k other-class points have f <= t, all but k - 1 of the label's f >= t."""
    n, d = P.shape
    reach = 6.0
    big = 2 * (c.max() + 2 * reach * np.linalg.norm(P, axis=1).max())
    best = np.inf
    # Variables: delta (d), t, r, z (n).
    rows, limits = [], []
    for i in range(n):
        row = np.zeros(d + 2 + n)
        if own[i]:
            row[:d], row[d], row[d + 2 + i] = 2 * P[i], 1.0, -big
            limits.append(c[i])
        else:
            row[:d], row[d], row[d + 2 + i] = -2 * P[i], -1.0, big
            limits.append(big - c[i])
        rows.append(row)
    count = np.zeros((2, d + 2 + n))
    count[0, d + 2 :], count[1, d + 2 :] = np.where(own, 1.0, 0.0), np.where(own, 0.0, -1.0)
    rows, limits = [*rows, *count], [*limits, k - 1, -k]
    cost = np.zeros(d + 2 + n)
    cost[d + 1] = 1.0
    bounds = scipy.optimize.Bounds(
        np.r_[-reach * np.ones(d), -big, 0.0, np.zeros(n)], np.r_[reach * np.ones(d), big, reach, np.ones(n)]
    )
    for _ in range(300):
        result = scipy.optimize.milp(
            cost,
            constraints=scipy.optimize.LinearConstraint(np.array(rows), -np.inf, np.array(limits)),
            integrality=np.r_[np.zeros(d + 2), np.ones(n)],
            bounds=bounds,
            options={"mip_rel_gap": 1e-9},
        )
        delta, r = result.x[:d], result.x[d + 1]
        norm = np.linalg.norm(delta)
        # The solver lets binaries and constraints be off by a little; its choice of who is low is what counts.
        low = result.x[d + 2 :] > 0.5
        best = min(best, cell_value(P, c, np.flatnonzero(low & ~own), np.flatnonzero(~low & own), by_cvxpy))
        if best <= r * (1 + 1e-3):
            return best
        tangent = np.zeros(d + 2 + n)
        tangent[:d], tangent[d + 1] = delta / norm, -1.0
        rows, limits = [*rows, tangent], [*limits, 0.0]
    raise AssertionError("the tangent planes did not close in")


@pytest.mark.parametrize("seed", range(5))
def test_one_neighbour_is_the_exact_1nn_radius(seed):
    rng = np.random.default_rng(seed)
    n, d = 80, 4
    y = rng.integers(0, 3, n)
    X, G = rng.normal(size=(n, d)) + y[:, None], rng.normal(size=(3, d))
    T = rng.normal(size=(12, d)) + 1.0
    knn = MahalanobisKNN(1, metric=Mahalanobis.from_components(G)).fit(X, y)
    labels = knn.predict(T)
    reference = knn.exact_radius(T, labels).upper
    assert (reference > 0).all()
    for event in EVENTS:
        question = Question(knn.fitted_, event, Budget())
        found = search_radii(question, T, knn.fitted_.class_numbers(labels), np.full(len(T), np.inf))
        np.testing.assert_allclose(found.lower, reference, rtol=1e-6)
        np.testing.assert_allclose(np.linalg.norm(found.perturbation, axis=1), reference, rtol=1e-6)


@pytest.mark.parametrize("nodes", [1, 2, 5, 20])
def test_bounds_hold_whenever_the_search_is_stopped(nodes):
    rng = np.random.default_rng(nodes)
    for _ in range(15):
        X, y, G, x, label = random_problem(rng)
        exact = truth(X, y, G, x, label, 5, event="majority")
        if not 1e-9 < exact < 1e9:
            continue
        lower, attained, found = search(X, y, G, x, label, 5, 2 * exact, budget=Budget(nodes=nodes))
        assert lower <= exact * (1 + 1e-9)
        assert attained >= exact * (1 - 1e-9)
        assert found.nodes[0] <= nodes + 2


def test_radius_is_not_monotone_in_the_number_of_neighbours():
    # On a line, seen from 0. One neighbour: lost halfway between the nearest of either label. Three: lost where the
    # second of label 1 comes as near as the second of label 0.
    y = np.array([0, 0, 1, 1])

    def radius(points, K):
        return search(np.array(points)[:, None], y, np.eye(1), np.zeros(1), 0, K, np.inf)[1]

    assert radius([0.0, 0.1, 1.0, 5.0], 1) == pytest.approx(0.55)
    assert radius([0.0, 0.1, 1.0, 5.0], 3) == pytest.approx(2.5)
    assert radius([0.0, -0.9, 1.0, 1.1], 1) == pytest.approx(0.5)
    assert radius([0.0, -0.9, 1.0, 1.1], 3) == pytest.approx(0.1)


def test_two_points_that_the_metric_cannot_tell_apart_do_not_confuse_the_search():
    X = np.array([[0.0, 0.0], [0.0, 9.0], [1.0, 0.0], [1.0, 5.0], [2.0, 1.0], [-1.0, 0.0]])
    y = np.array([0, 0, 1, 1, 1, 0])
    G = np.array([[1.0, 0.0]])
    exact = truth(X, y, G, np.zeros(2), 0, 3, event="majority")
    lower, attained, _ = search(X, y, G, np.zeros(2), 0, 3, np.inf)
    assert lower == pytest.approx(exact, rel=1e-6)
    assert attained == pytest.approx(exact, rel=1e-6)


def test_enumeration_of_a_cell_without_constraints_is_zero():
    assert cell_value(np.zeros((2, 1)), np.zeros(2), [0], [], by_nnls) == 0.0
