"""Distances and rows from matrix products against rational arithmetic: each point's own share bounds their rounding."""

from fractions import Fraction

import numpy as np
import pytest
import torch

from arml.classifier.rounding import (
    UNIT_ROUNDOFF,
    balance,
    distance_share,
    embedding_error,
    gamma,
    magnitudes,
    row_share,
)
from tests.certify.fitted import fit
from tests.certify.rationals import dot, hostile, minus, seen


def in_units(fitted, X, x):
    """Squared distances and rows in rationals, in the units of the classifier's frame."""
    unit, divisor = Fraction(fitted.frame.unit), Fraction(fitted.frame.divisor)
    c, P = seen(fitted.metric.components, X, x)
    scale = divisor * divisor
    return [v / (scale * unit * unit) for v in c], [[v / (scale * unit) for v in row] for row in P]


def fractions_of(tensor):
    return [Fraction(v) for v in tensor.tolist()]


def problem(seed):
    """A prepared classifier and test points for which rounding matters; every other one with a far training row."""
    G, X, x = hostile(seed, n=12)
    if seed % 2:
        X[-1] *= 10.0 ** (seed % 9)
    y = np.arange(12) % 3
    return fit(G, X, y), X, np.stack([x, X[0] + 1e-3 * (x - X[1]), X[3]])


@pytest.mark.parametrize("seed", range(60))
def test_a_squared_distance_is_off_by_at_most_the_shares_of_its_two_points(seed):
    fitted, X, points = problem(seed)
    train = fitted.train
    at = train.see(points)
    C, shares = train.sq_distances(at), fractions_of(train.share)
    for t, x in enumerate(points):
        exact, own = in_units(fitted, X[train.order], x)[0], Fraction(float(at.share[t]))
        for i, computed in enumerate(fractions_of(C[t])):
            assert abs(computed - exact[i]) <= own + shares[i]


@pytest.mark.parametrize("seed", range(60))
def test_pessimistic_distances_err_to_one_side_but_for_the_test_points_share(seed):
    fitted, X, points = problem(seed)
    train = fitted.train
    at = train.see(points)
    for own in train.classes.values():
        C = train.sq_distances(at, train.pessimistic(own))
        for t, x in enumerate(points):
            exact, share = in_units(fitted, X[train.order], x)[0], Fraction(float(at.share[t]))
            for i, computed in enumerate(fractions_of(C[t])):
                if own.start <= i < own.stop:
                    assert computed >= exact[i] - share
                else:
                    assert computed <= exact[i] + share


@pytest.mark.parametrize("seed", range(60))
def test_a_difference_of_two_rows_is_off_by_at_most_their_two_shares(seed):
    fitted, X, _ = problem(seed)
    train = fitted.train
    # Seen from the first point, whose row is then 0.
    for i in range(0, 12, 3):
        exact = in_units(fitted, X[train.order], X[train.order[i]])[1]
        for j in range(12):
            computed = [Fraction(v) for v in (train.P[j] - train.P[i]).tolist()]
            off = minus(computed, exact[j])
            assert dot(off, off) <= (Fraction(float(train.p_error[i])) + Fraction(float(train.p_error[j]))) ** 2


@pytest.mark.parametrize("d", [1, 5, 60])
def test_shares_are_of_use(d):
    rng = np.random.default_rng(d)
    X, G = torch.from_numpy(rng.normal(size=(20, d))), torch.from_numpy(rng.normal(size=(d, d)))
    h = magnitudes(X, G)
    np.testing.assert_allclose(h.numpy(), np.linalg.norm(np.abs(X.numpy()) @ np.abs(G.numpy()).T, axis=1), rtol=1e-12)
    sq_norm = ((X @ G.T) ** 2).sum(-1)
    t = balance(sq_norm, h, G)
    # Hardly more than the bound of an inner product of embedded points, and what embedding them costs.
    error = embedding_error(h, G)
    assert (error <= (d + 3) * UNIT_ROUNDOFF * h).all()
    share = distance_share(sq_norm, h, G, t)
    assert (share <= 2.1 * (d + 9) * UNIT_ROUNDOFF * sq_norm + 2.1 * (t * sq_norm + (1 + 1 / t) * error**2)).all()
    # The balance is near the best: a factor of 4 either way gives larger shares in the middle.
    for factor in (0.25, 4.0):
        assert share.median() < distance_share(sq_norm, h, G, factor * t).median()
    size = float(G.abs().sum(dim=0).max() * G.abs().sum(dim=1).max()) ** 0.5
    assert (row_share(sq_norm, h, G) <= (3 * d + 20) * UNIT_ROUNDOFF * size * h).all()
    eye = torch.eye(d, dtype=torch.float64)
    assert (magnitudes(X, eye) == torch.linalg.vector_norm(X, dim=1)).all()
    assert (embedding_error(h, eye) <= embedding_error(h, G)).all()


@pytest.mark.parametrize("n", [2, 3, 12])
def test_points_at_the_origin_do_not_decide_the_balance(n):
    rng = np.random.default_rng(n)
    X = np.zeros((n, 2))
    X[-1] = rng.normal(size=2)
    G = rng.normal(size=(2, 2))
    share = fit(G, X, np.arange(n) % 2).train.share
    assert (share < 1e-13).all()
    # Where M sees no point at all there is nothing to balance.
    assert balance(torch.zeros(3), torch.ones(3), torch.from_numpy(G)) == 1.0


def test_a_far_point_spoils_its_own_share_and_no_other():
    rng = np.random.default_rng(3)
    X, G, y = rng.normal(size=(31, 4)), rng.normal(size=(4, 4)), np.arange(31) % 2
    near = fit(G, X, y).train
    X[30] = 1e8
    far = fit(G, X, y).train
    assert near.frame.unit == far.frame.unit
    kept = near.order != 30
    assert (near.order == far.order).all()
    # The origin may move by as little as a median does.
    assert (far.share.numpy()[kept] <= 4 * near.share.numpy()[kept] + 1e-14).all()
    assert (far.share.numpy()[~kept] > 1e12 * near.share.numpy()[kept].max()).all()


def test_gamma_is_slightly_more_than_n_roundings():
    assert 10 * 2.0**-53 < gamma(10) < 10.001 * 2.0**-53
