"""The check of exact K-NN radii: it accepts what the search proves, and nothing that was tampered with."""

from dataclasses import replace

import numpy as np
import pytest

from arml import MahalanobisKNN, recheck
from arml.certify import KNNCertificate
from arml.radii import Status


def classifier(K, seed=3, n=240, d=4, n_classes=3):
    rng = np.random.default_rng(seed)
    y = rng.integers(0, n_classes, n)
    X = rng.normal(size=(n, d)) + 1.1 * y[:, None]
    G = rng.normal(size=(3, d)) if seed % 2 else rng.normal(size=(d, d))
    knn = MahalanobisKNN(n_neighbors=K, metric=G.T @ G).fit(X, y)
    points = rng.normal(size=(25, d)) + 1.1 * rng.integers(0, n_classes, 25)[:, None]
    return knn, points, knn.predict(points)


@pytest.fixture(scope="module", params=["majority", "plurality"])
def result(request):
    knn, points, labels = classifier(7)
    bounds = knn.exact_radius(points, labels, event=request.param, proofs=True)
    assert (bounds.status == Status.EXACT.value).sum() > 15
    assert recheck(knn, points, labels, bounds)
    return knn, points, labels, bounds


def problems(result, **changes):
    knn, points, labels, bounds = result
    return dict(recheck(knn, points, labels, replace(bounds, **changes)).problems)


def searched(bounds):
    """A point with a tree worth tampering with."""
    return int(np.argmax(bounds.nodes))


def tampered(bounds, **arrays):
    return replace(bounds.certificate, **arrays)


@pytest.mark.parametrize("event", ["majority", "plurality"])
@pytest.mark.parametrize("K", [3, 5, 11])
@pytest.mark.parametrize("seed", [0, 1])
def test_every_exact_radius_is_confirmed(K, seed, event):
    knn, points, labels = classifier(K, seed)
    bounds = knn.exact_radius(points, labels, event=event, proofs=True)
    report = recheck(knn, points, labels, bounds)
    assert report, report.problems


def test_bounds_of_a_search_that_was_stopped_are_confirmed():
    knn, points, labels = classifier(11, seed=2)
    bounds = knn.exact_radius(points, labels, max_nodes=8, proofs=True)
    assert (bounds.status == Status.TIME_LIMIT.value).any()
    report = recheck(knn, points, labels, bounds)
    assert report, report.problems


@pytest.mark.parametrize("factor", [1 + 1e-6, 1.01, 2.0])
def test_a_lower_bound_above_the_truth_is_refused(result, factor):
    bounds = result[3]
    i = searched(bounds)
    lower, upper, perturbation = bounds.lower.copy(), bounds.upper.copy(), bounds.perturbation.copy()
    lower[i], upper[i] = factor * bounds.upper[i], factor * bounds.upper[i]
    perturbation[i] *= factor
    assert i in problems(result, lower=lower, upper=upper, perturbation=perturbation)


def test_a_perturbation_that_is_too_short_is_refused(result):
    bounds = result[3]
    i = searched(bounds)
    lower, upper, perturbation = bounds.lower.copy(), bounds.upper.copy(), bounds.perturbation.copy()
    lower[i], upper[i], perturbation[i] = 0.99 * lower[i], 0.99 * upper[i], 0.99 * perturbation[i]
    assert "does not change the answer" in problems(result, lower=lower, upper=upper, perturbation=perturbation)[i]


def test_a_wide_gap_is_not_called_exact(result):
    bounds = result[3]
    i = searched(bounds)
    lower = bounds.lower.copy()
    lower[i] *= 0.9
    assert "too large to be called exact" in problems(result, lower=lower)[i]


def test_a_tree_with_a_missing_case_is_refused(result):
    bounds = result[3]
    certificate, i = bounds.certificate, searched(bounds)
    low = certificate.low.copy()
    start = int(certificate.node_ptr[i])
    low[start + 1] = low[start + 2]
    assert "leave out a case" in problems(result, certificate=tampered(bounds, low=low))[i]


