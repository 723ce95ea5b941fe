"""Whether a label is lost at a point: decided by intervals of distances, and in exact arithmetic where these overlap.

Three events count as an attack on a test point with label y, from the earliest to the latest, for K = 1 all the same:

* *majority*: fewer than (K + 1) / 2 of the K nearest neighbours have the label y;
* *plurality*: some other class has at least as many of them as y;
* *predict*: the classifier answers another class. Of classes with as many votes it prefers the smallest label.

Which of several points at the same distance count is the attacker's choice.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from arml.classifier.differences import sq_distances
from arml.classifier.fitted import Compute, FittedKNN
from arml.classifier.nearest import by_intervals, exact_distances, near
from arml.classifier.rounding import UNIT_ROUNDOFF

Array = NDArray[np.float64]
Integers = NDArray[np.int64]

EVENTS = ("majority", "plurality", "predict")


class Outcome(IntEnum):
    """KEPT: the label is not lost. TIED: it is lost if ties of distance are decided against it. LOST: in any case."""

    KEPT = 0
    TIED = 1
    LOST = 2


def handicaps(n_classes: int, label: int, event: str) -> Integers:
    """How many votes more than the label each class (C,) needs: 1 for those that `predict` ranks behind it, else 0."""
    if event != "predict":
        return np.zeros(n_classes, dtype=np.int64)
    return (np.arange(n_classes) > label).astype(np.int64)


def outcomes(
    fitted: FittedKNN, X: Array, deltas: Array, labels: Integers, event: str, compute: Compute
) -> NDArray[np.int64]:
    """`Outcome` for each of the class numbers ``labels`` (t,) at ``X + deltas`` (t, d), in exact arithmetic."""
    points = X + deltas
    blur = np.where(is_exact_sum(X, deltas, points), 0.0, 2 * UNIT_ROUNDOFF * np.abs(points))
    nearest = near(fitted, points, compute, blur if blur.any() else None)
    votes = np.zeros((len(X), len(fitted.classes)), dtype=np.int64)
    np.add.at(votes, (np.arange(len(X))[:, None], fitted.votes[nearest.indices]), 1)
    found = np.where(votes_lost(votes, labels, event, fitted.k), int(Outcome.LOST), int(Outcome.KEPT))
    for i, some in nearest.doubtful.items():
        rule = _Rule(int(labels[i]), fitted.k if event == "majority" else None,
                     handicaps(len(fitted.classes), int(labels[i]), event))  # fmt: skip
        place = _Place(X[i], deltas[i], points[i], blur[i])
        surely, free = _by_intervals(fitted, place, some)
        possible = rule.outcome(fitted, surely, free)
        if possible == Outcome.TIED:
            # Both are possible as far as intervals of distances tell.
            possible = rule.outcome(fitted, *_exactly(fitted, place, surely, free))
        found[i] = possible
    return np.asarray(found)


def votes_lost(votes: Integers, labels: Integers, event: str, k: int) -> NDArray[np.bool_]:
    """Whether class numbers ``labels`` (t,) have lost by votes (t, C) of the K nearest, of which k make a majority."""
    rows = np.arange(len(labels))
    if event == "majority":
        return np.asarray(votes[rows, labels] < k)
    if event == "predict":
        return np.asarray(votes.argmax(axis=1) != labels)
    rivals = votes.copy()
    rivals[rows, labels] = -1
    return np.asarray(rivals.max(axis=1) >= votes[rows, labels])


def is_exact_sum(X: Array, deltas: Array, points: Array) -> NDArray[np.bool_]:
    """Where ``points`` = X + deltas came without rounding (Knuth's error of a sum)."""
    back = points - X
    return np.asarray((X - (points - back)) + (deltas - back) == 0)


@dataclass(frozen=True)
class _Place:
    """Where a test point x (d,) is after its perturbation delta (d,): ``point`` is off by at most ``blur`` (d,)."""

    x: Array
    delta: Array
    point: Array
    blur: Array


def _by_intervals(fitted: FittedKNN, place: _Place, some: Integers) -> tuple[Integers, Integers]:
    """Of the candidates ``some`` those that are among the K nearest in any case, and those that may share the rest."""
    T = fitted.differences(place.point, some)
    c, error = sq_distances(fitted.train.metric, T, place.blur / fitted.frame.unit)
    surely, open_ = by_intervals(c, error, fitted.n_neighbors)
    return some[surely], some[open_]


def _exactly(fitted: FittedKNN, place: _Place, surely: Integers, free: Integers) -> tuple[Integers, Integers]:
    """The same of candidates that intervals leave open, from their distances as exact numbers."""
    places = fitted.n_neighbors - len(surely)
    exact = exact_distances(fitted, free, place.x, place.delta)
    last = sorted(exact)[places - 1]
    nearer, tied = free[[value < last for value in exact]], free[[value == last for value in exact]]
    if len(nearer) + len(tied) == places:
        return np.concatenate([surely, nearer, tied]), free[:0]
    return np.concatenate([surely, nearer]), tied


@dataclass(frozen=True)
class _Rule:
    """When class number ``label`` is lost: without ``majority`` votes, or, where that is None, to other classes' votes.

    These need the label's and their handicap ``needed`` (C,) more.
    """

    label: int
    majority: int | None
    needed: Integers

    def outcome(self, fitted: FittedKNN, surely: Integers, free: Integers) -> Outcome:
        """What holds if the training points ``surely`` are among the K nearest, and any of ``free`` fill the rest."""
        sure, spare = (np.bincount(fitted.votes[part], minlength=len(fitted.classes)) for part in (surely, free))
        places = fitted.n_neighbors - len(surely)
        if not self._can_be_lost(sure, spare, places):
            return Outcome.KEPT
        return Outcome.TIED if self._can_be_kept(sure, spare, places) else Outcome.LOST

    def _can_be_lost(self, sure: Integers, free: Integers, places: int) -> bool:
        """Whether the label is lost for some choice of the free points: as many as possible of one rival."""
        own = int(sure[self.label]) + max(places - int(free.sum() - free[self.label]), 0)
        if self.majority is not None:
            return own < self.majority
        ahead = sure + np.minimum(free, places) - own - self.needed
        ahead[self.label] = -1
        return bool((ahead >= 0).any())

    def _can_be_kept(self, sure: Integers, free: Integers, places: int) -> bool:
        """Whether the label is kept for some choice of the free points: its own first, the rest spread."""
        gained = min(places, int(free[self.label]))
        own = int(sure[self.label]) + gained
        if self.majority is not None:
            return own >= self.majority
        allowed = own + self.needed - 1 - sure
        allowed[self.label] = 0
        room = np.minimum(allowed, free)
        return bool((allowed >= 0).all()) and int(room.sum()) >= places - gained
