"""What an attack on one point wants to reach: who is to pass whom, so that the label loses its majority or the vote."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from arml.compiled import compiled
from arml.least_distance.smallest import smallest

Array = NDArray[np.float64]
Integers = NDArray[np.int64]

#: Rival of a goal that is reached by points of whatever other class.
ANY = -1


class Vote(NamedTuple):
    """The classifier's rule: K neighbours, C classes, and the class number of the label under attack."""

    n_neighbors: int
    n_classes: int
    label: int


class Goal(NamedTuple):
    """``size`` other-class points, ``needed`` of them of class ``rival``, pass all of class y but ``spared``.

    A ``closed`` front passes all other points of other classes, too.
    """

    rival: int
    needed: int
    size: int
    spared: int
    closed: bool


@compiled
def vote_lost(vote: Vote, votes: Integers, moved: Array) -> bool:
    """Whether the label does not win the vote of points with ``votes`` (m,) at the distances ``moved`` (m,).

    Of classes with equal votes the first wins, as in the classifier.
    """
    tally = np.zeros(vote.n_classes, np.int64)
    for i in smallest(moved, vote.n_neighbors):
        tally[votes[i]] += 1
    return int(np.argmax(tally)) != vote.label


@compiled
def possible(goal: Goal, votes: Integers, n_other: int) -> bool:
    """Whether there are enough points for it; the first ``n_other`` of ``votes`` (m,) are of other classes."""
    of_rival = 0
    for i in range(n_other):
        of_rival += votes[i] == goal.rival
    return goal.size <= n_other and goal.needed <= of_rival


@compiled
def front_of(goal: Goal, votes: Integers, n_other: int, moved: Array, without: int) -> Integers:
    """Positions of the nearest points by ``moved`` (m,) that fulfil the goal, ``without`` (or -1) not among them."""
    f = moved[:n_other].copy()
    if without >= 0:
        f[without] = np.inf
    front = np.empty(min(goal.size, n_other), np.int64)
    n = 0
    if goal.needed > 0:
        members = np.empty(n_other, np.int64)
        distances = np.empty(n_other)
        n_members = 0
        for i in range(n_other):
            if votes[i] == goal.rival:
                members[n_members], distances[n_members] = i, f[i]
                n_members += 1
        for i in smallest(distances[:n_members], goal.needed):
            front[n] = members[i]
            n += 1
        for q in range(n):
            f[front[q]] = np.inf
    for i in smallest(f, goal.size - n):
        front[n] = i
        n += 1
    return front[:n]


@compiled
def nearest_own(moved: Array, n_other: int, count: int) -> Integers:
    """Positions of the ``count`` nearest points with the label y, which are those from ``n_other`` on."""
    return n_other + smallest(moved[n_other:], count)
