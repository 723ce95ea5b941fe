"""The exact checker: honest results are confirmed, and nothing that claims more than the truth is."""

from __future__ import annotations

import ast
import inspect
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

import arml
from arml.proofs import rational
from arml.proofs.formats import DamagedProofError, TreeProof
from arml.proofs.rational_votes import Votes
from tests.proofs.results import Metric, about, as_result, claiming, honest, norm_up, random_result, with_proof

PROBLEMS = 320
BLOCKS = 8


@pytest.fixture(scope="module", params=[1, 3], ids=["entries", "tree"])
def result(request):
    """A result with an exact radius of every point, none of them 0."""
    rng = np.random.default_rng(5)
    X, y = rng.normal(size=(30, 3)), np.arange(30) % 2
    points = rng.normal(size=(12, 3))
    knn = arml.MahalanobisKNN(n_neighbors=request.param, metric=Metric(rng.normal(size=(3, 3)))).fit(X, y)
    labels = knn.predict(points)
    found = honest(as_result(knn.exact_radius(points, labels, box=(-4, 4), proofs=True)))
    assert (found.status == "exact").sum() >= 8
    return found


def first_exact(result):
    return int(np.flatnonzero((result.status == "exact") & (result.lower > 0))[0])


def refusal(result, i):
    """Why test point i is refused; it must be."""
    report = rational.check(result, points=[i])
    assert not report.ok[i], "a forgery was confirmed"
    return report.problems[0][1]


@pytest.mark.parametrize("block", range(BLOCKS))
def test_honest_results_of_random_problems_are_confirmed_and_longer_claims_refused(block):
    longer = 0
    for seed in range(block, PROBLEMS, BLOCKS):
        found = random_result(seed)
        report = rational.check(found)
        assert report.ok.all(), (seed, report.problems)
        for i in np.flatnonzero(np.isfinite(found.upper)):
            # The perturbation is an attack, so no bound above its norm is true, whatever the rest says.
            too_long = float(np.nextafter(norm_up(found.perturbation[i]) * (1 + 1e-12), np.inf))
            forged = claiming(found, i, lower=too_long, upper=np.inf, status="bounded", perturbation=0.0)
            assert refusal(forged, i)
            longer += 1
    assert longer > PROBLEMS // BLOCKS


@pytest.mark.parametrize("seed", range(60))
def test_on_a_line_bounds_hold_against_all_places_where_the_order_changes(seed):
    found = random_result(10_000 + seed, d=1, n=9)
    for i in range(len(found.lower)):
        radius, lower, upper = radius_on_a_line(found, i), float(found.lower[i]), float(found.upper[i])
        lower_holds = radius is None or (np.isfinite(lower) and Fraction(lower) <= radius)
        upper_holds = np.isinf(upper) or (radius is not None and Fraction(upper) >= radius)
        assert rational.check(found, points=[i]).ok[i] == (lower_holds and upper_holds)
        if radius is None or radius == 0:
            continue
        # The smallest float above the truth is refused, the largest below it may be confirmed.
        above = float(radius)
        while Fraction(above) <= radius:
            above = float(np.nextafter(above, np.inf))
        assert refusal(claiming(found, i, lower=above, upper=np.inf, status="bounded", perturbation=0.0), i)


def radius_on_a_line(result, i):
    """Smallest |step| at which the event has happened, in fractions; None where there is none in the box."""
    subject, claim = result.subject, result.claim
    votes = Votes(int(subject.y[i]), claim.n_neighbors, claim.event)
    x, points = Fraction(float(subject.X[i, 0])), [Fraction(float(value)) for value in subject.X_train[:, 0]]
    low, high = claim.box
    # The order changes halfway between two points; the walls are the farthest places.
    places = {(a + b) / 2 for a in points for b in points} | {x}
    places |= {Fraction(bound) for bound in (low, high) if np.isfinite(bound)}
    kept = [q for q in places if (q >= x or q >= low) and (q <= x or q <= high)]
    labels = subject.y_train.tolist()
    lost = [abs(q - x) for q in kept if votes.can_be_lost([(p - q) ** 2 for p in points], labels)]
    return min(lost, default=None)


def test_bounds_of_an_attack_are_held_against_its_norm(result):
    i = first_exact(result)
    upper = float(result.upper[i])
    below = float(np.nextafter(norm_up(result.perturbation[i]), 0))
    assert "longer than the upper bound" in refusal(claiming(result, i, upper=below), i)
    assert "shorter than the upper bound" in refusal(claiming(result, i, upper=upper * (1 + 1e-11)), i)
    assert "gap" in refusal(claiming(result, i, lower=upper * (1 - 1e-5)), i)
    assert "not ordered" in refusal(claiming(result, i, lower=upper * 1.5), i)
    assert "not ordered" in refusal(claiming(result, i, lower=-1.0), i)
    shorter = result.perturbation[i] * 0.99
    forged = claiming(result, i, perturbation=shorter, upper=norm_up(shorter), lower=0.0, status="bounded")
    assert "does not change the answer" in refusal(forged, i)
    forged = claiming(result, i, perturbation=0.0, upper=0.0, lower=0.0, status="misclassified")
    assert "the radius is not 0" in refusal(forged, i)
    forged = claiming(result, i, upper=np.inf, lower=0.0, status="bounded")
    assert "no upper bound" in refusal(forged, i)
    assert "no upper bound" not in str(rational.check(claiming(forged, i, perturbation=0.0), points=[i]).problems)


