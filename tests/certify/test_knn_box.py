"""Exact K-NN radii within a box, through the public face, and the check of their proofs."""

from dataclasses import replace

import numpy as np
import pytest

from arml import MahalanobisKNN, recheck
from arml.certify import KNNCertificate
from arml.inputs import InvalidInputError
from arml.radii import Status

BOX = (0.0, 1.0)


@pytest.fixture(scope="module")
def problem():
    """Points of which many lie on the box's bounds, as pixels do; a few test points lie outside."""
    rng = np.random.default_rng(5)
    y = rng.integers(0, 3, 240)
    X = np.clip(rng.normal(size=(240, 5)) * 0.4 + 0.3 * y[:, None], *BOX)
    G = rng.normal(size=(4, 5))
    knn = MahalanobisKNN(n_neighbors=5, metric=G.T @ G).fit(X, y)
    points = np.clip(rng.normal(size=(30, 5)) * 0.4 + 0.3 * rng.integers(0, 3, 30)[:, None], -0.1, 1.05)
    return knn, points, knn.predict(points)


@pytest.fixture(scope="module", params=["majority", "plurality"])
def results(request, problem):
    knn, points, labels = problem
    event = request.param
    free = knn.exact_radius(points, labels, event=event)
    kept = knn.exact_radius(points, labels, event=event, box=BOX, proofs=True)
    return free, kept


def room(points):
    return points - np.minimum(BOX[0], points), np.maximum(BOX[1], points) - points


def refusals(problem, bounds, **options):
    return dict(recheck(*problem, bounds, **{"box": BOX, **options}).problems)


def test_a_box_only_lengthens_radii_and_keeps_perturbations_inside(problem, results):
    free, kept = results
    points = problem[1]
    assert (kept.gap[np.isfinite(kept.upper)] <= 1e-6).all()
    assert (kept.upper >= free.lower).all()
    assert (kept.lower > free.upper * (1 + 1e-4)).sum() >= 5
    below, above = room(points)
    assert (kept.perturbation >= -below).all()
    assert (kept.perturbation <= above).all()


def test_radii_within_a_box_are_confirmed(problem, results):
    kept = results[1]
    assert (kept.certificate.pairs[:, 0] < 0).any()
    assert refusals(problem, kept) == {}


def test_a_wide_box_changes_nothing(problem, results):
    knn, points, labels = problem
    free = results[0]
    wide = knn.exact_radius(points, labels, event=free.event, box=(-1e3, 1e3))
    np.testing.assert_allclose(wide.upper, free.upper, rtol=2e-6)


def test_no_attack_within_a_box_is_proven():
    """On a line: label 0 at 0 and 0.1, label 1 far beyond the box."""
    X, y = np.array([[0.0], [0.1], [0.2], [5.0], [5.1], [5.2]]), np.array([0, 0, 0, 1, 1, 1])
    knn = MahalanobisKNN(n_neighbors=3).fit(X, y)
    point, label = np.array([[0.05]]), np.array([0])
    bounds = knn.exact_radius(point, label, box=BOX, proofs=True)
    assert bounds.status[0] == Status.UNREACHABLE.value
    assert np.isinf(bounds.lower[0])
    assert np.isinf(bounds.upper[0])
    assert recheck(knn, point, label, bounds, box=BOX)
    # The same claim for a box in which there is an attack, at (0.1 + 5.1) / 2.
    forged = replace(bounds, certificate=replace(bounds.certificate, box=np.array([0.0, 3.0])))
    assert not recheck(knn, point, label, forged, box=(0.0, 3.0))
    reached = knn.exact_radius(point, label, box=(0.0, 3.0))
    assert reached.upper[0] == pytest.approx(2.55, rel=1e-6)


def test_a_bound_that_only_reaches_the_diagonal_does_not_prove_that_there_is_no_attack(monkeypatch):
    """It might be the diagonal's rounding, and an attack in the very corner."""
    from arml import exact

    X, y = np.array([[0.0], [0.1], [0.2], [5.0], [5.1], [5.2]]), np.array([0, 0, 0, 1, 1, 1])
    knn = MahalanobisKNN(n_neighbors=3).fit(X, y)
    search = exact.search_radii

    def barely(*arguments, **options):
        found = search(*arguments, **options)
        return replace(found, lower=np.full(1, 0.95 * (1 + 1e-12)))

    monkeypatch.setattr(exact, "search_radii", barely)
    bounds = knn.exact_radius(np.array([[0.05]]), np.array([0]), box=BOX)
    assert np.isfinite(bounds.lower[0])
    assert bounds.status[0] == Status.BOUNDED.value


def test_a_proof_for_another_box_is_refused(problem, results):
    kept = results[1]
    for box in (None, (0.0, 2.0)):
        with pytest.raises(ValueError, match="pass the same box"):
            recheck(*problem, kept, box=box)


def test_claims_for_a_wider_box_are_refused(problem, results):
    """What holds within a box does not hold beyond it, whatever box the proof names."""
    kept = results[1]
    wider = np.array([-1.0, 2.0])
    forged = replace(kept, certificate=replace(kept.certificate, box=wider))
    refused = refusals(problem, forged, box=tuple(wider))
    longer = np.flatnonzero(kept.lower > results[0].upper * (1 + 1e-4))
    assert len(set(longer) & set(refused)) >= len(longer) / 2


def test_a_perturbation_outside_the_box_is_refused(problem, results):
    free, kept = results
    below, above = room(problem[1])
    outside = ((free.perturbation < -below - 1e-6) | (free.perturbation > above + 1e-6)).any(axis=1)
    assert outside.sum() >= 5
    forged = replace(kept, perturbation=free.perturbation, upper=free.upper, lower=np.minimum(kept.lower, free.upper))
    refused = refusals(problem, forged)
    for i in np.flatnonzero(outside):
        assert refused[i] == "the perturbation leaves the box"


@pytest.mark.parametrize(
    ("pair", "message"), [((-3, 0), "unknown bound"), ((-1, 99), "unknown bound"), ((-2, -1), "unknown bound")]
)
def test_evidence_on_bounds_that_do_not_exist_is_refused(problem, results, pair, message):
    kept = results[1]
    i = int(np.argmax(kept.nodes))
    pairs = kept.certificate.pairs.copy()
    nodes = slice(*kept.certificate.node_ptr[i : i + 2])
    pairs[kept.certificate.pair_ptr[nodes.start] : kept.certificate.pair_ptr[nodes.stop]] = pair
    forged = replace(kept, certificate=replace(kept.certificate, pairs=pairs))
    assert message in refusals(problem, forged)[i]


def test_evidence_of_a_box_is_refused_where_there_is_none(problem, results):
    kept = results[1]
    forged = replace(kept, certificate=replace(kept.certificate, box=np.array([-np.inf, np.inf])))
    assert any("where there is none" in message for message in refusals(problem, forged, box=None).values())


def test_proofs_stored_before_there_were_boxes_are_read(results):
    arrays = results[1].certificate.arrays()
    old = KNNCertificate.from_arrays({name: array for name, array in arrays.items() if name != "box"})
    np.testing.assert_array_equal(old.box, [-np.inf, np.inf])


def test_an_empty_box_is_refused(problem):
    knn, points, labels = problem
    with pytest.raises(InvalidInputError, match="is empty"):
        knn.exact_radius(points, labels, box=(1.0, 0.0))
