"""The second checker: proven results in exact arithmetic, for those who trust no float.

Every float64 is a whole number times a power of two, and so the statements of docs/proofs.md are decided here for the
data as they are stored: in Python integers and fractions, without a tolerance and without one float operation. Points,
box and G become integers with one common power of two each (`arml.proofs.rational_geometry`); lengths are compared by
their squares. What is clear by a margin is decided by integers of 64 bits with their error counted
(`arml.proofs.rational_screen`).

It shares the formats with the float checker (`arml.proofs.check`), and no computation.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from fractions import Fraction

import numpy as np

from arml.proofs.claim import STATUSES
from arml.proofs.files import sound
from arml.proofs.formats import EntryProof
from arml.proofs.rational_entries import check_entries
from arml.proofs.rational_evidence import Room
from arml.proofs.rational_geometry import ExactSet, Goal, sq_norm
from arml.proofs.rational_numbers import exact, finest, integer, integers, times_power
from arml.proofs.rational_rows import TestPoint
from arml.proofs.rational_screen import Screen
from arml.proofs.rational_tree import check_tree
from arml.proofs.rational_votes import Votes
from arml.proofs.result import ProvenResult, RecheckReport
from arml.proofs.verdict import CheckFailedError, require

#: Largest relative gap that may be called exact.
EXACT_GAP = Fraction(1, 10**6)
# By how much ``upper`` may exceed the norm of the perturbation, which it must not fall below: room to round it up.
_ROUNDED_UP = 1 + Fraction(1, 10**12)
# How far beyond the box's diagonal a length is shown to be out of reach: just beyond is enough.
_BEYOND = 1 + Fraction(1, 2**40)


def check(
    result: ProvenResult,
    *,
    points: Iterable[int] | None = None,
    gap: Fraction = EXACT_GAP,
    progress: Callable[[int, str | None], None] | None = None,
) -> RecheckReport:
    """Check a result by itself.

    Parameters
    ----------
    points : test points to check, all by default; the others are neither confirmed nor refused
    gap : largest relative gap between upper and lower that may be called exact
    progress : called with each point and the reason of its refusal, None where it is confirmed

    Returns
    -------
    Report whose ``ok`` (n,) is True for the confirmed points.

    Raises
    ------
    DamagedProofError
        If the result's arrays do not fit together, or are not those that its claim is about.
    IndexError
        If a test point is asked for that the result does not have.
    """
    result = sound(result)
    n = len(result.lower)
    chosen = list(range(n)) if points is None else [int(i) for i in points]
    missing = [i for i in chosen if not 0 <= i < n]
    if missing:
        raise IndexError(f"there is no test point {missing[0]}; the result has {n}")
    checker = _Checker(result, gap)
    ok, problems = np.zeros(n, dtype=bool), []
    for i in chosen:
        reason = checker.refusal(i)
        ok[i] = reason is None
        if reason is not None:
            problems.append((i, reason))
        if progress is not None:
            progress(i, reason)
    return RecheckReport(ok, tuple(problems))


class _Checker:
    def __init__(self, result: ProvenResult, gap: Fraction) -> None:
        self.result, self.gap = result, gap
        low, high = result.claim.box
        self.limits = np.array([bound for bound in (low, high) if math.isfinite(bound)])
        self.train = ExactSet(result.subject, self.limits)
        self.screen = Screen(self.train)

    def refusal(self, i: int) -> str | None:
        """Why test point i is refused, None where it is confirmed."""
        try:
            self._check(i)
        except CheckFailedError as error:
            return str(error)
        return None

    def _check(self, i: int) -> None:
        result, claim = self.result, self.result.claim
        lower, upper, status = float(result.lower[i]), float(result.upper[i]), str(result.status[i])
        _check_status(lower, upper, status, self.gap)
        votes = Votes(int(result.subject.y[i]), claim.n_neighbors, claim.event)
        point = TestPoint(self.train, self.screen, result.subject.X[i])
        self._check_upper(point, votes, i)
        if status == "tied":
            require(self._kept(point, votes), "status tied, but the label has lost whichever of tied points count")
        if lower == 0:
            return
        if math.isinf(lower) and int((self.train.y != votes.label).sum()) < votes.k:
            return
        room = self._room(point)
        goal = self._goal(lower, room)
        if isinstance(result.proof, EntryProof):
            check_entries(point, votes.label, room, result.proof, i, goal)
        else:
            check_tree(point, votes, room, result.proof, i, goal)

    def _check_upper(self, point: TestPoint, votes: Votes, i: int) -> None:
        """The perturbation is as long as ``upper`` says, stays in the box, and the event has happened after it."""
        upper, delta = float(self.result.upper[i]), self.result.perturbation[i]
        if math.isinf(upper):
            require(not delta.any(), "there is a perturbation, but no upper bound")
            return
        unit = finest(delta)
        unit = self.train.unit if unit is None else min(unit, self.train.unit)
        finer, step = self.train.unit - unit, integers(delta, unit)
        sq_length, sq_upper = times_power(sq_norm(step), 2 * unit), exact(upper) ** 2
        require(sq_upper >= sq_length, f"the perturbation is longer than the upper bound {upper!r}")
        require(sq_upper <= sq_length * _ROUNDED_UP**2, f"the perturbation is shorter than the upper bound {upper!r}")
        moved = (point.exact.x << finer) + step
        low, high = (None if math.isinf(b) else integer(b, self.train.unit) << finer for b in self.result.claim.box)
        for before, after in zip((point.exact.x << finer).tolist(), moved.tolist(), strict=True):
            inside = (low is None or after >= min(low, before)) and (high is None or after <= max(high, before))
            require(inside, "the perturbation leaves the box")
        near = point.near(step, finer, votes.K)
        distances = point.exact.distances(near, step, finer)
        lost = votes.can_be_lost(distances, self.train.y[near].tolist())
        require(lost, "the perturbation does not change the answer" if upper else "the radius is not 0")

    def _kept(self, point: TestPoint, votes: Votes) -> bool:
        still = integers(np.zeros(len(point.exact.x)), 0)
        near = point.near(still, 0, votes.K)
        return votes.can_be_kept(point.exact.distances(near, still, 0), self.train.y[near].tolist())

    def _room(self, point: TestPoint) -> Room:
        """What each coordinate may do; one outside of the box keeps its own value as limit."""
        low, high = (None if math.isinf(b) else integer(b, self.train.unit) for b in self.result.claim.box)
        x = point.exact.x
        below = None if low is None else np.array([max(0, value - low) for value in x.tolist()], dtype=object)
        above = None if high is None else np.array([max(0, high - value) for value in x.tolist()], dtype=object)
        return Room(below, above)

    def _goal(self, lower: float, room: Room) -> Goal:
        """The length that no attack falls below: ``lower``, or where that is infinite more than there is in the box."""
        if math.isfinite(lower):
            return Goal.of(exact(lower) ** 2, self.train.unit)
        if room.below is None or room.above is None:
            raise CheckFailedError("the radius is not infinite: there are enough points of other classes, and no box")
        farthest = np.maximum(room.below, room.above)
        sq_diagonal = Fraction(max(sq_norm(farthest), 1)) * _BEYOND
        return Goal(sq_diagonal.numerator, sq_diagonal.denominator)


def _check_status(lower: float, upper: float, status: str, gap: Fraction) -> None:
    """The status is one there is, and fits the bounds."""
    require(status in STATUSES, f"unknown status {status!r}")
    require(0 <= lower <= upper, f"bounds {lower} and {upper} are not ordered")
    require((status == "unreachable") == math.isinf(lower), f"status {status} does not fit the lower bound {lower}")
    if status in ("misclassified", "tied"):
        require(upper == 0, f"status {status}, but the radius is not 0")
    if status == "exact":
        close = math.isfinite(upper) and exact(upper) - exact(lower) <= gap * exact(upper)
        require(close, f"the gap between {lower} and {upper} is too large to be called exact")
