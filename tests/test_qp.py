import cvxpy as cp
import numpy as np
import pytest

from arml.qp import CUTOFF, INFEASIBLE, OPTIMAL, constraint_rows, least_distance, normalise_rows


def dual_bound(A, b, lam):
    gain, length = -(b[lam > 0] @ lam[lam > 0]), np.linalg.norm(A.T @ lam)
    if gain <= 0:
        return 0.0
    return gain / length if length > 0 else np.inf


def solve_with_cvxpy(A, b):
    x = cp.Variable(A.shape[1])
    problem = cp.Problem(cp.Minimize(cp.norm(x, 2)), [A @ x <= b])
    value = problem.solve(solver=cp.CLARABEL)
    return None if problem.status.startswith("infeasible") else float(value)


@pytest.mark.parametrize("seed", range(60))
def test_value_equals_an_independent_solver(seed):
    rng = np.random.default_rng(seed)
    m, d = int(rng.integers(1, 25)), int(rng.integers(1, 8))
    A, b = rng.normal(size=(m, d)), rng.normal(size=m)
    if seed % 3 == 0:  # a repeated row and an opposite one: dependent active sets
        A[rng.integers(m)] = A[0]
        A[rng.integers(m)] = -A[0]
    normalise_rows(A, b)
    outcome, delta, lam = least_distance(A, b, np.inf)
    expected = solve_with_cvxpy(A, b)
    if expected is None:
        assert outcome == INFEASIBLE
        assert dual_bound(A, b, lam) > 1e9
        return
    assert outcome == OPTIMAL
    assert np.linalg.norm(delta) == pytest.approx(expected, abs=1e-6)
    assert (A @ delta <= b + 1e-10).all()
    assert (lam >= 0).all()
    np.testing.assert_allclose(-A.T @ lam, delta, atol=1e-10)
    assert dual_bound(A, b, lam) == pytest.approx(np.linalg.norm(delta), rel=1e-10, abs=1e-12)


def test_origin_feasible_has_value_zero():
    A, b = np.eye(3), np.array([1.0, 0.0, 2.0])
    outcome, delta, lam = least_distance(A, b, np.inf)
    assert outcome == OPTIMAL
    assert not delta.any()
    assert not lam.any()


def test_cutoff_stops_with_a_bound_that_reaches_it():
    rng = np.random.default_rng(0)
    A, b = rng.normal(size=(30, 40)), -np.abs(rng.normal(size=30))
    normalise_rows(A, b)
    _, delta, _ = least_distance(A, b, np.inf)
    value = np.linalg.norm(delta)
    outcome, _, lam = least_distance(A, b, 0.7 * value)
    assert outcome == CUTOFF
    assert 0.7 * value <= dual_bound(A, b, lam) <= value * (1 + 1e-12)


@pytest.mark.parametrize("seed", range(20))
def test_any_nonnegative_weights_give_a_valid_bound(seed):
    rng = np.random.default_rng(seed)
    A, b = rng.normal(size=(6, 10)), rng.normal(size=6)
    normalise_rows(A, b)
    outcome, delta, _ = least_distance(A, b, np.inf)
    assert outcome == OPTIMAL
    assert dual_bound(A, b, rng.exponential(size=6)) <= np.linalg.norm(delta) * (1 + 1e-12) + 1e-15


def test_zero_rows_are_switched_off():
    A, b = np.array([[0.0, 0.0], [1.0, 0.0]]), np.array([-1.0, -2.0])
    norms = normalise_rows(A, b)
    assert norms[0] == 0.0
    assert b[0] == np.inf
    outcome, delta, _ = least_distance(A, b, np.inf)
    assert outcome == OPTIMAL
    np.testing.assert_allclose(delta, [-2.0, 0.0])


def test_constraint_rows_are_equation_14():
    rng = np.random.default_rng(4)
    G = rng.normal(size=(3, 3))
    M, X, x, delta = G.T @ G, rng.normal(size=(6, 3)), rng.normal(size=3), rng.normal(size=3)
    room_below, room_above = np.array([0.1, 0.2, 0.3]), np.array([0.4, 0.5, 0.6])
    c = np.einsum("nd,de,ne->n", X - x, M, X - x)
    rows = np.array([0, 2, -1 - 1, -1 - 3 - 2])  # two points, the lower bound of feature 1, the upper of feature 2
    A, b = constraint_rows(X @ M, c, rows, 5, room_below, room_above)
    moved = np.einsum("nd,de,ne->n", X - x - delta, M, X - x - delta)
    np.testing.assert_allclose((A @ delta - b)[:2], (moved[5] - moved[[0, 2]]) / 2)
    np.testing.assert_allclose((A @ delta - b)[2:], [-delta[1] - 0.2, delta[2] - 0.6])
