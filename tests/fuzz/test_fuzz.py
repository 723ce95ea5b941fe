"""Exact radii against rational truth on hostile data, and a comparison that notices what is planted.

`scripts/fuzz.py` runs the same for as long as one likes.
"""

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

import arml
from arml.inputs import InvalidInputError
from tests.fuzz.cases import draw
from tests.fuzz.compare import run_case
from tests.fuzz.geometries import KINDS
from tests.fuzz.judge import Answer, Truth, judge
from tests.fuzz.truth import View, sq_radius, standing

# 31 kinds of about 65 problems: 2,000 in all.
CASES = 13


@pytest.mark.parametrize("kind", KINDS)
def test_no_result_contradicts_the_rational_truth(kind):
    outcomes = [run_case(draw(kind, 0, index)) for index in range(CASES)]
    violations = [violation for outcome in outcomes for violation in outcome.violations]
    assert sum(sum(outcome.counts.values()) for outcome in outcomes) >= 3 * CASES
    assert not violations, "\n".join(map(str, violations[:5])) + (
        f"\n{len(violations)} in all; to see one again: python scripts/fuzz.py --repeat {kind}:{violations[0].index}"
    )


def test_there_are_enough_kinds_and_each_is_drawn_from_its_numbers_alone():
    assert len(KINDS) >= 25
    for kind in KINDS:
        one, same, other = draw(kind, 3, 5), draw(kind, 3, 5), draw(kind, 3, 6)
        for name in ("X_train", "y_train", "G", "X", "y"):
            assert np.isfinite(getattr(one, name)).all()
            assert np.array_equal(getattr(one, name), getattr(same, name))
        assert not np.array_equal(one.X, other.X) or not np.array_equal(one.X_train, other.X_train)
        assert len(np.unique(one.y_train)) >= 2


# -- the comparison notices --------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def right():
    """A case of three points on a line, the classifier, a true answer of radius 3/4, and the truth."""
    case = replace(
        draw("random_normal", 0, 0),
        X_train=np.array([[0.0, 0.0], [2.0, 0.0], [9.0, 0.0]]),
        y_train=np.array([0, 1, 0]),
        G=np.eye(2),
        K=1,
        X=np.array([[0.25, 0.0]]),
        y=np.array([0]),
        box=(-1.0, 9.0),
    )
    knn = arml.MahalanobisKNN(1).fit(case.X_train, case.y_train)
    view = View.of(case.X_train, case.G, case.X[0], case.box)
    truth = Truth(sq_radius(view, [0, 1, 0], 0, 1, "plurality"), standing(view, [0, 1, 0], 0, 1, "plurality"))
    beyond = 0.75 + 2.0**-50
    return case, knn, Answer(0.75, beyond, "exact", np.array([beyond, 0.0])), truth


def _names(right, answer, truth=None):
    case, knn, _, own = right
    return {name for name, _ in judge(case, 0, "plurality", answer, truth or own, knn)}


def test_a_true_answer_is_accepted(right):
    assert right[3].sq_radius == Fraction(9, 16)
    assert _names(right, right[2]) == set()
    assert _names(right, replace(right[2], lower=0.75 * (1 - 0.9e-6))) == set()


@pytest.mark.parametrize("by", [1e-6, 1e-12, 2.0**-52])
def test_a_raised_lower_bound_is_noticed(right, by):
    raised = 0.75 * (1 + by)
    answer = Answer(raised, 2 * raised, "bounded", np.array([2 * raised, 0.0]))
    assert _names(right, answer) == {"lower above truth"}


