"""Parts of the exact checker by themselves, on a handful of points where one can count along."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

import arml
from arml.proofs import rational
from arml.proofs.claim import Subject
from arml.proofs.rational_ahead import LookAhead, _Step, _Where
from arml.proofs.rational_evidence import Halfspace
from arml.proofs.rational_geometry import ExactSet, ExactView, Goal
from arml.proofs.rational_rows import TestPoint
from arml.proofs.rational_screen import Screen
from arml.proofs.rational_votes import Votes
from tests.proofs.results import as_result, claiming

NO_LIMITS = np.empty(0)


def exact_set(G, X, y, x):
    return ExactSet(Subject(np.asarray(G), X, y, x, np.zeros(len(x), dtype=np.int64)), NO_LIMITS)


def on_a_line(X, y, x, *, exactly=False):
    """One test point and the training points on a line; ``exactly`` leaves its rounded view away."""
    train = exact_set(np.eye(1), np.array(X)[:, None], np.array(y), np.array([[x]]))
    point = TestPoint(train, Screen(train), np.array([x]))
    if exactly:
        point.rounded = None
    return point


# -- rounded points ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("r", "d"), [(1, 4000), (4000, 1), (2, 3)])
def test_rounded_distances_hold_whatever_the_shape_of_the_factor(r, d):
    """Sums of as many products as there are features, or rows of G, stay within 64 bits."""
    rng = np.random.default_rng(r)
    G = 0.5 + rng.random((r, d))
    X = np.array([-1.0, -0.5, 0.0, 0.5, 1.0])[:, None] * (1 - 1e-3 * rng.random((5, d)))
    train = exact_set(G, X, np.zeros(5, dtype=np.int64), X[:1])
    screen = Screen(train)
    assert screen.usable
    for i in range(5):
        x_i, p_i = train.row(i)
        of_z, of_p = (part.sq_distances(part.values[i].astype(np.int64)[None]) for part in (screen.z, screen.p))
        for j in range(5):
            x, p = train.row(j)
            for part, (middle, error), exact in (
                (screen.z, of_z, int((x - x_i) @ (p - p_i))),
                (screen.p, of_p, int((p - p_i) @ (p - p_i))),
            ):
                apart = Fraction(exact) / Fraction(2) ** (2 * part.power)
                assert abs(int(middle[j, 0]) - apart) <= int(error[j, 0])
                assert i == j or int(error[j, 0]) < apart / 100


def test_a_test_point_far_out_is_looked_at_in_exact_numbers_alone():
    far = 2.0**60
    point = on_a_line([0.0, 1.0, 3.0, 10.0, -4.0], [0, 0, 0, 0, 1], far)
    assert point.rounded is None
    assert point.by_distance(np.arange(5)).tolist() == [3, 2, 1, 0, 4]
    # -4 passes 0 after 2**60 + 2, 1 after 2**60 + 3/2, 3 and 10 before.
    for k, length in ((1, Fraction(2)), (2, Fraction(3, 2)), (3, Fraction(1, 2)), (4, Fraction(-3))):
        for more, left in ((Fraction(0), []), (Fraction(1, 2**80), [4])):
            goal = Goal.of((Fraction(far) + length + more) ** 2, 0)
            assert point.unshown(np.array([4]), np.arange(4), k, goal).tolist() == left
    assert point.unshown(np.array([4]), np.arange(4), 5, Goal(1, 1)).tolist() == [4]


def test_a_metric_without_rows_tells_no_points_apart():
    train = exact_set(np.empty((0, 2)), np.array([[1.0, 2.0], [3.0, 4.0]]), np.array([0, 1]), np.ones((1, 2)))
    view = ExactView(train, np.array([5.0, 0.5]))
    assert [view.c(0), view.c(1), view.between(0, 1)] == [0, 0, 0]


# -- looking ahead -----------------------------------------------------------------------------------------------------


def blocked(point, K, state, undecided, space, goal, event="majority"):
    own = point.exact.train.y == 0
    ahead = LookAhead(point, Votes(0, K, event), np.arange(len(own)), own)
    return list(ahead.blocked(space, goal, state, undecided))


def everywhere():
    return Halfspace(np.array([0], dtype=object), 0, 0)


def a_hair_more(goal):
    return Goal((goal.num << 60) + 1, goal.den << 60)


@pytest.mark.parametrize("exactly", [False, True])
def test_a_leaf_whose_halfspace_reaches_the_goal_holds_no_attack(exactly):
    point = on_a_line([4.0, 0.0], [1, 0], 0.0, exactly=exactly)
    # -2 z >= gain: z is at least 2 long for a gain of 4. No same is left that another point might have to pass.
    space = Halfspace(np.array([1], dtype=object), 4, 1)
    assert blocked(point, 3, [0, 1], [0], space, Goal(4, 1)) == [None]
    assert blocked(point, 3, [0, 1], [0], space, a_hair_more(Goal(4, 1))) == []


@pytest.mark.parametrize("exactly", [False, True])
def test_sames_that_one_low_point_after_the_other_cannot_pass_add_up(exactly):
    """5 passes 1 after 3 and -1 after 2, -5 the other way round: of the label's 1 and -1 both are low below 3."""
    point = on_a_line([5.0, -5.0, 1.0, -1.0], [1, 1, 0, 0], 0.0, exactly=exactly)
    assert blocked(point, 3, [1, 1, 0, 0], [], everywhere(), Goal(9, 1))[-1] is None
    assert None not in blocked(point, 3, [1, 1, 0, 0], [], everywhere(), a_hair_more(Goal(9, 1)))
    # Where 1 is high already that one of them is costs too much.
    assert blocked(point, 3, [1, 0, -1, 0], [], everywhere(), Goal(9, 1))[-1] is None
    # With K = 5 two of the label may be low.
    assert None not in blocked(point, 5, [1, 1, 0, 0], [], everywhere(), Goal(9, 1))


