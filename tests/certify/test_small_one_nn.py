"""1-NN on a handful of points, in fractions wherever the margins for rounding matter; quick without compiled code."""

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
import torch

import arml
from arml.certify.one_nn import cutting, kernels, radii, refine, screening, witness
from arml.certify.one_nn.cutting import PointState, own_class_slack
from arml.certify.one_nn.kernels import proven_bound, search
from arml.classifier.fitted import Compute, FittedKNN
from arml.geometry import Mahalanobis
from arml.least_distance.active_set import Workspace
from arml.neighbors import MahalanobisKNN
from arml.radii import Status
from tests.certify.in_fractions import (
    at_most_root,
    closed_form,
    fractions,
    ill_conditioned,
    is_below_closed_form,
    sq_norm,
)
from tests.fuzz.truth import View, sq_radius


def fitted(G, X, y, K=1):
    return FittedKNN.prepare(Mahalanobis.from_components(G), X, y, K, torch.device("cpu"))


def radius_sq(X_train, y_train, G, x, y, box=None):
    return sq_radius(View.of(X_train, G, x, box), y_train.tolist(), y, 1, "majority")


def problem(seed, n=9, d=3, *, spread=1.0, low=-3):
    rng = np.random.default_rng(seed)
    X, y = spread * rng.normal(size=(n, d)), np.arange(n) % 2
    return ill_conditioned(rng, d, low, 1), X, y, spread * rng.normal(size=(4, d))


# -- what weights prove ------------------------------------------------------------------------------------------------


def worst_case(P, c, p_error, c_error, j, rows, lam, room):
    """(D) in fractions with every error at its worst: gain and squared length (rounded down) of the direction."""
    P, c, p_error, c_error, room = (fractions(value) for value in (P, c, p_error, c_error, room))
    d = P.shape[1]
    direction, gain, blur = np.array([Fraction(0)] * d, dtype=object), Fraction(0), Fraction(0)
    for i, weight in zip(rows.tolist(), lam.tolist(), strict=True):
        weight = Fraction(weight)
        if i >= 0:
            row = P[i] - P[j]
            w = weight / Fraction(float(np.sqrt(float(sq_norm(row)))))
            direction = direction + w * row
            gain -= w * (c[i] - c[j] + c_error[i] + c_error[j]) / 2
            blur += w * (p_error[i] + p_error[j])
        else:
            side, feature = divmod(-1 - i, d)
            direction[feature] += -weight if side == 0 else weight
            gain -= weight * room[side, feature]
    return gain, direction, blur


@pytest.mark.parametrize("errors", [0.0, 1e-3])
@pytest.mark.parametrize("box", [False, True])
def test_what_weights_prove_is_below_the_worst_case_and_close_to_it(errors, box):
    rng = np.random.default_rng(3)
    found = 0
    for _ in range(150):
        P, c = rng.normal(size=(5, 3)), rng.normal(size=5)
        p_error, c_error = errors * rng.random(5), errors * rng.random(5)
        rows = np.array([0, 2, 3, *([-1 - 1, -1 - 3 - 2] if box else [])])
        lam = rng.random(len(rows)) * (rng.random(len(rows)) < 0.7)
        room = 0.05 * rng.random((2, 3))
        bound = proven_bound(P, c, p_error, c_error, 4, rows, lam, room, np.empty(3))
        gain, direction, blur = worst_case(P, c, p_error, c_error, 4, rows, lam, room)
        length = float(np.sqrt(float(sq_norm(direction)))) + float(blur)
        if gain <= 0 or length < 1e-3 or float(gain) < 1e-6:
            continue
        found += 1
        assert bound == pytest.approx(float(gain) / length, rel=1e-11)
        # The weights' scale by rounded lengths moves the direction by the accumulated rounding, which is counted.
        assert Fraction(bound) ** 2 * sq_norm(direction) <= gain * gain
        if errors:
            assert Fraction(bound) * Fraction(length * (1 - 1e-15)) <= gain
    assert found > 25


@pytest.mark.parametrize(("d", "m"), [(4, 1), (1, 1), (40, 1), (1, 40)])
def test_a_single_row_is_the_closed_form_never_above_it(d, m):
    rng = np.random.default_rng(4)
    above = 0
    for _ in range(400):
        P, c = rng.normal(size=(2, d)), np.array([0.0, 1.0]) + 1e-3 * rng.random(2)
        rows, lam = np.zeros(m, np.int64), np.eye(1, m)[0]
        bound = proven_bound(P, c, np.zeros(2), np.zeros(2), 1, rows, lam, np.full((2, d), np.inf), np.empty(d))
        gain = Fraction(float(c[1])) - Fraction(float(c[0]))
        sq = 4 * sq_norm(fractions(P[0]) - fractions(P[1]))
        assert Fraction(bound) ** 2 * sq < gain * gain
        above += Fraction(bound * (1 + 1e-12)) ** 2 * sq >= gain * gain
    assert above == 400


