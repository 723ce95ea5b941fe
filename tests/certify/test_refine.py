"""Bounds evaluated again, from differences and in exact arithmetic: never above rational truth, and close to it."""

from fractions import Fraction

import numpy as np
import pytest

from arml.certify.one_nn.cutting import PointState
from arml.certify.one_nn.refine import _seen_exactly, _seen_from, refine, refine_exactly
from tests.certify.fitted import fit
from tests.certify.rationals import dot, fractions, hostile, minus, on_the_bisector
from tests.classifier.test_rounding import in_units
from tests.fuzz.truth import View, sq_radius


def state_at(fitted, x, own, weights, value):
    """A state of the point x (d,) that uses all points of its class as rows, with all others as candidates."""
    train = fitted.train
    n = len(fitted.X_train)
    rows = np.arange(own.start, own.stop)
    others = np.setdiff1d(np.arange(n), rows)
    seen = train.see(x[None])
    C = train.sq_distances(seen, train.pessimistic(own))[0].numpy()
    room = np.full((2, len(x)), np.inf)
    bound = np.zeros(len(others))
    state = PointState(0, C, float(seen.share[0]), np.zeros(n), room, rows, others, bound, weights, np.inf)
    state.winner, state.value, state.delta = int(others[0]), value, np.zeros(len(x))
    return state


def prepared(seed):
    """A classifier, its points, and one of class 0 near a boundary."""
    G, X, x = hostile(seed, n=8)
    x = on_the_bisector(X, x, 0, 1, G)
    x = x + 10.0 ** -(seed % 9) * (X[0] - X[1])
    y = np.arange(8) % 2
    fitted = fit(G, X, y)
    c = in_units(fitted, X, x)[0]
    own = 0 if min(c[i] for i in range(0, 8, 2)) < min(c[i] for i in range(1, 8, 2)) else 1
    return fitted, G, X, y, x, own, c


@pytest.mark.parametrize("seed", range(80))
def test_rows_and_distances_seen_exactly_are_rounded_once(seed):
    fitted, _, X, _, x, _, _ = prepared(seed)
    c, exact_P = in_units(fitted, X, x)
    for other in (1, 3):
        points = np.array([0, 2, 4])
        P, distances = _seen_exactly(fitted, x, other, points)
        assert not P[-1].any()
        assert distances[-1] == 0
        for q, i in enumerate(points):
            gap = c[i] - c[other]
            assert abs(Fraction(distances[q].item()) - gap) <= abs(gap) * Fraction(2) ** -51
            row = minus(exact_P[i], exact_P[other])
            off = minus(fractions(P[q]), row)
            assert dot(off, off) <= dot(row, row) * Fraction(2) ** -102


@pytest.mark.parametrize("seed", range(80))
def test_rows_and_distances_seen_from_the_other_point_are_off_by_at_most_their_errors(seed):
    fitted, _, X, _, x, _, _ = prepared(seed)
    c, exact_P = in_units(fitted, X, x)
    points = np.array([0, 2, 4])
    seen = _seen_from(fitted, x, 1, points)
    assert not seen.P[-1].any()
    assert seen.c[-1] == 0
    for q, i in enumerate(points):
        assert abs(Fraction(seen.c[q].item()) - (c[i] - c[1])) <= Fraction(seen.c_error[q].item())
        off = minus(fractions(seen.P[q]), minus(exact_P[i], exact_P[1]))
        assert dot(off, off) <= Fraction(seen.p_error[q].item()) ** 2


def seen_by(whose, seed):
    """Factor, points and a test point where one part of the error of a distance is far larger than the others."""
    rng = np.random.default_rng([seed, 15])
    if whose == "sums":
        return np.full((2000, 1), 1 + rng.random()), rng.normal(size=(4, 1)), rng.normal(size=1)
    # Differences along what G hardly sees: of the points themselves, or of where they are on average from x.
    G = np.ones((2, 3)) + 1e-6 * rng.normal(size=(2, 3))
    hidden = np.array([1.0, -1.0, 0.0])
    X, x = rng.normal(size=(4, 3)), 1e3 * rng.normal(size=3)
    if whose == "differences":
        X += 1e4 * np.outer(rng.normal(size=4), hidden)
    return G, X, x if whose == "differences" else x + 1e6 * hidden


