"""The rational truth against hand-made answers, a convex solver, and enumeration in floats."""

from fractions import Fraction
from itertools import combinations

import numpy as np
import pytest
import sympy

from tests.certify.enumeration import (
    by_cvxpy,
    by_nnls,
    cell_value,
    majority_radius,
    plurality_radius,
    random_problem,
    seen_from,
)
from tests.certify.problems import BY_HAND
from tests.fuzz.least_sq_norm import least_sq_norm, projection
from tests.fuzz.truth import EVENTS, View, answer, integers, sq_radius, standing


def _radius(X_train, y_train, x, y, K, event, G=None, box=None):
    X_train, x = np.asarray(X_train, dtype=float), np.asarray(x, dtype=float)
    G = np.eye(len(x)) if G is None else np.asarray(G, dtype=float)
    return sq_radius(View.of(X_train, G, x, box), list(y_train), y, K, event)


# -- least-distance problems -------------------------------------------------------------------------------------------


def _by_all_subsets(rows, d):
    """All subsets of at most d rows held with equality, by sympy's rational linear algebra; the shortest feasible."""
    best = None
    for size in range(d + 1):
        for chosen in combinations(rows, size):
            w = sympy.zeros(d, 1)
            if chosen:
                A = sympy.Matrix([a for a, _ in chosen])
                if A.rank() < size:
                    continue
                w = A.T * (A * A.T).LUsolve(sympy.Matrix([b for _, b in chosen]))
            if all(sum(v * wi for v, wi in zip(a, w, strict=True)) <= b for a, b in rows):
                value = Fraction(int(w.dot(w).p), int(w.dot(w).q))
                best = value if best is None else min(best, value)
    return best


def test_least_distances_agree_with_all_subsets_of_active_rows():
    rng = np.random.default_rng(0)
    infeasible = 0
    for _ in range(120):
        d, m = int(rng.integers(1, 4)), int(rng.integers(1, 6))
        # Small numbers: many rows are parallel, repeated, opposite or zero.
        rows = [(tuple(rng.integers(-2, 3, size=d).tolist()), int(rng.integers(-3, 4))) for _ in range(m)]
        expected = _by_all_subsets(rows, d)
        infeasible += expected is None
        assert least_sq_norm(rows) == expected
        if expected is not None:
            assert least_sq_norm(rows, expected) is None
            assert least_sq_norm(rows, expected + Fraction(1, 10**30)) == expected
    assert 10 < infeasible < 110


def test_zero_rows_and_contradictions():
    assert least_sq_norm([]) == 0
    assert least_sq_norm([((0, 0), 0), ((0, 0), 5)]) == 0
    assert least_sq_norm([((0, 0), -1)]) is None
    assert least_sq_norm([((1, 0), -1), ((-1, 0), 0)]) is None
    assert least_sq_norm([((1, 0), -1), ((-1, 0), 1)]) == 1


def test_a_projection_needs_multipliers_that_push_and_independent_rows():
    assert projection([((2, 0), -4)]) == ([-8, 0], 4)
    # Equality in both rows is at (-1, 1); there the second row would have to pull.
    assert projection([((1, 0), -1), ((-1, 1), 2)]) is None
    assert projection([((1, 0), -1), ((2, 0), -2)]) is None


# -- radii -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", BY_HAND)
@pytest.mark.parametrize("event", EVENTS)
def test_radii_of_1nn_by_hand(name, event):
    X_train, y_train, x, y, radius = BY_HAND[name]
    assert _radius(X_train, y_train, x, y, 1, event) == Fraction(radius) ** 2


def test_events_differ_with_three_classes():
    # At 0 the three nearest are 2 of label 0 and one of label 1; going right, label 1 at 1 and 2 at 2 come first.
    X_train, y_train = [[-1.0], [0.0], [1.0], [2.0], [6.0]], [0, 0, 1, 2, 2]
    radii = {event: _radius(X_train, y_train, [0.0], 0, 3, event) for event in EVENTS}
    # 2 passes -1 at 0.5: one vote each, the majority is lost and the vote tied, and the smallest label still wins.
    assert radii["majority"] == radii["plurality"] == Fraction(1, 4)
    # 6 passes 0 at 3, after which label 2 has two votes.
    assert radii["predict"] == 9
    # Of the same votes with the labels renamed the largest loses at once.
    renamed = [2, 2, 1, 0, 0]
    assert _radius(X_train, renamed, [0.0], 2, 3, "predict") == Fraction(1, 4)


def test_a_box_confines_and_a_coordinate_outside_keeps_its_value():
    X_train, y_train = [[0.0, 0.0], [2.0, 0.0], [0.0, 4.0]], [0, 1, 1]
    assert _radius(X_train, y_train, [0.0, 0.0], 0, 1, "majority") == 1
    assert _radius(X_train, y_train, [0.0, 0.0], 0, 1, "majority", box=(-9.0, 1.0)) == 1
    below = float(np.nextafter(1, 0))
    # The first wall is now an ulp before the nearer boundary, and the second boundary is beyond it as well.
    assert _radius(X_train, y_train, [0.0, 0.0], 0, 1, "majority", box=(-9.0, below)) is None
    # The first coordinate is above the box: it may stay, but not rise.
    assert _radius(X_train, y_train, [0.5, 0.0], 0, 1, "majority", box=(-9.0, 0.25)) is None
    assert _radius(X_train, y_train, [1.5, 0.0], 1, 1, "majority", box=(-9.0, 0.25)) == Fraction(1, 4)