def test_weights_that_prove_nothing_give_0():
    P, c, none = np.zeros((2, 2)), np.array([0.0, 1.0]), np.zeros(2)
    free = np.full((2, 2), np.inf)
    # The same row twice over, which M cannot tell apart; a gain below 0; no weight at all.
    assert proven_bound(P, c, none, none, 1, np.array([0]), np.ones(1), free, np.empty(2)) == 0.0
    P = np.array([[1.0, 0.0], [0.0, 0.0]])
    assert proven_bound(P, -c, none, none, 1, np.array([0]), np.ones(1), free, np.empty(2)) == 0.0
    assert proven_bound(P, c, none, none, 1, np.array([0]), np.zeros(1), free, np.empty(2)) == 0.0
    assert proven_bound(P, c, none, none, 1, np.array([0]), np.ones(1), free, np.empty(2)) == pytest.approx(0.5)
    # Weights on a lower bound of 0.25 alone: x cannot fall by more, so nothing is proven.
    room = np.full((2, 2), 0.25)
    assert proven_bound(P, c, none, none, 1, np.array([-1]), np.ones(1), room, np.empty(2)) == 0.0


def test_the_search_solves_the_problem_and_proves_what_it_leaves():
    # From the origin: own points at (0, 1) and (0, -1), others at (2, 0), (5, 0) and (0.1, 3).
    X = np.array([[0.0, 1.0], [0.0, -1.0], [2.0, 0.0], [0.1, 3.0], [5.0, 0.0]])
    c, none = (X * X).sum(axis=1), np.zeros(5)
    rows, others = np.array([0, 1]), np.array([2, 3, 4])
    bound, weights = np.zeros(3), np.zeros((3, 2))
    work = Workspace.make(2, np.full((2, 2), np.inf), 0)
    best, value = search(X, c, none, none, rows, others, bound, weights, np.inf, work)
    assert best == 0
    assert value == pytest.approx(0.75)
    np.testing.assert_allclose(work.normal, [0.75, 0.0], atol=1e-15)
    np.testing.assert_allclose(weights[0, 0], weights[0, 1])
    assert bound[0] == pytest.approx(0.75)
    # (0.1, 3) is farther than 0.75 by the row of (0, 1) alone, (5, 0) by its own problem; both bounds reach 0.75.
    assert (bound[1:] >= 0.75).all()
    for q, j in enumerate(others):
        assert bound[q] == proven_bound(X, c, none, none, int(j), rows, weights[q], work.room, np.empty(2))
    # Bounds that reach the incumbent are left alone, and so is the incumbent.
    bound = np.array([0.5, 0.5, 0.5])
    assert search(X, c, none, none, rows, others, bound, weights, 0.5, work) == (-1, 0.5)
    assert bound.tolist() == [0.5, 0.5, 0.5]


def test_the_search_names_the_bounds_of_a_box_it_uses():
    X, none = np.array([[0.0, 0.0], [2.0, 2.0]]), np.zeros(2)
    c = (X * X).sum(axis=1)
    for room, rows, solution in (
        ([[9.0, 9.0], [0.5, 9.0]], [0, -1 - 2 - 0], [0.5, 1.5]),
        ([[9.0, 9.0], [9.0, 0.5]], [0, -1 - 2 - 1], [1.5, 0.5]),
    ):
        work = Workspace.make(2, np.array(room), 0)
        bound, weights = np.zeros(1), np.zeros((1, 2))
        best, value = search(X, c, none, none, np.array(rows), np.array([1]), bound, weights, np.inf, work)
        assert best == 0
        np.testing.assert_allclose(work.normal, solution)
        assert value == pytest.approx(np.sqrt(2.5))
        assert bound[0] == pytest.approx(np.sqrt(2.5), rel=1e-12)
        assert (weights > 0).all()
    # The same mirrored: lower bounds.
    for room, rows, solution in (
        ([[0.5, 9.0], [9.0, 9.0]], [0, -1 - 0], [-0.5, -1.5]),
        ([[9.0, 0.5], [9.0, 9.0]], [0, -1 - 1], [-1.5, -0.5]),
    ):
        work = Workspace.make(2, np.array(room), 0)
        bound, weights = np.zeros(1), np.zeros((1, 2))
        best, value = search(-X, c, none, none, np.array(rows), np.array([1]), bound, weights, np.inf, work)
        assert best == 0
        np.testing.assert_allclose(work.normal, solution)
        assert bound[0] == pytest.approx(value, rel=1e-12)


