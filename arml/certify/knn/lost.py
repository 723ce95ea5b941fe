"""When a label has lost its majority, or the vote, told from the moved distances of the points.

Points and moved distances f are those of `arml.least_distance.cell`; y is the test point's label, k = (K + 1) / 2.

Events
------
*Majority*: y has lost its majority at delta if and only if the k-th smallest f over points of other classes is at most
the k-th smallest over points of class y (a tie is an attack). Call *low* k nearest other-class points, the farthest of
which is at t, and the same-class points with ``f < t``, of which there are at most k - 1.

*Vote*: y has lost the vote if and only if K nearest points can be chosen (among ties at will) of which some other class
has as many as y and its *handicap* more: 0 where equal votes count as lost (the plurality), 1 for the classes that the
classifier ranks behind y (what `predict` does). Call these K low. At least k of them are of other classes, so at most
k - 1 are of class y.

All other points are *high*. Either way low points have ``f <= t`` and high points ``f >= t`` for some t.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from arml.compiled import compiled
from arml.least_distance.cell import LOW, UNDECIDED
from arml.least_distance.smallest import smallest

Array = NDArray[np.float64]
Integers = NDArray[np.int64]
Bytes = NDArray[np.int8]


@compiled
def _kth_smallest(values: Array, k: int) -> float:
    return np.inf if values.shape[0] < k else values[smallest(values, k)[k - 1]]


@compiled
def majority_lost(f: Array, n_other: int, k: int, tolerance: float) -> bool:
    """Whether the majority is lost at moved distances f (m,), of which the first n_other are of other classes."""
    return _kth_smallest(f[:n_other], k) <= _kth_smallest(f[n_other:], k) + tolerance


@compiled
def _n_classes(votes: Integers) -> int:
    """How many classes there are: one more than the largest of ``votes`` (n_other,)."""
    last = -1
    for j in range(votes.shape[0]):
        last = max(last, votes[j])
    return last + 1


@compiled
def _nearest_for(f: Array, votes: Integers, n_other: int, rival: int, n_neighbors: int, tolerance: float) -> Integers:
    """The K nearest points, ties decided in favour of the class ``rival`` and against the label."""
    shifted = f.copy()
    for i in range(f.shape[0]):
        if i >= n_other:
            shifted[i] += tolerance
        elif votes[i] == rival:
            shifted[i] -= tolerance
    return smallest(shifted, n_neighbors)


@compiled
def winning_front(
    f: Array, votes: Integers, handicaps: Integers, n_other: int, n_neighbors: int, tolerance: float
) -> Integers:
    """K nearest points with which the label has lost the vote; empty if there are none.

    votes (n_other,) are the classes of the other-class points, handicaps (C,) those of the classes.
    """
    seen = np.zeros(_n_classes(votes), np.bool_)
    for j in range(n_other):
        rival = votes[j]
        if seen[rival]:
            continue
        seen[rival] = True
        front = _nearest_for(f, votes, n_other, rival, n_neighbors, tolerance)
        n_rival, n_label = 0, 0
        for i in front:
            if i >= n_other:
                n_label += 1
            elif votes[i] == rival:
                n_rival += 1
        if n_rival >= max(n_label + handicaps[rival], 1):
            return front
    return np.empty(0, np.int64)


@compiled
def vote_possible(votes: Integers, handicaps: Integers, status: Bytes, n_other: int, low_own: int, places: int) -> bool:
    """Whether some class can still have enough low points to outvote the label, when ``places`` more become low.

    Places that other classes cannot fill are filled by the label.
    """
    if places < 0:
        return False
    n_undecided = 0
    for j in range(n_other):
        if status[j] == UNDECIDED:
            n_undecided += 1
    low_own += max(places - n_undecided, 0)
    low, undecided = np.zeros(_n_classes(votes), np.int64), np.zeros(_n_classes(votes), np.int64)
    for j in range(n_other):
        if status[j] == LOW:
            low[votes[j]] += 1
        elif status[j] == UNDECIDED:
            undecided[votes[j]] += 1
    for rival in range(low.shape[0]):
        if low[rival] + min(undecided[rival], places) >= max(low_own + handicaps[rival], 1):
            return True
    return False


@compiled
def undecided_in_front(f: Array, status: Bytes, n_neighbors: int) -> int:
    """The farthest undecided one of the K nearest points, else the nearest undecided one; -1 for none."""
    chosen = -1
    for i in smallest(f, n_neighbors):
        if status[i] == UNDECIDED:
            chosen = i
    if chosen < 0:
        for i in range(f.shape[0]):
            if status[i] == UNDECIDED and (chosen < 0 or f[i] < f[chosen]):
                chosen = i
    return chosen