def test_a_tree_that_decides_nothing_is_refused(result):
    """The root alone, with the evidence of a leaf that it is not entitled to."""
    bounds = result[3]
    certificate, i = bounds.certificate, searched(bounds)
    nodes = slice(int(certificate.node_ptr[i]), int(certificate.node_ptr[i + 1]))
    keep = np.r_[0 : nodes.start + 1, nodes.stop : len(certificate.parent)]
    counts = np.diff(certificate.pair_ptr)
    rows = np.repeat(np.isin(np.arange(len(counts)), keep), counts)
    node_ptr = certificate.node_ptr.copy()
    node_ptr[i + 1 :] -= nodes.stop - nodes.start - 1
    forged = tampered(
        bounds, node_ptr=node_ptr, parent=certificate.parent[keep], point=certificate.point[keep],
        low=certificate.low[keep], pair_ptr=np.r_[0, np.cumsum(counts[keep])], pairs=certificate.pairs[rows],
        weight=certificate.weight[rows],
    )  # fmt: skip
    assert set(problems(result, certificate=forged)) == {i}


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [("weight", -1.0, "negative"), ("weight", np.nan, "negative or not finite"), ("pairs", 10**6, "unknown point")],
)
def test_impossible_evidence_is_refused(result, name, value, message):
    bounds = result[3]
    certificate, i = bounds.certificate, searched(bounds)
    start = int(certificate.pair_ptr[certificate.node_ptr[i]])
    array = getattr(certificate, name).copy()
    array[start : int(certificate.pair_ptr[certificate.node_ptr[i + 1]])] = value
    assert message in problems(result, certificate=tampered(bounds, **{name: array}))[i]


def test_evidence_on_swapped_pairs_is_refused(result):
    bounds = result[3]
    certificate, i = bounds.certificate, searched(bounds)
    assert i in problems(result, certificate=tampered(bounds, pairs=certificate.pairs[:, ::-1].copy()))


def test_weights_without_meaning_prove_nothing(result):
    bounds = result[3]
    rng = np.random.default_rng(0)
    weight = rng.uniform(size=len(bounds.certificate.weight))
    assert searched(bounds) in problems(result, certificate=tampered(bounds, weight=weight))


def test_points_left_out_of_the_proof_are_noticed(result):
    """Points replaced by others: what the proof then leaves out is not covered by row values."""
    bounds = result[3]
    certificate, i = bounds.certificate, searched(bounds)
    points = certificate.points.copy()
    mine = slice(int(certificate.point_ptr[i]), int(certificate.point_ptr[i + 1]))
    unused = np.setdiff1d(np.arange(240), points[mine])[: mine.stop - mine.start]
    points[mine.start : mine.start + len(unused)] = unused
    assert i in problems(result, certificate=tampered(bounds, points=points))


def test_stored_proofs_come_back_and_damaged_ones_do_not(result, tmp_path):
    knn, points, labels, bounds = result
    path = tmp_path / "proof.npz"
    np.savez(path, allow_pickle=False, **bounds.certificate.arrays())
    with np.load(path, allow_pickle=False) as stored:
        arrays = dict(stored)
    back = KNNCertificate.from_arrays(arrays)
    assert recheck(knn, points, labels, replace(bounds, certificate=back))
    for name in arrays:
        # Without a box there is none (`test_knn_box`).
        if name != "box":
            with pytest.raises(ValueError, match=f"damaged certificate: array '{name}' is missing"):
                KNNCertificate.from_arrays({other: array for other, array in arrays.items() if other != name})
        with pytest.raises(ValueError, match="damaged certificate"):
            KNNCertificate.from_arrays(arrays | {name: arrays[name].astype(complex)})
    for name in ("point_ptr", "node_ptr", "pair_ptr"):
        with pytest.raises(ValueError, match=f"damaged certificate: '{name}'"):
            KNNCertificate.from_arrays(arrays | {name: arrays[name][::-1].copy()})


