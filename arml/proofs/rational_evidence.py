"""What nonnegative weights on rows prove, in whole numbers (weak duality)."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from arml.proofs.rational_geometry import ExactView, Goal, sq_norm
from arml.proofs.rational_numbers import Array, BigInts, Integers, mantissas, shifted
from arml.proofs.rational_rows import RoundedView
from arml.proofs.verdict import require

# Bits to which weights are rounded, beside the largest contribution.
_WEIGHT_BITS = 64
_FEW_BITS = 22


@dataclass(frozen=True)
class Room:
    """How far each feature may go down and up (d,), in the unit of the points; None where there is no box."""

    below: BigInts | None
    above: BigInts | None


@dataclass(frozen=True)
class Halfspace:
    """All attacks z in question have ``-2 a'z >= gain``; a (d,) and its squared norm."""

    a: BigInts
    gain: int
    sq_norm: int

    def reaches(self, goal: Goal) -> bool:
        """Whether no attack is shorter than the goal: those of a = 0 and gain > 0 do not exist."""
        return goal.reached(self.gain, self.sq_norm)


def weighed(
    view: ExactView, pairs: Iterable[tuple[int, int]], walls: Iterable[tuple[int, int]], weights: Array, room: Room
) -> Halfspace:
    """The halfspace that weights on unit rows show: first those of ``pairs`` (low, high), then those of ``walls``.

    A wall is (-1, feature) or (-2, feature), the lower and the upper bound of the box. The unit row of a pair is its
    row divided by a root; any weights are as good as any other, so the root is rounded and nothing is lost by that.
    """
    pairs, walls = list(pairs), list(walls)
    lengths = [view.between(low, high) for low, high in pairs] + [1] * len(walls)
    whole = _whole_weights(weights, lengths)
    points: dict[int, int] = {}
    gain, a = 0, np.array([0] * len(view.x), dtype=object)
    for (low, high), weight in zip(pairs, whole, strict=False):
        if weight:
            points[high], points[low] = points.get(high, 0) + weight, points.get(low, 0) - weight
    for i, weight in points.items():
        # The weights of all points add up to 0, so rows may be taken relative to the origin.
        a = a + weight * view.train.row(i)[1]
        gain -= weight * view.c(i)
    for (side, feature), weight in zip(walls, whole[len(pairs) :], strict=True):
        limits = room.below if side == -1 else room.above
        require(side in (-1, -2) and 0 <= feature < len(a), "evidence on an unknown bound of the box")
        if limits is None:
            require(False, "evidence on the bound of a box where there is none")
        else:
            a[feature] += -weight if side == -1 else weight
            gain -= 2 * weight * limits[feature]
    return Halfspace(a, gain, sq_norm(a))


def clearly_reaches(rounded: RoundedView, pairs: Integers, weights: Array, goal: Goal) -> bool:
    """Whether weights on pairs (s, 2) are certain to reach the goal, by rounded numbers; False where they may not.

    The error of a row is at most ``slip`` in every entry, and counts against the claim with the row's weight.
    """
    screen = rounded.screen
    if not len(pairs) or screen.wild[pairs].any():
        return False
    p, z, (low, high) = screen.p, screen.z, pairs.T
    rows = p.values[high].astype(np.int64) - p.values[low]
    lengths = (rows * rows).sum(axis=1).tolist()
    whole = np.array(_whole_weights(weights, lengths, _FEW_BITS, short=True), dtype=np.int64)
    total = int(whole.sum())
    if total >= 1 << (60 - screen.bits):
        return False
    entries = np.abs(whole @ rows) + 2 * p.error * total
    ahead = rounded.c[low] - rounded.c[high] - rounded.c_error[low] - rounded.c_error[high]
    gain = sum(weight * value for weight, value in zip(whole.tolist(), ahead.tolist(), strict=True))
    shift = 4 * z.power - 2 * p.power
    sq_length = sum(value * value for value in entries.tolist())
    left, right = gain * gain * goal.den << max(shift, 0), 4 * goal.num * sq_length << max(-shift, 0)
    return gain > 0 and left >= right


def _whole_weights(
    weights: Array, sq_lengths: list[int], bits: int = _WEIGHT_BITS, *, short: bool = False
) -> list[int]:
    """Whole numbers near ``2**s weight / length`` for one s; 0 for a row of length 0, which says nothing.

    ``short`` keeps the largest at about ``bits``, otherwise all keep as many digits as matter.
    """
    m, e = (part.tolist() for part in mantissas(weights))
    # One unit of a weight moves a by the length of its row; that shall be little beside what the largest weight adds.
    largest = max((a.bit_length() + b for a, b in zip(m, e, strict=True) if a), default=0)
    reference = min(length for length in [*sq_lengths, 1 << 200] if length) if short else max(sq_lengths, default=1)
    s = bits + reference.bit_length() // 2 - largest
    return [
        math.isqrt(shifted(a * a, 2 * (b + s)) // length) if length else 0
        for a, b, length in zip(m, e, sq_lengths, strict=True)
    ]
