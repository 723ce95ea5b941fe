"""The problem of one assignment: the shortest delta that puts the *front* before all of a class but the *spared*.

For a given front of other-class points and given spared same-class points the condition

    d_M(x + delta, x_j) <= d_M(x + delta, x_i)      for all j in the front and all same-class i that are not spared

is linear in delta for each pair, and the shortest delta solves a least-distance problem (`arml.least_distance.cell`):
the front is low, the same-class points are high, the spared are in no constraint. A closed front is also before all
other points of other classes, so that it is among the K nearest for certain.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from arml.attacks.neighborhood import Neighborhood
from arml.compiled import compiled
from arml.least_distance.active_set import Workspace
from arml.least_distance.cell import FREE, LOW, UNDECIDED, solve_cell

Array = NDArray[np.float64]
Integers = NDArray[np.int64]
Bytes = NDArray[np.int8]

# How much nearer the front must be, relative to its distance: the answer must not hang on the last bits.
_STRICT = 1e-9
# Bytes for inner products of the points of a neighbourhood.
_MEMORY = 64 * 2**20


class Assignments(NamedTuple):
    """All assignments of one neighbourhood: its points, and memory in which they are solved one after the other.

    The points' inner products are computed once for all of them. Points and positions are those of a `Neighborhood`;
    ``work`` holds the solution delta (d,) and the moved distances f (m,) there, the rest is overwritten each time.
    """

    P: Array
    c: Array
    n_other: int
    least_strict: float
    status: Bytes
    pairs: Integers
    lam: Array
    work: Workspace

    @classmethod
    def of(cls, view: Neighborhood, room: Array) -> Assignments:
        """Those of a neighbourhood; ``room`` (2, d) is how far features may go down and up, inf without a box."""
        m = len(view.c)
        work = Workspace.make(m, room, _MEMORY)
        size = len(work.b)
        least_strict = 0.02 * _STRICT * float(view.c.mean())
        return cls(
            view.P, view.c, view.n_other, least_strict, np.zeros(m, np.int8), np.zeros((size, 2), np.int64),
            np.zeros(size), work,
        )  # fmt: skip


@compiled
def solve_assignment(problem: Assignments, front: Integers, spared: Integers, cutoff: float, closed: bool) -> float:
    """Norm of the shortest delta of an assignment; infinite where it reaches ``cutoff`` or there is none in the room.

    ``front`` and ``spared`` are positions in the neighbourhood. Of points that coincide none comes first.
    """
    c, n_other, status, work = problem.c, problem.n_other, problem.status, problem.work
    status[:] = UNDECIDED
    farthest = -np.inf
    for i in front:
        status[i] = LOW
        farthest = max(farthest, c[i])
    for i in spared:
        status[i] = FREE
    strict = max(2 * _STRICT * farthest, problem.least_strict)
    _, norm = solve_cell(
        problem.P, c, n_other, status, True, closed, strict, problem.pairs, problem.lam, 0, work, cutoff, strict / 2
    )
    if not norm < cutoff:
        return np.inf
    # The front is not before the rest where the solver ran out of steps.
    last, first_behind = -np.inf, np.inf
    for i in front:
        last = max(last, work.f[i])
    for i in range(0 if closed else n_other, len(c)):
        if status[i] == UNDECIDED:
            first_behind = min(first_behind, work.f[i])
    return norm if last < first_behind else np.inf
