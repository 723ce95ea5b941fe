"""Descent at one test point: from assignment to assignment, each solution shorter than the one before.

With ``k = (K + 1) / 2``, the label y has lost its majority among the K nearest neighbours of ``x + delta`` exactly when
k points of other classes, the front, are at least as near as all points of class y but k - 1, the spared. One step:

    solve the problem of the current assignment (`arml.attacks.assignment`);  take the k nearest other-class points and
    the k - 1 nearest same-class points at its solution as the next assignment

The old solution satisfies the constraints of the new assignment, so the norm never grows; at a fixed point no better
assignment is in sight. Several starts are taken: the assignment at x, those on the way to the nearest other-class
points, and those on the way to other-class points that the caller thinks promising (the best rows of Theorem 1).

Losing the majority changes the answer when there are two classes. With more, y may still win the vote; then y's votes
are pressed down one by one, ``n < k - 1`` spared points against a front of ``K - n``, and single rival classes are let
overtake, m of their points before all points of class y but m - 1. A fixed point is left by exchanging single points.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from arml.attacks.assignment import Room, Solution, solve_assignment
from arml.attacks.neighborhood import Neighborhood, smallest

Array = NDArray[np.float64]
Integers = NDArray[np.int64]

_STARTS = 8
_WAYS = (0.5, 1.0)
_FIRST_VIEW = 64
# The view reaches this much farther than the first solution.
_SLACK = 1.2
# Views tried; the last one holds all training points.
_VIEWS = 4
# A start whose first problem is this many times worse than the best solution is not followed.
_HOPELESS = 1.5
# Rival classes tried where the label keeps the vote without a majority.
_RIVALS = 3


@dataclass(frozen=True)
class Vote:
    """The classifier's rule: K neighbours, C classes, and the class number of the label under attack."""

    n_neighbors: int
    n_classes: int
    label: int

    def lost(self, view: Neighborhood, moved: Array) -> bool:
        """Whether the label does not win the vote; of equal classes the first wins, as in the classifier."""
        return int(view.tally(moved, self.n_neighbors, self.n_classes).argmax()) != self.label


class Surroundings(Protocol):
    """How a descent looks at the training set from its test point."""

    own: NDArray[np.bool_]

    def nearest(self, count: int) -> Neighborhood:
        """The ``count`` nearest points of either side."""

    def within(self, reach: float) -> Neighborhood:
        """All points that can matter for perturbations up to ``reach``."""

    def toward(self, goals: Integers) -> Array:
        """Steps (g, d) from the test point to training points."""


@dataclass(frozen=True)
class Found:
    """The shortest perturbations after which the majority, and the vote, are lost; None where there is none."""

    majority: Array | None
    vote: Array | None


