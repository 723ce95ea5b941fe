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
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from arml.attacks.goals import ANY, Goal, Vote, vote_lost
from arml.attacks.neighborhood import Neighborhood
from arml.attacks.steps import DESCEND, DESCEND_FROM_ALL, EXCHANGE, FIRST, Search, Solution, carry_out
from arml.least_distance.smallest import smallest

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


class Surroundings(Protocol):
    """How a descent looks at the training set from its test point."""

    @property
    def own(self) -> NDArray[np.bool_]:
        """Which training points (n,) have the label under attack."""

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

    def run(self, promising: Integers) -> Found:
        """Search from all starts; ``promising`` are training rows of other classes that are good goals."""
        K = self.vote.n_neighbors
        n_own = int(self.around.own.sum())
        if self.n_other < (K + 1) // 2:
            return Found(None, None)
        # A class too small for a majority spares all its points but one.
        spared = min((K - 1) // 2, n_own - 1)
        best, lost = self._widen(promising, spared, n_own + self.n_other)
        return Found(best.delta if best.found else None, lost.delta if lost.found else None)

    def _widen(self, promising: Integers, spared: int, n_points: int) -> tuple[Solution, Solution]:
        """Search among the points that matter near by, and farther off where what is found lies beyond."""
        reach = self._first_reach(spared)
        for attempt in range(_VIEWS):
            view = self.around.within(reach if attempt < _VIEWS - 1 else np.inf)
            best, lost = self._search(view, promising, spared)
            # What was found beyond the reach may have ignored points that matter there.
            needed = max(float(best.norm[0]), float(lost.norm[0]))
            if needed <= reach or len(view.index) == n_points:
                break
            reach = 1.01 * needed if np.isfinite(needed) else 2 * reach
        return best, lost

    def _first_reach(self, spared: int) -> float:
        """A little more than the solution over the nearest points alone, which is likely to be near the truth."""
        view = self.around.nearest(_FIRST_VIEW)
        goal, norm = self._majority(spared), np.inf
        if goal.size <= view.n_other:
            search, solution = Search.among(view, self.room, self.vote), Solution.empty(view)
            carry_out(FIRST, search, goal, view.c[None], np.inf, solution)
            norm = float(solution.norm[0])
        least = 0.1 * float(np.linalg.norm(self.around.toward(view.index[:1])))
        return float(np.sqrt(view.c.max())) if np.isinf(norm) else max(_SLACK * norm, least)

    def _majority(self, spared: int) -> Goal:
        """All but ``spared`` of the label's points passed by as many others as are needed among the K nearest."""
        return Goal(ANY, 0, min(self.vote.n_neighbors - spared, self.n_other), spared, False)

    def _search(self, view: Neighborhood, promising: Integers, spared: int) -> tuple[Solution, Solution]:
        """The shortest solutions after which the majority, and the vote, are lost."""
        goal, search, best = self._majority(spared), Search.among(view, self.room, self.vote), Solution.empty(view)
        carry_out(DESCEND_FROM_ALL, search, goal, self._starts(view, promising), _HOPELESS, best)
        if not best.found:
            return best, Solution.empty(view)
        self._overtake(search, view, best, [spared])
        carry_out(EXCHANGE, search, goal, view.c[None], np.inf, best)
        # A class of fewer than k points never has the majority: there the vote is another question.
        n_left = min((self.vote.n_neighbors - 1) // 2, len(view.c) - view.n_other)
        if search.lost.norm[0] > best.norm[0] or n_left > spared:
            self._press(search, best, spared)
            self._overtake(search, view, best.copy(), range(n_left, -1, -1))
            if search.lost.found:
                # This may shorten what is lost.
                carry_out(EXCHANGE, search, search.lost_goal(), view.c[None], np.inf, search.lost.copy())
        return best, search.lost

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

    def _press(self, search: Search, best: Solution, spared: int) -> None:
        """Press the label's votes down one by one, from ``best`` where ``spared`` are left, until it loses the vote."""
        solution, reached = best, best.copy()
        for n_own in range(spared - 1, -1, -1):
            goal, start = self._majority(n_own), solution.moved[None]
            if carry_out(DESCEND, search, goal, start, float(search.lost.norm[0]), reached):
                if vote_lost(self.vote, search.votes, reached.moved):
                    return
                solution = reached.copy()

    def _overtake(self, search: Search, view: Neighborhood, best: Solution, left: Sequence[int]) -> None:
        """Let one rival class overtake, with ``left`` votes left to the label; ``best`` becomes what is shorter."""
        K, moved = self.vote.n_neighbors, best.moved.copy()
        votes, c = view.votes[: view.n_other], view.c[: view.n_other]
        rivals = np.unique(votes)
        least = np.array([c[votes == rival].min() for rival in rivals])
        for rival in rivals[smallest(least, _RIVALS)]:
            members = np.flatnonzero(votes == rival)
            starts = np.concatenate([moved[None], view.c[None], self._past(view, members, _RIVAL_STARTS)])
            for n_own in left:
                # Of classes with equal votes the first wins.
                needed = max(1, n_own + int(rival > self.vote.label))
                goal = Goal(int(rival), needed, min(max(K - n_own, needed), self.n_other), n_own, False)
                carry_out(DESCEND_FROM_ALL, search, goal, starts, _HOPELESS, best)
