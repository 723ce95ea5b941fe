"""The frame: centred where most points are, of moderate scale, and refused where nothing can be proven."""

import re

import numpy as np
import pytest

from arml.classifier.frame import LARGEST, REACH, SMALLEST, Frame, power_of_two
from arml.geometry import InvalidMetricError, Mahalanobis
from arml.inputs import InvalidInputError

EYE = Mahalanobis.from_components(np.eye(2))


def test_the_origin_is_a_median_that_far_points_do_not_move():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(41, 2)) + 7
    frame = Frame.of(EYE, X)
    np.testing.assert_array_equal(frame.origin, np.median(X, axis=0))
    X[:5] = 1e12
    moved = Frame.of(EYE, X)
    assert np.abs(moved.origin - frame.origin).max() < 1
    assert moved.unit == frame.unit == 1.0


@pytest.mark.parametrize("power", [-900, -30, 0, 30, 900])
def test_points_and_metric_are_scaled_by_powers_of_two_which_is_exact(power):
    rng = np.random.default_rng(1)
    X, G = rng.normal(size=(30, 2)), rng.normal(size=(2, 2))
    plain = Frame.of(Mahalanobis.from_components(G), X)
    small = 2.0 ** (-power // 2)
    scaled = Frame.of(Mahalanobis.from_components(G * small), X * 2.0**power)
    assert scaled.unit == plain.unit * 2.0**power
    assert scaled.divisor == plain.divisor * small
    np.testing.assert_array_equal(scaled.points(X * 2.0**power), plain.points(X))
    metric = scaled.metric(Mahalanobis.from_components(G * small))
    np.testing.assert_array_equal(metric.components, plain.metric(Mahalanobis.from_components(G)).components)
    assert 1 <= np.abs(metric.components).max() < 2


def test_most_points_are_of_the_order_of_one():
    rng = np.random.default_rng(2)
    points = Frame.of(EYE, 1e-7 * rng.normal(size=(500, 2)) + 3).points
    sizes = np.abs(points(1e-7 * rng.normal(size=(500, 2)) + 3)).max(axis=1)
    assert 0.5 < np.median(sizes) < 2


def test_another_origin_is_a_copy():
    frame = Frame.of(EYE, np.arange(6.0).reshape(3, 2))
    origin = np.array([1.0, 2.0])
    moved = frame.at(origin)
    origin[0] = 9.0
    assert moved.origin.tolist() == [1.0, 2.0]
    assert (moved.unit, moved.divisor) == (frame.unit, frame.divisor)
    assert moved.points(np.array([[1.0, 2.0]])).tolist() == [[0.0, 0.0]]


def test_points_that_are_all_the_same_have_a_frame():
    frame = Frame.of(EYE, np.full((3, 2), 5.0))
    assert (frame.unit, frame.origin.tolist()) == (1.0, [5.0, 5.0])
    # Only one differs, and it is the one that the unit is taken from.
    assert Frame.of(EYE, np.array([[5.0, 5.0]] * 4 + [[5.0, 9.0]])).unit == 4.0


def test_the_power_of_two_next_below():
    assert [power_of_two(value) for value in (1.0, 1.99, 2.0, 0.75, 0.0)] == [1.0, 1.0, 2.0, 0.5, 1.0]
    assert power_of_two(5e-324) == 5e-324


def refused(message, X, metric=EYE):
    with pytest.raises(InvalidInputError, match=re.escape(message)):
        Frame.of(metric, np.array(X))


def test_coordinates_beyond_the_range_are_refused():
    Frame.of(EYE, np.array([[0.0, 0.0], [LARGEST, 0.0], [0.0, LARGEST]]))
    refused(
        "X_train holds -1e+301 at row 1, column 0; beyond 1e+300 distances leave the range of numbers, so "
        "scale the features down",
        [[0.0, 0.0], [-1e301, 0.0]],
    )


def test_points_that_differ_too_little_are_refused():
    Frame.of(EYE, np.array([[0.0, 0.0], [SMALLEST, 0.0], [0.0, SMALLEST]]))
    refused(
        "the training points differ by 1e-290 only, and below 1.03e-289 nothing can be proven; scale the features up",
        [[0.0, 0.0], [1e-290, 0.0], [0.0, 1e-290]],
    )


def test_points_too_far_from_most_are_refused():
    near = [[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [1.0, 1.0]]
    Frame.of(EYE, np.array([*near, [0.0, REACH]]))
    message = (
        "X_train holds 1e+121 at row 4, column 1, more than 2.6e+120 times as far away as training points "
        "usually are (1); nothing can be proven of such points, remove them"
    )
    refused(message, [*near, [0.0, 1e121]])
    with pytest.raises(InvalidInputError, match=re.escape(message.replace("X_train", "X").replace("row 4", "row 0"))):
        Frame.of(EYE, np.array(near)).require_reach(np.array([[0.0, 1e121]]), "X")


def test_a_metric_of_entries_too_different_is_refused():
    X = np.array([[0.0, 0.0], [1.0, 1.0]])
    wide = Mahalanobis.from_components(np.diag([1e140, 1e-150]))
    Frame.of(wide, X).metric(wide)
    wider = Mahalanobis.from_components(np.diag([1e140, 1.1e-185]))
    with pytest.raises(InvalidMetricError, match=re.escape("has entries from 1.1e-185 to 1e+140; sizes so different")):
        Frame.of(wider, X).metric(wider)
