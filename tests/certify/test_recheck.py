from dataclasses import replace

import numpy as np
import pytest

from arml.certify import OneNNCertificate, recheck
from arml.neighbors import MahalanobisKNN
from arml.radii import Status
from tests.certify.problems import random_problem


@pytest.fixture
def result():
    rng = np.random.default_rng(5)
    M, X, y, _ = random_problem(rng, n=150, d=5, classes=3)
    knn = MahalanobisKNN(1, metric=M).fit(X, y)
    points = rng.normal(size=(30, 5))
    labels = knn.predict(points)
    bounds = knn.exact_radius(points, labels)
    assert recheck(knn, points, labels, bounds)
    return knn, points, labels, bounds


def failures(knn, points, labels, bounds):
    return dict(recheck(knn, points, labels, bounds).problems)


def test_lower_bound_raised_above_the_truth_is_refused(result):
    knn, points, labels, bounds = result
    lower = bounds.lower.copy()
    lower[3] *= 1.01
    upper = np.maximum(bounds.upper, lower)
    problems = failures(knn, points, labels, replace(bounds, lower=lower, upper=upper))
    assert set(problems) == {3}
    assert "nothing proves" in problems[3]


def test_perturbation_that_does_not_reach_is_refused(result):
    knn, points, labels, bounds = result
    perturbation, upper, lower = bounds.perturbation.copy(), bounds.upper.copy(), bounds.lower.copy()
    perturbation[4] *= 0.99
    upper[4] *= 0.99
    lower[4] = min(lower[4], np.linalg.norm(perturbation[4]))
    problems = failures(knn, points, labels, replace(bounds, lower=lower, upper=upper, perturbation=perturbation))
    assert "still nearer" in problems[4]


def test_longer_perturbation_is_not_called_exact(result):
    knn, points, labels, bounds = result
    perturbation, upper = bounds.perturbation.copy(), bounds.upper.copy()
    winner = knn.X_train_[bounds.certificate.winner[2]]
    perturbation[2] = winner - points[2]
    upper[2] = np.linalg.norm(perturbation[2])
    problems = failures(knn, points, labels, replace(bounds, upper=upper, perturbation=perturbation))
    assert "too large to be called exact" in problems[2]


def test_negative_weights_are_refused(result):
    knn, points, labels, bounds = result
    certificate = bounds.certificate
    problems = failures(
        knn, points, labels, replace(bounds, certificate=replace(certificate, weight=-certificate.weight))
    )
    assert any("negative" in problem for problem in problems.values())


def test_certificate_without_entries_proves_less(result):
    knn, points, labels, bounds = result
    old = bounds.certificate
    empty = replace(
        old,
        entry_ptr=np.zeros_like(old.entry_ptr),
        entry_other=old.entry_other[:0],
        row_ptr=old.row_ptr[:1],
        row=old.row[:0],
        weight=old.weight[:0],
    )
    assert any(
        "nothing proves" in p for p in failures(knn, points, labels, replace(bounds, certificate=empty)).values()
    )


def test_wrong_status_is_refused(result):
    knn, points, labels, bounds = result
    zero = bounds.lower.copy()
    zero[0] = 0.0
    upper, perturbation, status = bounds.upper.copy(), bounds.perturbation.copy(), bounds.status.copy()
    upper[0], perturbation[0], status[0] = 0.0, 0.0, Status.MISCLASSIFIED.value
    forged = replace(bounds, lower=zero, upper=upper, perturbation=perturbation, status=status)
    assert "classified correctly" in failures(knn, points, labels, forged)[0]


def test_result_of_another_metric_is_refused(result):
    knn, points, labels, bounds = result
    other = MahalanobisKNN(1).fit(knn.X_train_, knn.y_train_)
    assert not recheck(other, points, labels, bounds)


def test_certificate_survives_storage_and_damage_is_refused(result, tmp_path):
    knn, points, labels, bounds = result
    np.savez(tmp_path / "certificate.npz", **bounds.certificate.arrays())
    with np.load(tmp_path / "certificate.npz", allow_pickle=False) as stored:
        arrays = dict(stored)
    certificate = OneNNCertificate.from_arrays(arrays)
    assert recheck(knn, points, labels, replace(bounds, certificate=certificate))
    with pytest.raises(ValueError, match="'weight' is missing"):
        OneNNCertificate.from_arrays({name: a for name, a in arrays.items() if name != "weight"})
    with pytest.raises(ValueError, match="row_ptr"):
        OneNNCertificate.from_arrays({**arrays, "row_ptr": arrays["row_ptr"][:-1]})
    with pytest.raises(ValueError, match="integers"):
        OneNNCertificate.from_arrays({**arrays, "row": arrays["row"].astype(float)})


def test_result_without_certificate_is_an_error(result):
    knn, points, labels, bounds = result
    with pytest.raises(ValueError, match="no certificate"):
        recheck(knn, points, labels, replace(bounds, certificate=None))
    with pytest.raises(ValueError, match="belong together"):
        recheck(knn, points[:-1], labels[:-1], bounds)


def test_cancelling_or_tiny_weights_do_not_prove_unreachability(result):
    knn, points, labels, bounds = result
    infinite = np.full(len(bounds), np.inf)
    forged = replace(
        bounds,
        lower=infinite,
        upper=infinite,
        status=np.full(len(bounds), Status.UNREACHABLE.value),
        certificate=replace(bounds.certificate, weight=bounds.certificate.weight * 1e-200),
    )
    assert not recheck(knn, points, labels, forged).ok.any()


def test_the_box_is_the_callers_not_the_certificates(result):
    knn, points, labels, bounds = result
    forged = replace(bounds, certificate=replace(bounds.certificate, box=np.array([9e9, -9e9])))
    with pytest.raises(ValueError, match="pass the same box"):
        recheck(knn, points, labels, forged)


@pytest.mark.parametrize("winner", [99999, -7])
def test_a_winner_that_does_not_exist_is_refused(result, winner):
    knn, points, labels, bounds = result
    winners = bounds.certificate.winner.copy()
    winners[1] = winner
    forged = replace(bounds, certificate=replace(bounds.certificate, winner=winners))
    assert "winner" in failures(knn, points, labels, forged)[1]


def test_unknown_statuses_are_refused(result):
    knn, points, labels, bounds = result
    forged = replace(bounds, status=np.full(len(bounds), "proven"))
    assert "unknown status" in failures(knn, points, labels, forged)[0]


def test_small_metrics_do_not_blur_the_check():
    X, y = np.array([[0.0, 0.0], [1.0, 0.0]]), np.array([0, 1])
    knn = MahalanobisKNN(1, metric=1e-13 * np.eye(2)).fit(X, y)
    bounds = knn.exact_radius(np.array([[0.1, 0.2]]), np.array([0]))
    assert recheck(knn, np.array([[0.1, 0.2]]), np.array([0]), bounds)
    zero = np.zeros(1)
    forged = replace(
        bounds, lower=zero, upper=zero, perturbation=np.zeros((1, 2)), status=np.array([Status.MISCLASSIFIED.value])
    )
    assert not recheck(knn, np.array([[0.1, 0.2]]), np.array([0]), forged)