def test_a_perturbation_that_leaves_the_box_by_one_ulp_is_refused(result):
    i = first_exact(result)
    x, delta = result.subject.X[i], result.perturbation[i]
    reached = float(np.max(np.maximum(np.abs(x), np.abs(x + delta))))
    claim = replace(result.claim, box=(-reached * 2, reached * 2))
    inside = claiming(with_claim(result, claim), i, lower=0.0, status="bounded")
    assert rational.check(inside, points=[i]).ok[i]
    feature = int(np.argmax(np.abs(delta)))
    end = Fraction(float(x[feature])) + Fraction(float(delta[feature]))
    limit = float(end)
    for towards, name in ((-np.inf, "high"), (np.inf, "low")):
        if (delta[feature] > 0) != (name == "high"):
            continue
        while (Fraction(limit) >= end) if name == "high" else (Fraction(limit) <= end):
            limit = float(np.nextafter(limit, towards))
        box = (-100.0, limit) if name == "high" else (limit, 100.0)
        outside = with_claim(inside, replace(result.claim, box=box))
        assert refusal(outside, i) == "the perturbation leaves the box"


def with_claim(result, claim):
    return replace(result, proof=replace(result.proof, claim=claim))


@pytest.mark.parametrize("status", ["exact", "misclassified", "tied", "bounded", "unreachable", "time_limit", "sure"])
def test_a_status_must_fit(result, status):
    i = first_exact(result)
    forged = claiming(result, i, status=status)
    if status in ("exact", "bounded", "time_limit"):
        assert rational.check(forged, points=[i]).ok[i]
    else:
        messages = {"sure": "unknown status 'sure'", "unreachable": "does not fit"}
        assert messages.get(status, "but the radius is not 0") in refusal(forged, i)
    forged = claiming(result, i, status="unreachable", lower=np.inf, upper=np.inf, perturbation=0.0)
    assert refusal(forged, i)


def test_unreachable_without_a_box_takes_too_few_others(result):
    i = first_exact(result)
    forged = claiming(result, i, status="unreachable", lower=np.inf, upper=np.inf, perturbation=0.0)
    forged = with_claim(forged, replace(result.claim, box=(-np.inf, np.inf)))
    assert "there are enough points of other classes" in refusal(forged, i)
    # With one other there are too few for K = 3, and enough for K = 1.
    y = np.full_like(result.subject.y_train, result.subject.y[i])
    y[0] = 1 - y[0]
    few = about(forged, y_train=y)
    assert rational.check(few, points=[i]).ok[i] == (result.claim.n_neighbors == 3)


def test_tied_is_a_tie_and_nothing_else():
    X, y = np.array([[-1.0], [1.0], [9.0]]), np.array([0, 1, 0])
    knn = arml.MahalanobisKNN(n_neighbors=1).fit(X, y)
    points, labels = np.array([[0.0], [0.5]]), np.array([0, 0])
    found = honest(as_result(knn.exact_radius(points, labels)))
    found = claiming(claiming(found, 0, status="tied"), 1, status="misclassified")
    assert rational.check(found).ok.all()
    assert "whichever of tied points" in refusal(claiming(found, 1, status="tied"), 1)
    moved = about(found, X=np.array([[-(2.0**-60)], [0.5]]))
    assert "the radius is not 0" in refusal(moved, 0)


def test_a_weight_is_as_good_as_any_but_not_negative(result):
    weight, i = result.proof.weight, first_exact(result)
    assert len(weight)
    scaled = with_proof(result, weight=weight * 2.0**-700)
    assert rational.check(scaled).ok.all() == rational.check(result).ok.all()
    negative = with_proof(result, weight=-np.abs(weight) - 1)
    assert "a weight is negative" in [reason for _, reason in rational.check(negative).problems]
    assert rational.check(result, points=[i]).ok[i]


def test_proofs_without_their_evidence_are_refused(result):
    names = ("row_ptr", "row") if result.claim.n_neighbors == 1 else ("pair_ptr", "pairs")
    bare = {names[0]: np.zeros_like(getattr(result.proof, names[0])), names[1]: getattr(result.proof, names[1])[:0]}
    report = rational.check(with_proof(result, **bare, weight=result.proof.weight[:0]))
    message = "nothing proves the lower bound" if result.claim.n_neighbors == 1 else "a leaf of the tree does not show"
    assert any(message in reason for _, reason in report.problems)


