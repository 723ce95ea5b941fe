import numpy as np
import pytest

from arml.radii import RadiusBounds
from arml.reports.errors import Z_95, error_curve, robust_error, wilson_interval


def test_robust_error_counts_radii_up_to_and_including_the_threshold():
    radii = [0.0, 0.0, 0.5, 1.0, np.inf]
    assert robust_error(radii, [0, 0.49, 0.5, 1, 1e9]).tolist() == [0.4, 0.4, 0.6, 0.8, 0.8]


def test_robust_error_is_the_certified_error_of_the_bounds():
    radii = np.random.default_rng(0).gamma(2, 0.5, 200)
    bounds = RadiusBounds(radii, radii, np.full(200, "exact"))
    for epsilon in (0.0, 0.3, float(radii[7]), 5.0):
        assert robust_error(radii, epsilon) == bounds.certified_error(epsilon)


@pytest.mark.parametrize("radii", [[], [0.1, np.nan]])
def test_robust_error_refuses_no_radii_and_nan(radii):
    with pytest.raises(ValueError, match="radius"):
        robust_error(radii, 0.1)


def test_wilson_by_hand():
    # 5 of 50: centre (0.1 + z2/100) / (1 + z2/50), half width z sqrt(0.0018 + z2/10000) / (1 + z2/50).
    low, high = wilson_interval(0.1, 50)
    assert (float(low), float(high)) == pytest.approx((0.04347, 0.21360), abs=5e-5)


def test_wilson_at_the_ends():
    z2 = Z_95**2
    low, high = wilson_interval([0.0, 1.0], 20)
    assert low.tolist() == [0.0, pytest.approx(20 / (20 + z2))]
    assert high.tolist() == [pytest.approx(z2 / (20 + z2)), 1.0]


def test_wilson_bounds_solve_the_score_equation():
    """The definition: the bounds are the proportions p0 with |p - p0| = z sqrt(p0 (1 - p0) / n)."""
    p, n = np.array([0.02, 0.341, 0.5, 0.987]), 1000
    for bound in wilson_interval(p, n):
        assert np.abs(p - bound) == pytest.approx(Z_95 * np.sqrt(bound * (1 - bound) / n))


@pytest.mark.parametrize(("error", "n"), [(0.5, 0), (1.1, 10), (-0.1, 10), (np.nan, 10)])
def test_wilson_refuses_what_is_no_proportion(error, n):
    with pytest.raises(ValueError, match=r"proportion"):
        wilson_interval(error, n)


def test_curve_has_every_jump_and_both_ends():
    epsilon, error = error_curve([0.0, 0.2, 0.2, 0.7, 3.0], 1.0)
    assert epsilon.tolist() == [0.0, 0.2, 0.7, 1.0]
    assert error.tolist() == [0.2, 0.6, 0.8, 0.8]
