"""Descent at one test point: from assignment to assignment, each solution shorter than the one before.

With ``k = (K + 1) / 2``, the label y has lost its majority among the K nearest neighbours of ``x + delta`` exactly when
k points of other classes, the front, are at least as near as all points of class y but k - 1, the spared. One step:

    solve the problem of the current assignment (`arml.attacks.assignment`);  take the k nearest other-class points and
    the k - 1 nearest same-class points at its solution as the next assignment

The old solution satisfies the constraints of the new assignment, so the norm never grows; at a fixed point no better
assignment is in sight. Several starts are taken: the assignment at x, those on the way to the nearest other-class
points, and those on the way to other-class points that the caller thinks promising (the best rows of Theorem 1).

Losing the majority changes the answer when there are two classes. With more, y may still win the vote; then y's votes
are pressed down one by one, ``n < k - 1`` spared points against a front of ``K - n``, until the vote is lost (with no
votes left it must be).
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
# A start whose first problem is this many times worse than the best solution is not followed.
_HOPELESS = 1.5


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
    """The search at one test point."""

    def __init__(self, around: Surroundings, vote: Vote, room: Room | None) -> None:
        self.around, self.vote, self.room = around, vote, room
        self.seen: set[tuple[bytes, bytes]] = set()

    def run(self, promising: Integers) -> Found:
        """Search from all starts; ``promising`` are training rows of other classes that are good goals."""
        K = self.vote.n_neighbors
        n_own, n_other = int(self.around.own.sum()), int((~self.around.own).sum())
        if n_other < (K + 1) // 2:
            return Found(None, None)
        # A class too small for a majority spares all its points but one.
        spared = min((K - 1) // 2, n_own - 1)
        reach = self._first_reach(spared)
        while True:
            view = self.around.within(reach)
            found = self._descents(view, promising, spared)
            # What was found beyond the reach may have ignored points that matter there.
            if (found and found[0].norm <= reach) or len(view.index) == n_own + n_other:
                break
            reach *= 2
        if not found:
            return Found(None, None)
        lost = self._vote_lost(view, found, spared)
        if lost is None:
            lost = self._last_resort(spared)
        return Found(found[0].delta, None if lost is None else lost.delta)

    def _first_reach(self, spared: int) -> float:
        """A little more than the solution over the nearest points alone, which is likely to be near the truth."""
        view = self.around.nearest(_FIRST_VIEW)
        solved = self._solve(view, view.c, spared, np.inf)
        return float(np.sqrt(view.c.max())) if solved is None else _SLACK * solved.norm

    def _descents(self, view: Neighborhood, promising: Integers, spared: int) -> list[Solution]:
        """Fixed points of the descents from all starts, shortest first."""
        found: list[Solution] = []
        self.seen.clear()
        for moved in self._starts(view, promising):
            best = min((solution.norm for solution in found), default=np.inf)
            solution = self._descend(view, moved, spared, _HOPELESS * best)
            if solution is not None:
                found.append(solution)
        return sorted(found, key=lambda solution: solution.norm)

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

    def _solve(self, view: Neighborhood, moved: Array, spared: int, cutoff: float) -> Solution | None:
        """Solve the assignment of the nearest points by ``moved`` (m,); None where it was solved before."""
        front, kept = view.sides(moved, self.vote.n_neighbors - spared, spared)
        key = np.sort(front).tobytes(), np.sort(kept).tobytes()
        if key in self.seen:
            return None
        self.seen.add(key)
        return solve_assignment(view, front, kept, moved, self.room, cutoff)

    def _vote_lost(self, view: Neighborhood, found: list[Solution], spared: int) -> Solution | None:
        """The shortest known perturbation after which the vote is lost, from those after which the majority is."""
        best = next((solution for solution in found if self.vote.lost(view, solution.moved)), None)
        for start in found[:_STARTS]:
            if best is not None and start.norm >= best.norm:
                break
            pressed = self._press(view, start, spared, np.inf if best is None else best.norm)
            if pressed is not None and (best is None or pressed.norm < best.norm):
                best = pressed
        return best

    def _last_resort(self, spared: int) -> Solution | None:
        """For each other class alone: a front of its points only, from the way to every one of the nearest of them."""
        view = self.around.within(np.inf)
        lost: list[Solution] = []
        for rival in np.unique(view.votes[view.other]):
            one = replace(view, other=view.other[view.votes[view.other] == rival])
            for n_own in range(min(spared, len(one.other) - 1), -1, -1):
                self.seen.clear()
                for moved in self._starts(one, np.empty(0, dtype=np.int64)):
                    solution = self._descend(one, moved, n_own, np.inf)
                    if solution is not None and self.vote.lost(view, solution.moved):
                        lost.append(solution)
        return min(lost, key=lambda solution: solution.norm, default=None)

    def _press(self, view: Neighborhood, solution: Solution, spared: int, cutoff: float) -> Solution | None:
        """Press the label's votes down from a solution until the vote is lost; None beyond ``cutoff``."""
        for n_own in range(spared - 1, -1, -1):
            pressed = self._descend(view, solution.moved, n_own, cutoff)
            if pressed is None:
                return None
            if self.vote.lost(view, pressed.moved):
                return pressed
            solution = pressed
        return None