# -- screening ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("offset", [0.0, 1e5])
def test_screening_never_exceeds_the_closed_form_of_its_anchors(offset):
    close = 0
    for seed in range(3):
        G, X, y, points = problem(seed, 12, 4, low=-4)
        # Far points near each other, where the numerator loses its digits.
        X[-2:] += offset
        points[0] = X[-1] + 1e-3
        knn = fitted(G, X, y)
        train = knn.train
        label = int(y[-1])
        own = train.classes[label]
        seen = train.see(points)
        C = train.sq_distances(seen, train.pessimistic(own))
        lower = screening.screen(train, own, C, seen.share).numpy()
        assert np.isinf(lower[:, own]).all()
        anchors = np.argsort(C[:, own].numpy(), axis=1)[:, : screening.ANCHORS] + own.start
        for t, x in enumerate(points):
            for j in np.flatnonzero(y[train.order] != label):
                value = float(lower[t, j]) * knn.frame.unit
                x_j = X[train.order[j]]
                assert any(is_below_closed_form(value, G, x, X[train.order[i]], x_j) for i in anchors[t])
                best = max(margin(G, x, X[train.order[i]], x_j) for i in anchors[t])
                close += value >= best * (1 - 1e-6) > 0
    assert close > (40 if offset == 0 else 10)


def margin(G, x, x_i, x_j):
    gain, sq = closed_form(G, x, x_i, x_j)
    return float(gain) / float(sq) ** 0.5 if sq else 0.0


def test_the_closed_form_counts_the_rounding_of_rows_and_of_the_anchor():
    rng = np.random.default_rng(1)
    for _ in range(20):
        G, X, y, points = problem(int(rng.integers(1000)), 8, 3)
        train = fitted(G, X, y).train
        object.__setattr__(train, "p_error_device", torch.full((8,), 1e-3, dtype=torch.float64))
        C = train.sq_distances(train.see(points))
        own = train.classes[1]
        shares = torch.full((len(points),), 1e-2, dtype=torch.float64)
        lower = screening.screen(train, own, C, shares).numpy()
        for t in range(len(points)):
            order = np.argsort(C[t, own].numpy())[: screening.ANCHORS] + own.start
            for j in range(own.start):
                # Rows 1e-3 longer at either end, and an anchor 2e-2 farther away.
                worst = []
                for i in order:
                    length = np.linalg.norm(train.P[i] - train.P[j])
                    worst.append((float(C[t, j] - C[t, i]) - 2e-2) / 2 / np.sqrt(length**2 + 2e-3**2 / 2))
                assert lower[t, j] <= max(0.0, *worst) * (1 + 1e-9) + 1e-14


# -- radii against the rational truth ----------------------------------------------------------------------------------


def check(G, X, y, points, labels, box=None):
    knn = MahalanobisKNN(1, metric=Mahalanobis.from_components(G)).fit(X, y)
    found = knn.exact_radius(points, labels, box=box)
    for i, (x, label) in enumerate(zip(points, labels.tolist(), strict=True)):
        sq = radius_sq(X, y, G, x, label, box)
        lower, upper = float(found.lower[i]), float(found.upper[i])
        if sq is None:
            assert found.status[i] == Status.UNREACHABLE.value
            assert np.isinf(lower)
            continue
        assert at_most_root(lower, sq)
        assert Fraction(upper) ** 2 >= sq
        assert upper == pytest.approx(float(sq) ** 0.5, rel=1e-6, abs=1e-300)
        assert found.status[i] in ("exact", "misclassified", "tied")
        if upper > 0:
            assert lower >= upper * (1 - 1e-6)
            assert lower <= upper * (1 - 5e-11)
            assert knn.predict(x[None] + found.perturbation[i])[0] != label
            assert np.linalg.norm(found.perturbation[i]) == pytest.approx(upper, rel=1e-12)
    return found


@pytest.mark.parametrize("seed", range(6))
def test_radii_are_those_in_fractions(seed):
    G, X, y, points = problem(seed)
    labels = MahalanobisKNN(1, metric=Mahalanobis.from_components(G)).fit(X, y).predict(points)
    check(G, X, y, points, labels)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("unit", [1.0, 1e-3, 1e7])
def test_radii_in_a_box_are_those_in_fractions(seed, unit):
    G, X, y, points = problem(seed, 8, 2)
    X, points = X * unit, points * unit
    labels = MahalanobisKNN(1, metric=Mahalanobis.from_components(G)).fit(X, y).predict(points)
    check(G, X, y, points, labels, (-0.8 * unit, 0.9 * unit))


@pytest.mark.parametrize("far", [1e4, 1e8])
def test_far_rows_and_far_groups_cost_no_digit(far):
    G, X, y, points = problem(11, 10, 3, low=0)
    X[5:] += far
    points[2:] += far
    labels = MahalanobisKNN(1, metric=Mahalanobis.from_components(G)).fit(X, y).predict(points)
    check(G, X, y, points, labels)


def test_points_that_the_metric_cannot_tell_apart_and_ties():
    G = np.array([[1.0, 1.0]])
    X = np.array([[0.0, 0.0], [1.0, -1.0], [3.0, 0.0], [0.0, 3.0]])
    y = np.array([0, 0, 1, 1])
    points = np.array([[0.25, 0.25], [0.75, 0.75], [2.0, 0.0]])
    found = check(G, X, y, points, np.array([0, 0, 0]))
    assert found.status.tolist() == ["exact", "tied", "misclassified"]
    assert found.upper.tolist()[1:] == [0.0, 0.0]