def test_sames_that_some_low_points_may_not_pass_are_collected_from_them():
    point = on_a_line([5.0, -5.0, 1.0, -1.0], [1, 1, 0, 0], 0.0, exactly=True)
    # For each of the low points fewer sames are possible than may be low; together they are too many.
    ahead = LookAhead(point, Votes(0, 3, "majority"), np.arange(4), np.array([False, False, True, True]))
    every = {0: [2, 3], 1: [2, 3]}
    for possible in ({0: [2], 1: [3]}, every):
        for goal, found in ((Goal(9, 1), [None]), (a_hair_more(Goal(9, 1)), [])):
            where = _Where(low=[0, 1], undecided=[], sames=[2, 3], state=[1, 1, 0, 0], spare=1)
            step = _Step(np.array([0], dtype=object), 0, 0, goal)
            assert list(ahead._exactly(step, where, frozenset(), frozenset(), possible)) == found


@pytest.mark.parametrize("exactly", [False, True])
def test_undecided_points_that_would_have_to_pass_too_many_are_blocked(exactly):
    point = on_a_line([5.0, -5.0, 1.0, -1.0], [1, 1, 0, 0], 0.0, exactly=exactly)
    # Of the label none may be low with K = 1: 5 would have to pass 1.
    assert blocked(point, 1, [0, 0, 0, 0], [0, 1], everywhere(), Goal(9, 1))[-1] == {0, 1}
    found = blocked(point, 1, [0, 0, 0, 0], [0, 1], everywhere(), a_hair_more(Goal(9, 1)))
    assert not any(found)
    # With K = 3 one may, and the other is passed before: 5 passes -1 after 2.
    assert blocked(point, 3, [0, 0, 0, 0], [0, 1], everywhere(), Goal(4, 1))[-1] == {0, 1}
    assert not any(blocked(point, 3, [0, 0, 0, 0], [0, 1], everywhere(), a_hair_more(Goal(4, 1))))


# -- whole results -----------------------------------------------------------------------------------------------------


def test_beyond_the_diagonal_of_the_box_is_beyond_reach_and_just_within_is_not():
    """From 0 the label is lost at 1: with walls at 1 - 2**-41 there is no attack, with walls at 1 there is."""
    X, y, point, label = np.array([[0.0], [2.0]]), np.array([0, 1]), np.zeros((1, 1)), np.array([0])
    knn = arml.MahalanobisKNN(n_neighbors=1).fit(X, y)
    found = as_result(knn.exact_radius(point, label, box=(-0.25, 1 - 2.0**-30), proofs=True))
    assert found.status.tolist() == ["unreachable"]
    assert rational.check(found).ok.all(), rational.check(found).problems
    # At the wall itself the label is tied, which is an attack; the search does not go as near to that as the check.
    for wall, confirmed in ((1 - 2.0**-41, True), (1.0, False), (1 + 2.0**-41, False)):
        found = as_result(knn.exact_radius(point, label, box=(-0.25, wall), proofs=True))
        beyond = claiming(found, 0, lower=np.inf, upper=np.inf, status="unreachable", perturbation=0.0)
        report = rational.check(beyond)
        assert report.ok.tolist() == [confirmed]
        assert confirmed or "nothing proves the lower bound for training point [1]" in report.problems[0][1]


def test_more_low_points_than_neighbours_are_no_attack():
    for event in ("plurality", "predict"):
        votes = Votes(1, 3, event)
        assert votes.too_few(0, {0: 4}, {})
        assert votes.too_few(1, {0: 3}, {0: 2})
        assert not votes.too_few(0, {0: 3}, {})
        assert not votes.too_few(1, {0: 2}, {})
