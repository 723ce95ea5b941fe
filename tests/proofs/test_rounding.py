"""Bounds of rounding hold against rational arithmetic, where they matter: ill-conditioned metrics, far points."""

from fractions import Fraction

import numpy as np
import pytest

from arml.proofs import Subject
from arml.proofs.precision import DOUBLE, EXTENDED, Factor
from arml.proofs.products import Products
from arml.proofs.view import Pairs, View, margins_of
from tests.proofs.handmade import mapped, rationals


def hostile(seed):
    """Data (G, X_train, x) with a direction that G hardly sees, along which the points lie far apart."""
    rng = np.random.default_rng(seed)
    G = np.array([[1.0, 1.0, 0.3], [1.0, 1.0 + 10.0 ** -(seed % 8), 0.3]]) * rng.uniform(0.5, 2)
    X = rng.normal(size=(6, 3)) + np.outer(rng.normal(size=6), [1.0, -1.0, 0.0]) * 10.0 ** (seed % 5)
    return G, X, X[0] + rng.normal(size=3) * 10.0 ** -(seed % 6)


def subject(G, X, x):
    return Subject(G, X, np.arange(len(X)), x[None], np.zeros(1, dtype=np.int64))


def sq(vector):
    return sum(v * v for v in vector)


def minus(a, b):
    return [p - q for p, q in zip(a, b, strict=True)]


def exact(G, X, x, unit):
    """Squared distances and rows, in rationals, in units of ``unit`` and of the largest entry of G."""
    scale = Fraction(float(np.max(np.abs(Factor.of(G).G)) / np.max(np.abs(G)))) / Fraction(unit)
    T = [minus(t, rationals(x)[0]) for t in rationals(X)]
    Z = [[scale * z for z in mapped(G, t)] for t in T]
    P = [[scale * Fraction(unit) * p for p in mapped(G.T, z)] for z in Z]
    return [sq(z) for z in Z], P


@pytest.mark.parametrize("precision", [DOUBLE, EXTENDED], ids=["double", "extended"])
@pytest.mark.parametrize("seed", range(40))
def test_what_is_seen_from_a_point(seed, precision):
    G, X, x = hostile(seed)
    view = View.of(subject(G, X, x), x, np.arange(6), precision)
    c, P = exact(G, X, x, view.unit)
    for i in range(6):
        assert abs(_fraction(view.c[i]) - c[i]) <= _fraction(view.c_error[i])
        off = sq(minus([_fraction(v) for v in view.P[i]], P[i]))
        assert off <= _fraction(view.P_error[i]) ** 2
    D = view.distances(np.arange(3), np.arange(3, 6))
    for j in range(3):
        for i in range(3):
            assert sq(minus(P[j], P[3 + i])) <= _fraction(D[j, i]) ** 2


@pytest.mark.parametrize("precision", [DOUBLE, EXTENDED], ids=["double", "extended"])
def test_row_values_never_exceed_the_closed_form(precision):
    """Near bisectors, where the distances' rounding decides."""
    for seed in range(100):
        G, X, x = hostile(seed)
        X[3:] = X[:3] + 1e-12 * X[3:]
        view = View.of(subject(G, X, x), x, np.arange(6), precision)
        c, P = exact(G, X, x, view.unit)
        margins = margins_of(view, np.arange(3), np.arange(3, 6))
        for j in range(3):
            for i in range(3):
                ahead = max(c[j] - c[3 + i], Fraction(0))
                assert 4 * _fraction(margins[j, i]) ** 2 * sq(minus(P[j], P[3 + i])) <= ahead * ahead


@pytest.mark.parametrize("precision", [DOUBLE, EXTENDED], ids=["double", "extended"])
@pytest.mark.parametrize("seed", range(40))
def test_pairs(seed, precision):
    G, X, x = hostile(seed)
    low, high = np.array([0, 1, 2]), np.array([3, 4, 5])
    pairs = Pairs.of(subject(G, X, x), x, low, high, 2.0, precision)
    c, P = exact(G, X, x, 2.0)
    margins = pairs.margins()
    for q in range(3):
        row, limit = minus(P[high[q]], P[low[q]]), (c[high[q]] - c[low[q]]) / 2
        assert abs(_fraction(pairs.b[q]) - limit) <= _fraction(pairs.b_error[q])
        assert sq(minus([_fraction(v) for v in pairs.A[q]], row)) <= _fraction(pairs.A_error[q]) ** 2
        if margins[q] > 0:
            assert _fraction(margins[q]) ** 2 * sq(row) <= limit * limit


@pytest.mark.parametrize("far", [0.0, 1e4, 1e8])
@pytest.mark.parametrize("seed", range(20))
def test_products_of_a_whole_chunk(seed, far):
    """Bounds hold for each pair, and a far training point blurs none but itself."""
    G, X, x = hostile(seed)
    X = np.vstack([X, X[:1] + far])
    data = subject(G, X, x)
    products = Products.of(data, x + 0.5)
    points = products.points(x[None])
    c, P = exact(G, X, x, products.unit)
    least = products.least_sq_distances(points)[0]
    most = least + products.point_slack(points) + products.sq_distance_slack() + 1e-12 * np.abs(least)
    lengths, between = products.lengths_from(points)[0], products.most_sq_lengths_between(np.arange(7), np.arange(7))
    for i in range(7):
        assert Fraction(least[i]) <= c[i] <= Fraction(most[i])
        assert sq(P[i]) <= Fraction(lengths[i] * (1 + 1e-15)) ** 2
        for j in range(7):
            assert sq(minus(P[j], P[i])) <= Fraction(between[j, i])
    near = Products.of(subject(G, X[:6], x), x + 0.5)
    ratio = (near.unit / products.unit) ** 2
    np.testing.assert_allclose(products.sq_distance_slack()[:6], near.sq_distance_slack() * ratio, rtol=1e-9)


@pytest.mark.parametrize("seed", range(20))
def test_a_perturbed_point_is_never_rounded(seed):
    """``x + delta`` has no float64 of its own where delta is small."""
    G, X, x = hostile(seed)
    delta = np.array([1e-9, -3e-10, 1e-13])
    products = Products.of(subject(G, X, x), x)
    points = products.points(x[None], delta[None])
    unit, scale = Fraction(products.unit), Fraction(float(np.max(np.abs(Factor.of(G).G)) / np.max(np.abs(G))))
    z = [scale * v / unit for v in mapped(G, rationals(delta)[0])]
    assert sq(minus([Fraction(v) for v in points.Z[0]], z)) <= Fraction(points.z_error[0]) ** 2


def _fraction(value):
    """A float or long double as a fraction, exactly."""
    high = float(value)
    return Fraction(high) + Fraction(float(value - np.longdouble(high)))
