"""Descent at one test point: from assignment to assignment, each solution shorter than the one before.

With ``k = (K + 1) / 2``, the label y has lost its majority among the K nearest neighbours of ``x + delta`` exactly when
k points of other classes, the front, are at least as near as all points of class y but k - 1, the spared. One step:

    solve the problem of the current assignment (`arml.attacks.assignment`);  take the k nearest other-class points and
    the k - 1 nearest same-class points at its solution as the next assignment

The old solution satisfies the constraints of the new assignment, so the norm never grows; at a fixed point no better
assignment is in sight. Several starts are taken: the assignment at x, those on the way to the nearest other-class
points and to those that the caller thinks promising (the best rows of Theorem 1), and those where one other-class
point has passed the label's k-th nearest.

Losing the majority changes the answer when there are two classes. With more, y may still win the vote. It loses the
vote with n votes left exactly when ``K - n`` other-class points pass all of class y but n, enough of them are of one
rival class to outvote n, and these are not crowded out by other points; such goals are tried for the nearest rivals and
all n (`Goal`), the last condition only where it is not fulfilled without. A fixed point is left by
exchanging single points of the front or of the spared for the next nearest.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from arml.attacks.assignment import AssignmentSolver, Solution
from arml.attacks.neighborhood import Neighborhood
from arml.cells.smallest import smallest

Array = NDArray[np.float64]
Integers = NDArray[np.int64]

_STARTS = 8
_WAYS = (0.5, 1.0)
# Single points that pass first, and how far the start goes in their direction, in units of what they need.
_LONE, _LENGTHS = 12, (1.0, 2.0)
_TINY = 1e-300
_FIRST_VIEW = 64
# The view reaches this much farther than the first solution.
_SLACK = 1.2
# Views tried; the last one holds all training points.
_VIEWS = 4
# A start whose first problem is this many times worse than the best solution is not followed.
_HOPELESS = 1.5
# Rival classes tried where the label keeps the vote without a majority, and their points gone towards.
_RIVALS, _RIVAL_STARTS = 3, 1


@dataclass(frozen=True)
class Vote:
    """The classifier's rule: K neighbours, C classes, and the class number of the label under attack."""

    n_neighbors: int
    n_classes: int
    label: int

    def lost(self, view: Neighborhood, moved: Array) -> bool:
        """Whether the label does not win the vote; of equal classes the first wins, as in the classifier."""
        return int(view.tally(moved, self.n_neighbors, self.n_classes).argmax()) != self.label


