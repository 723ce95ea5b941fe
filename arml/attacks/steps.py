"""The steps of a descent, compiled: from assignment to assignment around one test point (`arml.attacks.descent`).

Of these Python calls `carry_out` alone: what is called from Python is optimised with all that it calls, and one such
function takes a third of the time of three.

A solution that was found is kept in a `Solution`, memory that the next one overwrites. Of all solutions met on the way
the shortest that loses the vote is kept in `Search.lost`. No assignment is solved twice in one search.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from arml.attacks.assignment import Assignments, solve_assignment
from arml.attacks.goals import ANY, Goal, Vote, front_of, nearest_own, possible, vote_lost
from arml.attacks.neighborhood import Neighborhood
from arml.compiled import compiled
from arml.least_distance.arrays import assign

Array = NDArray[np.float64]
Integers = NDArray[np.int64]

#: What `carry_out` is asked for.
FIRST, DESCEND, DESCEND_FROM_ALL, EXCHANGE = 0, 1, 2, 3

# Assignments remembered; of more the first are forgotten.
_SEEN = 1 << 14


class Solution(NamedTuple):
    """Perturbation delta (d,), moved distances (m,) there, and the norm (1,), infinite where there is none."""

    delta: Array
    moved: Array
    norm: Array

    @classmethod
    def empty(cls, view: Neighborhood) -> Solution:
        """None yet."""
        return cls(np.zeros(view.P.shape[1]), np.zeros(len(view.c)), np.full(1, np.inf))

    @property
    def found(self) -> bool:
        """Whether there is one."""
        return bool(np.isfinite(self.norm[0]))

    def copy(self) -> Solution:
        """One that later steps do not change."""
        return Solution(self.delta.copy(), self.moved.copy(), self.norm.copy())


class Search(NamedTuple):
    """One search among the points of a neighbourhood.

    Attributes
    ----------
    votes (m,) : class numbers of the points
    seen (s,), n_seen (1,) : the assignments solved so far, as hashes of their points
    lost, lost_by : the shortest solution that loses the vote, and the goal it was found for (the fields of a `Goal`)
    reached, improved : room for solutions on the way
    """

    problem: Assignments
    votes: Integers
    vote: Vote
    seen: NDArray[np.uint64]
    n_seen: Integers
    lost: Solution
    lost_by: Integers
    reached: Solution
    improved: Solution

    @classmethod
    def among(cls, view: Neighborhood, room: Array, vote: Vote) -> Search:
        """A new one; ``room`` (2, d) is how far features may go down and up."""
        lost, reached, improved = (Solution.empty(view) for _ in range(3))
        return cls(
            Assignments.of(view, room), view.votes, vote, np.empty(_SEEN, np.uint64), np.zeros(1, np.int64), lost,
            np.full(len(Goal._fields), ANY), reached, improved,
        )  # fmt: skip

    def lost_goal(self) -> Goal:
        """The goal of the solution `lost`."""
        rival, needed, size, spared, closed = self.lost_by.tolist()
        return Goal(rival, needed, size, spared, bool(closed))


@compiled
def _keep(solution: Solution, delta: Array, moved: Array, norm: float) -> None:
    assign(solution.delta, delta)
    assign(solution.moved, moved)
    solution.norm[0] = norm


@compiled
def _mixed(number: int) -> np.uint64:
    """A random-looking 64-bit number for a small one (the finalizer of splitmix64)."""
    z = np.uint64(number + 1) * np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


@compiled
def _is_new(search: Search, front: Integers, spared: Integers, closed: bool) -> bool:
    """Whether this assignment was not tried before; from now on it was."""
    key = _mixed(0) if closed else np.uint64(0)
    for i in front:
        key ^= _mixed(2 * i + 1)
    for i in spared:
        key ^= _mixed(2 * i + 2)
    n = search.n_seen[0]
    for q in range(min(n, _SEEN)):
        if search.seen[q] == key:
            return False
    search.seen[n % _SEEN] = key
    search.n_seen[0] = n + 1
    return True


@compiled
def _assign(search: Search, goal: Goal, front: Integers, spared: Integers, cutoff: float) -> float:
    """Norm of an assignment's solution, which is left in ``search.problem.work``; infinite also if it is not new."""
    if not _is_new(search, front, spared, goal.closed):
        return np.inf
    norm = solve_assignment(search.problem, front, spared, cutoff, goal.closed)
    work = search.problem.work
    if norm < search.lost.norm[0] and vote_lost(search.vote, search.votes, work.f):
        _keep(search.lost, work.delta, work.f, norm)
        for q, value in enumerate((goal.rival, goal.needed, goal.size, goal.spared, int(goal.closed))):
            search.lost_by[q] = value
    return norm


