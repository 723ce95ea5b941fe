"""Points, labels and boxes are taken as what they are, or refused in one sentence with the remedy."""

from fractions import Fraction

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.sparse import csr_array

from arml.inputs import InvalidInputError, checked_box, checked_labels, checked_points
from arml.neighbors import MahalanobisKNN

X = np.arange(12.0).reshape(6, 2)


def with_entry(value, row=1, column=1):
    made = X.astype(object)
    made[row, column] = value
    return made


@pytest.mark.parametrize(
    "given",
    [
        X.astype(dtype)
        for dtype in (np.int8, np.uint64, np.int64, np.float16, np.float32, np.float64, np.longdouble, object, ">f8")
    ]
    + [
        X.tolist(),
        torch.from_numpy(X),
        pd.DataFrame(X),
        pd.DataFrame(X.astype(int)).astype("Int64"),
        np.ma.masked_array(X, mask=np.zeros_like(X, dtype=bool)),
        np.asfortranarray(X),
        with_entry(np.int32(3)),
    ],
)
def test_numbers_of_any_kind_are_taken_as_they_are(given):
    points = checked_points(given, "X")
    assert points.dtype == np.float64
    assert points.flags.c_contiguous
    np.testing.assert_array_equal(points, X)


def test_booleans_are_numbers_and_no_points_are_points():
    np.testing.assert_array_equal(checked_points(X > 3, "X"), (X > 3) * 1.0)
    assert checked_points(np.empty((0, 3)), "X").shape == (0, 3)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (X + 1j, r"X is complex; pass its real part"),
        (with_entry(1j), r"holds the complex 1j at row 1, column 1, which is no real number"),
        (np.ma.masked_greater(X, 10.5), r"1 masked entries, the first at \(5, 1\); fill them"),
        ([np.ma.masked_array([1.0, 2.0], mask=[False, True])] * 2, r"2 masked entries, the first at \(0, 1\)"),
        (csr_array(X), r"sparse matrix, which is not supported; pass X.toarray\(\)"),
        ([["1", "2"]], r"is text .* cannot be read as numbers; convert it with X.astype\(float\)"),
        (with_entry("7"), r"holds the str '7' at row 1, column 1, which is no real number"),
        (with_entry(None), r"lacks a value \(None\) at row 1, column 1; drop the row or fill the value in"),
        (with_entry(pd.NA), r"lacks a value \(<NA>\) at row 1, column 1"),
        (with_entry(np.nan), r"holds nan at row 1, column 1; it must be finite"),
        (with_entry(Fraction(1, 3)), r"holds the Fraction .* convert it with astype\(float\)"),
        (with_entry(10**400), r"an integer beyond the range of float64; rescale the feature"),
        (with_entry(2**53 + 1), r"9007199254740993 at row 1, column 1, which float64 would round"),
        (np.full((2, 2), 2**63 + 1, dtype=np.uint64), r"9223372036854775809 at row 0, column 0, which float64"),
        (np.full((2, 2), np.longdouble(1) / 3), r"row 0, column 0, which float64 would round; pass astype\(float\)"),
        (np.full((2, 2), np.longdouble("1e400")), r"1e\+400 at row 0, column 0; it must be finite"),
        ([[1.0, 2.0], [3.0]], r"cannot be read as an array of numbers: .* pass one rectangular array"),
        (np.zeros((2, 2), dtype="M8[s]"), r"cannot be read as numbers: its type is datetime64"),
        (X[0], r"two-dimensional \(points, features\), got shape \(2,\); reshape one point to \(1, -1\)"),
    ],
)
def test_points_that_would_have_to_be_guessed_are_refused(given, message):
    with pytest.raises(InvalidInputError, match=message):
        checked_points(given, "X")


