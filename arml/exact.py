"""Exact radii of a K-NN classifier: Theorem 1 below, an attack above, and the search that brings the two together."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from arml.certify.knn.point_search import Question, Tree
from arml.certify.knn.proof import proof_of
from arml.certify.knn.search import KNNSearch, search_radii
from arml.certify.one_nn.radii import EXACT_GAP
from arml.classifier.event import Outcome, outcomes
from arml.classifier.fitted import Compute
from arml.classifier.perturbation import Voter, confirmed, norm
from arml.inputs import room_within
from arml.proofs.claim import Claim
from arml.radii import AttackedBounds, SandwichError, SearchedBounds, Status

Array = NDArray[np.float64]
Integers = NDArray[np.int64]
Booleans = NDArray[np.bool_]

# Relative rounding of a norm.
_ROUNDING = 1e-9
# What is reported is this much less than what is proven, so that whoever checks it has room for rounding of his own.
_ROOM_TO_CHECK = 1 - 1e-9
# A proven bound this much above a box's diagonal says that there is no attack in it; `recheck` asks for a tenth of it.
_ABOVE = 1 + 1e-7


@dataclass(frozen=True)
class Target:
    """Points X (t, d) of class numbers labels (t,) that are to be kept within a box (or None) while they move."""

    X: Array
    labels: Integers
    box: tuple[float, float] | None

    def of(self, some: Integers) -> Target:
        """The points ``some`` only."""
        return Target(self.X[some], self.labels[some], self.box)


def searched_radius(
    knn: Voter,
    question: Question,
    target: Target,
    attacked: AttackedBounds,
    claim: Claim,
    *,
    proofs: bool,
    compute: Compute,
) -> SearchedBounds:
    """Exact radii of the target's points, given what Theorem 1 and an attack know about them.

    Raises
    ------
    SandwichError
        If a perturbation that the classifier confirms is shorter than what is proven.
    """
    upper, perturbation, tied = _known_attacks(knn, question, target, attacked, compute)
    lower = np.minimum(attacked.lower * _ROOM_TO_CHECK, upper)
    open_ = np.flatnonzero((upper > 0) & np.isfinite(attacked.lower))
    compute.advance(len(target.X) - len(open_))
    found = search_radii(
        question,
        target.X[open_],
        target.labels[open_],
        upper[open_],
        box=target.box,
        keep_trees=proofs,
        compute=compute,
    )
    shorter = np.flatnonzero(found.improved)
    some = target.of(open_[shorter])
    better, norms = confirmed(
        knn, question.fitted, question.event, some.X, some.labels, found.perturbation[shorter], target.box
    )
    use = norms < upper[open_[shorter]]
    perturbation[open_[shorter[use]]], upper[open_[shorter[use]]] = better[use], norms[use]
    proven = found.lower * _ROOM_TO_CHECK
    if target.box is not None:
        # What is longer than the box's diagonal is nowhere. The diagonal's own rounding must not decide that.
        room = np.maximum(*room_within(target.box, target.X[open_]))
        diagonal = np.array([norm(row) for row in room]) * _ABOVE
        proven[np.isinf(upper[open_]) & (proven >= diagonal)] = np.inf
    _require_order(proven, upper[open_], target.X[open_], perturbation[open_])
    lower[open_] = np.minimum(np.maximum(lower[open_], proven), upper[open_])
    nodes = np.zeros(len(lower), dtype=np.int64)
    nodes[open_] = found.nodes
    status = _statuses(attacked, lower, upper, open_, found.finished)
    status[tied] = Status.TIED.value
    certificate = proof_of(_in_order(found, open_, len(lower)), claim) if proofs else None
    return SearchedBounds(lower, upper, status, perturbation, certificate, nodes=nodes, event=question.event)


def _known_attacks(
    knn: Voter, question: Question, target: Target, attacked: AttackedBounds, compute: Compute
) -> tuple[Array, Array, Integers]:
    """Norms (t,) and perturbations (t, d) of the attacks known: 0 where the label is lost at once, ``inf`` for none.

    And the positions of the points where it is lost at once by a tie.
    """
    known = np.array(attacked.perturbation)
    if question.event == "majority" and attacked.majority_perturbation is not None:
        known = np.array(attacked.majority_perturbation)
    upper, perturbation = np.zeros(len(known)), np.zeros(known.shape)
    right = np.flatnonzero(attacked.status != Status.MISCLASSIFIED.value)
    some = target.of(right)
    here = outcomes(question.fitted, some.X, np.zeros(some.X.shape), some.labels, question.event, compute)
    perturbation[right], upper[right] = confirmed(
        knn, question.fitted, question.event, some.X, some.labels, known[right], target.box
    )
    at_once = right[here != Outcome.KEPT]
    upper[at_once], perturbation[at_once] = 0.0, 0.0
    return upper, perturbation, right[here == Outcome.TIED]


def _in_order(found: KNNSearch, places: Integers, n_points: int) -> list[Tree | None]:
    """The trees, None where nothing was searched."""
    trees: list[Tree | None] = [None] * n_points
    for place, tree in zip(places, found.trees, strict=True):
        trees[place] = tree
    return trees


def _require_order(lower: Array, upper: Array, X: Array, perturbation: Array) -> None:
    crossed = np.flatnonzero(lower > upper * (1 + _ROUNDING))
    if crossed.size:
        i = int(crossed[0])
        raise SandwichError(
            f"a perturbation of norm {upper[i]!r}, confirmed by the classifier, is shorter than the proven bound "
            f"{lower[i]!r} of the point {X[i].tolist()!r}; one of the two is wrong, so nothing is reported. Please "
            f"report this as a bug, with the perturbation {perturbation[i].tolist()!r}"
        )


def _statuses(
    attacked: AttackedBounds, lower: Array, upper: Array, searched: Integers, finished: Booleans
) -> NDArray[np.str_]:
    status = attacked.status.astype("<U16")
    known = np.where(np.isfinite(upper[searched]), upper[searched], 0.0)
    close = np.isfinite(upper[searched]) & (lower[searched] >= known - EXACT_GAP * known)
    open_ = np.where(finished, Status.BOUNDED.value, Status.TIME_LIMIT.value)
    status[searched] = np.where(close, Status.EXACT.value, open_)
    status[searched[np.isinf(lower[searched])]] = Status.UNREACHABLE.value
    # A label that wins without a majority has lost the majority from the start.
    at_once = np.flatnonzero(upper == 0)
    status[at_once[status[at_once] != Status.MISCLASSIFIED.value]] = Status.EXACT.value
    return status
