import numpy as np
import pytest

from arml.radii import AttackedBounds, RadiusBounds, Status


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


def attacked(lower, majority, upper, **fields):
    lower, majority, upper = (np.array(values, dtype=float) for values in (lower, majority, upper))
    status = np.array([Status.BOUNDED.value] * len(lower))
    fields = {"queries": np.zeros(len(lower), dtype=np.int64)} | fields
    return AttackedBounds(lower, upper, status, majority=majority, **fields)


def test_the_majority_is_lost_between_the_two_bounds():
    result = attacked([0.0, 0.5, np.inf], [0.0, 0.5, np.inf], [0.0, 0.7, np.inf])
    assert result.empirical_error(0.6) == pytest.approx(1 / 3)
    assert result.certified_error(0.6) == pytest.approx(2 / 3)
    assert result.notes == ()


@pytest.mark.parametrize(
    ("lower", "majority", "upper", "message"),
    [
        ([0.0, 0.5], [0.0, 0.4], [1.0, 1.0], r"point 1: the majority is lost at .*0\.4.*, outside of"),
        ([0.0, 0.5], [0.0, 1.5], [1.0, 1.0], r"point 1: the majority is lost at .*1\.5.*, outside of"),
        ([0.0, 0.5], [0.0, np.nan], [1.0, 1.0], "point 1: the majority is lost at .*nan"),
        ([0.0, 0.5], [0.0], [1.0, 1.0], "majority has 1 entries for 2 points"),
        ([1.0], [1.0], [0.5], "exceeds"),
    ],
)
def test_impossible_attacks_are_refused(lower, majority, upper, message):
    with pytest.raises(ValueError, match=message):
        attacked(lower, majority, upper)


def test_queries_are_counted_for_every_point():
    with pytest.raises(ValueError, match="queries has 1 entries for 2 points"):
        attacked([0.0, 0.0], [1.0, 1.0], [1.0, 1.0], queries=np.array([3]))