def test_columns_that_are_no_numbers_are_named():
    frame = pd.DataFrame({"age": [1.0, 2.0], "town": ["a", "b"], "born": pd.to_datetime(["2001-01-01"] * 2)})
    with pytest.raises(InvalidInputError, match=r"the str 'a' at row 0, column 1 \('town'\) .*\['town', 'born'\]"):
        checked_points(frame, "X")
    missing = pd.DataFrame({"age": pd.array([1, None], dtype="Int64")})
    with pytest.raises(InvalidInputError, match=r"at row 1, column 0 \('age'\).* drop the row or fill"):
        checked_points(missing, "X")


@pytest.mark.parametrize(
    "given",
    [
        [0, 1, 2],
        [0.0, 1.0, 2.0],
        np.array([0, 1, 2], dtype=np.uint64),
        np.array([0, 1, 2], dtype=np.float16),
        np.array([0, 1, 2], dtype=object),
        np.array([0, np.int8(1), 2.0], dtype=object),
        pd.Series([0, 1, 2], dtype="Int64"),
        torch.tensor([0, 1, 2]),
    ],
)
def test_integers_of_any_kind_are_labels(given):
    labels = checked_labels(given, 3, "y")
    assert labels.dtype == np.int64
    assert labels.tolist() == [0, 1, 2]


def test_labels_at_the_ends_of_what_is_held_exactly_stay_themselves():
    assert checked_labels([2.0**53, -(2.0**53)], 2, "y").tolist() == [2**53, -(2**53)]
    assert checked_labels([2**63 - 1, -(2**63) + 1], 2, "y").tolist() == [2**63 - 1, -(2**63) + 1]
    assert checked_labels([True, False], 2, "y").tolist() == [1, 0]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([0, np.inf], r"holds inf at row 1; encode them as 0..C-1 \(np.unique\(y, return_inverse=True\)\[1\]\)"),
        ([0, 1e300], r"holds 1e\+300 at row 1; encode them as 0..C-1"),
        ([0, 2.0**53 + 2], r"holds 9007199254740994.0 at row 1"),
        (np.array([0, 2**24 + 2], dtype=np.float32), r"holds 1.6777218e.07 at row 1"),
        (np.array([0, 2**63 + 5], dtype=np.uint64), r"holds 9223372036854775813 at row 1"),
        (np.array([0, 2**63], dtype=object), r"holds 9223372036854775808 at row 1"),
        ([0, 0.5], r"must hold integer class labels .* holds 0.5 at row 1"),
        ([0, np.nan], r"lacks a label \(nan\) at row 1; drop the row"),
        (np.array([0, None], dtype=object), r"lacks a label \(None\) at row 1; drop the row"),
        (np.array([0, pd.NA], dtype=object), r"lacks a label \(<NA>\) at row 1"),
        (np.array([0, "b"], dtype=object), r"holds 'b' at row 1; encode them as 0..C-1"),
        (["a", "b"], r"must hold integer class labels, got type <U1; encode them as 0..C-1"),
        ([0, 1j], r"y is complex; pass its real part"),
        (np.ma.masked_array([0, 1], mask=[False, True]), r"1 masked entries, the first at \(1\)"),
        ([[0], [1]], r"shape \(2, 1\), expected one label for each of the 2 points; pass y.ravel\(\)"),
        ([0], r"shape \(1,\), expected one label for each of the 2 points"),
    ],
)
def test_what_is_no_label_is_refused(given, message):
    with pytest.raises(InvalidInputError, match=message):
        checked_labels(given, 2, "y")


@pytest.mark.parametrize("box", [(0, 1), [0.0, 1.0], np.array([0, 1]), (np.float32(0), np.int8(1))])
def test_a_box_is_two_numbers(box):
    assert checked_box(box) == (0.0, 1.0)
    assert checked_box(None) is None
    assert checked_box((-np.inf, 1)) == (-np.inf, 1.0)


@pytest.mark.parametrize(
    ("box", "message"),
    [
        ((1, 0), r"the box \(1.0, 0.0\) is empty; pass \(low, high\) with low <= high"),
        ((np.nan, 1), r"is empty"),
        ((np.inf, np.inf), r"holds no finite number"),
        (("0", "1"), r"two numbers \(low, high\), got \('0', '1'\)"),
        ((False, True), r"two numbers"),
        ("01", r"one range \(low, high\) for all coordinates, or None, got '01'"),
        (1.0, r"one range"),
        ((0, 1, 2), r"one range"),
        ({0, 1}, r"one range"),
        (([0, 0], [1, 1]), r"two numbers"),
    ],
)
def test_what_is_no_box_is_refused(box, message):
    with pytest.raises(InvalidInputError, match=message):
        checked_box(box)


