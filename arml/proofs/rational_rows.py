"""One test point with its rounded and its exact view, and the closed form (eq. 8) of many pairs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from arml.proofs.rational_geometry import ExactSet, ExactView, Goal
from arml.proofs.rational_numbers import Array, BigInts, Integers
from arml.proofs.rational_screen import Screen

Booleans = NDArray[np.bool_]

# Sames beside which others are looked at first, beyond those that are needed.
_STEPS = (2, 30)
# Pairs that are compared at once.
_PAIRS = 400_000


@dataclass(frozen=True)
class RoundedView:
    """What a `Screen` knows of a test point: c (n,) within ``c_error`` (n,), and p (1, d) of the point itself."""

    screen: Screen
    c: Integers
    c_error: Integers
    p: Integers

    @classmethod
    def of(cls, screen: Screen, view: ExactView) -> RoundedView | None:
        """None where the test point is too far out for the screen."""
        seen = screen.seen(view)
        if seen is None:
            return None
        c, error = screen.z.sq_distances(seen[0])
        return cls(screen, c[:, 0], error[:, 0], seen[1])

    def reached(self, rows: Integers, sames: Integers, goal: Goal) -> Booleans:
        """Pairs (rows, sames) for which ``(c_j - c_i) / (2 ||p_j - p_i||) >= l`` is certain."""
        screen = self.screen
        ahead = (self.c - self.c_error)[rows][:, None] - (self.c + self.c_error)[sames]
        middle, error = screen.p.sq_distances(screen.p.values[sames].astype(np.int64), rows)
        known = (ahead > 0) & ~screen.wild[rows][:, None] & ~screen.wild[sames]
        shift = 4 * screen.z.power - 2 * screen.p.power
        return certain(goal, ahead, middle + error, known, shift)

    def undecided(self, row: int, sames: Integers, goal: Goal) -> tuple[int, list[int]]:
        """Of how many sames it is certain that the goal is reached beside them, and of which it is not known."""
        screen = self.screen
        middle, error = screen.p.sq_distances(screen.p.values[sames].astype(np.int64), np.array([row]))
        least = np.maximum(middle[0] - error[0], 0)
        ahead = (self.c + self.c_error)[row] - (self.c - self.c_error)[sames]
        known = (ahead > 0) & ~screen.wild[sames] & ~screen.wild[row]
        possible = certain(goal, ahead, least, known, 4 * screen.z.power - 2 * screen.p.power)
        possible |= screen.wild[sames] | screen.wild[row]
        reached = self.reached(np.array([row]), sames, goal)[0]
        return int(reached.sum()), sames[possible & ~reached].tolist()


def certain(goal: Goal, ahead: NDArray, sq_length: Integers, known: Booleans, shift: int) -> Booleans:
    """Which of the ``known`` pairs reach the goal, where ``ahead**2 2**shift`` is in the unit of ``sq_length``."""
    result = np.zeros(known.shape, dtype=bool)
    gain, cost = goal.den << max(shift, 0), 4 * goal.num << max(-shift, 0)
    left, right = ahead[known].astype(object), sq_length[known].astype(object)
    result[known] = (left * left * gain >= right * cost).astype(bool)
    return result


class TestPoint:
    """A test point x (d,) as both views have it; ``rounded`` is None where only the exact one helps."""

    __test__ = False

    def __init__(self, train: ExactSet, screen: Screen, x: Array) -> None:
        self.exact = ExactView(train, x)
        self.screen = screen
        self.rounded = RoundedView.of(screen, self.exact)

    def by_distance(self, points: Integers) -> Integers:
        """Training points, the nearest first (about: nothing may depend on the order)."""
        if self.rounded is None:
            return np.array(sorted(points.tolist(), key=self.exact.c), dtype=np.int64)
        distance = np.where(self.screen.wild[points], np.iinfo(np.int64).max, self.rounded.c[points])
        return points[np.argsort(distance, kind="stable")]

    def near(self, delta: BigInts, finer: int, K: int) -> list[int]:
        """Training points among which all are that may be one of the K nearest to ``x + delta``."""
        screen, n = self.screen, len(self.exact.train.X)
        seen = screen.seen(self.exact, delta, finer)
        if seen is None:
            return list(range(n))
        middle, error = screen.z.sq_distances(seen[0])
        at_most = np.sort((middle + error)[~screen.wild, 0])
        if len(at_most) < K:
            return list(range(n))
        return np.flatnonzero(((middle - error)[:, 0] <= at_most[K - 1]) | screen.wild).tolist()

    def unshown(self, others: Integers, sames: Integers, k: int, goal: Goal) -> Integers:
        """Those of the others that do not have to go at least as far as the goal to pass all sames but k - 1.

        Row values: the k-th largest ``(c_j - c_i) / (2 ||p_j - p_i||)`` over the sames i must reach the goal.
        """
        if len(sames) < k:
            return others
        sames = self.by_distance(sames)
        if self.rounded is not None:
            for count in (*(k + step for step in _STEPS), len(sames)):
                at_once = max(1, _PAIRS // max(1, min(count, len(sames))))
                left = [
                    rows[self.rounded.reached(rows, sames[:count], goal).sum(axis=1) < k]
                    for rows in (others[start : start + at_once] for start in range(0, len(others), at_once))
                ]
                others = np.concatenate([*left, np.empty(0, np.int64)])
        return np.array([j for j in others.tolist() if not self._shown(j, sames, k, goal)], dtype=np.int64)

    def _shown(self, j: int, sames: Integers, k: int, goal: Goal) -> bool:
        """The same for one point, where rounded numbers do not tell."""
        found, open_ = (0, sames.tolist()) if self.rounded is None else self.rounded.undecided(j, sames, goal)
        for left, i in zip(range(len(open_), 0, -1), open_, strict=True):
            if found >= k or found + left < k:
                break
            found += goal.reached(self.exact.c(j) - self.exact.c(i), self.exact.between(i, j))
        return found >= k
