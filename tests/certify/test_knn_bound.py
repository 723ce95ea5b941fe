import math
from contextlib import contextmanager

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from arml.certify.knn import theorem1
from arml.certify.knn.theorem1 import BEST_ROWS, certified_radii
from arml.classifier.fitted import Compute
from arml.geometry import Mahalanobis, triplet_margin
from arml.neighbors import MahalanobisKNN
from arml.radii import Status
from tests.certify.fitted import fit
from tests.certify.problems import BY_HAND

# Finer than float64 where the platform has it, so that the literal value's own rounding does not count.
FINE = np.longdouble


def row_values(G, X, y, x, label, k, norm=2):
    """Theorem 1 as it is written: the k-th largest margin of each other-class point, over all same-class points."""
    G, X, x = (np.asarray(part, dtype=FINE) for part in (G, X, x))
    same, other = X[y == label], X[y != label]
    margins = triplet_margin(same[:, None], other[None], x, G.T @ G)
    if norm != 2:
        rows = (same[:, None] - other[None]) @ (G.T @ G)
        dual = np.abs(rows).max(axis=-1) if norm == 1 else np.abs(rows).sum(axis=-1)
        margins = margins * np.sqrt((rows * rows).sum(axis=-1)) / np.where(dual == 0, 1, dual)
    return np.sort(margins, axis=0)[-k]


def literal_radius(G, X, y, x, label, k, norm=2):
    """Theorem 1 as it is written: positive part of the k-th smallest of the rows' values."""
    if (y != label).sum() < k:
        return np.inf
    if (y == label).sum() < k:
        return 0.0
    return max(0.0, np.sort(row_values(G, X, y, x, label, k, norm))[k - 1])


def slack(G, X, x, value):
    """What rounding may take from a value beside a relative 1e-9.

    A squared distance is off by about d eps times the largest of them, a margin by that over twice the distance of the
    rows of its two points. That distance is itself off by a relative d eps times the square of the largest row over it.
    So where two different points have nearly the same row, few digits of their margin are left.
    """
    P = (X - X.mean(axis=0)) @ G.T @ G
    between = np.linalg.norm(P[:, None] - P, axis=-1)
    largest = np.linalg.norm(P, axis=1).max(initial=1e-300)
    farthest = np.linalg.norm((np.vstack([X, x]) - X.mean(axis=0)) @ G.T, axis=1).max() ** 2
    # The margin of coinciding rows is 0 and has nothing to lose; computed ones may differ in the last bits.
    nearest = between[between > 1e-12 * largest].min(initial=np.inf)
    return 1e-13 * farthest / nearest + 1e-14 * (largest / nearest) ** 2 * value


