"""Perturbations as they are handed out: sums a caller can form, norms that are never too small, attacks that hold."""

from __future__ import annotations

import math
from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from arml.classifier.event import Outcome, outcomes, votes_lost
from arml.classifier.fitted import Compute, FittedKNN
from arml.inputs import room_within

Array = NDArray[np.float64]
Integers = NDArray[np.int64]
Booleans = NDArray[np.bool_]

# A perturbation that rounding keeps from working is lengthened by these fractions until it does.
_PUSHES = (0.0, *(10.0**-power for power in range(15, 2, -1)))
_UP = 1 + 2.0**-50


class Voter(Protocol):
    """A classifier as a judge of attacks."""

    def votes(self, X: ArrayLike) -> Integers:
        """How many of the K nearest training points of X (t, d) have each label: (t, C)."""


def norm(delta: Array) -> float:
    """Norm of a perturbation (d,), rounded up, whatever its scale."""
    largest = float(np.abs(delta).max(initial=0.0))
    if largest == 0:
        return 0.0
    # Summed without rounding, so that what is left is a handful of roundings, however many features there are.
    return math.sqrt(math.fsum((delta / largest) ** 2)) * largest * _UP


def addable(x: Array, delta: Array, room: Array, unit: float) -> Array:
    """Perturbations (..., d) like ``delta`` that are what the rounded sums are more than x, within rooms (2, ..., d).

    ``unit`` is that of delta and room.
    """
    step = _within(delta, room) * unit
    return _within(((x + step) - x) / unit, room)


def _within(delta: Array, room: Array) -> Array:
    return np.asarray(np.minimum(np.maximum(delta, -room[0]), room[1]))


def confirmed(
    knn: Voter,
    fitted: FittedKNN,
    event: str,
    X: Array,
    labels: Integers,
    perturbation: Array,
    box: tuple[float, float] | None,
) -> tuple[Array, Array]:
    """Those perturbations (t, d) after which the label has lost, and their norms, rounded up; 0 and ``inf`` for others.

    ``labels`` (t,) are class numbers. The label has lost in exact arithmetic and by the votes of the classifier; a
    perturbation is lengthened by as little as that takes.
    """
    rooms = np.stack(room_within(box, X), axis=1)
    result, norms = np.zeros(X.shape), np.full(len(X), np.inf)
    pending = np.flatnonzero((perturbation != 0).any(axis=1))
    for push in _PUSHES:
        if not pending.size:
            break
        tried = np.stack([addable(X[i], (1 + push) * perturbation[i], rooms[i], 1.0) for i in pending])
        good = holds(knn, fitted, event, X[pending], labels[pending], tried)
        result[pending[good]] = tried[good]
        norms[pending[good]] = [norm(delta) for delta in tried[good]]
        pending = pending[~good]
    return result, norms


def holds(knn: Voter, fitted: FittedKNN, event: str, X: Array, labels: Integers, perturbation: Array) -> Booleans:
    """Whether the labels (t,) have lost at ``X + perturbation`` (t, d): exactly, and by the classifier's votes."""
    lost = outcomes(fitted, X, perturbation, labels, event, Compute()) != Outcome.KEPT
    return np.asarray(lost & votes_lost(knn.votes(X + perturbation), labels, event, fitted.k))
