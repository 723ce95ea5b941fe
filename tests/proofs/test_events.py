"""The three events, told apart where they differ."""

from dataclasses import replace

import numpy as np
import pytest

from arml import MahalanobisKNN
from arml.proofs import EVENTS, ProvenResult, Subject, check
from arml.proofs.events import has_happened

NO_ERROR = np.zeros(4)


@pytest.mark.parametrize(
    ("y", "label", "happened"),
    [
        # Votes of the three nearest; the fourth is far.
        ([1, 1, 2, 0], 1, set()),
        ([0, 1, 2, 1], 1, {"majority", "plurality", "predict"}),
        ([0, 1, 2, 0], 0, {"majority", "plurality"}),
        ([2, 2, 1, 1], 1, {"majority", "plurality", "predict"}),
        ([2, 2, 0, 1], 1, {"majority", "plurality", "predict"}),
    ],
)
def test_what_has_happened(y, label, happened):
    c = np.array([1.0, 2.0, 3.0, 9.0])
    for event in EVENTS:
        assert has_happened(event, c, NO_ERROR, np.array(y), label, 3) == (event in happened), event


@pytest.mark.parametrize("event", EVENTS)
def test_a_tie_of_distance_is_decided_against_the_label(event):
    c, y = np.array([1.0, 2.0, 2.0, 9.0]), np.array([1, 1, 0, 0])
    assert has_happened(event, c[1:], NO_ERROR[1:], y[1:], 1, 1)
    assert not has_happened(event, c, NO_ERROR, y, 1, 1)
    # Third classes take the label's place, not the rival's.
    assert has_happened(event, np.array([1.0, 1.0, 1.0]), np.zeros(3), np.array([2, 0, 2]), 2, 1)


@pytest.mark.parametrize("event", EVENTS)
def test_only_rounding_is_forgiven(event):
    c, y = np.array([1.0, 1.0 + 1e-9]), np.array([1, 0])
    assert not has_happened(event, c, np.full(2, 4e-10), y, 1, 1)
    assert has_happened(event, c, np.full(2, 6e-10), y, 1, 1)


@pytest.mark.parametrize("event", ["plurality", "predict"])
def test_of_third_classes_only_rounding_is_forgiven(event):
    """They may be a hair farther than a rival that needs their place, or nearer than the label that has it."""
    apart, too_little, enough = 1e-9, 4e-10, 6e-10
    for y, last in (
        # Two votes for 1 and one for each of the others; the fifth makes it two of 0 where 3 is behind it.
        ([1, 1, 0, 2], [3, 0]),
        # A vote each for 0 and 1; a second one of 1 is lost where 2 is before it.
        ([1, 0], [1, 2]),
    ):
        c = np.concatenate([0.1 * np.arange(1, len(y) + 1), [1.0, 1.0 + apart]])
        labels, K = np.array(y + last), len(y) + 1
        assert not has_happened(event, c, np.zeros(K + 1), labels, 1, K)
        assert not has_happened(event, c, np.full(K + 1, too_little), labels, 1, K)
        assert has_happened(event, c, np.full(K + 1, enough), labels, 1, K)


def line():
    """K = 3 on a line: label 0 at 0, 1 at 1, 2 at -1.9 and more of each beyond; the point 0.1 has the label 0."""
    X = np.array([[0.0], [0.2], [1.0], [-1.9], [2.2], [-3.5]])
    return X, np.array([0, 0, 1, 2, 1, 2]), np.array([[0.1]]), np.array([0])


@pytest.mark.parametrize("searched", ["majority", "plurality"])
def test_lower_bounds_hold_for_the_events_that_imply_the_searched_one(searched):
    """Predict implies plurality and that implies majority, so bounds carry over one way; the proof shows it itself."""
    X, y, x, label = line()
    knn = MahalanobisKNN(3).fit(X, y)
    bounds = knn.exact_radius(x, label, event=searched, proofs=True)
    subject = Subject(knn.metric_.components, X, y, x, label)
    for event in EVENTS[EVENTS.index(searched) :]:
        claim = replace(bounds.certificate.claim, event=event)
        proof = replace(bounds.certificate, claim=claim)
        result = ProvenResult(
            subject, bounds.lower * (1 - 1e-9), np.array([np.inf]), np.array(["bounded"]), np.zeros((1, 1)), proof
        )
        report = check(result)
        assert report, (event, report.problems)


def test_predict_needs_more_than_a_tie_of_votes():
    """Among votes 0, 1, 2 `predict` says 0; for the label 0 that is a lost plurality and nothing else."""
    X, y = np.array([[0.0], [0.1], [1.0], [1.3], [5.0]]), np.array([0, 0, 1, 2, 1])
    knn = MahalanobisKNN(3).fit(X, y)
    x, label = np.array([[0.05]]), np.array([0])
    bounds = knn.exact_radius(x, label, event="plurality", proofs=True)
    assert knn.predict(x + bounds.perturbation * (1 + 1e-9)) == 0
    subject = Subject(knn.metric_.components, X, y, x, label)
    result = ProvenResult(
        subject, bounds.lower * (1 - 1e-9), bounds.upper, np.array(["exact"]), bounds.perturbation, bounds.certificate
    )
    assert check(result), check(result).problems
    predicted = replace(bounds.certificate, claim=replace(bounds.certificate.claim, event="predict"))
    assert "does not change the answer" in check(replace(result, proof=predicted)).problems[0][1]
    # The other way round the tie is enough: label 1 loses it to 0.
    assert has_happened("predict", np.array([1.0, 2.0, 3.0]), np.zeros(3), np.array([0, 1, 2]), 1, 3)
