"""Look-ahead at a leaf: which points cannot become low any more before the goal is reached.

A leaf's weights show ``-2 a'z >= gain`` for its attacks z. For any s >= 0 and z' = -s a

    ||z||^2 = ||z - z'||^2 + 2 z'z - ||z'||^2 >= ||z - z'||^2 + s gain - s^2 ||a||^2,

so an attack shorter than l lies nearer to z' than R, ``R^2 = l^2 - s gain + s^2 ||a||^2``. There eq. (8), seen from
x + z', asks more of a point than at x. s is taken near ``gain / (2 ||a||^2)``, where R is smallest, as a fraction of
few bits.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cache

import numpy as np

from arml.proofs.rational_evidence import Halfspace
from arml.proofs.rational_geometry import Goal
from arml.proofs.rational_numbers import BigInts, Integers
from arml.proofs.rational_rows import Booleans, TestPoint, certain
from arml.proofs.rational_votes import Votes

_STEP_BITS = 64
# Sames beside which points are looked at first.
_NEAR = 16


@dataclass(frozen=True)
class _Step:
    """z' = -s a with ``s = factor 2**-bits``, and the radius R about it."""

    a: BigInts
    factor: int
    bits: int
    radius: Goal


@dataclass(frozen=True)
class _Where:
    """A leaf: others that are low and others that are undecided, sames that are not low, and all points' states.

    ``spare`` more sames may be low. A high same may not, so it counts as more than there may be.
    """

    low: list[int]
    undecided: list[int]
    sames: list[int]
    state: list[int]
    spare: int

    def count(self, sames: Iterable[int]) -> int:
        """How many of the sames that may still be low it costs if these are."""
        return sum(self.spare + 1 if self.state[i] == -1 else 1 for i in sames)

    def full(self, sames: Iterable[int]) -> bool:
        """Whether not all of these sames can be low."""
        return self.count(sames) > self.spare


