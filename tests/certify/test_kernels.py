"""The inner problems of eq. (13), compiled: against convex solvers, and their proofs in rational arithmetic."""

from fractions import Fraction

import cvxpy as cp
import numpy as np
import pytest

from arml.certify.one_nn.kernels import proven_bound, search
from arml.classifier.differences import Differences
from arml.geometry import Mahalanobis
from arml.least_distance.active_set import Workspace, pair_row
from arml.least_distance.inner_products import ABOVE, BELOW
from tests.certify.enumeration import by_nnls
from tests.certify.rationals import at_most, dual, fractions, hostile, on_the_bisector, seen


def solve(A, b, *, room=None, cutoff=np.inf):
    """min ||delta|| with ``A delta <= b``: (solved?, value, delta, bound, weights of unit rows), nothing rounded."""
    m, d = A.shape
    room = np.full((2, d), np.inf) if room is None else room
    # A point at 0 is the one to be reached: the rows are the others themselves.
    P, c = np.vstack([np.zeros(d), A]), np.append(0.0, 2 * b)
    rows = np.arange(1, m + 1)
    if np.isfinite(room).any():
        rows = np.concatenate([rows, -1 - np.arange(2 * d)])
    bound, weights, work = np.zeros(1), np.zeros((1, len(rows))), Workspace.make(len(rows), room, 0)
    none = np.zeros(m + 1)
    best, value = search(P, c, none, none, rows, np.array([0]), bound, weights, cutoff, work)
    return best == 0, float(value), work.normal.copy(), float(bound[0]), weights[0]


def by_cvxpy(A, b, room=None):
    delta = cp.Variable(A.shape[1])
    limits = [A @ delta <= b] + ([] if room is None else [delta >= -room[0], delta <= room[1]])
    problem = cp.Problem(cp.Minimize(cp.norm(delta, 2)), limits)
    value = problem.solve(solver=cp.CLARABEL, tol_gap_abs=1e-9, tol_gap_rel=1e-9, tol_feas=1e-9)
    return np.inf if problem.status.startswith("infeasible") else float(value)


def random_rows(seed):
    rng = np.random.default_rng(seed)
    m, d = int(rng.integers(1, 25)), int(rng.integers(1, 8))
    A, b = rng.normal(size=(m, d)), rng.normal(size=m)
    if seed % 3 == 0:  # a repeated row and an opposite one: dependent active sets
        A[rng.integers(m)] = A[0]
        A[rng.integers(m)] = -A[0]
    return rng, A, b


@pytest.mark.parametrize("seed", range(60))
def test_value_equals_independent_solvers(seed):
    _, A, b = random_rows(seed)
    solved, value, delta, bound, weights = solve(A, b)
    expected = by_nnls(A, b)
    assert by_cvxpy(A, b) == pytest.approx(expected, abs=1e-6)
    if np.isinf(expected):
        assert not solved
        assert bound > 1e9
        return
    assert solved
    assert value == pytest.approx(expected, rel=1e-9, abs=1e-12)
    assert np.linalg.norm(delta) == pytest.approx(value, rel=1e-12)
    assert (A @ delta <= b + 1e-10).all()
    assert (weights >= 0).all()
    unit = A / np.linalg.norm(A, axis=1, keepdims=True)
    np.testing.assert_allclose(-unit.T @ weights, delta, atol=1e-10)
    assert bound == pytest.approx(value, rel=1e-10, abs=1e-12)


@pytest.mark.parametrize("seed", range(40))
def test_bounds_of_a_box_are_rows(seed):
    rng, A, b = random_rows(seed)
    room = rng.exponential(size=(2, A.shape[1]))
    solved, value, delta, bound, _ = solve(A, b, room=room)
    expected = by_cvxpy(A, b, room)
    assert solved == np.isfinite(expected)
    if not solved:
        assert bound > np.linalg.norm(room.max(axis=0))
        return
    assert value == pytest.approx(expected, rel=1e-6, abs=1e-7)
    assert bound == pytest.approx(value, rel=1e-10, abs=1e-12)
    assert (delta >= -room[0] - 1e-10).all()
    assert (delta <= room[1] + 1e-10).all()


