import numpy as np
import pytest

from arml.radii import RadiusBounds, Status


def bounds(lower, upper, status=None):
    status = np.array(status or [Status.EXACT.value] * len(lower))
    return RadiusBounds(np.array(lower, dtype=float), np.array(upper, dtype=float), status)


def test_conventions_of_the_robust_error():
    # Radius 0 counts at threshold 0, a radius equal to the threshold counts, infinite radii never do.
    result = bounds([0.0, 0.5, 1.0, np.inf], [0.0, 0.7, 1.0, np.inf])
    assert [result.certified_error(e) for e in (0.0, 0.5, 1.0)] == [0.25, 0.5, 0.75]
    assert [result.empirical_error(e) for e in (0.0, 0.5, 1.0)] == [0.25, 0.25, 0.75]


def test_gap_is_relative_and_defined_everywhere():
    np.testing.assert_allclose(bounds([0, 1, np.inf, 1], [0, 2, np.inf, np.inf]).gap, [0, 0.5, 0, 1])


@pytest.mark.parametrize(
    ("lower", "upper", "message"),
    [([1.0], [0.5], "exceeds"), ([np.nan], [1.0], "NaN"), ([0.0, 1.0], [1.0], "one length")],
)
def test_impossible_bounds_are_refused(lower, upper, message):
    with pytest.raises(ValueError, match=message):
        RadiusBounds(np.array(lower), np.array(upper), np.array(["exact"] * len(lower)))


def test_rows_can_be_walked_and_every_status_has_advice():
    assert list(bounds([0.5], [0.5])) == [(0.5, 0.5, "exact")]
    assert all(status.advice.endswith(".") for status in Status)