class LookAhead:
    """What the leaves of one test point need; positions are those among the training points ``mentioned`` (m,)."""

    def __init__(self, point: TestPoint, votes: Votes, mentioned: Integers, own: Booleans) -> None:
        self.point, self.votes, self.mentioned, self.own = point, votes, mentioned, own
        self._own = own.tolist()
        self._lengths: dict[int, tuple[Integers, Integers]] = {}
        if point.rounded is not None:
            p = point.screen.p
            self._p = p.values[mentioned].astype(np.int64)
            self._wild = point.screen.wild[mentioned]

    def blocked(
        self, space: Halfspace, goal: Goal, state: list[int], undecided: list[int]
    ) -> Iterator[frozenset[int] | None]:
        """Growing sets of the ``undecided`` others that cannot become low; None where the leaf holds no attack.

        ``state`` (m,) is 1 for low, -1 for high and 0 for undecided points.
        """
        if space.gain <= 0:
            space = Halfspace(space.a * 0, 0, 0)
        bits, step = 0, 0
        if space.gain > 0:
            bits = max(0, _STEP_BITS + (2 * space.sq_norm).bit_length() - space.gain.bit_length())
            step = (space.gain << bits) // (2 * space.sq_norm)
        # In units of 2**-bits: the step s, distances f, and, twice as fine, R^2.
        beyond = step * ((space.gain << bits) - step * space.sq_norm)
        radius = Goal((goal.num << 2 * bits) - goal.den * beyond, goal.den)
        if radius.num <= 0:
            yield None
            return
        low = [p for p, s in enumerate(state) if s == 1 and not self._own[p]]
        spare = self.votes.k - 1 - sum(s == 1 and mine for s, mine in zip(state, self._own, strict=True))
        sames = [p for p, s in enumerate(state) if s != 1 and self._own[p]]
        if not sames:
            return
        step_to = _Step(space.a, step, bits, radius)
        where = _Where(low, undecided, sames, state, spare)
        shown, forced = frozenset[int](), frozenset[int]()
        if self.point.rounded is not None:
            bounds = self._moved(step_to)
            shown, forced = self._certain(step_to, where, bounds)
            yield None if where.full(forced) else shown
            where = replace(where, undecided=[j for j in where.undecided if j not in shown])
            possible = self._possible(step_to, where, bounds)
        else:
            possible = dict.fromkeys(where.low + where.undecided, where.sames)
        yield from self._exactly(step_to, where, shown, forced, possible)

    def _certain(
        self, step: _Step, where: _Where, bounds: tuple[BigInts, BigInts, int]
    ) -> tuple[frozenset[int], frozenset[int]]:
        """Undecided others that are certain to be blocked, and sames that are certain to be low, by rounded numbers."""
        at_least, at_most, power = bounds
        order = sorted((p for p in where.sames if not self._wild[p]), key=at_most.__getitem__)
        near = order[: where.spare + _NEAR]
        candidates = np.array(where.low + where.undecided, dtype=np.int64)
        if not near or not len(candidates):
            return frozenset(), frozenset()
        ahead = at_least[candidates][:, None] - at_most[near]
        lengths = np.stack([self._length(i)[1][candidates] for i in near], axis=1)
        known = (ahead > 0).astype(bool) & ~self._wild[candidates][:, None]
        # f is in units of 2**power, beside those of ``bits``, and ||p||^2 in 2**(2 p.power).
        reached = certain(step.radius, ahead, lengths, known, 2 * power - 2 * self.point.screen.p.power)
        n_low = len(where.low)
        forced = np.asarray(reached[:n_low].any(axis=0))
        counts = (reached[n_low:] | forced) @ np.array([where.count([i]) for i in near])
        blocked = candidates[n_low:][counts > where.spare]
        return frozenset(blocked.tolist()), frozenset(np.array(near)[forced].tolist())

    def _possible(self, step: _Step, where: _Where, bounds: tuple[BigInts, BigInts, int]) -> dict[int, list[int]]:
        """For each other that is low or undecided the sames that it may not be able to pass."""
        at_least, at_most, power = bounds
        candidates, sames = np.array(where.low + where.undecided, dtype=np.int64), np.array(where.sames)
        ahead = at_most[candidates][:, None] - at_least[sames]
        lengths = np.stack([self._length(i)[0][candidates] for i in sames.tolist()], axis=1)
        doubtful = self._wild[candidates][:, None] | self._wild[sames]
        known = (ahead > 0).astype(bool) & ~doubtful
        reached = certain(step.radius, ahead, lengths, known, 2 * power - 2 * self.point.screen.p.power) | doubtful
        return {j: sames[row].tolist() for j, row in zip(candidates.tolist(), reached, strict=True)}

    def _moved(self, step: _Step) -> tuple[BigInts, BigInts, int]:
        """Bounds (m,) of f after the step, in integers times ``2**power`` (and as fine as ``step.bits`` says)."""
        a, bits = step.a, step.bits
        rounded, screen = self.point.rounded, self.point.screen
        assert rounded is not None
        size = max((abs(value).bit_length() for value in a.tolist()), default=0)
        drop = max(0, size - screen.bits)
        short = np.array([value >> drop for value in a.tolist()], dtype=np.int64)
        p, slip = screen.p, 2 * screen.p.error
        products = self._p @ short - rounded.p[0] @ short
        error = slip * (int(np.abs(short).sum()) + len(short)) + p.sizes[self.mentioned] + int(np.abs(rounded.p).sum())
        c_power, move_power = 2 * screen.z.power + bits, p.power + drop
        power = min(0, c_power, move_power)
        c, c_error = rounded.c[self.mentioned].astype(object), rounded.c_error[self.mentioned].astype(object)
        scale, move = 1 << (c_power - power), 2 * step.factor << (move_power - power)
        products, error = products.astype(object), error.astype(object)
        return (
            (c - c_error) * scale + (products - error) * move,
            (c + c_error) * scale + (products + error) * move,
            power,
        )

    def _length(self, same: int) -> tuple[Integers, Integers]:
        """``||p_j - p_i||^2`` (m,) of all mentioned points from one same, rounded down and up."""
        if same not in self._lengths:
            middle, error = self.point.screen.p.sq_distances(self._p[same][None], self.mentioned)
            self._lengths[same] = np.maximum(middle - error, 0)[:, 0], (middle + error)[:, 0]
        return self._lengths[same]

    def _exactly(
        self,
        step: _Step,
        where: _Where,
        shown: frozenset[int],
        forced: frozenset[int],
        possible: dict[int, list[int]],
    ) -> Iterator[frozenset[int] | None]:
        """The same in exact numbers, one pair of those that are ``possible`` after the other."""
        view = self.point.exact
        own_shift = int(view.p @ step.a)

        @cache
        def moved(p: int) -> int:
            i = int(self.mentioned[p])
            return (view.c(i) << step.bits) + 2 * step.factor * (int(view.train.row(i)[1] @ step.a) - own_shift)

        def dear(j: int, known: frozenset[int]) -> frozenset[int]:
            """The sames that j cannot pass, beside those that are ``known`` already; no more than it takes."""
            open_ = [i for i in possible[j] if i not in known]
            if not where.full(known.union(open_)):
                return known if j in where.undecided else known.union(i for i in open_ if is_dear(j, i))
            for i in open_:
                if where.full(known):
                    break
                if is_dear(j, i):
                    known = known | {i}
            return known

        def is_dear(j: int, i: int) -> bool:
            length = view.between(int(self.mentioned[i]), int(self.mentioned[j]))
            return step.radius.reached(moved(j) - moved(i), length)

        for j in where.low:
            forced = dear(j, forced)
        if where.full(forced):
            yield None
        for j in where.undecided:
            if j not in shown and where.full(dear(j, forced)):
                shown = shown | {j}
                yield shown
