"""Check the lower bounds of an `EntryProof` (K = 1).

Other-class points with an entry need the claimed bound by weak duality of its weights, all others by the closed form.
All test points of a label are looked at together (`EntryCheck.batch`); what that leaves in doubt is looked at point by
point from differences (`EntryCheck.point`), and doubtful pairs in a wider number format.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from arml.proofs.claim import Integers, Subject
from arml.proofs.events import Booleans
from arml.proofs.formats import EntryProof
from arml.proofs.precision import DOUBLE, EXTENDED, TINY, Array, Precision, norms
from arml.proofs.products import Mapped, Products
from arml.proofs.rest_check import unshown_by_one
from arml.proofs.result import ProvenResult
from arml.proofs.verdict import require
from arml.proofs.view import Pairs, scaled, still_unshown, unit_of

_ROWS = 8192


@dataclass(frozen=True)
class Segments:
    """Rows of several entries, one after the other: row q belongs to entry ``of[q]``; no entry is empty."""

    entries: Integers
    rows: Integers
    of: Integers
    starts: Integers

    @classmethod
    def of_entries(cls, proof: EntryProof, entries: Integers) -> Segments:
        """The rows of those of the entries that have any."""
        counts = proof.row_ptr[entries + 1] - proof.row_ptr[entries]
        entries, counts = entries[counts > 0], counts[counts > 0]
        starts = np.cumsum(counts) - counts
        rows = np.arange(int(counts.sum())) - np.repeat(starts - proof.row_ptr[entries], counts)
        return cls(entries, rows, np.repeat(np.arange(len(entries)), counts), starts)


class EntryCheck:
    """The entries of a result, its rooms (2, t, d) in the box, and the bounds (t,) that have to be shown."""

    def __init__(self, result: ProvenResult, proof: EntryProof, room: Array, goal: Array) -> None:
        self.subject: Subject = result.subject
        self.proof, self.room, self.goal = proof, room, goal
        counts = np.diff(proof.entry_ptr)
        self.point_of = np.repeat(np.arange(len(counts)), counts)
        self.code = self.point_of * np.int64(len(self.subject.X_train)) + proof.entry_other

    def impossible(self) -> list[tuple[int, str]]:
        """Test points whose evidence is none, and why."""
        proof, y, y_train = self.proof, self.subject.y, self.subject.y_train
        n, d = self.subject.X_train.shape
        per_row = np.repeat(np.arange(len(proof.entry_other)), np.diff(proof.row_ptr))
        of_row = self.point_of[per_row]
        known = (proof.entry_other >= 0) & (proof.entry_other < n)
        other = known & (y_train[np.where(known, proof.entry_other, 0)] != y[self.point_of])
        in_box = proof.row < 0
        named = np.where(in_box, proof.row >= -2 * d, proof.row < n)
        own = ~in_box & named & (y_train[np.where(~in_box & named, proof.row, 0)] == y[of_row])
        feature = np.where(in_box & named, -1 - proof.row, 0)
        bound = self.room[feature // d, of_row, feature % d] if d else np.zeros(len(of_row))
        return [
            *_refused(self.point_of, other, "an entry names a point that is not of another class"),
            *_refused(of_row, named, "a row names a training point or a bound of the box that does not exist"),
            *_refused(of_row, in_box | ~named | own, "a row is of another class than the label's"),
            *_refused(
                of_row, ~in_box | ~named | np.isfinite(bound), "a row names a bound of the box where there is none"
            ),
            *_refused(of_row, np.isfinite(proof.weight) & (proof.weight >= 0), "a weight is negative or not finite"),
        ]

    def batch(self, products: Products, chosen: Integers, own: Booleans) -> tuple[Integers, Integers]:
        """Pairs (test point, other-class point) that are in doubt, about the products' origin.

        Chosen are test points (t,) of the label that the training points ``own`` (n,) have.
        """
        points = products.points(self.subject.X[chosen])
        goal = scaled(self.goal[chosen], products.unit)
        rows, others = unshown_by_one(products, points, goal, own)
        code = chosen[rows] * np.int64(len(own)) + others
        needed = np.flatnonzero(np.isin(self.code, code))
        shown = self.code[needed[self._weak_duality(products, points, chosen, needed, goal)]]
        left = ~np.isin(code, shown)
        return chosen[rows[left]], others[left]

    def _weak_duality(
        self, products: Products, points: Mapped, chosen: Integers, entries: Integers, goal: Array
    ) -> Booleans:
        """Which of the entries show the goals (t,) of their test points (chosen), about the products' origin."""
        place = np.zeros(len(self.subject.X), dtype=np.int64)
        place[chosen] = np.arange(len(chosen))
        train = products.train
        shown = np.zeros(len(entries), dtype=bool)
        counts = self.proof.row_ptr[entries + 1] - self.proof.row_ptr[entries]
        for block in np.array_split(np.arange(len(entries)), max(1, int(counts.sum()) // _ROWS)):
            used = Segments.of_entries(self.proof, entries[block])
            if not len(used.entries):
                continue
            i = place[self.point_of[used.entries]]
            other, row = self.proof.entry_other[used.entries][used.of], self.proof.row[used.rows]
            own = np.where(row >= 0, row, other)
            A = train.P[own] - train.P[other]
            b_own, error_own = sq_distances(products, points, i[used.of], own)
            b_other, error_other = sq_distances(products, points, i, self.proof.entry_other[used.entries])
            b = (b_own - b_other[used.of]) / 2
            b_error = (error_own + error_other[used.of]) / 2 + DOUBLE.u * np.abs(b)
            pairs = Pairs(A, b, train.p_error[own] + train.p_error[other], b_error)
            self._put_box(pairs, row, self.point_of[used.entries][used.of], products.unit)
            holds = dual_bounds(used, pairs, row >= 0, self.proof.weight[used.rows], goal[i], DOUBLE)
            shown[block[counts[block] > 0]] = holds
        return shown

    def _put_box(self, pairs: Pairs, row: Integers, of: Integers, unit: float) -> None:
        """Write the bounds of the box among the rows (those that are negative) into ``pairs``; ``of``: test points."""
        q, d = np.flatnonzero(row < 0), self.subject.X.shape[1]
        side, feature = np.divmod(-1 - row[q], d)
        pairs.A[q] = 0.0
        pairs.A[q, feature] = np.where(side == 0, -1.0, 1.0)
        # Rounded up: with more room less is shown.
        pairs.b[q] = self.room[side, of[q], feature] / unit * (1 + 4 * DOUBLE.u) + TINY
        pairs.A_error[q] = pairs.b_error[q] = 0.0

    def point(self, i: int, others: Integers) -> None:
        """Check from differences what the other-class points cost test point i; raises `CheckFailedError`."""
        subject, x = self.subject, self.subject.X[i]
        mine = np.arange(self.proof.entry_ptr[i], self.proof.entry_ptr[i + 1])
        entries = mine[np.isin(self.proof.entry_other[mine], others)]
        unit = unit_of(subject, x, others)
        goal = scaled(self.goal[i : i + 1], unit)
        for precision in (DOUBLE, EXTENDED):
            holds = self._holds(i, entries, goal, unit, precision)
            others = np.setdiff1d(others, self.proof.entry_other[entries[holds]])
            entries = entries[~holds]
        left = still_unshown(subject, x, others, 1, int(subject.y[i]), float(self.goal[i]))
        if left.size:
            require(False, f"nothing proves that training point {left[0]} needs {float(self.goal[i])!r}")

    def _holds(self, i: int, entries: Integers, goal: Array, unit: float, precision: Precision) -> Booleans:
        """Which of the entries of test point i show its goal, from differences of pairs."""
        holds = np.zeros(len(entries), dtype=bool)
        used = Segments.of_entries(self.proof, entries)
        if len(used.entries):
            other, row = self.proof.entry_other[used.entries][used.of], self.proof.row[used.rows]
            pairs = Pairs.of(self.subject, self.subject.X[i], other, np.where(row >= 0, row, other), unit, precision)
            self._put_box(pairs, row, np.full(len(row), i), unit)
            weight, goals = self.proof.weight[used.rows], np.repeat(goal, len(used.entries))
            holds[np.isin(entries, used.entries)] = dual_bounds(used, pairs, row >= 0, weight, goals, precision)
        return holds


def dual_bounds(
    used: Segments, pairs: Pairs, is_pair: Booleans, weight: Array, goal: Array, precision: Precision
) -> Booleans:
    """Which of the entries show by weak duality that what satisfies their rows is at least as long as ``goal`` (e,)."""
    # Only ratios count: an entry's weights are brought to a size at which nothing underflows.
    largest = np.maximum.reduceat(weight, used.starts)
    weight = weight / np.maximum(largest, 2.0**-1000)[used.of]
    lengths = norms(pairs.A)
    weight = np.where(is_pair, np.where(lengths > 0, weight / np.maximum(lengths, 2.0**-500), 0.0), weight)
    counts = np.diff(used.starts, append=len(used.of))
    gamma = precision.gamma(int(counts.max(initial=0)) + pairs.A.shape[1] + 8)
    a = np.add.reduceat(weight[:, None] * pairs.A, used.starts, axis=0)
    a_error = np.add.reduceat(weight * (pairs.A_error + gamma * lengths), used.starts)
    gain = -np.add.reduceat(weight * pairs.b, used.starts)
    gain_error = np.add.reduceat(weight * (pairs.b_error + gamma * np.abs(pairs.b)), used.starts)
    needed = goal * (norms(a) * (1 + gamma) + 1.01 * a_error + TINY) * (1 + 1e-15)
    sure = gain - 1.01 * gain_error
    return np.asarray((sure > 0) & (sure >= needed))


def sq_distances(products: Products, points: Mapped, rows: Integers, columns: Integers) -> tuple[Array, Array]:
    """Squared distances of pairs (test point, training point), and bounds of their errors."""
    apart = points.Z[rows] - products.train.Z[columns]
    c = np.einsum("pr,pr->p", apart, apart)
    error = 1.01 * (points.z_error[rows] + products.train.z_error[columns])
    return c, DOUBLE.gamma(apart.shape[1] + 6) * c + (2.01 * np.sqrt(c) + error) * error + TINY


def _refused(points: Integers, holds: Booleans, message: str) -> list[tuple[int, str]]:
    return [(i, message) for i in np.unique(points[~holds]).tolist()]
