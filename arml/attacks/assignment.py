"""The problem of one assignment: the shortest delta that puts the *front* before all of a class but the *spared*.

For a given front of other-class points and given spared same-class points the condition

    d_M(x + delta, x_j) <= d_M(x + delta, x_i)      for all j in the front and all same-class i that are not spared

is linear in delta, one row ``(x_i - x_j)' M delta <= (c_i - c_j) / 2`` for each pair, and the shortest delta solves a
least-distance problem (`arml.qp`). It is solved by constraint generation: over the nearest same-class points, adding
those found nearer than the front at the solution, until there is none.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from arml.attacks.neighborhood import Neighborhood, smallest
from arml.qp import OPTIMAL, least_distance, normalise_rows

Array = NDArray[np.float64]
Integers = NDArray[np.int64]
Booleans = NDArray[np.bool_]

_NEAR = 128
_FIRST_ROWS = 8
_CUTS = 6
_BOX_CUTS = 64
# How much nearer the front must be, relative to its distance: the answer must not hang on the last bits.
_STRICT = 1e-9


@dataclass(frozen=True)
class Room:
    """How far each feature may move down and up within the box: (d,) each."""

    below: Array
    above: Array


@dataclass(frozen=True)
class Solution:
    """Perturbation delta (d,) and the moved distances (m,) of the neighbourhood there."""

    delta: Array
    moved: Array

    @property
    def norm(self) -> float:
        """Length of the perturbation."""
        return float(np.linalg.norm(self.delta))


def solve_assignment(
    view: Neighborhood, front: Integers, spared: Integers, near: Array, room: Room | None, cutoff: float
) -> Solution | None:
    """The shortest delta of an assignment, or None where its norm reaches ``cutoff`` or there is none within the room.

    Parameters
    ----------
    view : the neighbourhood; front, spared : positions in it
    near : (m,) moved distances that tell which same-class points are likely to matter
    """
    open_ = np.zeros(len(view.c), dtype=bool)
    open_[view.own] = True
    open_[spared] = False
    behind = np.flatnonzero(open_)
    close = behind[smallest(np.minimum(near, view.c)[behind], _NEAR)]
    rows = close[smallest(view.c[close], _FIRST_ROWS)]
    open_[rows] = False
    bounds = np.empty(0, dtype=np.int64)
    strict = _STRICT * max(float(view.c[front].max()), 0.01 * float(view.c.mean()))
    P_front, P_close = view.P[front], view.P[close]
    while True:
        limits = (view.c[rows] - view.c[front][:, None]) / 2 - strict
        delta = _shortest(P_front, view.P[rows], limits, bounds, room, cutoff)
        if delta is None:
            return None
        limit = float((view.c[front] - 2 * (P_front @ delta)).max()) + strict
        cuts = _crossed(close, view.c[close] - 2 * (P_close @ delta), limit, open_)
        outside = _outside(delta, room, bounds)
        if not cuts.size and not outside.size:
            moved = view.moved(delta)
            cuts = _crossed(behind, moved[behind], limit, open_)
            if not cuts.size:
                return Solution(delta, moved)
        open_[cuts] = False
        rows, bounds = np.concatenate([rows, cuts]), np.concatenate([bounds, outside])


def _crossed(points: Integers, moved: Array, limit: float, open_: Booleans) -> Integers:
    """The nearest of the ``open_`` ones among ``points`` whose ``moved`` distance is below ``limit``."""
    inside = np.flatnonzero((moved < limit) & open_[points])
    return points[inside[smallest(moved[inside], _CUTS)]]


def _shortest(
    front: Array, behind: Array, limits: Array, bounds: Integers, room: Room | None, cutoff: float
) -> Array | None:
    """Shortest delta with ``(behind_i - front_j)' delta <= limits[j, i]``, within the ``bounds`` of the room.

    ``front`` (p, d) and ``behind`` (q, d) are rows of points, ``limits`` is (p, q). None where the norm reaches
    ``cutoff``. Without a room the solution lies in the span of the differences, whose dimension is below p + q: the
    problem is solved there.
    """
    d = front.shape[1]
    basis = None
    if room is None and len(front) + len(behind) <= d:
        basis, R = np.linalg.qr((np.concatenate([front, behind]) - front[0]).T)
        front, behind = R.T[: len(front)], R.T[len(front) :]
    A = np.ascontiguousarray((behind - front[:, None]).reshape(-1, front.shape[1]))
    b = limits.ravel()
    if room is not None:
        A, b = _with_box(A, b, bounds, room)
    normalise_rows(A, b)
    outcome, delta, _ = least_distance(A, b, cutoff)
    if outcome != OPTIMAL:
        return None
    return np.asarray(delta if basis is None else basis @ delta)


def _with_box(A: Array, b: Array, bounds: Integers, room: Room) -> tuple[Array, Array]:
    """Rows for the box bounds in use: f is the lower bound of feature f, d + f the upper."""
    d = A.shape[1]
    rows = np.zeros((len(bounds), d))
    rows[np.arange(len(bounds)), bounds % d] = np.where(bounds < d, -1.0, 1.0)
    limits = np.concatenate([room.below, room.above])[bounds]
    return np.concatenate([A, rows]), np.concatenate([b, limits])


def _outside(delta: Array, room: Room | None, known: Integers) -> Integers:
    """The most violated box bounds that are not ``known`` yet."""
    if room is None:
        return np.empty(0, dtype=np.int64)
    excess = np.concatenate([-delta - room.below, delta - room.above])
    excess[known] = 0.0
    worst = smallest(-excess, _BOX_CUTS)
    return worst[excess[worst] > 1e-12]