class TestColumns:
    frame = pd.DataFrame(np.random.default_rng(0).normal(size=(30, 3)) * [1, 10, 100], columns=list("abc"))
    y = np.arange(30) % 2

    def fitted(self, frame):
        return MahalanobisKNN(1).fit(frame, self.y)

    def test_names_are_kept_and_forgotten_with_the_next_fit(self):
        knn = self.fitted(self.frame)
        assert knn.feature_names_in_.tolist() == ["a", "b", "c"]
        assert knn.n_features_in_ == 3
        knn.fit(self.frame.to_numpy()[:, :2], self.y)
        assert not hasattr(knn, "feature_names_in_")
        assert knn.n_features_in_ == 2
        knn.predict(self.frame[["c", "b"]])

    @pytest.mark.parametrize("fit_on", ["named", "numbered", "array"])
    def test_the_same_columns_and_plain_arrays_are_taken(self, fit_on):
        kinds = {"named": self.frame, "numbered": pd.DataFrame(self.frame.to_numpy()), "array": self.frame.to_numpy()}
        knn = self.fitted(kinds[fit_on])
        for kind in kinds.values():
            np.testing.assert_array_equal(knn.predict(kind), self.y)

    @pytest.mark.parametrize(
        ("columns", "message"),
        [
            (["c", "b", "a"], r"in another order: column 0 is 'c', not 'a'; pass X\[\['a', 'b', 'c'\]\]"),
            (["a", "b"], r"it lacks \['c'\]; pass the columns \['a', 'b', 'c'\], in this order"),
            (["a", "b", "c", "d"], r"has the unknown \['d'\]"),
            (["a", "b", "d"], r"it lacks \['c'\] and has the unknown \['d'\]"),
            (["a", "b", "c", "c"], r"it repeats a column"),
        ],
    )
    def test_other_columns_are_refused_by_every_method(self, columns, message):
        knn = self.fitted(self.frame)
        wrong = self.frame.assign(d=0.0)[columns]
        for method in (knn.exact_radius, knn.certified_radius, knn.attacked_radius, knn.score):
            with pytest.raises(InvalidInputError, match=message):
                method(wrong, self.y)
        for method in (knn.predict, knn.votes):
            with pytest.raises(InvalidInputError, match=message):
                method(wrong)

    def test_numbered_columns_in_another_order_are_refused(self):
        numbered = pd.DataFrame(self.frame.to_numpy())
        with pytest.raises(InvalidInputError, match=r"column 0 is 2, not 0; pass X\[\[0, 1, 2\]\]"):
            self.fitted(numbered).predict(numbered[[2, 1, 0]])


@pytest.mark.parametrize(
    ("attack", "remedy"),
    [("boundary", r"pass the range of your features as box=\(low, high\)"), ("hopskipjump", "scale them to it")],
)
def test_query_attacks_outside_their_default_box_are_refused(attack, remedy):
    rng = np.random.default_rng(0)
    inside, y = rng.uniform(size=(20, 2)), np.arange(20) % 2
    knn = MahalanobisKNN(1).fit(inside, y)
    outside = inside.copy()
    outside[3, 1] = -0.5
    with pytest.raises(InvalidInputError, match=rf"-0.5 at row 3, column 1, outside box=\(0, 1\).*{remedy}, or use"):
        knn.attacked_radius(outside, y, attack=attack, steps=1)
    assert knn.attacked_radius(outside, y, box=(0, 1), attack=attack, steps=1).notes == (
        "1 points are outside the box (0, 1) and were placed on it first",
    )
    assert knn.attacked_radius(inside, y, attack=attack, steps=1).notes == ()
