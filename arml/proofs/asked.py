"""Is a result about the classifier and the points that were asked about? Then `check` looks at the result itself."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike

from arml.proofs.check import check
from arml.proofs.claim import EVENTS, Array, Claim, Integers, Subject, digest
from arml.proofs.formats import EntryProof, TreeProof
from arml.proofs.result import ProvenResult, RecheckReport
from arml.proofs.validity import EXACT_GAP, check_claim

_NAMES = {
    "components": "metric",
    "X_train": "set of training points",
    "y_train": "list of training labels",
    "X": "set of test points",
    "y": "list of test labels",
}


class FittedNeighbors(Protocol):
    """What has to be known of a classifier: K, training set, and a metric with its factor ``components`` (r, d)."""

    n_neighbors: int
    X_train_: Array
    y_train_: Integers
    metric_: Any


def recheck(
    knn: FittedNeighbors,
    X: ArrayLike,
    y: ArrayLike,
    bounds: Any,
    *,
    box: tuple[float, float] | None = None,
    gap: float = EXACT_GAP,
    event: str | None = None,
) -> RecheckReport:
    """Verify the radii ``bounds`` of the points X (t, d) with labels y (t,) under the classifier ``knn``.

    What the result claims to be about is compared with what is asked here; then `arml.proofs.check` looks at the
    result. Nothing of the search that found it is used.

    Parameters
    ----------
    knn : fitted `MahalanobisKNN`, or anything with n_neighbors, X_train_, y_train_ and metric_.components
    bounds : result of ``exact_radius`` with its proof (for K > 1 ask for one with ``proofs=True``)
    box : the box the radii are claimed for, as it was given to ``exact_radius``
    gap : largest relative gap between upper and lower that may be called exact, at most 1e-6
    event : the event the radii shall be for, see `arml.proofs.EVENTS`; None takes the one the result names. For K = 1
        all are the same

    Raises
    ------
    ValueError
        If the result carries no proof, is about another classifier, points, labels, event or box, or is damaged.
    """
    proof = getattr(bounds, "certificate", None)
    if not isinstance(proof, EntryProof | TreeProof):
        raise ValueError("this result carries no proof; ask for one with exact_radius(..., proofs=True)")
    subject = Subject(
        np.asarray(knn.metric_.components, dtype=np.float64), np.asarray(knn.X_train_), np.asarray(knn.y_train_),
        _points(X), _labels(y),
    )  # fmt: skip
    if not len(subject.X) == len(subject.y) == len(bounds.lower):
        lengths = f"{len(subject.X)} points, {len(subject.y)} labels and {len(bounds.lower)} results"
        raise ValueError(f"{lengths} do not belong together")
    check_claim(proof.claim)
    if event is not None and event not in EVENTS:
        raise ValueError(f"unknown event {event!r}; there are: {', '.join(EVENTS)}")
    _compare(proof.claim, subject, int(knn.n_neighbors), event, box)
    _compare_event(proof.claim, getattr(bounds, "event", None))
    perturbation = bounds.perturbation if bounds.perturbation is not None else np.empty(0)
    status = np.asarray(bounds.status)
    if status.dtype.kind == "O":
        status = np.array([str(word) for word in status.ravel()]).reshape(status.shape)
    return check(ProvenResult(subject, bounds.lower, bounds.upper, status, perturbation, proof), gap=gap)


def _points(X: ArrayLike) -> Array:
    try:
        points = np.asarray(X, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(f"X is not an array of numbers: {error}") from None
    if points.ndim != 2:
        raise ValueError(f"X has shape {points.shape}, not (points, features)")
    return points


def _labels(y: ArrayLike) -> Integers:
    labels = np.asarray(y)
    if labels.ndim != 1 or (labels.dtype.kind not in "iu" and labels.size):
        raise ValueError(f"y has shape {labels.shape} and type {labels.dtype}, not (points,) and integers")
    return labels.astype(np.int64)


def _compare(claim: Claim, subject: Subject, K: int, event: str | None, box: tuple[float, float] | None) -> None:
    """The claim is the one asked about, or a ValueError says what was claimed and what was asked."""
    if claim.n_neighbors != K:
        raise ValueError(f"the result is claimed for K = {claim.n_neighbors}, the classifier has K = {K}")
    _compare_event(claim, event)
    asked = (-np.inf, np.inf) if box is None else (float(box[0]), float(box[1]))
    if claim.box != asked:
        claimed = None if claim.box == (-np.inf, np.inf) else claim.box
        raise ValueError(f"the result is claimed for the box {claimed}, not for {box}; pass the same box")
    for name, what in _NAMES.items():
        if getattr(claim, name) != digest(getattr(subject, name)):
            raise ValueError(f"the result is claimed for another {what} than the one asked about (digests differ)")


def _compare_event(claim: Claim, event: str | None) -> None:
    if event is not None and claim.n_neighbors != 1 and claim.event != event:
        raise ValueError(f"the result is claimed for the event {claim.event!r}, not for {event!r}")
