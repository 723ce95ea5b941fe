"""Exact arithmetic on floats: what it says is what `fractions.Fraction` says."""

from fractions import Fraction

import numpy as np
import pytest

from arml.classifier.exactly import Dyadic, Factor, nearest_floats, sq_distances
from tests.certify.rationals import seen

ANY = np.array([[0.1, -3.0, 0.0], [5e-324, -1e300, 2.0**-1074 * 3], [np.pi, -0.0, 1.7976931348623157e308]])


def values(dyadic):
    return [int(v) * Fraction(2) ** dyadic.exponent for v in dyadic.values.ravel()]


def test_floats_are_taken_as_they_are():
    for array in (ANY, ANY[0], ANY[:, 2:], np.zeros((2, 2)), np.empty((0, 3))):
        assert values(Dyadic.of(array)) == [Fraction(v) for v in array.ravel().tolist()]


def test_sums_and_differences_broadcast():
    a, b = Dyadic.of(ANY), Dyadic.of(ANY[1])
    exact = [[Fraction(v) for v in row] for row in ANY.tolist()]
    assert values(a.plus(b)) == [p + q for row in exact for p, q in zip(row, exact[1], strict=True)]
    assert values(a.minus(b)) == [p - q for row in exact for p, q in zip(row, exact[1], strict=True)]
    assert values(b.minus(b)) == [0, 0, 0]


@pytest.mark.parametrize("seed", range(20))
def test_squared_distances_are_exact_in_one_unit(seed):
    rng = np.random.default_rng(seed)
    X, x, delta = rng.normal(size=(6, 3)) * 10.0 ** rng.integers(-9, 9), rng.normal(size=3), rng.normal(size=3)
    x[0], delta[0] = 1e17, 1.0  # their sum is no float
    G = rng.normal(size=(2, 3))
    found = sq_distances(Factor.of(G), X, x, delta)
    # Shifting the points is exact in rationals, not in floats: each coordinate of X - delta stands for itself.
    wanted = []
    for point in X.tolist():
        T = [Fraction(p) - Fraction(q) - Fraction(r) for p, q, r in zip(point, x.tolist(), delta.tolist(), strict=True)]
        wanted.append(sum(sum(Fraction(g) * t for g, t in zip(row, T, strict=True)) ** 2 for row in G.tolist()))
    unit = wanted[0] / found[0]
    assert unit > 0
    assert [value * unit for value in found] == wanted
    # The unit is a power of two.
    assert unit.numerator & (unit.numerator - 1) == unit.denominator & (unit.denominator - 1) == 0


def test_without_a_step_they_are_the_distances():
    rng = np.random.default_rng(1)
    X, x, G = rng.normal(size=(5, 2)), rng.normal(size=2), rng.normal(size=(2, 2))
    found, exact = sq_distances(Factor.of(G), X, x, np.zeros(2)), seen(G, X, x)[0]
    assert [value * exact[0] / found[0] for value in found] == exact


def test_nearest_floats_are_off_by_at_most_two_roundings():
    rng = np.random.default_rng(2)
    whole = [int(rng.integers(1, 2**62)) ** int(power) for power in rng.integers(1, 12, size=200)]
    whole = [*whole, *(-value for value in whole), 0, 1, -1, 2**53 + 1, -(2**64) - 1, 2**64 - 1]
    for exponent in (-700, -3, 0, 40):
        found = nearest_floats(np.array(whole, dtype=object), exponent)
        for value, number in zip(found.tolist(), whole, strict=True):
            exact = number * Fraction(2) ** exponent
            assert abs(Fraction(value) - exact) <= abs(exact) * Fraction(2) ** -52


def test_the_identity_is_left_out():
    rng = np.random.default_rng(3)
    T = Dyadic.of(rng.normal(size=(4, 3)))
    plain, general = Factor.of(np.eye(3)), Factor(Dyadic.of(np.eye(3)))
    assert plain.G is None
    assert Factor.of(np.diag([1.0, 1.0, 2.0])).G is not None
    assert Factor.of(np.eye(2, 3)).G is not None
    for factor in (plain, general):
        assert values(factor.embed(T)) == values(factor.back(T)) == values(T)


def test_a_factor_is_mapped_there_and_back():
    rng = np.random.default_rng(4)
    G, T = rng.normal(size=(2, 3)), rng.normal(size=(4, 3))
    rows, wide = ([[Fraction(v) for v in row] for row in array.tolist()] for array in (T, G))
    Z = [[sum(g * t for g, t in zip(line, row, strict=True)) for line in wide] for row in rows]
    back = [[sum(z * line[i] for z, line in zip(row, wide, strict=True)) for i in range(3)] for row in Z]
    factor = Factor.of(G)
    assert values(factor.embed(Dyadic.of(T))) == [v for row in Z for v in row]
    assert values(factor.back(factor.embed(Dyadic.of(T)))) == [v for row in back for v in row]