def test_a_point_whose_nearest_is_far_out_is_not_called_misclassified():
    """The rounding of the label's own distance, of a point 1e10 away, is what the answer hides in: no verdict by it."""
    X, y = np.array([[1e10], [0.0], [-1.0], [-2.0], [-1.5], [-3.0], [-1.25]]), np.array([0] + [1] * 6)
    knn, label = MahalanobisKNN(1).fit(X, y), np.array([0])
    for spacings in (1, 4, 16):
        # The label's point is nearer by that many spacings of floats beyond the middle.
        radius = spacings * 2.0**-20
        found = knn.exact_radius(np.array([[5e9 + radius]]), label)
        assert found.status[0] in ("bounded", "exact")
        assert found.lower[0] <= radius <= found.upper[0] < 1e-4
    assert knn.exact_radius(np.array([[5e9]]), label).status[0] == "tied"
    assert knn.exact_radius(np.array([[5e9 - 2.0**-20]]), label).status[0] == "misclassified"


def test_more_same_class_points_than_first_rows():
    rng = np.random.default_rng(5)
    angle = np.linspace(0, np.pi, 60)
    own = np.stack([np.cos(angle), np.sin(angle)], axis=1) * (1 + 0.01 * rng.random((60, 1)))
    X, y = np.concatenate([own, [[0.0, -1.5], [0.3, -1.6], [0.0, 1.6]]]), np.array([0] * 60 + [1] * 3)
    points = np.array([[0.0, 0.1], [0.2, 0.3], [-0.4, 0.2]])
    knn = MahalanobisKNN(1).fit(X, y)
    found = knn.exact_radius(points, np.zeros(3, dtype=int))
    # All rows at once, by the search itself.
    for i, x in enumerate(points):
        T = X - x
        c, none = (T * T).sum(axis=1), np.zeros(63)
        bound, weights = np.zeros(3), np.zeros((3, 60))
        work = Workspace.make(60, np.full((2, 2), np.inf), 0)
        _, value = search(T, c, none, none, np.arange(60), np.arange(60, 63), bound, weights, np.inf, work)
        assert found.upper[i] == pytest.approx(value, rel=2e-7)
        assert found.lower[i] == pytest.approx(value, rel=2e-7)
        assert found.status[i] == "exact"
    assert arml_recheck(knn, points, found)


def test_more_other_class_points_than_first_candidates():
    """Two anchors say little in many dimensions, so candidates beyond the first are needed."""
    rng = np.random.default_rng(6)
    # The label's points stand around the origin, the others on a sphere.
    around, away = 0.3 * np.concatenate([np.eye(6), -np.eye(6)]), rng.normal(size=(108, 6))
    X = np.concatenate([around, away / np.linalg.norm(away, axis=1)[:, None]])
    y, points = np.array([0] * 12 + [1] * 108), 0.03 * rng.normal(size=(6, 6))
    labels = MahalanobisKNN(1).fit(X, y).predict(points)
    found = MahalanobisKNN(1).fit(X, y).exact_radius(points, labels)
    searched = 0
    for i, (x, label) in enumerate(zip(points, labels, strict=True)):
        T, none = X - x, np.zeros(120)
        c, same, others = (T * T).sum(axis=1), np.flatnonzero(y == label), np.flatnonzero(y != label)
        bound, weights = np.zeros(len(others)), np.zeros((len(others), len(same)))
        work = Workspace.make(len(same), np.full((2, 6), np.inf), 0)
        _, value = search(T, c, none, none, same, others, bound, weights, np.inf, work)
        assert found.status[i] == "exact"
        assert found.lower[i] == pytest.approx(value, rel=1e-6)
        assert found.upper[i] == pytest.approx(value, rel=1e-6)
        knn = fitted(np.eye(6), X, y)
        own = knn.train.classes[int(label)]
        seen = knn.train.see(x[None])
        C = knn.train.sq_distances(seen, knn.train.pessimistic(own))
        screened = screening.screen(knn.train, own, C, seen.share).numpy()[0] * knn.frame.unit
        searched += int((screened < value).sum() > 24)
    assert searched > 0


def arml_recheck(knn, points, found):
    return arml.recheck(knn, points, np.zeros(len(points), dtype=int), found).ok.all()


# -- states ------------------------------------------------------------------------------------------------------------


def state(**changes):
    made = PointState(
        0, np.arange(5.0), 0.0, np.array([np.inf, 3.0, 1.0, 2.0, 0.5]), np.full((2, 2), 2.0), np.array([0]),
        np.array([2, 4]), np.array([1.5, 0.75]), np.ones((2, 1)), 2.0,
    )  # fmt: skip
    for name, value in changes.items():
        setattr(made, name, value)
    return made


