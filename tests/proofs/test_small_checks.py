"""Parts of the check on a handful of numbers: what errors are added up to, and the edges of what is taken."""

import sys
from fractions import Fraction
from types import SimpleNamespace

import numpy as np
import pytest

from arml.proofs import Subject
from arml.proofs.entry_check import Segments, dual_bounds
from arml.proofs.precision import DOUBLE, EXTENDED, Factor, middle, power_of_two
from arml.proofs.products import _ends, _slack
from arml.proofs.tree_check import TreeCheck
from arml.proofs.verdict import CheckFailedError
from arml.proofs.view import Pairs, View, row_values, scaled, still_unshown
from tests.proofs.handmade import about, result_of, sq_radius


def two_rows(b=(-1.0, -1.0), A_error=0.0, b_error=0.0):
    """The rows x <= b_0 and y <= b_1: what satisfies them is sqrt(2) long for b = (-1, -1)."""
    used = Segments(np.array([0]), np.arange(2), np.zeros(2, dtype=np.int64), np.array([0]))
    return used, Pairs(np.eye(2), np.array(b), np.full(2, A_error), np.full(2, b_error))


def shown(goal, weight=(1.0, 1.0), **changes):
    used, pairs = two_rows(**changes)
    return bool(dual_bounds(used, pairs, np.ones(2, bool), np.array(weight), np.array([goal]), DOUBLE)[0])


@pytest.mark.parametrize("scale", [1.0, 1e-300, 1e300])
def test_weak_duality_shows_the_distance_whatever_the_weights_size(scale):
    weight = (scale, scale)
    assert shown(np.sqrt(2) * (1 - 1e-13), weight)
    assert not shown(np.sqrt(2) * (1 + 1e-13), weight)
    # One row alone, and rows in other proportions: gain 3 over a length of sqrt(5).
    assert shown(1 - 1e-13, (scale, 0.0))
    assert not shown(1 + 1e-13, (scale, 0.0))
    assert shown(3 / np.sqrt(5) * (1 - 1e-13), (scale, 0.5 * scale))
    assert not shown(3 / np.sqrt(5) * (1 + 1e-13), (scale, 0.5 * scale))


def test_weak_duality_counts_every_error():
    # Limits that are 0.1 off: gain 1.8; rows that are 0.1 off in norm: length sqrt(2) + 0.2.
    assert shown(1.79 / np.sqrt(2), b_error=0.1)
    assert not shown(1.81 / np.sqrt(2), b_error=0.1)
    assert shown(2 / (np.sqrt(2) + 0.203), A_error=0.1)
    assert not shown(2 / (np.sqrt(2) + 0.199), A_error=0.1)
    # Without a gain nothing is shown.
    assert not shown(1e-300, b=(1.0, -1.0))
    assert not shown(1e-300, weight=(0.0, 0.0))
    # The rounding of a single product of two numbers counts.
    assert not shown(np.sqrt(2))


def test_bounds_of_products_hold_for_errors_of_any_size():
    """Errors far beyond rounding: squared distances of points that may be that far from where they are computed."""
    rng = np.random.default_rng(0)
    Z, error = rng.normal(size=(6, 3)), np.full(6, 1e-3)
    sq = (Z * Z).sum(axis=1)
    left, _ = _ends(Z, sq, error, -1.0)
    _, right = _ends(Z, sq, error, -1.0)
    least = left @ right.T
    left, right = _ends(Z, sq, error, 1.0)
    most = left @ right.T
    apart = np.linalg.norm(Z[:, None] - Z[None], axis=2)
    assert (least <= np.maximum(apart - 2e-3, 0) ** 2).all()
    assert (most >= (apart + 2e-3) ** 2).all()
    # By hand for one: rounding, and the error's share.
    expected = DOUBLE.gamma(4 * 3 + 32) * sq + 2.1 * 1e-6 / 1e-13
    np.testing.assert_allclose(_slack(3, sq, error), expected)
    exact = _slack(3, sq, np.zeros(6))
    assert (exact >= (3 + 2) * DOUBLE.u * sq).all()
    assert (exact <= 1e-14 * sq).all()


def test_powers_of_two_and_typical_sizes():
    values = (1.0, 1.5, 2.0, 0.75, 1e300, 1e-300)
    assert [power_of_two(value) for value in values] == [1, 1, 2, 0.5, 2.0**500, 2.0**-500]
    assert [power_of_two(value) for value in (0.0, -1.0, np.inf, np.nan)] == [1.0] * 4
    assert middle(np.array([1.0, 5.0, 1e9])) == 5.0
    assert middle(np.array([0.0, 0.0, 7.0])) == 7.0
    assert middle(np.zeros(0)) == 1.0
    assert DOUBLE.u == 2.0**-53
    assert DOUBLE.gamma(10) >= 10 * DOUBLE.u / (1 - 10 * DOUBLE.u)
    assert EXTENDED.u == DOUBLE.u or EXTENDED.u == np.finfo(np.longdouble).eps / 2