def test_entries_are_about_others_and_rows_about_sames(result):
    if isinstance(result.proof, TreeProof):
        return tree_is_refused_when_it_leaves_a_case_out(result)
    y, n = result.subject.y_train, len(result.subject.y_train)
    i = next(i for i in range(len(result.proof)) if np.diff(result.proof.entry_ptr)[i])
    entry = int(result.proof.entry_ptr[i])
    for value in (int(np.flatnonzero(y == result.subject.y[i])[0]), n, -1):
        other = result.proof.entry_other.copy()
        other[entry] = value
        assert f"an entry names {value}" in refusal(with_proof(result, entry_other=other), i)
    for value in (int(np.flatnonzero(y != result.subject.y[i])[0]), n):
        row = result.proof.row.copy()
        row[result.proof.row_ptr[entry]] = value
        assert "not that of a training point of the label's class" in refusal(with_proof(result, row=row), i)
    row = result.proof.row.copy()
    row[result.proof.row_ptr[entry]] = -1 - 2 * 3
    assert "unknown bound of the box" in refusal(with_proof(result, row=row), i)
    return None


def tree_is_refused_when_it_leaves_a_case_out(result):
    proof = result.proof
    i = next(i for i in range(len(proof)) if np.diff(proof.node_ptr)[i] >= 3)
    node = int(proof.node_ptr[i]) + 1
    both = np.flatnonzero(proof.parent[node : proof.node_ptr[i + 1]] == proof.parent[node]) + node
    low = proof.low.copy()
    low[both] = True
    assert "children leave out a case" in refusal(with_proof(result, low=low), i)
    parent = proof.parent.copy()
    parent[node] = 1
    assert "not in order" in refusal(with_proof(result, parent=parent), i)
    for value, message in ((-1, "an unknown point"), (10**6, "an unknown point")):
        point = proof.point.copy()
        point[both] = value
        assert message in refusal(with_proof(result, point=point), i)
    points = proof.points.copy()
    points[proof.point_ptr[i]] = points[proof.point_ptr[i] + 1]
    assert "do not exist, or twice" in refusal(with_proof(result, points=points), i)


def test_training_points_that_a_proof_does_not_speak_of_are_looked_at(result):
    i = first_exact(result)
    X_train, y_train = result.subject.X_train, result.subject.y_train
    k = (result.claim.n_neighbors + 1) // 2
    nearer = np.repeat(result.subject.X[i][None], k, axis=0)
    added = about(
        result,
        X_train=np.concatenate([X_train, nearer]),
        y_train=np.concatenate([y_train, np.repeat(1 - result.subject.y[i], k)]),
    )
    reason = refusal(claiming(added, i, upper=np.inf, status="bounded", perturbation=0.0), i)
    assert "for training point [30]" in reason or "that training point [30] cannot be among" in reason


def test_data_other_than_claimed_and_points_that_are_not_there(result):
    other = replace(result, subject=replace(result.subject, X=result.subject.X + 1))
    with pytest.raises(DamagedProofError, match="the digest of X is another"):
        rational.check(other)
    with pytest.raises(IndexError, match="no test point 12"):
        rational.check(result, points=[12])


@pytest.mark.parametrize("scale", [2.0**-300, 2.0**300])
def test_any_scale_is_as_good_as_another(result, scale):
    bigger = about(
        result,
        X_train=result.subject.X_train * scale,
        X=result.subject.X * scale,
    )
    claim = replace(bigger.claim, box=(result.claim.box[0] * scale, result.claim.box[1] * scale))
    bigger = with_claim(bigger, claim)
    bigger = replace(
        bigger, lower=result.lower * scale, upper=result.upper * scale, perturbation=result.perturbation * scale
    )
    np.testing.assert_array_equal(rational.check(bigger).ok, rational.check(result).ok)


def test_no_float_takes_part_in_a_decision():
    """Python's and numpy's float functions and literals do not occur in the modules that decide."""
    names = ("numbers", "geometry", "votes", "screen", "rows", "evidence", "entries", "tree", "ahead")
    forbidden = {"sqrt", "linalg", "norm", "float64", "hypot", "divide", "true_divide", "mean", "float32"}
    for name in names:
        module = __import__(f"arml.proofs.rational_{name}", fromlist=["x"])
        for node in ast.walk(ast.parse(inspect.getsource(module))):
            assert not (isinstance(node, ast.Constant) and isinstance(node.value, float)), (name, node.lineno)
            assert not (isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div)) or name == "geometry"
            if isinstance(node, ast.Attribute) and name != "numbers":
                assert node.attr not in forbidden, (name, node.attr)