def test_what_a_state_proves_is_the_least_of_its_bounds():
    assert state().proven == 0.75
    assert state(rest=0.25).proven == 0.25
    assert state().least_unlisted() == 2.0
    assert state().diagonal == pytest.approx(np.sqrt(8))
    assert state().diagonal > np.sqrt(8)
    # Beyond the longest step in the box there is no attack; just below it there may be one.
    assert state(bound=np.array([3.0, 3.0]), rest=3.0).proven == np.inf
    assert state(bound=np.array([2.8, 3.0]), rest=3.0).proven == 2.8
    room = np.array([[1.0, 4.0], [3.0, 0.5]])
    assert state(room=room).diagonal == pytest.approx(5.0)


def test_rows_that_are_added_have_no_weight_yet():
    made = state()
    made.add_rows(np.array([3, -1]))
    assert made.rows.tolist() == [0, 3, -1]
    assert made.weights.tolist() == [[1.0, 0.0, 0.0], [1.0, 0.0, 0.0]]
    points, rows = cutting.local_names(made.rows)
    assert points.tolist() == [0, 3]
    assert rows.tolist() == [0, 1, -1]


def test_a_state_starts_with_the_nearest_rows_and_the_least_candidates():
    rng = np.random.default_rng(0)
    c, screened = rng.random(80), rng.random(80)
    own = slice(10, 50)
    screened[own] = np.inf
    made = PointState.start(7, c, 0.5, screened, np.full((2, 2), np.inf), own)
    assert made.index == 7
    assert made.rows.tolist() == (np.argsort(c[own])[:24] + 10).tolist()
    assert made.candidates.tolist() == np.argsort(screened)[:24].tolist()
    assert made.bound.tolist() == screened[made.candidates].tolist()
    assert made.rest == np.sort(screened)[24]
    assert not made.weights.any()
    assert made.weights.shape == (24, 24)
    assert cutting._smallest(np.array([3.0, 1.0, 2.0]), 2).tolist() == [1, 2]
    assert cutting._smallest(np.array([3.0, 1.0, 2.0]), 3).tolist() == [1, 2, 0]


def test_violated_bounds_of_the_box_are_named():
    made = state(delta=np.array([2.5, -3.0]), value=4.0)
    assert cutting._box_violations(made).tolist() == [-1 - 1, -1 - 2 - 0]
    made = state(delta=np.array([2.0 + 1e-13, -2.0]), value=4.0)
    assert cutting._box_violations(made).tolist() == []


def test_slack_is_the_difference_of_moved_distances():
    G, X, y, points = problem(2, 8, 3)
    knn = fitted(G, X, y)
    train, own, x = knn.train, knn.train.classes[0], points[0]
    scaled = train.frame.points(points)[0]
    C = train.sq_distances(train.see(points))[0].numpy()
    winner, delta = int(train.classes[1].start), np.array([0.3, -0.2, 0.5])
    made = state(c=C, winner=winner, delta=delta)
    moved = train.metric.sq_dist(train.X, scaled + delta)
    found = own_class_slack(train, own, [made], delta[None])
    np.testing.assert_allclose(found[0], moved[own] - moved[winner], rtol=1e-9, atol=1e-12)
    assert x.shape == delta.shape


def test_violated_constraints_are_added_and_only_those():
    X = np.array([[0.0, 1.0], [0.0, -1.0], [0.5, 0.2], [4.0, 0.0]])
    knn = fitted(np.eye(2), X, np.array([0, 0, 0, 1]))
    train, own = knn.train, knn.train.classes[0]
    C = train.sq_distances(train.see(np.zeros((1, 2))))[0].numpy()
    unit = knn.frame.unit
    free = np.full((2, 2), np.inf)
    # Halfway to (4, 0): nearer to (0.5, 0.2), which is not among the rows.
    made = PointState(
        0, C, 0.0, np.full(4, np.inf), free, np.array([0]), np.array([3]), np.zeros(1), np.zeros((1, 1)), np.inf,
        winner=3, value=2.0 / unit, delta=np.array([2.0, 0.0]) / unit,
    )  # fmt: skip
    assert cutting._violated(train, own, [made]) == [True]
    assert made.rows.tolist() == [0, 2]
    made.delta = np.array([3.9, 0.0]) / unit
    assert cutting._violated(train, own, [made]) == [False]
    assert made.rows.tolist() == [0, 2]
    assert cutting._violated(train, own, []) == []


def test_a_constraint_counts_as_violated_from_a_part_of_the_perturbation_on():
    X = np.array([[0.0, 1.0], [0.0, -1.0], [0.5, 0.0], [4.0, 0.0]])
    train = fitted(np.eye(2), X, np.array([0, 0, 0, 1])).train
    C, unit = train.sq_distances(train.see(np.zeros((1, 2))))[0].numpy(), train.frame.unit
    # (4, 0) is as near as (0.5, 0) from (2.25, 0) on.
    for short, cut in ((0.0, False), (0.7e-10, False), (1.4e-10, True), (-1e-3, False)):
        delta = np.array([2.25 * (1 - short), 0.0]) / unit
        made = state(c=C, winner=3, delta=delta, value=float(delta[0]), room=np.full((2, 2), np.inf))
        assert cutting._violated(train, train.classes[0], [made]) == [cut]
        assert made.rows.tolist() == ([0, 2] if cut else [0])