def test_a_proof_for_another_classifier_or_without_evidence_is_refused(result):
    knn, points, labels, bounds = result
    other = MahalanobisKNN(n_neighbors=5, metric=knn.metric_.matrix).fit(knn.X_train_, knn.y_train_)
    with pytest.raises(ValueError, match="for K = 7, the classifier has K = 5"):
        recheck(other, points, labels, bounds)
    with pytest.raises(ValueError, match="do not belong together"):
        recheck(knn, points[:-1], labels, bounds)
    with pytest.raises(ValueError, match="no certificate"):
        recheck(knn, points, labels, replace(bounds, certificate=None))
    stretched = MahalanobisKNN(n_neighbors=7, metric=np.diag([9.0, 1, 1, 1])).fit(knn.X_train_, knn.y_train_)
    assert not recheck(stretched, points, labels, bounds)


@pytest.mark.parametrize("factor", [1e-150, 1e-170, 1e-300, 1e150, 1e300])
def test_the_scale_of_the_weights_proves_nothing(result, factor):
    bounds = result[3]
    i = searched(bounds)
    lower, upper = bounds.lower.copy(), bounds.upper.copy()
    lower[i], upper[i] = 1000 * upper[i], np.inf
    status = bounds.status.copy()
    status[i] = Status.TIME_LIMIT.value
    forged = tampered(bounds, weight=factor * np.ones(len(bounds.certificate.weight)))
    assert i in problems(result, lower=lower, upper=upper, status=status, certificate=forged)


def test_arrays_of_other_types_are_refused(result):
    knn, points, labels, bounds = result
    for name, array in (
        ("low", bounds.certificate.low.astype(int)),
        ("low", np.full(len(bounds.certificate.low), np.nan)),
        ("setting", np.array([7.5, 0.0])),
    ):
        with pytest.raises(ValueError, match=f"damaged certificate: '{name}'"):
            recheck(knn, points, labels, replace(bounds, certificate=tampered(bounds, **{name: array})))


def test_a_perturbation_of_another_shape_is_refused(result):
    knn, points, labels, bounds = result
    with pytest.raises(ValueError, match="perturbation has shape"):
        recheck(knn, points, labels, replace(bounds, perturbation=bounds.perturbation[:, :1]))


@pytest.mark.parametrize(
    "status", [Status.MISCLASSIFIED, Status.TIED, Status.UNREACHABLE, "perhaps"], ids=lambda status: str(status)
)
def test_a_status_that_does_not_fit_is_refused(result, status):
    bounds = result[3]
    i = searched(bounds)
    statuses = bounds.status.astype("<U16")
    statuses[i] = str(status)
    assert "status" in problems(result, status=statuses)[i]


def test_exact_needs_a_perturbation(result):
    bounds = result[3]
    i = searched(bounds)
    upper = bounds.upper.copy()
    upper[i] = np.inf
    assert "too large to be called exact" in problems(result, upper=upper)[i]


def test_a_proof_for_the_other_event_is_refused(result):
    knn, points, labels, bounds = result
    other = {"majority": "plurality", "plurality": "majority"}[bounds.event]
    with pytest.raises(ValueError, match="not for the event"):
        recheck(knn, points, labels, bounds, event=other)
    setting = bounds.certificate.setting.copy()
    setting[1] = 1 - setting[1]
    with pytest.raises(ValueError, match="not for the event"):
        recheck(knn, points, labels, replace(bounds, certificate=tampered(bounds, setting=setting)))


def test_rounding_counts_against_a_proof():
    """Data far along a direction that the metric does not see: the true radius, in rationals, is not exceeded."""
    G = np.array([[1 / 3, -1 / 7]])
    rng = np.random.default_rng(1)
    along = np.array([1 / 7, 1 / 3]) * 1e12
    X = rng.normal(size=(30, 2)) + np.arange(30)[:, None] % 3 * along
    y = (X @ G[0] > 0.1).astype(int)
    metric = type("Metric", (), {"components_": G})()
    knn = MahalanobisKNN(n_neighbors=3, metric=metric).fit(X, y)
    points = X[:4] + 0.01
    labels = knn.predict(points)
    bounds = knn.exact_radius(points, labels, proofs=True)
    for i in np.flatnonzero(bounds.status == Status.BOUNDED.value):
        raised = bounds.lower.copy()
        raised[i] = bounds.upper[i]
        assert i in dict(recheck(knn, points, labels, replace(bounds, lower=raised)).problems)
