"""The active-set method of cells against convex solvers: its value, its multipliers, what it leaves behind."""

import numpy as np
import pytest

from arml.least_distance.active_set import Workspace
from arml.least_distance.cell import FREE, HIGH, LOW, UNDECIDED, solve_cell
from arml.least_distance.inner_products import ABOVE, BELOW
from tests.certify.enumeration import by_cvxpy, by_nnls, cell_value


class Solved:
    """A cell solved: value, delta, moved distances f, active pairs with multipliers."""

    def __init__(self, P, c, status, n_other, *, full=(False, False), room=None, cutoff=np.inf, memory=0, start=None):
        m, d = P.shape
        room = np.full((2, d), np.inf) if room is None else room
        work = Workspace.make(m, room, memory)
        size = len(work.b)
        pairs, lam, k = np.zeros((size, 2), np.int64), np.zeros(size), 0
        if start is not None:
            k = len(start.lam)
            pairs[:k], lam[:k] = start.pairs, start.lam
        self.status = np.array(status, dtype=np.int8)
        before = self.status.copy()
        k, self.value = solve_cell(P, c, n_other, self.status, *full, 0.0, pairs, lam, k, work, cutoff, 1e-12)
        assert (self.status == before).all()
        self.pairs, self.lam = pairs[:k].copy(), lam[:k].copy()
        self.delta, self.f = work.delta.copy(), work.f.copy()

    def dual_bound(self, P, c, room=None):
        """What the multipliers prove: ``-b'lam / ||A'lam||`` over the unit rows of the pairs."""
        gain, direction = 0.0, np.zeros(P.shape[1])
        for (low, high), weight in zip(self.pairs, self.lam, strict=True):
            if low in (BELOW, ABOVE):
                direction[high] += -weight if low == BELOW else weight
                gain -= weight * room[0 if low == BELOW else 1, high]
                continue
            row = P[high] - P[low]
            direction += weight * row / np.linalg.norm(row)
            gain -= weight * (c[high] - c[low]) / 2 / np.linalg.norm(row)
        length = np.linalg.norm(direction)
        return 0.0 if gain <= 0 else gain / length if length > 0 else np.inf


def cell(seed):
    """Points, of which some are low and some high: (rng, P, c, status, low, high)."""
    rng = np.random.default_rng(seed)
    m, d = int(rng.integers(2, 25)), int(rng.integers(1, 8))
    P, c = rng.normal(size=(m, d)), rng.normal(size=m)
    if seed % 3 == 0:  # a repeated point and an opposite one: dependent active sets
        P[rng.integers(m)] = P[0]
        P[rng.integers(m)] = -P[0]
    status = np.full(m, HIGH)
    low = rng.choice(m, size=int(rng.integers(1, min(4, m))), replace=False)
    status[low] = LOW
    return rng, P, c, status, low, np.flatnonzero(status == HIGH)


@pytest.mark.parametrize("memory", [0, 2**20], ids=["from points", "from inner products"])
@pytest.mark.parametrize("seed", range(60))
def test_value_equals_independent_solvers(seed, memory):
    _, P, c, status, low, high = cell(seed)
    found = Solved(P, c, status, 0, memory=memory)
    expected = cell_value(P, c, low, high, by_nnls)
    assert cell_value(P, c, low, high, by_cvxpy) == pytest.approx(expected, rel=1e-4, abs=1e-5)
    if np.isinf(expected):
        assert found.value == np.inf
        # Points that coincide need no multipliers to be in each other's way.
        same = any((P[i] == P[j]).all() and c[i] > c[j] for i in low for j in high)
        assert same or found.dual_bound(P, c) > 1e9
        return
    assert found.value == pytest.approx(expected, rel=1e-9, abs=1e-10)
    assert np.linalg.norm(found.delta) == pytest.approx(found.value, rel=1e-12)
    assert (found.lam >= 0).all()
    assert found.dual_bound(P, c) == pytest.approx(found.value, rel=1e-9, abs=1e-10)
    np.testing.assert_allclose(found.f, c - 2 * P @ found.delta, atol=1e-9)
    assert found.f[low].max() <= found.f[high].min() + 1e-9


@pytest.mark.parametrize("seed", range(40))
def test_bounds_of_a_box_are_rows(seed):
    rng, P, c, status, low, high = cell(seed)
    room = rng.exponential(size=(2, P.shape[1]))
    found = Solved(P, c, status, 0, room=room)
    expected = cell_value(P, c, low, high, by_cvxpy, room)
    if np.isinf(expected):
        assert found.value > np.linalg.norm(room.max(axis=0)) * (1 - 1e-9)
        return
    assert found.value == pytest.approx(expected, rel=1e-5, abs=1e-6)
    assert found.dual_bound(P, c, room) == pytest.approx(found.value, rel=1e-9, abs=1e-10)
    assert (found.delta >= -room[0] - 1e-9).all()
    assert (found.delta <= room[1] + 1e-9).all()


@pytest.mark.parametrize("seed", range(20))
def test_undecided_points_of_a_full_side_are_high_and_free_ones_nothing(seed):
    rng, P, c, status, low, high = cell(seed)
    if len(high) < 3:
        return
    n_other = int(low.max()) + 1
    undecided = rng.choice(high, size=len(high) // 2, replace=False)
    status[undecided] = UNDECIDED
    free = np.setdiff1d(high, undecided)[:1]
    status[free] = FREE
    decided = np.flatnonzero(status == HIGH)
    for full in ((False, False), (True, False), (False, True), (True, True)):
        joined = undecided[np.where(undecided < n_other, full[1], full[0])]
        expected = cell_value(P, c, low, np.concatenate([decided, joined]), by_nnls)
        found = Solved(P, c, status, n_other, full=full)
        assert found.value == pytest.approx(expected, rel=1e-9, abs=1e-10)


@pytest.mark.parametrize("seed", range(20))
def test_a_child_that_starts_from_its_parent_ends_where_one_that_does_not(seed):
    _, P, c, status, _, high = cell(seed)
    parent_status = status.copy()
    parent_status[high[len(high) // 2 :]] = UNDECIDED
    parent = Solved(P, c, parent_status, 0)
    if np.isinf(parent.value):
        return
    fresh, resumed = Solved(P, c, status, 0), Solved(P, c, status, 0, start=parent)
    assert parent.value <= fresh.value * (1 + 1e-12) + 1e-12
    assert resumed.value == pytest.approx(fresh.value, rel=1e-9, abs=1e-10)


def test_cutoff_stops_with_a_bound_that_reaches_it():
    rng = np.random.default_rng(0)
    P, c = rng.normal(size=(31, 40)), np.append(0.0, -np.abs(rng.normal(size=30)))
    status = np.full(31, HIGH)
    status[0] = LOW
    whole = Solved(P, c, status, 1)
    stopped = Solved(P, c, status, 1, cutoff=0.7 * whole.value)
    assert 0.7 * whole.value <= stopped.value <= whole.value * (1 + 1e-12)
    assert len(stopped.lam) < len(whole.lam)
    assert stopped.dual_bound(P, c) == pytest.approx(stopped.value, rel=1e-9)


def test_points_that_coincide_are_never_in_each_others_way():
    P, c = np.array([[1.0, 0.0], [1.0, 0.0], [3.0, 0.0]]), np.array([1.0, 1.0, -3.0])
    found = Solved(P, c, np.array([LOW, HIGH, HIGH]), 1)
    assert found.value == pytest.approx(1.0)
    np.testing.assert_allclose(found.delta, [-1.0, 0.0])