# -- statuses, witnesses, proofs ---------------------------------------------------------------------------------------


def test_what_may_be_called_exact():
    def status(lower, value):
        made = state(bound=np.array([lower, lower]), rest=np.inf, value=value, room=np.full((2, 2), 9.0))
        return radii._status(made.proven, value)

    assert status(1.0, 1.0) is Status.EXACT
    assert status(1 - 1e-6 + 5e-11, 1.0) is Status.EXACT
    assert status(1 - 0.9e-6, 1.0) is Status.EXACT
    assert status(1 - 1.1e-6, 1.0) is Status.BOUNDED
    assert status(1.0, np.inf) is Status.BOUNDED
    assert status(20.0, np.inf) is Status.UNREACHABLE


@pytest.mark.parametrize(("share", "certain"), [(0.0, True), (0.05, True), (0.2, False), (9.0, False)])
def test_attacks_are_certain_beyond_the_rounding_of_their_distances(share, certain):
    X = np.array([[0.0, 0.0], [2.0, 0.0], [9.0, 9.0]])
    train = fitted(np.eye(2), X, np.array([0, 1, 1])).train
    C = train.sq_distances(train.see(np.array([[0.25, 0.0]])))[0].numpy()
    # A quarter beyond the middle: the distances differ by 1.
    unit = train.frame.unit
    made = state(c=C, winner=1, delta=np.array([1.0, 0.0]) / unit, value=1.0 / unit, share=share / unit**2)
    assert own_class_slack(train, slice(0, 1), [made], made.delta[None])[0, 0] * unit**2 == pytest.approx(1.0)
    assert witness._certain(train, slice(0, 1), [made]).tolist() == [certain]


def test_ways_to_the_goal_grow_from_nothing_to_all():
    made = [state(delta=np.array([3.0, 4.0])), state(delta=np.zeros(2))]
    ladders = witness._ladders(made, np.array([[3.0, 14.0], [3.0, 4.0]]))
    assert ladders[:, 0].tolist() == [0.0, 0.0]
    assert ladders[:, -1].tolist() == [1.0, 1.0]
    assert (np.diff(ladders, axis=1) >= 0).all()
    # Short steps are relative to the perturbation, of length 5, the way to the goal is 10 long.
    assert np.isclose(ladders[0], 0.5 * 1e-7, rtol=1e-12, atol=0).any()
    # From no perturbation there are none, and no step is tried twice but the last.
    assert (np.diff(ladders[1][: len(witness._WAYS) + 1]) > 0).all()
    assert witness._ladders(made[:1], np.array([[3.0, 4.0]]))[0, 0] == 0.0


def test_steps_go_towards_the_goal():
    G, X, y, _ = problem(0)
    knn, made = fitted(G, X, y), state(delta=np.array([1.0, 0.0, 0.0]), room=np.full((2, 3), np.inf))
    goals = np.array([[3.0, 2.0, -4.0]] * 3)
    found = witness._stepped(knn, np.zeros((3, 3)), [made] * 3, goals, np.array([0.0, 0.25, 1.0]))
    np.testing.assert_allclose(found, [[1.0, 0.0, 0.0], [1.5, 0.5, -1.0], [3.0, 2.0, -4.0]])


def test_the_goal_is_the_other_point_or_within_the_room_if_that_is_not():
    # From the origin (4, 0) is as near as (0, 1) and (0, -1) after 15 / 8.
    X = np.array([[0.0, 1.0], [0.0, -1.0], [4.0, 0.0]])
    knn, x, label = fitted(np.eye(2), X, np.array([0, 0, 1])), np.zeros((1, 2)), np.array([0])
    unit = knn.frame.unit
    for limit, reached in ((np.inf, True), (4.0, True), (4 - 2.0**-40, False), (3.0, False), (1.9, False)):
        room = np.full((2, 2), limit) / unit
        made = state(
            rows=np.array([0, 1, -1 - 2]), winner=2, delta=np.array([1.875, 0.0]) / unit, value=1.875 / unit, room=room
        )
        goal = witness._goals(knn, x, label, [made], Compute())[0] * unit
        if reached:
            assert goal.tolist() == [4.0, 0.0]
            continue
        # Inside the room and the cell, and not at its edge.
        assert 1.875 < goal[0] <= limit
        assert goal[1] == pytest.approx(0.0, abs=1e-12)
        assert witness._works(knn, x, goal[None] / unit, label, Compute()).tolist() == [True]


