"""What differences of points show, against rational arithmetic."""

from fractions import Fraction

import numpy as np
import pytest

from arml.classifier.differences import Differences, sq_distances
from tests.certify.fitted import fit
from tests.certify.rationals import dot, fractions, hostile, minus, seen
from tests.classifier.test_rounding import in_units


def problem(seed):
    G, X, x = hostile(seed, n=10)
    return fit(G, X, np.arange(10) % 2), X, x


@pytest.mark.parametrize("seed", range(120))
def test_distances_and_rows_are_off_by_at_most_their_errors(seed):
    fitted, X, x = problem(seed)
    T = fitted.differences(x, slice(None))
    view = Differences.of(fitted.train.metric, T)
    exact_c, exact_P = in_units(fitted, X, x)
    alone, error = sq_distances(fitted.train.metric, T)
    for i in range(10):
        assert abs(Fraction(view.c[i].item()) - exact_c[i]) <= Fraction(view.c_error[i].item())
        assert abs(Fraction(alone[i].item()) - exact_c[i]) <= Fraction(error[i].item())
        off = minus(fractions(view.P[i]), exact_P[i])
        assert dot(off, off) <= Fraction(view.p_error[i].item()) ** 2


@pytest.mark.parametrize("seed", range(60))
def test_a_blur_of_the_coordinates_is_part_of_the_error(seed):
    fitted, X, x = problem(seed)
    rng = np.random.default_rng(seed)
    blur = np.abs(rng.normal(size=len(x))) * 10.0 ** rng.uniform(-14, 0)
    there = x + blur * rng.choice([-1, 1], size=len(x))
    moved = (np.abs(there - x) * (1 + 1e-9)) / fitted.frame.unit
    c, error = sq_distances(fitted.train.metric, fitted.differences(x, slice(None)), moved)
    exact = in_units(fitted, X, there)[0]
    for i in range(10):
        assert abs(Fraction(c[i].item()) - exact[i]) <= Fraction(error[i].item())


def test_errors_are_of_use_where_points_are_far_and_near_each_other():
    rng = np.random.default_rng(0)
    X = 1e6 + 1e-3 * rng.normal(size=(10, 3))
    for G in (np.eye(3), rng.normal(size=(3, 3))):
        fitted = fit(G, X, np.arange(10) % 2)
        view = Differences.of(fitted.train.metric, fitted.differences(X[0], slice(1, None)))
        assert (view.c_error < 1e-12 * view.c).all()
        assert (view.p_error < 1e-12 * np.linalg.norm(view.P, axis=1)).all()
        exact = seen(G, X[1:], X[0])[0]
        scale = (fitted.frame.unit * fitted.frame.divisor) ** 2
        np.testing.assert_allclose(view.c * scale, [float(v) for v in exact], rtol=1e-12)