@compiled
def descend(search: Search, goal: Goal, moved: Array, cutoff: float, last: Solution) -> bool:
    """Fixed point reached from the assignment at ``moved`` (m,), which may be that of ``last``, where it is left.

    Returns whether there is one: not where it is hopeless, longer than ``cutoff``, or was reached before.
    """
    n_other, work = search.problem.n_other, search.problem.work
    last.norm[0] = np.inf
    if not possible(goal, search.votes, n_other):
        return False
    while True:
        front = front_of(goal, search.votes, n_other, moved, -1)
        norm = _assign(search, goal, front, nearest_own(moved, n_other, goal.spared), cutoff)
        if norm == np.inf:
            return bool(last.norm[0] < np.inf)
        _keep(last, work.delta, work.f, norm)
        moved, cutoff = last.moved, norm * (1 + 1e-9)


@compiled
def descend_from_all(search: Search, goal: Goal, starts: Array, hopeless: float, best: Solution) -> None:
    """`descend` from the starts (s, m); ``best`` becomes the shortest solution if it is not shorter already.

    A start whose first problem is ``hopeless`` times worse than the best so far is not followed. If the goal has a
    rival, what counts is that the vote is lost: a start is followed as far as it may shorten `Search.lost`, and where
    it ends with the vote kept the front is closed.
    """
    reached = search.reached
    for s in range(starts.shape[0]):
        moved = starts[s]
        cutoff = hopeless * best.norm[0] if goal.rival == ANY else search.lost.norm[0]
        if not descend(search, goal, moved, cutoff, reached):
            continue
        if reached.norm[0] < best.norm[0]:
            _keep(best, reached.delta, reached.moved, reached.norm[0])
        if goal.rival != ANY and not vote_lost(search.vote, search.votes, reached.moved):
            closed = Goal(goal.rival, goal.needed, goal.size, goal.spared, True)
            descend(search, closed, reached.moved, cutoff, reached)


@compiled
def _without(positions: Integers, omitted: int) -> Integers:
    """The positions (n,) but for the one at ``omitted``."""
    rest = np.empty(len(positions) - 1, np.int64)
    for q in range(len(rest)):
        rest[q] = positions[q] if q < omitted else positions[q + 1]
    return rest


@compiled
def exchange(search: Search, goal: Goal, best: Solution) -> None:
    """Leave the fixed point ``best`` by exchanging one point of its front or of the spared for the next nearest."""
    n_other, work = search.problem.n_other, search.problem.work
    improved, reached = search.improved, search.reached
    while True:
        front = front_of(goal, search.votes, n_other, best.moved, -1)
        kept = nearest_own(best.moved, n_other, goal.spared + 1)
        _keep(improved, best.delta, best.moved, best.norm[0])
        for q in range(len(front) + len(kept) - 1):
            if q < len(front):
                others, spared = front_of(goal, search.votes, n_other, best.moved, front[q]), kept[: goal.spared].copy()
            else:
                others, spared = front, _without(kept, q - len(front))
            norm = _assign(search, goal, others, spared, improved.norm[0])
            if norm < improved.norm[0]:
                _keep(improved, work.delta, work.f, norm)
                if descend(search, goal, improved.moved, norm, reached) and reached.norm[0] < norm:
                    _keep(improved, reached.delta, reached.moved, reached.norm[0])
        done = improved.norm[0] >= best.norm[0] * (1 - 1e-9)
        _keep(best, improved.delta, improved.moved, improved.norm[0])
        if done:
            return


@compiled
def carry_out(step: int, search: Search, goal: Goal, starts: Array, limit: float, solution: Solution) -> bool:
    """One of the steps; whether there is a solution then.

    Parameters
    ----------
    step : FIRST (the assignment at a start alone), DESCEND, DESCEND_FROM_ALL or EXCHANGE
    starts (s, m) : moved distances to start from; only the first counts but for DESCEND_FROM_ALL, none for EXCHANGE
    limit : the cutoff of FIRST and DESCEND, or how many times worse than the best a start may be
    solution : the solution found, or the one to improve; it may be the start
    """
    if step == FIRST:
        n_other, work = search.problem.n_other, search.problem.work
        front, kept = front_of(goal, search.votes, n_other, starts[0], -1), nearest_own(starts[0], n_other, goal.spared)
        _keep(solution, work.delta, work.f, _assign(search, goal, front, kept, limit))
    elif step == DESCEND:
        return descend(search, goal, starts[0], limit, solution)
    elif step == DESCEND_FROM_ALL:
        descend_from_all(search, goal, starts, limit, solution)
    else:
        exchange(search, goal, solution)
    return bool(solution.norm[0] < np.inf)
