"""Closed-form bounds of all inner problems: the values of eq. (8), and never above them in rational arithmetic."""

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
import torch

from arml.certify.one_nn.screening import ANCHORS, _squares, closed_form, screen
from arml.geometry import triplet_margin
from tests.certify.fitted import fit
from tests.certify.rationals import at_most, dot, fractions, hostile, minus, on_the_bisector
from tests.classifier.test_rounding import in_units


def screened(fitted, points, label):
    """Bounds (t, n) in the order of the training set in class order, and the rows of the anchors."""
    train = fitted.train
    own, at = train.classes[label], train.see(points)
    C = train.sq_distances(at, train.pessimistic(own))
    nearest = C[:, own].topk(min(ANCHORS, own.stop - own.start), dim=1, largest=False).indices + own.start
    return screen(train, own, C, at.share), own, nearest.numpy()


def test_screening_is_the_best_closed_form_over_the_anchors():
    rng = np.random.default_rng(2)
    X, y, G = rng.normal(size=(80, 6)), rng.integers(3, size=80), rng.normal(size=(4, 6))
    points = rng.normal(size=(9, 6))
    fitted = fit(G, X, y)
    lower, own, anchors = screened(fitted, points, 1)
    order, M = fitted.train.order, G.T @ G
    for t, x in enumerate(points):
        distances = np.einsum("nd,de,ne->n", X - x, M, X - x)[order]
        np.testing.assert_array_equal(anchors[t], np.argsort(distances[own])[:ANCHORS] + own.start)
        for j in np.flatnonzero(y[order] != 1):
            best = max(triplet_margin(X[order[i]], X[order[j]], x, M) for i in anchors[t])
            # Proven bounds are rounded down, but only by rounding.
            assert lower[t, j] * fitted.frame.unit <= max(best, 0.0) + 1e-15
            assert lower[t, j] * fitted.frame.unit >= max(best, 0.0) - 1e-9
    assert torch.isinf(lower[:, own]).all()
    assert torch.isfinite(lower[:, : own.start]).all()
    assert (lower >= 0).all()


@pytest.mark.parametrize("seed", range(160))
def test_no_bound_is_above_the_closed_form_in_rationals(seed):
    G, X, x = hostile(seed, n=10)
    y = np.arange(10) % 2
    points = np.stack([x, on_the_bisector(X, x, 0, 1, G), on_the_bisector(X, x, 2, 3, G)])
    # Farther from the boundary by little, so that what rounding takes is most of what there is.
    points[1] += 1e-6 * (X[0] - points[1])
    fitted = fit(G, X, y)
    order = fitted.train.order
    for label in (0, 1):
        lower, own, anchors = screened(fitted, points, label)
        for t, point in enumerate(points):
            c, P = in_units(fitted, X[order], point)
            for j in range(10):
                if own.start <= j < own.stop or lower[t, j] == 0:
                    continue
                # At least one of the anchors alone shows as much.
                rows = [minus(P[j], P[i]) for i in anchors[t]]
                margins = [((c[j] - c[i]) / 2, dot(row, row)) for i, row in zip(anchors[t], rows, strict=True)]
                assert any(at_most(lower[t, j].item(), gain, square) for gain, square in margins)


def pairs_of_points(seed):
    """Points of two classes that are close to each other and far from the middle of all: (G, X, y)."""
    rng = np.random.default_rng([seed, 8])
    d, apart = int(rng.integers(2, 5)), 10.0 ** -rng.uniform(0, 8)
    directions = rng.normal(size=(6, d))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    X = np.concatenate([directions, directions * (1 + apart) + 0.1 * apart * rng.normal(size=(6, d))])
    G = np.eye(d) if seed % 2 else rng.normal(size=(d, d))
    return G, X, np.repeat([0, 1], 6)


def flat_points(seed):
    """Points far apart along a direction that G hardly sees, so that their rows are much smaller than what cancels."""
    rng = np.random.default_rng([seed, 10])
    G = np.array([[1.0, 1.0], [1.0, 1.0 + 10.0 ** -rng.uniform(4, 8)]])
    X = rng.normal(size=(12, 2)) + np.outer(rng.normal(size=12), [1.0, -1.0]) * 10.0 ** rng.uniform(4, 7)
    return G, X, np.repeat([0, 1], 6)


@pytest.mark.parametrize("layout", [pairs_of_points, flat_points])
@pytest.mark.parametrize("seed", range(60))
def test_no_denominator_is_below_the_distance_of_two_rows(seed, layout):
    G, X, y = layout(seed)
    train = fit(G, X, y).train
    exact = in_units(fit(G, X, y), X[train.order], np.zeros(len(X[0])))[1]
    anchor = torch.arange(12)
    half, none = torch.ones(12, 12, dtype=torch.float64), torch.zeros(12, dtype=torch.float64)
    inverse = closed_form(train, _squares(train), half, none, anchor)
    for i in range(12):
        for j in range(12):
            row = minus(exact[i], exact[j])
            assert Fraction(inverse[i, j].item()) ** 2 * dot(row, row) <= 1


@pytest.mark.parametrize("seed", range(20))
def test_declared_errors_of_rows_at_their_worst_leave_no_denominator_too_small(seed):
    rng = np.random.default_rng(seed)
    X, y = rng.normal(size=(8, 3)), np.arange(8) % 2
    train = fit(np.eye(3), X, y).train
    P, error = train.P, 10.0 ** -rng.uniform(2, 9) * rng.random(8)
    for i, j in ((0, 4), (1, 7)):
        way = (P[j] - P[i]) / np.linalg.norm(P[j] - P[i])
        seen = P.copy()
        seen[i] += (1 - 1e-9) * error[i] * way
        seen[j] -= (1 - 1e-9) * error[j] * way
        rows = torch.from_numpy(seen)
        off = replace(
            train, P_device=rows, sq_norm_device=(rows * rows).sum(-1), p_error_device=torch.from_numpy(error)
        )
        half, none = torch.ones(1, 8, dtype=torch.float64), torch.zeros(1, dtype=torch.float64)
        inverse = closed_form(off, _squares(off), half, none, torch.tensor([i]))
        row = minus(fractions(P[j]), fractions(P[i]))
        assert Fraction(inverse[0, j].item()) ** 2 * dot(row, row) <= 1
