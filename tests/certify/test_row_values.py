"""Row values of Theorem 1 and their bounds are never above those of exact arithmetic, on data where rounding counts."""

import math
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
import torch

from arml.certify.knn.theorem1 import PointRows, row_bounds
from arml.certify.one_nn.screening import screen
from arml.classifier.homes import sights
from tests.certify.fitted import fit
from tests.certify.rationals import dot, hostile, minus, on_the_bisector
from tests.classifier.test_rounding import in_units


def dual_square(row, norm):
    """Square of the dual norm of a row: a rational."""
    if norm == 2:
        return dot(row, row)
    return (max(map(abs, row)) if norm == 1 else sum(map(abs, row))) ** 2


def exact_squares(c, P, own, k, norm):
    """Squares of the row values of all points (n,): the k-th largest margin over ``own``, or 0. None for own points."""
    result = []
    for j in range(len(c)):
        if own.start <= j < own.stop:
            result.append(None)
            continue
        margins = []
        for i in range(own.start, own.stop):
            ahead, square = c[j] - c[i], dual_square(minus(P[j], P[i]), norm)
            # Points that M cannot tell apart are as near as each other.
            margins.append(ahead * ahead / (4 * square) if ahead > 0 and square else Fraction(0))
        result.append(sorted(margins, reverse=True)[k - 1])
    return result


def problem(seed):
    """A classifier, its training points, and points near boundaries, far from them, and among them."""
    G, X, x = hostile(seed, n=14)
    points = np.stack([x, on_the_bisector(X, x, 0, 1, G), on_the_bisector(X, x, 2, 5, G)])
    points[1] += 1e-6 * (X[0] - points[1])
    K = (1, 3, 5)[seed % 3]
    return fit(G, X, np.arange(14) % 2, K), X, points


@pytest.mark.parametrize("norm", [2, 1, math.inf])
@pytest.mark.parametrize("seed", range(60))
def test_neither_bounds_nor_values_are_above_the_truth(seed, norm):
    fitted, X, points = problem(seed)
    k, own, positive = fitted.k, fitted.train.classes[0], 0
    for sight in sights(fitted, points, own):
        bounds, anchors = row_bounds(sight, own, k, norm)
        for q, position in enumerate(sight.positions):
            c, P = in_units(fitted, X[fitted.train.order], points[position])
            exact = exact_squares(c, P, own, k, norm)
            rows = PointRows(sight.train, own, sight.C[q].numpy(), float(sight.share[q]), k, norm)
            others = np.arange(own.stop, 14)
            over_all, over_anchors = rows._values(others, own), rows._values(others, anchors[q].numpy())
            for j, value, fewer in zip(others, over_all, over_anchors, strict=True):
                assert Fraction(bounds[q, j].item()) ** 2 <= exact[j]
                assert Fraction(value.item()) ** 2 <= exact[j]
                assert Fraction(fewer.item()) ** 2 <= exact[j]
                assert fewer <= value
                positive += value > 0
    assert positive > 0


def test_a_row_value_is_that_of_the_k_th_same_class_point_and_not_of_the_nearest():
    # Seen from 0, the other-class point at 10 passes the points at 9 (half-way 9.5), 4 (7) and 1 (5.5) in that order.
    X, y, x = np.array([[1.0], [4.0], [9.0], [10.0]]), np.array([0, 0, 0, 1]), np.zeros((1, 1))
    for K, value in ((1, 9.5), (3, 7.0), (5, 5.5)):
        fitted = fit(np.eye(1), np.vstack([X, [[50.0]]]), np.append(y, 1), K)
        own, unit = fitted.train.classes[0], fitted.frame.unit
        (sight,) = sights(fitted, x, own)
        bounds, anchors = row_bounds(sight, own, fitted.k, 2)
        rows = PointRows(sight.train, own, sight.C[0].numpy(), float(sight.share[0]), fitted.k, 2)
        assert rows._values(np.array([3]), own)[0] * unit == pytest.approx(value, rel=1e-9)
        assert rows._values(np.array([3]), own)[0] * unit <= value
        # Bound 1 of the theorem's module, by hand: (c_j - C) / (2 (E + e_j)) with C = E^2 and e_j = 10.
        E = (1.0, 4.0, 9.0)[fitted.k - 1]
        assert bounds[0, 3].item() * unit == pytest.approx((100 - E * E) / (2 * (E + 10)), rel=1e-9)
        assert sorted(anchors[0].tolist()) == list(range(min(2 * fitted.k, 3)))