def test_another_point_is_the_nearest_at_which_the_label_is_lost():
    # At 2 there is a point of either class, of which `predict` takes the label's; at 3 and 5 there is none of it.
    X = np.array([[0.0], [2.0], [2.0], [5.0], [3.0]])
    knn = fitted(np.eye(1), X, np.array([0, 0, 1, 1, 1]))

    def other(up):
        made = state(room=np.array([[0.0], [up]]) / knn.frame.unit)
        found = witness._another(knn, np.array([0.25]), 0, made, Compute())
        return None if found is None else int(knn.train.order[found])

    assert [other(up) for up in (9.0, 2.75, 2.5, 1.75, 1.0)] == [4, 4, None, None, None]
    # Only the farther one where the nearer has a copy, too, if the copy comes first.
    knn = fitted(np.eye(1), X[[0, 1, 2, 3, 4, 4]], np.array([0, 0, 1, 1, 1, 0]))
    assert other(9.0) == 4
    knn = fitted(np.eye(1), X[[0, 1, 2, 3, 4, 4]], np.array([0, 0, 1, 1, 0, 1]))
    assert [other(up) for up in (4.75, 4.5)] == [3, None]


def test_proofs_name_the_callers_points_and_rows():
    G, X, y, points = problem(1, 9, 2)
    knn = MahalanobisKNN(1, metric=Mahalanobis.from_components(G)).fit(X, y)
    labels = knn.predict(points)
    # Of a misclassified point nothing is to be shown.
    labels[1] = 1 - labels[1]
    found = knn.exact_radius(points, labels, box=(-1.0, 1.0))
    proof = found.certificate
    assert len(proof) == 4
    assert np.diff(proof.entry_ptr)[1] == 0
    assert arml.recheck(knn, points, labels, found, box=(-1.0, 1.0)).ok.all()
    assert (y[proof.entry_other] != np.repeat(labels, np.diff(proof.entry_ptr))).all()
    own = proof.row >= 0
    of_row = np.repeat(np.repeat(labels, np.diff(proof.entry_ptr)), np.diff(proof.row_ptr))
    assert (y[proof.row[own]] == of_row[own]).all()
    assert (proof.row[~own] >= -4).all()
    assert (proof.weight > 0).all()
    assert len(proof.entry_other) > 0


def solved_state():
    """The state of a test point after the search, what it is about, and the square of its radius in the frame."""
    G, X, y, points = problem(3, 9, 3)
    knn = fitted(G, X, y)
    train, x = knn.train, points[0]
    label = int(y[int(np.argmin(train.metric.sq_dist(X, x)))])
    own = train.classes[label]
    seen = train.see(x[None])
    C = train.sq_distances(seen, train.pessimistic(own))
    screened = screening.screen(train, own, C, seen.share).numpy()
    made = PointState.start(0, C.numpy()[0], float(seen.share[0]), screened[0], np.full((2, 3), np.inf), own)
    cutting.solve(train, own, [made], map)
    sq = radius_sq(X, y, G, x, label) / Fraction(knn.frame.unit) ** 2
    assert made.value == pytest.approx(float(sq) ** 0.5, rel=1e-9)
    return knn, x, made, sq


@pytest.mark.parametrize("field", ["c_error", "p_error"])
def test_refined_bounds_count_the_errors_of_differences(monkeypatch, field):
    knn, x, made, sq = solved_state()
    worked_on = (made.weights > 0).any(axis=1)
    made.bound, made.rest = np.where(worked_on, 0.0, np.inf), np.inf
    real = refine.Differences.of

    class Blurred:
        @staticmethod
        def of(metric, T):
            seen = real(metric, T)
            return replace(seen, **{field: np.full(len(T), 1e-3)})

    closer = refine._seen_from
    monkeypatch.setattr(refine, "Differences", Blurred)
    monkeypatch.setattr(
        refine, "_seen_from", lambda *where: (lambda seen: replace(seen, **{field: 0 * seen.c + 1e-3}))(closer(*where))
    )
    refine.refine(knn, x, made)
    # Errors of 1e-3 at either end of a row, of points a few units apart: a bound lower by about as much.
    root = float(sq) ** 0.5
    assert root * (1 - 0.5) < made.proven < root * (1 - 1e-4)


def test_refining_raises_bounds_that_rounding_kept_low_and_never_above_the_truth():
    knn, x, made, sq = solved_state()
    worked_on = (made.weights > 0).any(axis=1)
    assert worked_on.any()
    made.bound, made.rest = np.where(worked_on, 0.0, np.inf), np.inf
    refine.refine(knn, x, made)
    assert at_most_root(made.proven, sq)
    assert made.proven == pytest.approx(float(sq) ** 0.5, rel=1e-9)
    made.bound[worked_on] = 0.0
    # A solution that is longer than need be, of no point in particular, is replaced as well.
    winner = made.winner
    made.value, made.winner, made.delta = 1.01 * made.value, -1, np.zeros(3)
    refine.refine_exactly(knn, x, made)
    assert at_most_root(made.proven, sq)
    assert made.proven == pytest.approx(float(sq) ** 0.5, rel=1e-13)
    assert made.value == pytest.approx(float(sq) ** 0.5, rel=1e-13)
    assert made.winner == winner
    assert np.linalg.norm(made.delta) == made.value