@pytest.mark.parametrize("whose", ["differences", "middles", "sums"])
@pytest.mark.parametrize("seed", range(10))
def test_every_part_of_the_error_of_a_distance_counts(seed, whose):
    G, X, x = seen_by(whose, seed)
    fitted = fit(G, X, np.arange(4) % 2)
    c, _ = in_units(fitted, X, x)
    seen = _seen_from(fitted, x, 1, np.array([0, 2]))
    for q, i in enumerate((0, 2)):
        assert abs(Fraction(seen.c[q].item()) - (c[i] - c[1])) <= Fraction(seen.c_error[q].item())


def test_points_near_each_other_are_told_apart_from_afar():
    X, x = np.array([[0.0, 0.0], [1.0, 0.0]]), np.array([-1e6, 3e5])
    seen = _seen_from(fit(np.eye(2), X, np.array([0, 1])), x, 1, np.array([0]))
    assert seen.c_error[0] < 1e-14 * abs(seen.c[0])


@pytest.mark.parametrize("how", [refine, refine_exactly])
@pytest.mark.parametrize("seed", range(80))
def test_no_bound_is_above_the_radius_in_rationals(seed, how):
    fitted, G, X, y, x, label, c = prepared(seed)
    if sorted(c)[0] == sorted(c)[1]:
        return
    own = fitted.train.classes[label]
    weights = np.random.default_rng(seed).exponential(size=(4, 4))
    if how is refine:
        # One row at a time, so that some weights are the best there are.
        weights = np.eye(4)[np.random.default_rng(seed).integers(4, size=4)]
    state = state_at(fitted, x, own, weights, 1e9)
    how(fitted, x, state)
    square = sq_radius(View.of(X, G, x, None), y.tolist(), label, 1, "majority")
    unit = Fraction(fitted.frame.unit)
    if square is None:
        return
    # The smallest of the candidates' bounds is the point's, and each is a bound of its own problem.
    assert (Fraction(state.bound.min().item()) * unit) ** 2 <= square
    for q, j in enumerate(state.candidates):
        index = fitted.train.order[[*state.rows, j]]
        alone = sq_radius(View.of(X[index], G, x, None), [0, 0, 0, 0, 1], 0, 1, "majority")
        if alone is not None:
            assert (Fraction(state.bound[q].item()) * unit) ** 2 <= alone
            if how is refine_exactly and alone > 0:
                assert state.bound[q] * float(unit) >= float(alone) ** 0.5 * (1 - 1e-9) or state.bound[q] > state.value


@pytest.mark.parametrize("how", [refine, refine_exactly])
@pytest.mark.parametrize("seed", range(20))
def test_distances_below_the_range_of_floats_raise_no_bound_above_the_truth(seed, how):
    """Two points so near each other that the square of their distance has but a few digits left."""
    rng = np.random.default_rng([seed, 16])
    near = 2.0**-530 * (1 + rng.random())
    X, x = np.array([[0.0], [near], [1.0], [-1.0]]), near * rng.random(1) / 4
    fitted = fit(np.array([[0.5 + rng.random()]]), X, np.array([0, 1, 1, 1]))
    state = state_at(fitted, x, fitted.train.classes[0], np.ones((3, 1)), 1e9)
    how(fitted, x, state)
    truth = Fraction(near) / 2 - Fraction(x.item())
    assert Fraction(state.bound[0].item()) * Fraction(fitted.frame.unit) <= truth
    assert (state.bound[1:] > 0).all()


def test_what_is_refined_exactly_solves_the_problem():
    rng = np.random.default_rng(0)
    X, G = 1e7 + rng.normal(size=(8, 3)), rng.normal(size=(3, 3))
    y, x = np.arange(8) % 2, 1e7 + 0.1 * rng.normal(size=3)
    fitted = fit(G, X, y)
    label = int(np.argmin(in_units(fitted, X, x)[0])) % 2
    state = state_at(fitted, x, fitted.train.classes[label], np.zeros((4, 4)), 1e9)
    refine_exactly(fitted, x, state)
    truth = float(sq_radius(View.of(X, G, x, None), y.tolist(), label, 1, "majority")) ** 0.5
    assert state.value * fitted.frame.unit == pytest.approx(truth, rel=1e-12)
    assert state.bound.min() <= state.value
    assert state.bound.min() == pytest.approx(state.value, rel=1e-12)
    assert np.linalg.norm(state.delta) == pytest.approx(state.value, rel=1e-12)
    assert fitted.votes[fitted.train.order[state.winner]] != label