def test_bounds_in_another_unit_are_rounded_up():
    rng = np.random.default_rng(1)
    goal = rng.random(200)
    for value, found in zip(goal, scaled(goal, 3.0), strict=True):
        assert Fraction(float(found)) >= Fraction(float(value)) / 3
        assert found == pytest.approx(value / 3, rel=1e-14)
    assert scaled(np.zeros(1), 1.0)[0] > 0


@pytest.mark.parametrize("plain", [False, True])
def test_factors_say_how_far_off_they_are(plain):
    rng = np.random.default_rng(2)
    G = np.eye(3) if plain else rng.normal(size=(2, 3))
    factor = Factor.of(G)
    assert factor.is_identity == plain
    T, error = rng.normal(size=(5, 3)), np.full((5, 3), 1e-3)
    for sign in (-1.0, 1.0):
        # Every coordinate at its worst.
        off = T + sign * (1e-3 - 1e-12) * np.sign(rng.normal(size=T.shape))
        Z, Z_error = factor.embed(T, error)
        assert (np.abs(off @ factor.G.T - Z) <= Z_error).all()
        P, P_error = factor.rows(Z, Z_error)
        assert (np.linalg.norm(off @ factor.G.T @ factor.G - P, axis=1) <= P_error).all()
        sq, sq_error = factor.sq_norms(Z, Z_error)
        assert (np.abs(((off @ factor.G.T) ** 2).sum(axis=1) - sq) <= sq_error).all()
    # Of the size of what can happen.
    absolute = np.abs(factor.G)
    np.testing.assert_allclose(Z_error, (1.01 - 0.01 * plain) * error @ absolute.T, rtol=1e-9)
    worst = np.linalg.norm(Z_error if plain else 1.01 * Z_error @ absolute, axis=1)
    np.testing.assert_allclose(P_error, 1.01 * worst, rtol=1e-9)
    size = 1.01 * np.linalg.norm(Z_error, axis=1)
    np.testing.assert_allclose(sq_error, (2.01 * np.sqrt(sq) + size) * size, rtol=1e-9)


class _Leaf(TreeCheck):
    """What `_check_pairs` needs of a tree: K = 3, k = 2, two other-class points and three of the label."""

    def __init__(self, full_cells):
        self.own, self.K, self.k, self.full_cells = np.array([False, False, True, True, True]), 3, 2, full_cells


def pairs_fail(states, low, high, full_cells=False):
    try:
        _Leaf(full_cells)._check_pairs(np.array([states], np.int8), np.array([0]), np.array([low]), np.array([high]))
    except CheckFailedError as failure:
        return str(failure)
    return ""


def test_pairs_are_of_points_that_are_there():
    for low, high in ((5, 2), (0, 5), (-1, 2), (0, -1)):
        assert pairs_fail([1, 0, -1, 0, 0], low, high) == "evidence on an unknown point"
    assert pairs_fail([1, 0, -1, 0, 0], 0, 2) == ""
    assert pairs_fail([1, 0, 0, 0, -1], 0, 4) == ""


def test_pairs_are_of_a_low_and_a_high_point():
    undecided = "evidence on a pair that is undecided"
    assert pairs_fail([0, 0, -1, 0, 0], 0, 2) == undecided
    assert pairs_fail([-1, 0, -1, 0, 0], 0, 2) == undecided
    assert pairs_fail([1, 0, 0, 0, 0], 0, 2) == undecided
    assert pairs_fail([1, 0, 1, 0, 0], 0, 2) == undecided
    # With k - 1 = 1 of the label low the others of the label are high; with k = 2 others low, no further other is.
    assert pairs_fail([1, 0, 1, 0, 0], 0, 3) == ""
    assert pairs_fail([1, 0, 1, 0, 0], 0, 1) == undecided
    assert pairs_fail([1, 0, 0, 0, 0], 0, 1) == undecided
    # Where K points are low all others are high; two low ones of other classes do not fill a cell of the vote.
    assert pairs_fail([1, 1, 1, 0, 0], 0, 4, full_cells=True) == ""
    assert pairs_fail([1, 1, 0, 0, 0], 0, 4, full_cells=True) == undecided