@pytest.mark.parametrize("seed", range(30))
def test_rows_below_a_threshold_are_all_there_is_in_ascending_order(seed):
    rng = np.random.default_rng(seed)
    X, G, y = rng.normal(size=(700, 3)), rng.normal(size=(3, 3)), np.arange(700) % 2
    fitted = fit(G, X, y, 5)
    own = fitted.train.classes[0]
    (sight,) = sights(fitted, X[:1] * 0.5, own)
    bounds, anchors = row_bounds(sight, own, 3, 2)
    rows = PointRows(sight.train, own, sight.C[0].numpy(), float(sight.share[0]), 3, 2)
    everything = np.arange(own.stop, 700)
    values = rows._values(everything, own)
    threshold = float(np.quantile(values, 0.3))
    found, ordered = rows.below(bounds[0].numpy(), anchors[0].numpy(), threshold)
    # Products over blocks of rows may differ in the last bit.
    expected = everything[values < threshold * (1 - 1e-12)]
    assert set(expected.tolist()) <= set(found.tolist())
    assert (values[found - own.stop] <= threshold * (1 + 1e-12)).all()
    assert (np.diff(ordered) >= 0).all()
    np.testing.assert_allclose(ordered, values[found - own.stop], rtol=1e-9)


@pytest.mark.parametrize("direction", [[1.0], [0.6, 0.8]])
@pytest.mark.parametrize("seed", range(60))
def test_on_a_line_where_the_triangle_inequality_is_an_equality_no_bound_is_above_the_truth(seed, direction):
    """Same-class points on one side of x and the others on the other side, far from where most points are."""
    rng = np.random.default_rng([seed, 2])
    u, d = np.array(direction), len(direction)
    x = 10.0 ** rng.uniform(0, 3) * np.ones(d)
    X = np.concatenate(
        [x - rng.random((3, 1)) * u, x + (1 + rng.random((3, 1))) * u, rng.normal(size=(40, d)) - 50 * np.ones(d)]
    )
    y = np.concatenate([np.zeros(3), np.ones(3), 2 * np.ones(40)]).astype(int)
    fitted = fit(np.eye(d), X, y, (1, 3, 5)[seed % 3])
    own, positive = fitted.train.classes[0], 0
    for sight in sights(fitted, x[None], own):
        bounds, _ = row_bounds(sight, own, fitted.k, 2)
        exact = exact_squares(*in_units(fitted, X[fitted.train.order], x), own, fitted.k, 2)
        for j in range(3, 6):
            assert Fraction(bounds[0, j].item()) ** 2 <= exact[j]
            positive += bounds[0, j].item() > 0
    assert positive == 3


@pytest.mark.parametrize("seed", range(40))
def test_a_test_points_share_at_its_worst_raises_nothing_above_the_truth(seed):
    """Others are seen too far and the class too near, by all of a share that is declared: on a line, and anywhere."""
    rng = np.random.default_rng([seed, 11])
    x, k = np.zeros(3), (1, 2, 3)[seed % 3]
    X = rng.normal(size=(12, 3))
    if seed % 2:
        X = np.outer(np.concatenate([-rng.random(6), 1.1 + rng.random(6)]), [0.6, 0.8, 0.0])
    else:
        X[6:] *= 4
    fitted = fit(np.eye(3), X, np.repeat([0, 1], 6), 2 * k - 1)
    own, train = fitted.train.classes[0], fitted.train
    (sight,) = sights(fitted, x[None], own)
    share = torch.full((1,), 10.0 ** -rng.uniform(2, 8), dtype=torch.float64)
    worst = sight.C + share * (1 - 1e-9)
    worst[:, own] = sight.C[:, own] - share * (1 - 1e-9)
    off = replace(sight, C=worst, share=share)
    exact = exact_squares(*in_units(fitted, X[train.order], x), own, k, 2)
    bounds, _ = row_bounds(off, own, k, 2)
    screened = screen(train, own, worst, share)
    values = PointRows(train, own, worst[0].numpy(), share.item(), k, 2)._values(np.arange(6, 12), own)
    best = exact_squares(*in_units(fitted, X[train.order], x), own, 1, 2)
    assert (values > 0).sum() > 1
    for j in range(6, 12):
        assert Fraction(bounds[0, j].item()) ** 2 <= exact[j]
        assert Fraction(values[j - 6].item()) ** 2 <= exact[j]
        assert Fraction(screened[0, j].item()) ** 2 <= best[j]