@pytest.mark.parametrize("by", [1e-6, 1e-12, 2.0**-52])
def test_an_upper_bound_below_the_truth_is_noticed(right, by):
    lowered = 0.75 * (1 - by)
    answer = Answer(0.5, lowered, "bounded", np.array([lowered, 0.0]))
    assert _names(right, answer) == {"upper below truth"}


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({"lower": 0.75 * (1 - 1.1e-6)}, "exact with a gap"),
        ({"lower": 0.0, "upper": np.inf}, "exact with a gap"),
        ({"status": "tied", "lower": 0.0, "upper": 0.0, "perturbation": np.zeros(2)}, "not tied"),
        ({"status": "tied"}, "radius 0 is not said"),
        ({"status": "misclassified", "lower": 0.0, "upper": 0.0, "perturbation": np.zeros(2)}, "not misclassified"),
        ({"status": "unreachable"}, "unreachable against lower"),
        ({"status": "unreachable", "lower": np.inf, "upper": np.inf}, "lower above truth"),
        ({"status": "bounded", "lower": np.inf, "upper": np.inf}, "unreachable against lower"),
        ({"status": "proven"}, "unknown status"),
        ({"perturbation": None}, "upper without perturbation"),
        ({"perturbation": np.array([np.nan, 0.0])}, "perturbation not finite"),
        ({"perturbation": np.array([0.8, 0.0])}, "upper below norm"),
        ({"perturbation": np.array([0.75 * (1 + 2e-12), 0.0])}, "upper below norm"),
        ({"perturbation": np.array([0.75 + 2.0**-50, 1e-9])}, "upper rounded below norm"),
        ({"perturbation": np.array([0.75 * (1 - 2e-12), 0.0])}, "upper above norm"),
        ({"upper": 0.76, "lower": 0.76, "perturbation": np.array([-0.76, 0.0])}, "exact without effect"),
        ({"upper": 0.75, "perturbation": np.array([0.75, 0.0])}, "exact without effect"),
        ({"lower": 0.5, "upper": 2.0, "status": "bounded", "perturbation": np.array([-2.0, 0.0])}, "outside the box"),
    ],
)
def test_other_planted_faults_are_noticed(right, changes, name):
    assert name in _names(right, replace(right[2], **changes))


def test_a_point_that_only_rounding_keeps_in_the_box_is_noticed(right):
    # 0.25 and the float after 0.75 are 1 in floats, and more than 1.
    step = float(np.nextafter(0.75, 1))
    assert 0.25 + step == 1.0
    case, knn, _, truth = right
    answer = Answer(0.5, step, "bounded", np.array([step, 0.0]))
    faults = judge(replace(case, box=(-1.0, 1.0)), 0, "plurality", answer, truth, knn)
    assert [name for name, _ in faults] == ["outside the box by rounding"]


def test_a_radius_where_there_is_none_is_noticed(right):
    nothing = Truth(None, right[3].standing)
    assert _names(right, right[2], nothing) == {"upper below truth"}
    assert _names(right, Answer(np.inf, np.inf, "unreachable", None), nothing) == set()


def test_errors_are_violations_and_refusals_only_of_data_that_must_be_taken(monkeypatch):
    case = draw("random_normal", 0, 0)

    def fail(*_, **__):
        raise IndexError("index 3 is out of bounds")

    def refuse(*_, **__):
        raise InvalidInputError("too large")

    monkeypatch.setattr(arml.MahalanobisKNN, "exact_radius", fail)
    assert "IndexError" in {violation.name for violation in run_case(case).violations}
    monkeypatch.setattr(arml.MahalanobisKNN, "exact_radius", refuse)
    assert "refused" in {violation.name for violation in run_case(case).violations}
    beyond = run_case(replace(case, kind="huge_scale"))
    assert beyond.counts["refused"] > 0
    assert "refused" not in {violation.name for violation in beyond.violations}


def test_a_classifier_that_cannot_be_fitted_counts_for_all_of_its_problems(monkeypatch):
    def refuse(*_):
        raise InvalidInputError("too small")

    case = draw("denormal", 0, 0)
    monkeypatch.setattr(arml.MahalanobisKNN, "fit", refuse)
    outcome = run_case(replace(case, K=3))
    assert outcome.counts == {"refused": 3 * len(case.X)}
    assert not outcome.violations
