"""Exact radii of a K-NN classifier: Theorem 1 below, an attack above, and the search that brings the two together."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from arml.attacks.run import Classifier, confirmed
from arml.certify.knn_certificate import certificate_of
from arml.certify.knn_exact import search_radii
from arml.certify.one_nn import EXACT_GAP
from arml.certify.point_search import Budget, Tree
from arml.inputs import room_within
from arml.radii import AttackedBounds, SandwichError, SearchedBounds, Status

Array = NDArray[np.float64]
Integers = NDArray[np.int64]

EVENTS = ("majority", "plurality")

# Relative difference of squared distances that is put down to rounding when points are ordered, the step that may
# decide a tie, relative to the perturbation, and relative rounding of a norm.
_TIE = 1e-11
_STEP = 1e-9
_BLOCK = 4096
_ROUNDING = 1e-9
# A proven bound this much above a box's diagonal says that there is no attack in it; `recheck` asks for a tenth of it.
_ABOVE = 1 + 1e-7


def searched_radius(
    knn: Classifier,
    X: Array,
    y: Integers,
    attacked: AttackedBounds,
    *,
    event: str,
    box: tuple[float, float] | None,
    budget: Budget,
    proofs: bool,
    progress: Callable[[int], None] | None,
) -> SearchedBounds:
    """Exact radii of the points X (t, d) with labels y (t,), given what Theorem 1 and an attack know about them.

    The perturbed points stay in the box, as those of the attack do.

    Raises
    ------
    SandwichError
        If a perturbation that the classifier confirms is shorter than what is proven.
    """
    plurality = event == "plurality"
    upper, perturbation = attacked.upper.copy(), np.array(attacked.perturbation)
    if not plurality:
        upper = attacked.majority.copy()
        if attacked.majority_perturbation is not None:
            perturbation = np.array(attacked.majority_perturbation)
    lower = np.minimum(attacked.lower, upper)
    open_ = np.flatnonzero((upper > 0) & np.isfinite(attacked.lower))
    if progress is not None:
        progress(len(X) - len(open_))
    votes = np.searchsorted(knn.classes_, knn.y_train_)
    found = search_radii(
        knn.metric_, knn.X_train_, votes, int(knn.n_neighbors), X[open_], np.searchsorted(knn.classes_, y[open_]),
        upper[open_], plurality=plurality, budget=budget, box=box, keep_trees=proofs, device=knn.device_,
        memory_budget=knn.memory_budget, progress=progress,
    )  # fmt: skip
    shorter = np.flatnonzero(found.improved)
    better, norms = _confirmed(knn, found.perturbation[shorter], X[open_[shorter]], y[open_[shorter]], box, plurality)
    use = norms < upper[open_[shorter]]
    perturbation[open_[shorter[use]]], upper[open_[shorter[use]]] = better[use], norms[use]
    # A label that is tied at the point itself has lost at once; what moves it by a hair is not the shortest.
    tied = [i for i in open_[found.lower == 0] if _tied(knn, X[i], np.zeros(X.shape[1]), int(y[i]), plurality)]
    upper[tied], perturbation[tied] = 0.0, 0.0
    if box is not None:
        # What is longer than the box's diagonal is nowhere. The diagonal's own rounding must not decide that.
        diagonal = np.linalg.norm(np.maximum(*room_within(box, X[open_])), axis=1) * _ABOVE
        found.lower[np.isinf(upper[open_]) & (found.lower >= diagonal)] = np.inf
    _require_order(found.lower, upper[open_], X[open_], perturbation[open_])
    lower[open_] = np.minimum(np.maximum(lower[open_], found.lower), upper[open_])
    nodes = np.zeros(len(X), dtype=np.int64)
    nodes[open_] = found.nodes
    status = _statuses(attacked, lower, upper, open_, found.finished, plurality)
    certificate = None
    if proofs:
        trees: list[Tree | None] = [None] * len(X)
        for place, tree in zip(open_, found.trees, strict=True):
            trees[place] = tree
        certificate = certificate_of(trees, int(knn.n_neighbors), plurality=plurality, box=box)
    return SearchedBounds(lower, upper, status, perturbation, certificate, nodes=nodes, event=event)


def _confirmed(
    knn: Classifier, perturbation: Array, X: Array, y: Integers, box: tuple[float, float] | None, plurality: bool
) -> tuple[Array, Array]:
    """Those perturbations (s, d) after which the classifier has lost the label, or is tied, and their norms."""
    below, above = room_within(box, X)
    perturbation = np.clip(perturbation, -below, above)
    columns, k = np.searchsorted(knn.classes_, y), (int(knn.n_neighbors) + 1) // 2

    def lost(points: Array, rows: Integers) -> NDArray[np.bool_]:
        votes = knn.votes(points)
        of_label = votes[np.arange(len(rows)), columns[rows]]
        votes[np.arange(len(rows)), columns[rows]] = -1
        return np.asarray(votes.max(axis=1) >= of_label if plurality else of_label < k)

    result, norms = confirmed(perturbation, X, box, lost)
    for i in np.flatnonzero(np.isinf(norms)):
        if _tied(knn, X[i], perturbation[i], int(y[i]), plurality):
            result[i], norms[i] = perturbation[i], np.linalg.norm(perturbation[i])
    return result, norms


def _tied(knn: Classifier, x: Array, delta: Array, label: int, plurality: bool) -> bool:
    """Whether the label has lost at ``x + delta`` when ties are decided against it.

    Two points count as tied if moving by a billionth of delta, or of the way to the nearest training point times a
    thousandth of that, could make them so: what is then called an attack is one up to that length.
    """
    K = int(knn.n_neighbors)
    c = np.concatenate(
        [
            (((knn.X_train_[s : s + _BLOCK] - (x + delta)) @ knn.metric_.components.T) ** 2).sum(axis=1)
            for s in range(0, len(knn.X_train_), _BLOCK)
        ]
    )
    order = np.argsort(c, kind="stable")
    own = knn.y_train_ == label
    way = float(np.linalg.norm(knn.X_train_[order[0]] - x))
    step = _STEP * max(float(np.linalg.norm(delta)), 1e-3 * way)
    k = (K + 1) // 2
    if not plurality:
        if int(own.sum()) < k:
            return True
        return _before(knn, c, order[~own[order]][:k], order[own[order]][k - 1 :], step)
    blur = _TIE * float(c[order[K - 1]])
    for rival in np.setdiff1d(knn.classes_, [label]):
        favoured = knn.y_train_ == rival
        nearest = np.argsort(np.where(own, c + blur, np.where(favoured, c - blur, c)), kind="stable")
        enough = int(favoured[nearest[:K]].sum()) >= int(own[nearest[:K]].sum())
        if enough and _before(knn, c, nearest[:K], nearest[K:], step):
            return True
    return False


def _before(knn: Classifier, c: Array, front: Integers, behind: Integers, step: float) -> bool:
    """Whether all of the ``front`` are at least as near as all ``behind``, or would be after a step of that length."""
    if not len(behind) or not len(front):
        return True
    front, behind = front[c[front] > c[behind].min()], behind[c[behind] < c[front].max()]
    G = knn.metric_.components
    rows = (knn.X_train_[front][:, None] - knn.X_train_[behind]) @ G.T @ G
    allowed = 2 * step * np.linalg.norm(rows, axis=2)
    return bool((c[front][:, None] - c[behind] <= allowed).all())


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
    attacked: AttackedBounds,
    lower: Array,
    upper: Array,
    searched: Integers,
    finished: NDArray[np.bool_],
    plurality: bool,
) -> NDArray[np.str_]:
    status = attacked.status.copy()
    known = np.where(np.isfinite(upper[searched]), upper[searched], 0.0)
    close = np.isfinite(upper[searched]) & (lower[searched] >= known - EXACT_GAP * known)
    open_ = np.where(finished, Status.BOUNDED.value, Status.TIME_LIMIT.value)
    status[searched] = np.where(close, Status.EXACT.value, open_)
    status[searched[np.isinf(lower[searched])]] = Status.UNREACHABLE.value
    status[searched[upper[searched] == 0]] = Status.TIED.value
    # A label that wins without a majority has lost the majority from the start.
    at_once = np.setdiff1d(np.flatnonzero(upper == 0), searched)
    status[at_once[status[at_once] != Status.MISCLASSIFIED.value]] = Status.EXACT.value
    return status