def many_points(seed, k):
    """Others (rows 0-4) and points of the label (5-12) around x, and the square of each other's row value."""
    rng = np.random.default_rng(seed)
    G, X, x = rng.normal(size=(2, 2)), rng.normal(size=(13, 2)), 0.3 * rng.normal(size=2)
    subject = Subject(G, X, np.array([1] * 5 + [0] * 8), x[None], np.zeros(1, dtype=np.int64))
    squares = [sorted((sq_radius(G, X[i], X[j], x) for i in range(5, 13)), reverse=True)[k - 1] for j in range(5)]
    return subject, x, squares


@pytest.mark.parametrize("k", [1, 2, 3])
def test_rows_are_shown_up_to_their_value_and_no_further(k):
    shown = 0
    for seed in range(12):
        subject, x, squares = many_points(seed, k)
        roots = np.sqrt([max(float(square), 0.0) for square in squares])
        # Named in an order that is not that of the distances; others of other places are no points of the label.
        rows, view = np.array([3, 0, 4, 1, 2]), View.of(subject, x, np.arange(13))
        found = row_values(view, np.arange(5), np.arange(5, 13), k) * view.unit
        np.testing.assert_allclose(found, roots, rtol=1e-9, atol=1e-12)
        for value, square in zip(found, squares, strict=True):
            assert value <= 0 or Fraction(float(value)) ** 2 <= square
        for j in rows:
            if roots[j] > 0:
                shown += 1
                below, above = float(roots[j] * (1 - 1e-9)), float(roots[j] * (1 + 1e-9))
                assert not len(still_unshown(subject, x, np.array([j]), k, 0, below))
                assert still_unshown(subject, x, np.array([j]), k, 0, above).tolist() == [j]
        least = rows[np.argmin(roots[rows])]
        if roots[least] > 0:
            assert not len(still_unshown(subject, x, rows, k, 0, float(roots[least] * (1 - 1e-9))))
            assert least in still_unshown(subject, x, rows, k, 0, float(roots[least] * (1 + 1e-9)))
    assert shown > 10


def test_rows_need_enough_points_of_the_label():
    subject, x, _ = many_points(0, 1)
    view = View.of(subject, x, np.arange(13))
    assert row_values(view, np.arange(5), np.arange(5, 7), 3).tolist() == [0.0] * 5
    assert len(row_values(view, np.arange(0), np.arange(5, 13), 1)) == 0
    assert row_values(view, np.arange(5), np.arange(5, 8), 3).shape == (5,)
    # Nothing is shown of any row where there are too few, and nothing is left of none.
    assert still_unshown(subject, x, np.arange(5), 9, 0, 1e-9).tolist() == [0, 1, 2, 3, 4]
    assert len(still_unshown(subject, x, np.arange(0), 1, 0, 1.0)) == 0
    assert len(still_unshown(subject, x, np.arange(0), 9, 0, 1.0)) == 0


def test_exact_arithmetic_is_asked_where_that_costs_little(monkeypatch):
    """A point that is refused is looked at again if the training set is small, and only then."""
    # The package's name for it is the function.
    checker = sys.modules["arml.proofs.check"]
    asked, real = [], checker.rational.check

    def noted(result, **options):
        asked.append(options)
        return real(result, **options)

    monkeypatch.setattr(checker.rational, "check", noted)
    subject = about(np.eye(1), [[0.0], [2.0]], [0, 1], [0.25], 0)
    honest = result_of(subject, 0.75 * (1 - 1e-9), 0.75 * (1 + 1e-9), "exact", [0.75 * (1 + 1e-9)])
    forged = result_of(subject, 0.76, 0.77, "bounded", [0.77])
    assert checker.check(honest).ok.all()
    assert not asked
    assert not checker.check(forged).ok.any()
    assert [options["points"] for options in asked] == [[0]]
    monkeypatch.setattr(checker, "_EXACT_WORK", 1)
    assert not checker.check(forged).ok.any()
    assert len(asked) == 1


@pytest.mark.parametrize(("processors", "sizes"), [(1, [6, 1]), (2, [3, 3, 1]), (None, [6, 1]), (100, [1] * 7)])
def test_what_is_looked_at_at_a_time_fits_the_memory_of_all_threads(monkeypatch, processors, sizes):
    checker = sys.modules["arml.proofs.check"]
    monkeypatch.setattr(checker.os, "cpu_count", lambda: processors)
    monkeypatch.setattr(checker, "_MEMORY", 6 * 8 * 10 * checker._ARRAYS)
    subject = SimpleNamespace(X_train=np.zeros((10, 1)), y=np.array([0] * 7 + [1]))
    chunks = checker._chunks(SimpleNamespace(subject=subject), np.arange(8))
    assert [len(chunk) for chunk in chunks] == [*sizes, 1]
    assert np.concatenate(chunks).tolist() == list(range(8))