@dataclass(frozen=True)
class Goal:
    """``size`` other-class points, ``needed`` of them ``members`` (positions), pass all of class y but ``spared``.

    A ``closed`` front passes all other points of other classes, too.
    """

    members: Integers
    needed: int
    size: int
    spared: int
    closed: bool = False

    def front(self, view: Neighborhood, moved: Array, without: int = -1) -> Integers:
        """The nearest points by ``moved`` (m,) that fulfil the goal, position ``without`` not among them."""
        f = moved[: view.n_other].copy()
        if without >= 0:
            f[without] = np.inf
        chosen = self.members[smallest(f[self.members], self.needed)]
        f[chosen] = np.inf
        return np.concatenate([chosen, smallest(f, self.size - len(chosen))])

    def possible(self, view: Neighborhood) -> bool:
        """Whether there are enough points for it."""
        return self.size <= view.n_other and self.needed <= len(self.members)


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

    def __init__(self, around: Surroundings, vote: Vote, room: Array) -> None:
        self.around, self.vote, self.room = around, vote, room
        self.n_other = int((~around.own).sum())
        self.seen: set[tuple[bytes, bytes, bool]] = set()
        self.lost: Solution | None = None
        self.lost_by: Goal | None = None

    def run(self, promising: Integers) -> Found:
        """Search from all starts; ``promising`` are training rows of other classes that are good goals."""
        K = self.vote.n_neighbors
        n_own = int(self.around.own.sum())
        if self.n_other < (K + 1) // 2:
            return Found(None, None)
        # A class too small for a majority spares all its points but one.
        spared = min((K - 1) // 2, n_own - 1)
        best = self._widen(promising, spared, n_own + self.n_other)
        return Found(None if best is None else best.delta, None if self.lost is None else self.lost.delta)

    def _widen(self, promising: Integers, spared: int, n_points: int) -> Solution | None:
        """Search among the points that matter near by, and farther off where what is found lies beyond."""
        best, reach = None, self._first_reach(spared)
        for attempt in range(_VIEWS):
            view = self.around.within(reach if attempt < _VIEWS - 1 else np.inf)
            best = self._search(view, promising, spared)
            # What was found beyond the reach may have ignored points that matter there.
            needed = max(np.inf if solution is None else solution.norm for solution in (best, self.lost))
            if needed <= reach or len(view.index) == n_points:
                break
            reach = 1.01 * needed if np.isfinite(needed) else 2 * reach
        return best

    def _first_reach(self, spared: int) -> float:
        """A little more than the solution over the nearest points alone, which is likely to be near the truth."""
        view = self.around.nearest(_FIRST_VIEW)
        solved = self._solve(AssignmentSolver(view, self.room), self._majority(view, spared), view.c, np.inf)
        least = 0.1 * float(np.linalg.norm(self.around.toward(view.index[:1])))
        return float(np.sqrt(view.c.max())) if solved is None else max(_SLACK * solved.norm, least)

    def _majority(self, view: Neighborhood, spared: int) -> Goal:
        """All but ``spared`` of the label's points passed by as many others as are needed among the K nearest."""
        return Goal(np.empty(0, dtype=np.int64), 0, min(self.vote.n_neighbors - spared, self.n_other), spared)

    def _search(self, view: Neighborhood, promising: Integers, spared: int) -> Solution | None:
        """The shortest solution after which the majority is lost; `lost` is set on the way."""
        self.seen.clear()
        self.lost, self.lost_by = None, None
        goal = self._majority(view, spared)
        if not goal.possible(view):
            return None
        solver = AssignmentSolver(view, self.room)
        starts = self._starts(view, promising)
        best: Solution | None = None
        for moved in starts:
            best = _shorter(best, self._descend(solver, goal, moved, np.inf if best is None else _HOPELESS * best.norm))
        if best is None:
            return None
        best = self._overtake(solver, best, [spared])
        best = self._exchange(solver, goal, best)
        # A class of fewer than k points never has the majority: there the vote is another question.
        n_left = min((self.vote.n_neighbors - 1) // 2, len(view.c) - view.n_other)
        if self.lost is None or self.lost.norm > best.norm or n_left > spared:
            self._press(solver, best, spared)
            self._overtake(solver, best, range(n_left, -1, -1))
            if self.lost is not None and self.lost_by is not None:
                self._exchange(solver, self.lost_by, self.lost)
        return best

    def _starts(self, view: Neighborhood, promising: Integers) -> Array:
        """Moved distances (s, m) at x, on the way to other-class points, and where single ones have passed."""
        known = np.flatnonzero(np.isin(view.index[: view.n_other], promising))
        goals = np.union1d(smallest(view.c[: view.n_other], _STARTS), known)
        lone = self._past(view, np.arange(view.n_other), _LONE)
        return np.concatenate([view.c[None], *(self._on_the_way(view, goals, way) for way in _WAYS), lone])

    def _past(self, view: Neighborhood, goals: Integers, count: int) -> Array:
        """Moved distances (s, m) where single ones of ``goals`` pass the label's k-th nearest, the easiest first."""
        last = view.nearest_own(view.c, (self.vote.n_neighbors + 1) // 2)[-1]
        way = view.P[goals] - view.P[last]
        size = np.linalg.norm(way, axis=1) + _TINY
        value = (view.c[goals] - view.c[last]) / (2 * size)
        easiest = smallest(value, count)
        steps = (value[easiest] / size[easiest])[:, None] * way[easiest]
        return np.concatenate([view.c - 2 * length * (steps @ view.P.T) for length in _LENGTHS])

    def _on_the_way(self, view: Neighborhood, goals: Integers, way: float) -> Array:
        """Moved distances (g, m) after going the fraction ``way`` towards the points ``goals`` (g,)."""
        return np.asarray(view.c - 2 * way * (self.around.toward(view.index[goals]) @ view.P.T))

    def _descend(self, solver: AssignmentSolver, goal: Goal, moved: Array, cutoff: float) -> Solution | None:
        """Fixed point reached from the assignment at ``moved``, or None where it is hopeless or was reached before."""
        last: Solution | None = None
        while (solution := self._solve(solver, goal, moved, cutoff)) is not None:
            last, moved, cutoff = solution, solution.moved, solution.norm * (1 + 1e-9)
        return last

    def _solve(self, solver: AssignmentSolver, goal: Goal, moved: Array, cutoff: float) -> Solution | None:
        """Solve the assignment of the nearest points by ``moved`` (m,); None also where it was solved before."""
        view = solver.view
        if not goal.possible(view):
            return None
        return self._assign(solver, goal, goal.front(view, moved), view.nearest_own(moved, goal.spared), cutoff)

    def _assign(
        self, solver: AssignmentSolver, goal: Goal, front: Integers, kept: Integers, cutoff: float
    ) -> Solution | None:
        """Solve an assignment that was not solved before, and keep it where the vote is lost."""
        key = np.sort(front).tobytes(), np.sort(kept).tobytes(), goal.closed
        if key in self.seen:
            return None
        self.seen.add(key)
        solution = solver.shortest(front, kept, cutoff, goal.closed)
        if solution is None or (self.lost is not None and solution.norm >= self.lost.norm):
            return solution
        if self.vote.lost(solver.view, solution.moved):
            self.lost, self.lost_by = solution, goal
        return solution

    def _exchange(self, solver: AssignmentSolver, goal: Goal, best: Solution) -> Solution:
        """Leave a fixed point by exchanging one point of the front or of the spared for the next nearest."""
        view = solver.view
        while True:
            front, kept = goal.front(view, best.moved), view.nearest_own(best.moved, goal.spared + 1)
            swaps = [(goal.front(view, best.moved, q), kept[: goal.spared]) for q in front]
            swaps += [(front, np.delete(kept, q)) for q in range(len(kept) - 1)]
            improved = best
            for others, own in swaps:
                solution = self._assign(solver, goal, others, own, improved.norm)
                if solution is not None and solution.norm < improved.norm:
                    improved = _shorter(solution, self._descend(solver, goal, solution.moved, solution.norm)) or best
            if improved.norm >= best.norm * (1 - 1e-9):
                return improved
            best = improved

    def _press(self, solver: AssignmentSolver, solution: Solution, spared: int) -> None:
        """Press the label's votes down one by one until the vote is lost."""
        for n_own in range(spared - 1, -1, -1):
            cutoff = np.inf if self.lost is None else self.lost.norm
            pressed = self._descend(solver, self._majority(solver.view, n_own), solution.moved, cutoff)
            if pressed is not None:
                if self.vote.lost(solver.view, pressed.moved):
                    return
                solution = pressed

    def _overtake(self, solver: AssignmentSolver, best: Solution, left: Sequence[int]) -> Solution:
        """Let one rival class overtake, with ``left`` votes left to the label; the shortest solution or ``best``."""
        view, shortest = solver.view, best
        votes, c = view.votes[: view.n_other], view.c[: view.n_other]
        rivals = np.unique(votes)
        least = np.array([c[votes == rival].min() for rival in rivals])
        for rival in rivals[smallest(least, _RIVALS)]:
            members = np.flatnonzero(votes == rival)
            starts = np.concatenate([best.moved[None], view.c[None], self._past(view, members, _RIVAL_STARTS)])
            for n_own in left:
                # Of classes with equal votes the first wins.
                needed = max(1, n_own + int(rival > self.vote.label))
                goal = Goal(members, needed, min(max(self.vote.n_neighbors - n_own, needed), self.n_other), n_own)
                for moved in starts:
                    cutoff = np.inf if self.lost is None else self.lost.norm
                    reached = self._descend(solver, goal, moved, cutoff)
                    shortest = _shorter(shortest, reached) or shortest
                    if reached is not None and not self.vote.lost(view, reached.moved):
                        self._descend(solver, replace(goal, closed=True), reached.moved, cutoff)
        return shortest


def _shorter(first: Solution | None, second: Solution | None) -> Solution | None:
    """The shorter of two solutions, the first of equals."""
    if first is None or second is None:
        return second if first is None else first
    return second if second.norm < first.norm else first
