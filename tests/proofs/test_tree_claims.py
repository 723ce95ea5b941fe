"""What K > 1 results may claim: in and out of boxes, beside far training rows, and against rational arithmetic."""

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from arml.proofs import check
from tests.proofs.forgeries import proven
from tests.proofs.handmade import rationals, with_data
from tests.proofs.test_tree_check import BOX, problem


def test_no_attack_for_want_of_other_points_or_within_a_box_is_confirmed():
    X, y = np.array([[0.0], [0.1], [0.2], [5.0], [5.1], [5.2]]), np.array([0, 0, 0, 1, 1, 1])
    point, label = np.array([[0.05]]), np.array([0])
    few = proven(np.eye(1), X[:4], y[:4], point, label, 3, "majority", None)
    assert few.status[0] == "unreachable"
    assert check(few)
    boxed = proven(np.eye(1), X, y, point, label, 3, "majority", BOX)
    assert boxed.status[0] == "unreachable"
    assert check(boxed)
    # The same claim for a box in which there is an attack, at (0.1 + 5.1) / 2.
    wider = replace(boxed, proof=replace(boxed.proof, claim=replace(boxed.claim, box=(0.0, 3.0))))
    assert not check(wider)


def test_a_far_training_row_neither_helps_nor_harms():
    found = problem(5, "majority", seed=4)
    subject = found.subject
    for far in (1e5, 1e8, 1e12):
        again = proven(subject.components, np.vstack([subject.X_train, np.full((1, 4), far)]),
                       np.r_[subject.y_train, 1], subject.X, subject.y, 5, "majority", None)  # fmt: skip
        extended = with_data(found, X_train=again.subject.X_train, y_train=again.subject.y_train)
        report = check(extended)
        assert report, (far, report.problems)
        lower = np.where(found.upper > 0, found.upper * (1 + 1e-6), 0.0)
        never, status = np.where(lower > 0, np.inf, 0.0), np.where(lower > 0, "bounded", found.status)
        raised = replace(extended, lower=lower, upper=never, status=status, perturbation=0 * found.perturbation)
        assert not check(raised).ok[lower > 0].any()


def test_claims_for_a_wider_box_are_refused():
    """What holds within a box does not hold beyond it, whatever box the proof names."""
    kept = problem(5, "plurality", box=BOX)
    subject = kept.subject
    free = proven(subject.components, subject.X_train, subject.y_train, subject.X, subject.y, 5, "plurality", None)
    longer = kept.lower > free.upper * (1 + 1e-6)
    assert longer.sum() > 3
    for box in ((-np.inf, np.inf), (-50.0, 50.0)):
        wider = replace(kept, proof=replace(kept.proof, claim=replace(kept.claim, box=box)))
        assert not check(wider).ok[longer].any()


def test_a_perturbation_outside_the_box_is_refused():
    kept = problem(5, "plurality", box=BOX)
    subject = kept.subject
    free = proven(subject.components, subject.X_train, subject.y_train, subject.X, subject.y, 5, "plurality", None)
    there = subject.X + free.perturbation
    low, high = np.minimum(BOX[0], subject.X), np.maximum(BOX[1], subject.X)
    outside = ((there < low - 1e-6) | (there > high + 1e-6)).any(axis=1)
    forged = replace(kept, upper=free.upper, perturbation=free.perturbation, lower=np.minimum(kept.lower, free.upper))
    refused = dict(check(forged).problems)
    assert outside.sum() > 3
    assert all(refused[i] == "the perturbation leaves the box" for i in np.flatnonzero(outside).tolist())


def radius_on_a_line(g, X, y, x, label, K):
    """Square of the radius, two classes, of a metric that sees one direction g only: in rationals, by all midpoints."""
    (g,), (x,), k = rationals(g), rationals(x), (K + 1) // 2
    at = [sum(a * (b - c) for a, b, c in zip(g, row, x, strict=True)) for row in rationals(X)]

    def lost(t):
        near = [sorted(abs(s - t) for s, c in zip(at, y, strict=True) if (c == label) == own) for own in (True, False)]
        return near[1][k - 1] <= near[0][k - 1]

    steps = [Fraction(0)] + [
        (a + b) / 2 for a, c in zip(at, y, strict=True) for b, e in zip(at, y, strict=True) if c != e
    ]
    return min(t * t for t in steps if lost(t)) / sum(a * a for a in g)


def test_rounding_counts_against_a_proof():
    """Data far along a direction that the metric does not see: the radius, in rationals, is not exceeded."""
    G, rng = np.array([[1 / 3, -1 / 7]]), np.random.default_rng(1)
    X = rng.normal(size=(30, 2)) + np.arange(30)[:, None] % 3 * np.array([1 / 7, 1 / 3]) * 1e12
    found = proven(G, X, (X @ G[0] > 0.1).astype(int), X[:4] + 0.01, None, 3, "plurality", None)
    subject = found.subject
    g = subject.components[np.abs(subject.components).sum(axis=1) > 0]
    assert len(g) == 1
    squares = [
        radius_on_a_line(g, subject.X_train, subject.y_train, x, label, 3)
        for x, label in zip(subject.X, subject.y, strict=True)
    ]
    truth = np.sqrt([float(square) for square in squares])
    assert (truth > 0).any()
    assert (found.lower <= truth).all()
    zeros = np.zeros_like(found.perturbation)
    for more in (1e-12, 1e-9, 1e-6):
        raised = replace(found, lower=truth * (1 + more), upper=np.full(4, np.inf), status=np.full(4, "bounded"),
                         perturbation=zeros)  # fmt: skip
        assert not check(raised).ok[truth > 0].any()


@pytest.mark.parametrize("unit", [2.0**-40, 0.25, 1.0, 4.0, 2.0**40])
def test_the_room_of_a_box_has_the_unit_of_the_points(unit):
    """Data at another scale: honest results are confirmed, and none above, whether room comes out large or small."""
    kept = problem(5, "majority", box=BOX)
    data = kept.subject
    found = proven(
        data.components, unit * data.X_train, data.y_train, unit * data.X, data.y, 5, "majority", (0.0, unit)
    )
    assert (found.proof.pairs[:, 0] < 0).any()
    assert check(found), check(found).problems
    known = np.isfinite(found.upper) & (found.upper > 0)
    lower, never = np.where(known, found.upper * (1 + 1e-6), found.lower), np.where(known, np.inf, found.upper)
    status = np.where(known, "bounded", found.status)
    more = replace(found, lower=lower, upper=never, status=status, perturbation=0 * found.perturbation)
    assert not check(more).ok[known].any()