def test_steps_go_as_deep_into_the_cell_as_they_are_asked_to():
    knn, x, made, sq = solved_state()
    G, unit = fractions(knn.train.metric.components), knn.frame.unit
    there = fractions(knn.X_train[knn.train.order])

    def ahead(delta):
        """By how much the winner is nearer than each of the points in use, in fractions."""
        moved = fractions(x) + fractions(delta) * Fraction(unit)
        of = [sq_norm(G @ (point - moved)) / Fraction(unit) ** 2 for point in there]
        return [float(of[i] - of[made.winner]) for i in made.rows]

    for by in (0.0, 1e-3, 0.5):
        step = refine.deeper(knn, x, made, by)
        assert min(ahead(step)) == pytest.approx(by, rel=1e-9, abs=1e-12)
        assert Fraction(float(np.linalg.norm(step))) ** 2 >= sq * Fraction(1 - 1e-12)
    assert np.linalg.norm(refine.deeper(knn, x, made, 0.0)) == pytest.approx(float(sq) ** 0.5, rel=1e-12)
    # Within a room that is shorter than the radius there is none.
    made.room = np.full((2, 3), 0.1 * float(sq) ** 0.5)
    made.add_rows(np.arange(-6, 0))
    assert refine.deeper(knn, x, made, 0.0) is None


@pytest.mark.parametrize("far", [0.0, 1e6])
def test_rows_seen_from_the_candidate_are_off_by_no_more_than_they_say(far):
    for seed in range(4):
        G, X, y, points = problem(seed, 6, 3)
        X[3:] += far
        knn = fitted(G, X, y)
        some = np.array([3, 0, 4])
        seen = refine._seen_from(knn, points[0], 5, some)
        scaled, unit = fractions(knn.train.metric.components), Fraction(knn.frame.unit)
        for q, i in enumerate(some):
            apart = sq_norm(scaled @ (fractions(X[i]) - fractions(points[0])))
            apart -= sq_norm(scaled @ (fractions(X[5]) - fractions(points[0])))
            assert abs(Fraction(float(seen.c[q])) - apart / unit**2) <= Fraction(float(seen.c_error[q]))
            row = scaled.T @ (scaled @ (fractions(X[i]) - fractions(X[5]))) / unit
            assert sq_norm(row - fractions(seen.P[q])) <= Fraction(float(seen.p_error[q])) ** 2
            # By parts, whatever they cancel: each of the rounding of its sums and of what went into them.
            T, S = (X[i] - X[5]) / knn.frame.unit, ((X[i] - points[0]) + (X[5] - points[0])) / knn.frame.unit
            factor = knn.train.metric.components
            size = float((np.abs(factor) @ np.abs(T)) @ (np.abs(factor) @ np.abs(S)))
            assert seen.c_error[q] <= 1e-14 * (size + float(np.abs(factor @ T) @ np.abs(factor @ S)) + far)
            assert seen.c_error[q] >= 9 * 2.0**-53 * float(np.abs(factor @ T) @ np.abs(factor @ S))
        assert seen.c[-1] == 0.0
        assert not seen.P[-1].any()


def test_rows_seen_exactly_are_rounded_once():
    G, X, y, points = problem(6, 6, 3)
    X[3:] += 1e6
    knn = fitted(G, X, y)
    some = np.array([0, 2, 4])
    P, c = refine._seen_exactly(knn, points[0], 5, some)
    scaled = fractions(knn.train.metric.components)
    for q, i in enumerate(some):
        z = scaled @ (fractions(X[i]) - fractions(X[5]))
        row = [value / Fraction(knn.frame.unit) for value in scaled.T @ z]
        apart = sq_norm(scaled @ (fractions(X[i]) - fractions(points[0])))
        apart -= sq_norm(scaled @ (fractions(X[5]) - fractions(points[0])))
        expected = apart / Fraction(knn.frame.unit) ** 2
        assert abs(Fraction(float(c[q])) - expected) <= abs(expected) * Fraction(2.0**-52)
        for value, exact in zip(P[q], row, strict=True):
            assert abs(Fraction(float(value)) - exact) <= abs(exact) * Fraction(2.0**-52)
    assert P[-1].tolist() == [0.0, 0.0, 0.0]
    assert c[-1] == 0.0


def test_progress_is_told_for_every_point():
    G, X, y, points = problem(1)
    counts = []
    knn = fitted(G, X, y)
    claim = object()
    radii.exact_radii(knn, points, np.array([0, 1, -1, 0]), claim, compute=Compute(progress=counts.append))
    assert sum(counts) == 4
    assert kernels._MOST_STEPS > 0