class Descent:
    """The search at one test point. Of all solutions met on the way the shortest that loses the vote is kept."""

    def __init__(self, around: Surroundings, vote: Vote, room: Room | None) -> None:
        self.around, self.vote, self.room = around, vote, room
        self.seen: set[tuple[bytes, bytes]] = set()
        self.lost: Solution | None = None

    def run(self, promising: Integers) -> Found:
        """Search from all starts; ``promising`` are training rows of other classes that are good goals."""
        K = self.vote.n_neighbors
        n_own, n_other = int(self.around.own.sum()), int((~self.around.own).sum())
        if n_other < (K + 1) // 2:
            return Found(None, None)
        # A class too small for a majority spares all its points but one.
        spared = min((K - 1) // 2, n_own - 1)
        reach = self._first_reach(spared)
        best = None
        for attempt in range(_VIEWS):
            view = self.around.within(reach if attempt < _VIEWS - 1 else np.inf)
            best = self._search(view, promising, spared)
            # What was found beyond the reach may have ignored points that matter there.
            needed = max(np.inf if solution is None else solution.norm for solution in (best, self.lost))
            if needed <= reach or len(view.index) == n_own + n_other:
                break
            reach = 1.01 * needed if np.isfinite(needed) else 2 * reach
        return Found(None if best is None else best.delta, None if self.lost is None else self.lost.delta)

    def _first_reach(self, spared: int) -> float:
        """A little more than the solution over the nearest points alone, which is likely to be near the truth."""
        view = self.around.nearest(_FIRST_VIEW)
        solved = self._solve(view, view.c, spared, np.inf)
        least = 0.1 * float(np.linalg.norm(self.around.toward(view.index[view.other[:1]])))
        return float(np.sqrt(view.c.max())) if solved is None else max(_SLACK * solved.norm, least)

    def _search(self, view: Neighborhood, promising: Integers, spared: int) -> Solution | None:
        """The shortest solution after which the majority is lost; `lost` is set on the way."""
        self.seen.clear()
        self.lost = None
        starts = self._starts(view, promising)
        best: Solution | None = None
        for moved in starts:
            solution = self._descend(view, moved, spared, np.inf if best is None else _HOPELESS * best.norm)
            best = _shorter(best, solution)
        if best is None:
            return None
        best = self._exchange(view, best, spared)
        if self.lost is None or self.lost.norm > best.norm:
            self._press(view, best, spared)
            self._overtake(view, np.concatenate([best.moved[None], starts[:1]]), spared)
        return best

    def _starts(self, view: Neighborhood, promising: Integers) -> Array:
        """Moved distances (s, m) at x and at points on the way to other-class points."""
        nearest = view.other[smallest(view.c[view.other], _STARTS)]
        goals = np.union1d(nearest, np.flatnonzero(np.isin(view.index, promising)))
        steps = self.around.toward(view.index[goals])
        steps = np.concatenate([np.zeros((1, steps.shape[1])), *(way * steps for way in _WAYS)])
        return np.asarray(view.c - 2 * (steps @ view.P.T))

    def _descend(self, view: Neighborhood, moved: Array, spared: int, cutoff: float) -> Solution | None:
        """Fixed point reached from the assignment at ``moved``, or None where it is hopeless or was reached before."""
        last: Solution | None = None
        while (solution := self._solve(view, moved, spared, cutoff)) is not None:
            last, moved, cutoff = solution, solution.moved, solution.norm * (1 + 1e-9)
        return last

    def _solve(
        self, view: Neighborhood, moved: Array, spared: int, cutoff: float, front_size: int | None = None
    ) -> Solution | None:
        """Solve the assignment of the nearest points by ``moved`` (m,); None where it was solved before."""
        size = self.vote.n_neighbors - spared if front_size is None else front_size
        return self._assign(view, *view.sides(moved, size, spared), moved, cutoff)

    def _assign(
        self, view: Neighborhood, front: Integers, kept: Integers, moved: Array, cutoff: float
    ) -> Solution | None:
        key = np.sort(front).tobytes(), np.sort(kept).tobytes()
        if key in self.seen:
            return None
        self.seen.add(key)
        solution = solve_assignment(view, front, kept, moved, self.room, cutoff)
        if solution is not None and self.vote.lost(view, solution.moved):
            self.lost = _shorter(self.lost, solution)
        return solution

    def _exchange(self, view: Neighborhood, best: Solution, spared: int) -> Solution:
        """Leave a fixed point by exchanging one point of the front or of the spared for the next nearest."""
        while True:
            front, kept = view.sides(best.moved, self.vote.n_neighbors - spared + 1, spared + 1)
            swaps = [(np.delete(front, q), kept[:-1]) for q in range(len(front) - 1)]
            swaps += [(front[:-1], np.delete(kept, q)) for q in range(len(kept) - 1)]
            improved = best
            for others, own in swaps:
                solution = self._assign(view, others, own, best.moved, improved.norm)
                if solution is not None and solution.norm < improved.norm:
                    improved = _shorter(solution, self._descend(view, solution.moved, spared, solution.norm)) or best
            if improved.norm >= best.norm * (1 - 1e-9):
                return improved
            best = improved

    def _press(self, view: Neighborhood, solution: Solution, spared: int) -> None:
        """Press the label's votes down one by one until the vote is lost."""
        for n_own in range(spared - 1, -1, -1):
            cutoff = np.inf if self.lost is None else self.lost.norm
            pressed = self._descend(view, solution.moved, n_own, cutoff)
            if pressed is not None:
                if self.vote.lost(view, pressed.moved):
                    return
                solution = pressed

    def _overtake(self, view: Neighborhood, starts: Array, spared: int) -> None:
        """Let one rival class overtake: m of its points before all of the label's but m - 1, for every m."""
        classes = view.votes[view.other]
        nearest = [view.c[view.other[classes == rival]].min() for rival in np.unique(classes)]
        for rival in np.unique(classes)[smallest(np.array(nearest), _RIVALS)]:
            one = replace(view, other=view.other[classes == rival])
            for n_own in range(min(spared, len(one.other) - 1) + 1):
                for moved in starts:
                    cutoff = np.inf if self.lost is None else self.lost.norm
                    while (solution := self._solve(one, moved, n_own, cutoff, n_own + 1)) is not None:
                        moved, cutoff = solution.moved, solution.norm * (1 + 1e-9)


def _shorter(first: Solution | None, second: Solution | None) -> Solution | None:
    """The shorter of two solutions, the first of equals."""
    if first is None or second is None:
        return second if first is None else first
    return second if second.norm < first.norm else first
