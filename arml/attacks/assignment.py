"""The problem of one assignment: the shortest delta that puts the *front* before all of a class but the *spared*.

For a given front of other-class points and given spared same-class points the condition

    d_M(x + delta, x_j) <= d_M(x + delta, x_i)      for all j in the front and all same-class i that are not spared

is linear in delta for each pair, and the shortest delta solves a least-distance problem (`arml.cells.solve`): the front
is low, the same-class points are high, the spared are in no constraint. A closed front is also before all other points
of other classes, so that it is among the K nearest for certain.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from arml.attacks.neighborhood import Neighborhood
from arml.cells.active_pairs import Workspace
from arml.cells.solve import FREE, LOW, UNDECIDED, solve_cell

Array = NDArray[np.float64]
Integers = NDArray[np.int64]

# How much nearer the front must be, relative to its distance: the answer must not hang on the last bits.
_STRICT = 1e-9
# Bytes for inner products of the points of a neighbourhood.
_MEMORY = 64 * 2**20


@dataclass(frozen=True)
class Solution:
    """Perturbation delta (d,), its norm, and the moved distances (m,) of the neighbourhood there."""

    delta: Array
    norm: float
    moved: Array


class AssignmentSolver:
    """Solves the assignments of one neighbourhood, whose inner products are computed once for all of them.

    ``room`` (2, d) is how far each feature may go down and up, infinite without a box.
    """

    def __init__(self, view: Neighborhood, room: Array) -> None:
        self.view = view
        self._work = Workspace.make(len(view.c), room, _MEMORY)
        size = len(self._work.b)
        self._pairs, self._lam = np.zeros((size, 2), dtype=np.int64), np.zeros(size)
        self._least_strict = 0.02 * _STRICT * float(view.c.mean())

    def shortest(
        self, front: Integers, spared: Integers, cutoff: float = np.inf, closed: bool = False
    ) -> Solution | None:
        """The shortest delta of an assignment, or None where its norm reaches ``cutoff`` or there is none in the room.

        ``front`` and ``spared`` are positions in the neighbourhood. Of points that coincide none comes first.
        """
        view, work = self.view, self._work
        status = np.zeros(len(view.c), dtype=np.int8)
        status[front], status[spared] = LOW, FREE
        strict = max(2 * _STRICT * float(view.c[front].max()), self._least_strict)
        _, norm = solve_cell(
            view.P, view.c, view.n_other, status, True, closed, strict, self._pairs, self._lam, 0, work, cutoff,
            strict / 2,
        )  # fmt: skip
        if not norm < cutoff:
            return None
        # The front is not before the rest where the solver ran out of steps.
        first = 0 if closed else view.n_other
        behind = work.f[first:][status[first:] == UNDECIDED]
        if not work.f[front].max() < behind.min(initial=np.inf):
            return None
        return Solution(work.delta.copy(), norm, work.f.copy())
