"""When a label is lost at a point, against brute force over all choices among ties, in rational arithmetic."""

from fractions import Fraction
from itertools import combinations

import numpy as np
import pytest

from arml.classifier.event import EVENTS, Outcome, handicaps, outcomes
from arml.classifier.fitted import Compute
from tests.certify.fitted import fit


def exact_sq_distances(G, X, x, delta):
    """Squared distances from ``x + delta``, a sum that need not be a float."""
    at = [Fraction(p) + Fraction(q) for p, q in zip(x.tolist(), delta.tolist(), strict=True)]
    result = []
    for point in X.tolist():
        T = [Fraction(p) - q for p, q in zip(point, at, strict=True)]
        result.append(sum(sum(Fraction(g) * t for g, t in zip(row, T, strict=True)) ** 2 for row in G.tolist()))
    return result


def is_lost(counts, label, event, K):
    if event == "majority":
        return counts[label] < (K + 1) // 2
    if event == "predict":
        return int(np.argmax(counts)) != label
    return any(n >= counts[label] and n > 0 for c, n in enumerate(counts) if c != label)


def by_all_choices(G, X, y, x, delta, label, event, K):
    """`Outcome` from every choice of K nearest points, and whether there is more than one choice."""
    c = exact_sq_distances(G, X, x, delta)
    last = sorted(c)[K - 1]
    surely = [i for i, value in enumerate(c) if value < last]
    shared = [i for i, value in enumerate(c) if value == last]
    lost = {
        is_lost(np.bincount(y[surely + list(some)], minlength=y.max() + 1), label, event, K)
        for some in combinations(shared, K - len(surely))
    }
    outcome = Outcome.TIED if len(lost) == 2 else Outcome.LOST if lost.pop() else Outcome.KEPT
    return outcome, len(shared) > K - len(surely)


@pytest.mark.parametrize("event", EVENTS)
@pytest.mark.parametrize("K", [1, 3, 5, 7])
def test_outcomes_are_those_of_all_choices_among_ties(K, event):
    seen = dict.fromkeys(Outcome, 0)
    ties = 0
    for seed in range(120):
        rng = np.random.default_rng([seed, K])
        n, d, classes = 12, int(rng.integers(1, 4)), int(rng.integers(2, 5))
        X = rng.integers(-2, 3, size=(n, d)).astype(float)  # ties, and copies of one point with several labels
        G = np.eye(d) if seed % 2 else rng.integers(-2, 3, size=(int(rng.integers(1, d + 1)), d)).astype(float)
        y = np.concatenate([np.arange(classes), rng.integers(classes, size=n - classes)])
        points, deltas = rng.integers(-2, 3, size=(3, d)) / 2, rng.integers(-1, 2, size=(3, d)) / 2
        if seed % 3 == 0:  # by as little as a float can say
            deltas = deltas * 2.0**-52
        fitted = fit(G, X, y, K)
        labels = rng.integers(classes, size=3)
        found = outcomes(fitted, points, deltas, labels, event, Compute())
        for t in range(3):
            wanted, tied = by_all_choices(G, X, y, points[t], deltas[t], int(labels[t]), event, K)
            assert found[t] == wanted
            seen[wanted] += 1
            ties += tied
    assert ties > 60
    assert min(seen.values()) > 5


@pytest.mark.parametrize("event", EVENTS)
def test_a_sum_that_is_no_float_is_taken_for_what_it_is(event):
    # From 1e16 on only even numbers are floats: 1e16 + 1 is half-way between its neighbours, and rounds to one of them.
    X, y = np.array([[1e16], [1e16 + 2]]), np.array([0, 1])
    fitted = fit(np.eye(1), X, y, 1)
    deltas = np.array([[1.0], [1.0 - 2.0**-53], [1.0 + 2.0**-52]])
    found = outcomes(fitted, np.full((3, 1), 1e16), deltas, np.zeros(3, dtype=int), event, Compute())
    assert found.tolist() == [Outcome.TIED, Outcome.KEPT, Outcome.LOST]


@pytest.mark.parametrize("far", [1e5, 1e8, 1e12])
def test_a_far_row_makes_no_tie(far):
    rng = np.random.default_rng(0)
    X, y, points = rng.normal(size=(30, 3)), np.arange(30) % 3, rng.normal(size=(20, 3))
    near = fit(np.eye(3), X, y, 3)
    X = np.vstack([X, np.full((1, 3), far)])
    spoilt = fit(np.eye(3), X, np.append(y, 0), 3)
    for event in EVENTS:
        for label in range(3):
            labels, none = np.full(20, label), np.zeros((20, 3))
            expected = outcomes(near, points, none, labels, event, Compute())
            np.testing.assert_array_equal(outcomes(spoilt, points, none, labels, event, Compute()), expected)
            assert Outcome.TIED not in expected


def test_votes_that_are_equal_without_a_tie_of_distance_are_lost_and_not_tied():
    X, y = np.array([[0.0], [1.0], [2.0], [9.0]]), np.array([0, 1, 2, 0])
    fitted = fit(np.eye(1), X, y, 3)
    x, none = np.array([[0.9]]), np.zeros((1, 1))
    for label, outcome in ((0, Outcome.KEPT), (1, Outcome.LOST), (2, Outcome.LOST)):
        found = outcomes(fitted, x, none, np.array([label]), "predict", Compute())
        assert found[0] == outcome
        for event in ("majority", "plurality"):
            assert outcomes(fitted, x, none, np.array([label]), event, Compute())[0] == Outcome.LOST


def test_only_predict_asks_for_more_votes_and_only_of_labels_ranked_behind():
    assert handicaps(4, 1, "predict").tolist() == [0, 0, 1, 1]
    for event in ("majority", "plurality"):
        assert not handicaps(4, 1, event).any()