def test_origin_feasible_has_value_zero():
    solved, value, delta, bound, weights = solve(np.eye(3), np.array([1.0, 0.0, 2.0]))
    assert solved
    assert value == bound == 0
    assert not delta.any()
    assert not weights.any()


def test_cutoff_stops_with_a_bound_that_reaches_it():
    rng = np.random.default_rng(0)
    A, b = rng.normal(size=(30, 40)), -np.abs(rng.normal(size=30))
    value = solve(A, b)[1]
    for part in (0.1, 0.7):  # passed by one row alone, and by several
        solved, incumbent, _, bound, _ = solve(A, b, cutoff=part * value)
        assert not solved
        assert incumbent == part * value
        assert part * value * (1 - 1e-12) <= bound <= value * (1 + 1e-12)


def test_zero_rows_are_switched_off():
    A, b = np.array([[0.0, 0.0], [1.0, 0.0]]), np.array([-1.0, -2.0])
    solved, value, delta, bound, weights = solve(A, b)
    assert solved
    assert value == 2.0
    np.testing.assert_allclose(delta, [-2.0, 0.0])
    np.testing.assert_allclose(weights, [0.0, 2.0])
    assert bound == pytest.approx(2.0, rel=1e-12)


def test_constraint_rows_are_equation_14():
    rng = np.random.default_rng(4)
    G = rng.normal(size=(3, 3))
    M, X, x, delta = G.T @ G, rng.normal(size=(6, 3)), rng.normal(size=3), rng.normal(size=3)
    c = np.einsum("nd,de,ne->n", X - x, M, X - x)
    moved = np.einsum("nd,de,ne->n", X - x - delta, M, X - x - delta)
    room = rng.random((2, 3))
    row = np.empty(3)
    for i in (0, 2):
        limit, length = pair_row((X - x) @ M, c, 5, i, 0.0, room, row)
        assert np.linalg.norm(row) == pytest.approx(1.0)
        assert length * (row @ delta - limit) == pytest.approx((moved[5] - moved[i]) / 2)
    # The lower bound of feature 1, the upper of feature 2.
    for side, feature, over in ((BELOW, 1, -delta[1] - room[0, 1]), (ABOVE, 2, delta[2] - room[1, 2])):
        limit, length = pair_row((X - x) @ M, c, side, feature, 0.0, room, row)
        assert length == 1.0
        assert row @ delta - limit == pytest.approx(over)


# -- rounding ----------------------------------------------------------------------------------------------------------


def as_weights(P, j, rows, lam):
    """Weights of the rows as they are, from multipliers of unit rows: ``lam / length`` of the computed rows."""
    lengths = [np.linalg.norm(P[i] - P[j]) if i >= 0 else 1.0 for i in rows]
    return [Fraction(v) / Fraction(float(size)) if size else Fraction(0) for v, size in zip(lam, lengths, strict=True)]


@pytest.mark.parametrize("seed", range(400))
def test_no_bound_is_above_what_its_multipliers_prove_in_rationals(seed):
    G, X, x = hostile(seed)
    rng = np.random.default_rng(seed)
    if seed % 2:
        x = on_the_bisector(X, x, 0, 1, G) - 1e-3 * rng.random() * (X[1] - X[0])
    view = Differences.of(Mahalanobis.from_components(G), X - x)
    c, P = seen(G, X, x)
    d = len(x)
    room = 3 * rng.random((2, d))
    # By turns one row, the best weights of a few, weights at random, and a box.
    rows = np.array([0]) if seed % 5 < 2 else np.array([0, 2, 3, 4, 5])
    if seed % 5 == 4:
        rows = np.concatenate([rows, -1 - np.arange(2 * d)])
    bound, weights = np.zeros(1), np.zeros((1, len(rows)))
    search(
        view.P, view.c, view.p_error, view.c_error, rows, np.array([1]), bound, weights, np.inf,
        Workspace.make(len(rows), room, 0),
    )  # fmt: skip
    candidates = [(bound[0], weights[0])]
    for lam in (rng.exponential(size=len(rows)), np.eye(len(rows))[0]):
        value = proven_bound(view.P, view.c, view.p_error, view.c_error, 1, rows, lam, room, np.empty(d))
        candidates.append((value, lam))
    for value, lam in candidates:
        assert at_most(value, *dual(c, P, 1, rows, as_weights(view.P, 1, rows, lam), fractions(room)))