def test_what_the_metric_does_not_see():
    # Both labels look alike: tied everywhere. Three of a label cannot be outvoted by one.
    assert _radius([[0.0, 1.0], [0.0, 2.0]], [0, 1], [5.0, 5.0], 0, 1, "plurality", G=[[1.0, 0.0]]) == 0
    assert _radius([[0.0], [1.0], [2.0], [3.0]], [0, 0, 0, 1], [0.0], 0, 3, "plurality") is None
    assert _radius([[0.0], [1.0]], [0, 1], [7.0], 0, 1, "majority", G=[[0.0]]) == 0


def test_scales_are_exact():
    for scale in (5e-324, 1e-160, 1e160):
        assert _radius([[0.0], [4 * scale]], [0, 1], [scale], 0, 1, "majority") == Fraction(scale) ** 2
    far = _radius([[0.0], [2.0], [1e300]], [0, 1, 0], [0.25], 0, 1, "majority", G=[[1e-300]])
    assert far == Fraction(9, 16)


def test_standing_at_the_point():
    def of(X_train, y_train, x, y, K, event):
        view = View.of(np.array(X_train, dtype=float)[:, None], np.eye(1), np.array([float(x)]), None)
        return standing(view, y_train, y, K, event)

    tied = of([-1, 1], [0, 1], 0, 0, 1, "plurality")
    assert (tied.lost, tied.tied, tied.other_answer) == (False, True, False)
    lost = of([-1, 2], [0, 1], 1, 0, 1, "plurality")
    assert (lost.lost, lost.tied, lost.other_answer) == (True, False, True)
    votes = of([0, 1, 2], [0, 1, 2], 1, 0, 3, "plurality")
    assert (votes.lost, votes.tied, votes.other_answer) == (True, False, False)
    assert of([0, 1, 2], [0, 1, 2], 1, 1, 3, "plurality").other_answer


def test_integers_are_exact():
    values = [0.1, -3.0, 5e-324, 1e300, 0.0]
    numbers, unit = integers(values)
    assert [number * unit for number in numbers] == [Fraction(value) for value in values]
    assert integers([0.0, 0.0]) == ([0, 0], 1)


def test_the_smallest_label_wins_equal_votes():
    assert answer([3, -1, 3, -1, 7]) == -1
    assert answer([3, 3, 0]) == 3


@pytest.mark.parametrize("K", [1, 3, 5])
def test_radii_agree_with_enumeration_in_floats(K):
    rng = np.random.default_rng(K)
    finite = 0
    for number in range(60):
        X_train, y_train, G, x, y = random_problem(rng, n_max=8)
        P, c = seen_from(x, X_train, G)
        solve = {"solve": by_cvxpy} if number < 3 and K < 5 else {}
        close = 1e-4 if solve else 1e-9
        view = View.of(X_train, G, x, None)
        for event, expected in (
            ("majority", majority_radius(P, c, y_train == y, (K + 1) // 2, **solve)),
            ("plurality", plurality_radius(P, c, y_train, y, K, **solve)),
        ):
            found = sq_radius(view, y_train.tolist(), y, K, event)
            root = np.inf if found is None else float(found) ** 0.5
            finite += 0 < root < np.inf
            assert root == pytest.approx(expected, rel=close, abs=close)
    assert finite > 20


@pytest.mark.parametrize("K", [3, 5])
def test_the_radius_of_a_changed_answer_agrees_with_enumeration_in_floats(K):
    rng = np.random.default_rng(K)
    later = 0
    for _ in range(80):
        X_train, y_train, G, x, y = random_problem(rng, n_max=8)
        P, c = seen_from(x, X_train, G)
        expected = np.inf
        for near in combinations(range(len(y_train)), K):
            counts = np.bincount(y_train[list(near)], minlength=5)
            if counts.argmax() != y:  # the first of equal ones is the smallest label
                rest = np.setdiff1d(np.arange(len(y_train)), near)
                expected = min(expected, cell_value(P, c, list(near), rest, by_nnls))
        view = View.of(X_train, G, x, None)
        found = sq_radius(view, y_train.tolist(), y, K, "predict")
        root = np.inf if found is None else float(found) ** 0.5
        assert root == pytest.approx(expected, rel=1e-9, abs=1e-9)
        tied = sq_radius(view, y_train.tolist(), y, K, "plurality")
        assert found is None or (tied is not None and found >= tied)
        later += found != tied
    assert later > 3


@pytest.mark.parametrize("event", EVENTS)
def test_no_shorter_perturbation_does_it(event):
    rng = np.random.default_rng(4)
    tried = 0
    for _ in range(40):
        X_train, y_train, G, x, y = random_problem(rng, n_max=8)
        found = sq_radius(View.of(X_train, G, x, None), y_train.tolist(), y, 3, event)
        for _ in range(20):
            direction = rng.normal(size=len(x))
            length = 10.0 if found is None else float(found) ** 0.5 * (1 - 1e-9)
            moved = x + direction / np.linalg.norm(direction) * length * rng.choice([1, 0.99, 0.5])
            if (
                found is not None
                and sum((Fraction(a) - Fraction(b)) ** 2 for a, b in zip(moved, x, strict=True)) >= found
            ):
                continue
            there = standing(View.of(X_train, G, moved, None), y_train.tolist(), y, 3, event)
            assert not there.lost
            assert not there.tied
            tried += 1
    assert tried > 200
