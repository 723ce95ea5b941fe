"""`recheck`: a result is compared with what is asked, and what does not fit is one sentence."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from arml import MahalanobisKNN, recheck
from arml.proofs import check
from tests.proofs.forgeries import honest


@pytest.fixture(scope="module", params=[(1, "plurality"), (3, "majority")], ids=["K=1", "K=3"])
def asked(request):
    """A classifier that is no `MahalanobisKNN`, points, labels and a result about them."""
    result = honest(7, *request.param, box=None)
    subject = result.subject
    knn = SimpleNamespace(
        n_neighbors=request.param[0], X_train_=subject.X_train, y_train_=subject.y_train,
        metric_=SimpleNamespace(components=subject.components),
    )  # fmt: skip
    bounds = SimpleNamespace(
        lower=result.lower, upper=result.upper, status=result.status, perturbation=result.perturbation,
        certificate=result.proof, event=request.param[1],
    )  # fmt: skip
    return knn, subject.X, subject.y, bounds


def changed(thing, **attributes):
    return SimpleNamespace(**{**vars(thing), **attributes})


def test_an_honest_result_is_confirmed(asked):
    report = recheck(*asked)
    assert report, report.problems
    assert recheck(*asked, event=asked[3].event)
    assert recheck(asked[0], asked[1].tolist(), asked[2].tolist(), asked[3])


def test_another_number_of_neighbours(asked):
    knn, X, y, bounds = asked
    K = knn.n_neighbors
    with pytest.raises(ValueError, match=f"claimed for K = {K}, the classifier has K = {K + 2}"):
        recheck(changed(knn, n_neighbors=K + 2), X, y, bounds)


@pytest.mark.parametrize(
    ("what", "attribute"), [("set of training points", "X_train_"), ("list of training labels", "y_train_")]
)
def test_another_training_set(asked, what, attribute):
    knn, X, y, bounds = asked
    with pytest.raises(ValueError, match=f"claimed for another {what}"):
        recheck(changed(knn, **{attribute: getattr(knn, attribute)[::-1].copy()}), X, y, bounds)


def test_another_metric(asked):
    knn, X, y, bounds = asked
    stretched = SimpleNamespace(components=knn.metric_.components * (1 + 1e-15))
    with pytest.raises(ValueError, match="claimed for another metric"):
        recheck(changed(knn, metric_=stretched), X, y, bounds)


def test_other_points_and_labels(asked):
    knn, X, y, bounds = asked
    with pytest.raises(ValueError, match="claimed for another set of test points"):
        recheck(knn, X + 1e-15, y, bounds)
    with pytest.raises(ValueError, match="claimed for another list of test labels"):
        recheck(knn, X, y + 1, bounds)
    with pytest.raises(ValueError, match="6 points, 5 labels and 6 results do not belong together"):
        recheck(knn, X, y[:-1], bounds)
    with pytest.raises(ValueError, match="X is not an array of numbers"):
        recheck(knn, [["a"]], y, bounds)
    with pytest.raises(ValueError, match=r"X has shape \(18,\)"):
        recheck(knn, X.ravel(), y, bounds)
    with pytest.raises(ValueError, match=r"y has shape .* and integers"):
        recheck(knn, X, y + 0.5, bounds)


def test_another_box(asked):
    knn, X, y, bounds = asked
    with pytest.raises(ValueError, match=r"claimed for the box None, not for .*; pass the same box"):
        recheck(knn, X, y, bounds, box=(0.0, 1.0))
    boxed = replace(bounds.certificate, claim=replace(bounds.certificate.claim, box=(0.0, 1.0)))
    with pytest.raises(ValueError, match=r"claimed for the box \(0.0, 1.0\), not for None"):
        recheck(knn, X, y, changed(bounds, certificate=boxed))


def test_another_event(asked):
    knn, X, y, bounds = asked
    if knn.n_neighbors == 1:
        assert recheck(knn, X, y, bounds, event="majority")
    else:
        with pytest.raises(ValueError, match="claimed for the event 'majority', not for 'plurality'"):
            recheck(knn, X, y, bounds, event="plurality")
        with pytest.raises(ValueError, match="claimed for the event 'majority', not for 'predict'"):
            recheck(knn, X, y, changed(bounds, event="predict"))
    with pytest.raises(ValueError, match="unknown event 'never'; there are: majority, plurality, predict"):
        recheck(knn, X, y, bounds, event="never")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"norm": 1.0}, "norm 1.0; there are proofs for the norm 2 only"),
        ({"event": "never"}, "unknown event 'never'"),
        ({"n_neighbors": 2}, "K = 2, which is not an odd positive integer"),
        ({"n_neighbors": True}, "K = True, which is not"),
        ({"n_neighbors": "3"}, "K = '3', which is not"),
        ({"box": (1.0, 0.0)}, r"box \(1.0, 0.0\) is empty"),
        ({"box": (float("nan"), 1.0)}, "is not a pair of numbers"),
        ({"box": None}, "box None is not a pair of numbers"),
        ({"X": None}, "the claim's X is not text"),
    ],
)
def test_impossible_claims(change, message):
    result = honest(7, 1, "plurality", None)
    forged = replace(result, proof=replace(result.proof, claim=replace(result.claim, **change)))
    with pytest.raises(ValueError, match=message):
        check(forged)


def test_a_result_without_proof(asked):
    knn, X, y, bounds = asked
    with pytest.raises(ValueError, match="proofs=True"):
        recheck(knn, X, y, changed(bounds, certificate=None))
    with pytest.raises(ValueError, match="proofs=True"):
        recheck(knn, X, y, MahalanobisKNN(3).fit(knn.X_train_, knn.y_train_).exact_radius(X, y))


@pytest.mark.parametrize("gap", [1e-2, 1.1e-6, -1e-9, float("nan")])
def test_a_wide_gap_may_not_be_called_exact(asked, gap):
    with pytest.raises(ValueError, match="a wider gap is not called exact"):
        recheck(*asked, gap=gap)


@pytest.mark.parametrize("name", ["lower", "upper", "perturbation"])
def test_arrays_of_another_type_or_shape(asked, name):
    knn, X, y, bounds = asked
    array = getattr(bounds, name)
    for spoiled in (array.astype(complex), np.zeros(array.shape, dtype=int), array[:, None]):
        with pytest.raises(ValueError, match=f"{name} has shape"):
            recheck(knn, X, y, changed(bounds, **{name: spoiled}))


def test_a_status_that_is_no_text(asked):
    knn, X, y, bounds = asked
    with pytest.raises(ValueError, match="status has shape"):
        recheck(knn, X, y, changed(bounds, status=np.zeros(len(y))))


def test_values_that_are_not_finite(asked):
    knn, X, y, bounds = asked
    with pytest.raises(ValueError, match="perturbation has values that are not finite"):
        recheck(knn, X, y, changed(bounds, perturbation=np.full(X.shape, np.nan)))
    lower = np.where(np.arange(len(y)) == 2, np.nan, bounds.lower)
    assert "not ordered" in dict(recheck(knn, X, y, changed(bounds, lower=lower)).problems)[2]


def test_data_is_compared_with_the_claim():
    result = honest(7, 1, "plurality", None)
    other = replace(result.subject, X_train=result.subject.X_train + 1)
    with pytest.raises(ValueError, match="another X_train: its digest is not that of the result's data"):
        check(replace(result, subject=other))