@pytest.mark.parametrize("whose", ["the other point", "the class"])
@pytest.mark.parametrize("which", ["distances", "rows"])
@pytest.mark.parametrize("seed", range(30))
def test_declared_errors_at_their_worst_raise_no_bound_above_the_truth(seed, which, whose):
    """One other-class point, the last, which is seen too far, or the class, which is seen too near; rows too short."""
    rng = np.random.default_rng([seed, 3])
    m, d = int(rng.integers(1, 5)), int(rng.integers(1, 6))
    P, c = rng.normal(size=(m + 1, d)), np.append(rng.normal(size=m) - 4, 4.0)
    lam = rng.exponential(size=m)
    sign = np.append(np.zeros(m), 1.0) if whose == "the other point" else np.append(-np.ones(m), 0.0)
    error = 10.0 ** -rng.uniform(2, 6) * rng.random(m + 1)
    p_error, c_error = (error, np.zeros(m + 1)) if which == "rows" else (np.zeros(m + 1), error)
    rows = P[:m] - P[m]
    a = (lam / np.linalg.norm(rows, axis=1)) @ rows
    seen_P = P + (1 - 1e-9) * (sign * p_error)[:, None] * a / np.linalg.norm(a)
    seen_c = c + (1 - 1e-9) * sign * c_error
    room = np.full((2, d), np.inf)
    value = proven_bound(seen_P, seen_c, p_error, c_error, m, np.arange(m), lam, room, np.empty(d))
    weights = as_weights(seen_P, m, np.arange(m), lam)
    gain, square = dual(fractions(c), fractions(P), m, np.arange(m), weights)
    assert at_most(value, gain, square)
    assert value > 0


@pytest.mark.parametrize("boxed", [False, True])
@pytest.mark.parametrize("seed", range(80))
def test_what_is_left_of_large_terms_is_not_above_the_truth(seed, boxed):
    """One row pushes by hardly more than others hold back, so that what the sum rounds off is a part of the bound."""
    rng = np.random.default_rng([seed, 4])
    P, none, room = rng.normal(size=(5, 4)), np.zeros(5), 1 + rng.random((2, 4))
    c = np.append(9 + rng.random(3), [0.0, 8.0])
    rows = np.array([0, 1, 2, 3]) if not boxed else np.array([-1, -1 - 4 - 1, -1 - 2, 3])
    lam = np.append(rng.exponential(size=3), 1.0)
    exact = fractions(c), fractions(P), 4
    held = dual(*exact, rows[:3], as_weights(P, 4, rows[:3], lam[:3]), fractions(room))[0]
    push = dual(*exact, rows[3:], as_weights(P, 4, rows[3:], lam[3:]), fractions(room))[0]
    lam[3] = float(-held / push) * (1 + 1e-12)
    value = proven_bound(P, c, none, none, 4, rows, lam, room, np.empty(4))
    assert value > 0
    assert at_most(value, *dual(*exact, rows, as_weights(P, 4, rows, lam), fractions(room)))


@pytest.mark.parametrize("seed", range(40))
def test_bounds_of_a_box_that_hold_each_other_leave_the_row_rounded(seed):
    """A feature that cannot move, with far larger multipliers on both of its bounds than on the row."""
    rng = np.random.default_rng([seed, 12])
    P, c, none = np.vstack([np.zeros(3), rng.normal(size=3)]), np.array([4.0, 1.0]), np.zeros(2)
    room = np.ones((2, 3))
    room[:, 0] = 0.0
    rows, lam = np.array([1, -1, -1 - 3]), np.array([1.0, *2 * [10.0 ** rng.uniform(3, 9)]])
    value = proven_bound(P, c, none, none, 0, rows, lam, room, np.empty(3))
    assert value > 0
    assert at_most(value, *dual(fractions(c), fractions(P), 0, rows, as_weights(P, 0, rows, lam), fractions(room)))
