"""Running an attack on a classifier, and believing only what the classifier itself confirms."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Protocol

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from arml.attacks.local_search import local_search
from arml.attacks.result import AttackResult
from arml.classifier.event import Outcome, outcomes
from arml.classifier.fitted import Compute, FittedKNN
from arml.classifier.perturbation import confirmed, holds, norm
from arml.geometry import Mahalanobis
from arml.radii import AttackedBounds, RadiusBounds, SandwichError
from arml.versions import VERSIONS

Array = NDArray[np.float64]
Integers = NDArray[np.int64]

DECISION_BASED = ("boundary", "hopskipjump")
ATTACKS = ("local_search", *DECISION_BASED)
#: The box of the attacks that need one, where the caller names none.
DEFAULT_BOX = (0.0, 1.0)

#: Version of `arml.attacks.decision_based`'s numbers; it stands here because importing that module takes seconds.
DECISION_BASED_VERSION = VERSIONS["attacks.decision_based"]

# Training points that a last resort goes towards, and how often it halves the way.
_GOALS, _HALVINGS = 16, 30
# Relative rounding that a proven bound and the norm of a verified perturbation may differ by.
_ROUNDING = 1e-9


class Classifier(Protocol):
    """What an attack needs of a K-NN classifier; `arml.neighbors.MahalanobisKNN` has it."""

    n_neighbors: int
    memory_budget: int
    metric_: Mahalanobis
    X_train_: Array
    y_train_: Integers
    classes_: Integers
    device_: torch.device
    fitted_: FittedKNN

    def predict(self, X: ArrayLike) -> Integers:
        """Labels (t,) of X (t, d)."""

    def votes(self, X: ArrayLike) -> Integers:
        """Votes (t, C) of X (t, d)."""


def run_attack(
    knn: Classifier,
    attack: str,
    X: Array,
    y: Integers,
    promising: Integers,
    box: tuple[float, float] | None,
    seed: int,
    steps: int | None,
    start: str,
    progress: Callable[[int], None] | None,
) -> AttackResult:
    """Attack the correctly classified points X (t, d) with labels y (t,); every perturbation returned is verified.

    ``promising`` (t, s) are training rows that are good places to start from, -1 for none; ``attack`` is one of
    `ATTACKS`; the other parameters are those of `arml.neighbors.MahalanobisKNN.attacked_radius`.
    """
    if attack == "local_search":
        result = local_search(
            knn.fitted_, X, np.searchsorted(knn.classes_, y), promising=promising, box=box,
            compute=Compute(knn.memory_budget, progress),
        )  # fmt: skip
    else:
        # foolbox takes seconds to import, which only those who use it should wait for.
        from arml.attacks.decision_based import decision_based

        result = decision_based(
            attack,
            knn.metric_,
            knn.X_train_,
            knn.y_train_,
            int(knn.n_neighbors),
            X,
            y,
            predict=knn.predict,
            box=DEFAULT_BOX if box is None else box,
            steps=steps,
            start=start,
            seed=seed,
            device=knn.device_,
            memory_budget=knn.memory_budget,
            progress=progress,
        )
    return _verified(knn, result, X, y, box)


def _verified(
    knn: Classifier, result: AttackResult, X: Array, y: Integers, box: tuple[float, float] | None
) -> AttackResult:
    """The result with only those perturbations that hold, exactly and for the classifier, lengthened by a hair where
    need be."""
    fitted, labels = knn.fitted_, knn.fitted_.class_numbers(y)
    changed, radius = confirmed(knn, fitted, "predict", X, labels, result.perturbation, box)
    if result.majority is not None:
        left = np.flatnonzero(np.isinf(radius))
        for i in left:
            changed[i] = toward_training_points(knn, X[i], int(labels[i]), box)
        changed[left], radius[left] = confirmed(knn, fitted, "predict", X[left], labels[left], changed[left], box)
    refused = int((np.isinf(radius) & (result.perturbation != 0).any(axis=1)).sum())
    majority, majority_radius = None, radius.copy()
    if result.majority is not None:
        majority, lost = confirmed(knn, fitted, "majority", X, labels, result.majority, box)
        shorter = radius < lost
        majority[shorter] = changed[shorter]
        majority_radius = np.minimum(lost, radius)
    # A label that wins the vote without a majority has lost the majority already.
    without = outcomes(fitted, X, np.zeros(X.shape), labels, "majority", Compute()) != Outcome.KEPT
    if majority is not None:
        majority[without] = 0.0
    # Where distances tie the answer may be wrong although the label is not lost in any case: nothing need be added.
    at_once = knn.predict(X) != y if len(X) else np.zeros(0, dtype=bool)
    changed[at_once], radius[at_once], majority_radius[at_once] = 0.0, 0.0, 0.0
    if majority is not None:
        majority[at_once] = 0.0
    notes = result.notes + ((f"{refused} perturbations were not confirmed by the classifier",) if refused else ())
    return replace(
        result,
        perturbation=changed,
        radius=radius,
        majority=majority,
        majority_radius=np.where(without, 0.0, majority_radius),
        notes=notes,
    )


def toward_training_points(knn: Classifier, x: Array, label: int, box: tuple[float, float] | None) -> Array:
    """The way from x (d,) to the nearest training points where class number ``label`` has lost, as far as need be.

    A last resort for ties and duplicates, where no assignment of strict inequalities has a solution. Returns the
    perturbation (d,), 0 where none of the nearest will do.
    """
    fitted = knn.fitted_
    inside: NDArray[np.bool_] = np.ones(len(knn.X_train_), dtype=np.bool_)
    if box is not None:
        low_enough, high_enough = knn.X_train_ <= np.maximum(box[1], x), knn.X_train_ >= np.minimum(box[0], x)
        inside = np.asarray((low_enough & high_enough).all(axis=1))
    others = np.flatnonzero(inside & (fitted.votes != label))
    steps = fitted.differences(x, others)
    steps = steps[np.argsort(np.linalg.norm(steps, axis=1), kind="stable")[:_GOALS]] * fitted.frame.unit

    def lost(ways: Array, some: Array) -> NDArray[np.bool_]:
        """Whether the label has lost after those parts of the steps (s, d)."""
        points, labels = np.broadcast_to(x, some.shape), np.full(len(some), label)
        return holds(knn, fitted, "predict", points, labels, ways[:, None] * some)

    if len(steps):
        steps = steps[lost(np.ones(len(steps)), steps)]
    if not len(steps):
        return np.zeros(len(x))
    low, high = np.zeros(len(steps)), np.ones(len(steps))
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        changed = lost(middle, steps)
        low, high = np.where(changed, low, middle), np.where(changed, middle, high)
    found = high[:, None] * steps
    return np.asarray(found[int(np.argmin([norm(row) for row in found]))])


def sandwich(certified: RadiusBounds, attacked: Integers, result: AttackResult) -> AttackedBounds:
    """Proven bounds below, the result of an attack on the points ``attacked`` above.

    Raises
    ------
    SandwichError
        If a verified perturbation is shorter than the proven bound by more than rounding.
    """
    n, d = len(certified), result.perturbation.shape[1]
    upper, majority, queries = np.zeros(n), np.zeros(n), np.zeros(n, dtype=np.int64)
    perturbation = np.zeros((n, d))
    upper[attacked], perturbation[attacked] = result.radius, result.perturbation
    queries[attacked] = result.queries
    majority[attacked] = result.radius if result.majority_radius is None else result.majority_radius
    witness = None
    if result.majority is not None:
        witness = np.zeros((n, d))
        witness[attacked] = result.majority
    for i in np.flatnonzero(certified.lower > majority * (1 + _ROUNDING)):
        evidence = perturbation[i] if witness is None else witness[i]
        raise SandwichError(
            f"point {i}: a perturbation of norm {majority[i]!r}, confirmed by the classifier, is shorter than the "
            f"proven bound {certified.lower[i]!r}; one of the two is wrong, so nothing is reported. Please report this "
            f"as a bug, with the perturbation {evidence.tolist()!r}"
        )
    lower = np.minimum(certified.lower, majority)
    return AttackedBounds(
        lower,
        upper,
        certified.status,
        perturbation,
        majority=majority,
        queries=queries,
        notes=result.notes,
        majority_perturbation=witness,
    )