@st.composite
def problems(draw):
    """Training set, factor of a metric of any rank, test points (label 99 is nobody's), and K."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    K, classes = draw(st.sampled_from([1, 3, 5, 7, 9, 11])), draw(st.integers(2, 5))
    n, d = max(draw(st.integers(2, 40)), K, classes), draw(st.integers(1, 5))
    r = draw(st.integers(1, d + 1))
    if draw(st.booleans()):  # small integers: ties, duplicates across classes and singular metrics, without rounding
        span = draw(st.integers(1, 8))
        X, points = (rng.integers(-span, span + 1, size=(m, d)).astype(float) for m in (n, 5))
        G = rng.integers(-2, 3, size=(r, d)).astype(float)
    else:
        X, points, G = rng.normal(size=(n, d)), rng.normal(size=(5, d)), rng.normal(size=(r, d))
        X[rng.integers(n, size=n // 5)] = X[0]
    weights = rng.dirichlet(np.ones(classes))  # some classes come out very small
    y = rng.permutation(np.concatenate([np.arange(classes), rng.choice(classes, n - classes, p=weights)]))
    labels = rng.integers(classes, size=5)
    labels[0] = 99
    if draw(st.booleans()):
        points[1] = X[0]
    return G, X, y, points, labels, K


def certify(G, X, y, points, labels, K, *, norm=2, **options):
    fitted = fit(G, X, y, K)
    return certified_radii(fitted, points, fitted.class_numbers(labels), norm=norm, compute=Compute(**options))


@settings(max_examples=250, deadline=None)
@given(problems(), st.sampled_from([1, "k", 64]), st.sampled_from([2, 1, math.inf]))
def test_the_value_is_that_of_the_theorem_and_never_above_it(problem, first_rows, norm):
    G, X, y, points, labels, K = problem
    k = (K + 1) // 2
    with pytest.MonkeyPatch.context() as patch:
        # With few first candidates the second round, over all rows that still matter, has to find the rest.
        patch.setattr(theorem1, "_FIRST_ROWS", k if first_rows == "k" else first_rows)
        lower = certify(*problem, norm=norm).lower
    for value, x, label in zip(lower, points, labels, strict=True):
        expected = literal_radius(G, X, y, x, label, k, norm)
        assert 0 <= value <= expected
        if np.isfinite(expected):
            assert value >= expected * (1 - 1e-9) - slack(G, X, x, expected)
        else:
            assert value == np.inf


@settings(max_examples=60, deadline=None)
@given(problems())
def test_the_best_rows_are_the_callers_and_hold_the_value(problem):
    G, X, y, points, labels, K = problem
    k = (K + 1) // 2
    found = certify(*problem)
    assert found.rows.shape == (5, BEST_ROWS)
    for value, rows, x, label in zip(found.lower, found.rows, points, labels, strict=True):
        rows = rows[rows >= 0]
        assert len(set(rows)) == len(rows)
        assert (y[rows] != label).all()
        if (y == label).sum() < k or (y != label).sum() < k:
            assert rows.size == 0
        else:
            values = np.full(len(y), np.nan)
            values[y != label] = np.maximum(row_values(G, X, y, x, label, k), 0)
            room = 1e-9 * values[rows].max() + 2 * slack(G, X, x, values[rows].max())
            assert (np.diff(values[rows]) >= -room).all()
            assert values[rows][k - 1] == pytest.approx(value, rel=1e-9, abs=room)


@settings(max_examples=40, deadline=None)
@given(problems(), st.randoms(use_true_random=False))
def test_neither_order_nor_chunks_matter(problem, random):
    G, X, y, points, labels, K = problem
    lower = certify(*problem).lower
    one_at_a_time = certify(*problem, memory_budget=1).lower
    train, test = random.sample(range(len(y)), len(y)), random.sample(range(5), 5)
    shuffled = certify(G, X[train], y[train], points[test], labels[test], K).lower
    room = max(slack(G, X, x, lower[np.isfinite(lower)].max(initial=0)) for x in points)
    np.testing.assert_allclose(one_at_a_time, lower, rtol=1e-9, atol=room)
    np.testing.assert_allclose(shuffled, lower[test], rtol=1e-9, atol=room)


@pytest.fixture
def rounds(monkeypatch):
    """Number of rounds of candidates of each test point certified."""
    counts, evaluate, solve = [], theorem1.PointRows._evaluate, theorem1.PointRows.solve

    def counted_evaluate(*args):
        counts[-1] += 1
        return evaluate(*args)

    def counted_solve(*args):
        counts.append(0)
        return solve(*args)

    monkeypatch.setattr(theorem1.PointRows, "_evaluate", counted_evaluate)
    monkeypatch.setattr(theorem1.PointRows, "solve", counted_solve)
    monkeypatch.setattr(theorem1, "workers", _one_thread)
    return counts


@contextmanager
def _one_thread():
    yield map


@pytest.mark.parametrize("first_rows", [6, 64])
def test_a_second_round_finds_the_rows_that_the_first_candidates_do_not_hold(monkeypatch, rounds, first_rows):
    # Own points around x, and a dense shell of other ones beyond: too many rows with nearly the same bound.
    rng = np.random.default_rng(0)
    direction = rng.normal(size=(700, 3))
    shell = direction / np.linalg.norm(direction, axis=1)[:, None]
    X = np.concatenate([0.9 * shell[:300] * rng.random((300, 1)), shell[300:] * rng.uniform(1.2, 1.3, size=(400, 1))])
    y, points = np.repeat([0, 1], [300, 400]), 0.2 * rng.normal(size=(8, 3))
    monkeypatch.setattr(theorem1, "_FIRST_ROWS", first_rows)
    lower = certify(np.eye(3), X, y, points, np.zeros(8, dtype=int), 11).lower
    assert len(rounds) == 8
    assert max(rounds) == 2
    np.testing.assert_allclose(lower, [literal_radius(np.eye(3), X, y, x, 0, 6) for x in points], rtol=1e-9)


def test_few_rows_are_evaluated_in_full(monkeypatch):
    rng = np.random.default_rng(1)
    y = np.arange(2000) % 2
    X = rng.normal(size=(2000, 4)) + 2 * y[:, None]
    evaluated, values = [], theorem1.PointRows._values
    monkeypatch.setattr(
        theorem1.PointRows, "_values", lambda self, *args: evaluated.append(len(args[0])) or values(self, *args)
    )
    certify(np.eye(4), X, y, X[:20] + 0.1, y[:20], 11)
    assert sum(evaluated) / 20 < 400  # of 1,000 rows per point, 64 of them only over the anchors


# (X_train, y_train, x, label, K, value), with the reasoning beside each.
KNN_BY_HAND = {
    # On a line the margin of x_i < x_j is the way to their midpoint. Rows 4 and 6: second largest over {0, 1} are 2 and
    # 3; the second smallest of these is 3. Indeed at 3 the points 4 and 6 are as near as all of {0, 1} but one.
    "line": ([[0.0], [1.0], [4.0], [6.0]], [0, 0, 1, 1], [0.0], 0, 3, 3.0),
    # The same seen from 0.5, with a far own point, which is of no use.
    "line with a far own point": ([[0.0], [1.0], [4.0], [6.0], [-50.0]], [0, 0, 1, 1, 0], [0.5], 0, 3, 2.5),
    # Others of two classes count together.
    "line of three classes": ([[0.0], [1.0], [4.0], [6.0]], [0, 0, 1, 2], [0.0], 0, 3, 3.0),
    # One other-class point alone cannot outvote two: K = 3 never changes its answer.
    "too few others": ([[0.0], [1.0], [4.0]], [0, 0, 1], [0.0], 0, 3, np.inf),
    # The class has one point, a majority of three needs two.
    "too few own": ([[0.0], [4.0], [5.0]], [0, 1, 1], [0.0], 0, 3, 0.0),
    # Each own point has a double of the other class: the third neighbour is one of two as near as each other.
    "duplicates across classes": ([[0.0], [1.0], [0.0], [1.0]], [0, 0, 1, 1], [0.0], 0, 3, 0.0),
    # x is as near to the second other-class point as to the second own one.
    "tie": ([[0.0], [-2.0], [1.0], [2.0]], [0, 0, 1, 1], [0.0], 0, 3, 0.0),
    # Margins (4 - 1) / (2 sqrt(5)) of both own points: less than the true 0.75, where two bisectors cross.
    "corner": ([[0.0, 1.0], [0.0, -1.0], [2.0, 0.0]], [0, 0, 1], [0.0, 0.0], 0, 1, 3 / (2 * math.sqrt(5))),
}


@pytest.mark.parametrize("name", KNN_BY_HAND)
def test_value_known_by_hand(name):
    X, y, x, label, K, expected = KNN_BY_HAND[name]
    d = len(x)
    lower = certify(np.eye(d), np.array(X), np.array(y), np.array([x]), np.array([label]), K).lower[0]
    assert lower == pytest.approx(expected, rel=1e-9)
    assert lower <= expected


@pytest.mark.parametrize("name", BY_HAND)
def test_one_neighbor_is_never_above_the_exact_radius_known_by_hand(name):
    X, y, x, label, expected = BY_HAND[name]
    knn = MahalanobisKNN(1).fit(np.array(X), np.array(y))
    bounds = knn.certified_radius(np.array([x]), np.array([label]))
    assert bounds.lower[0] <= expected
    if len(x) == 1:  # on a line one bisector decides, and the theorem is tight
        assert bounds.lower[0] == pytest.approx(expected, rel=1e-9)


@settings(max_examples=30, deadline=None)
@given(problems())
def test_one_neighbor_is_never_above_the_exact_radius(problem):
    G, X, y, points, labels, _ = problem
    knn = MahalanobisKNN(1, metric=Mahalanobis.from_components(G)).fit(X, y)
    certified, exact = knn.certified_radius(points, labels), knn.exact_radius(points, labels)
    assert (certified.lower <= exact.upper * (1 + 1e-9)).all()
    # Which of two points exactly as near decides an answer says nothing about it being wrong.
    wrong, tied = knn.predict(points) != labels, exact.status == Status.TIED.value
    np.testing.assert_array_equal(certified.status == Status.MISCLASSIFIED.value, wrong & ~tied)
    assert (certified.lower[wrong | tied] == 0).all()


@pytest.mark.parametrize(("metric_scale", "data_scale"), [(1e-150, 1.0), (1e150, 1e140), (1.0, 1e-140)])
def test_neither_tiny_nor_huge_numbers_change_a_value(metric_scale, data_scale):
    rng = np.random.default_rng(6)
    X, points, y = *rng.normal(size=(2, 30, 3)), np.arange(30) % 3
    for norm in (2, 1, math.inf):
        expected = certify(np.eye(3), X, y, points, y, 5, norm=norm).lower
        scaled = certify(metric_scale * np.eye(3), data_scale * X, y, data_scale * points, y, 5, norm=norm).lower
        np.testing.assert_allclose(scaled / data_scale, expected, rtol=1e-9, atol=1e-12)
        assert expected.max() > 0.1


def test_far_from_the_origin_no_digit_is_lost():
    rng = np.random.default_rng(2)
    X, points = np.round(rng.normal(size=(2, 30, 3)) * 2**20) / 2**20  # on a binary grid the shift is exact
    y = np.arange(30) % 2
    here = certify(np.eye(3), X, y, points, y, 3).lower
    there = certify(np.eye(3), X + 1e6, y, points + 1e6, y, 3).lower
    np.testing.assert_allclose(there, here, rtol=1e-9, atol=1e-10)
    assert here.max() > 0.1


def test_progress_counts_every_point_once():
    rng = np.random.default_rng(3)
    X, y, points = rng.normal(size=(20, 2)), np.arange(20) % 2, rng.normal(size=(7, 2))
    done = []
    certify(np.eye(2), X, y, points, np.array([0, 1, 0, 1, 99, 0, 1]), 3, progress=done.append)
    assert sum(done) == 7
