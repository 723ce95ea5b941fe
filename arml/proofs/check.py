"""Check a proven result: does the data bear out what the proof and the perturbations claim?

`check` needs a `ProvenResult` and nothing else; it uses distances, inner products and the arguments of docs/proofs.md,
and shares no code with any search. For each test point it confirms

* the status: one there is, that fits the bounds;
* ``upper``: the perturbation has that norm, stays in the box, and changes the answer (`arml.proofs.attained`);
* ``lower``: no shorter perturbation does, by the point's proof (`arml.proofs.entry_check`, `arml.proofs.tree_check`).

Rounding of the check itself counts against the claim, pair by pair; beyond that ``lower`` may exceed what is shown by
nothing at all. Comparisons are written so that a NaN refuses. On small problems the exact checker
(`arml.proofs.rational`) has the last word on what is refused, so that an honest result is not turned down for the
rounding of its check.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from functools import partial

import numpy as np

from arml.proofs import rational
from arml.proofs.attained import norms_and_box, unattained
from arml.proofs.claim import Integers
from arml.proofs.entry_check import EntryCheck
from arml.proofs.events import Booleans
from arml.proofs.formats import DamagedProofError, EntryProof, TreeProof
from arml.proofs.precision import DOUBLE, EXTENDED, Array
from arml.proofs.products import Products
from arml.proofs.rest_check import unshown_by_k
from arml.proofs.result import ProvenResult, RecheckReport
from arml.proofs.tree_check import TreeCheck
from arml.proofs.validity import EXACT_GAP, refused_statuses, validated
from arml.proofs.verdict import CheckFailedError, require
from arml.proofs.view import View, scaled, still_unshown

# Bytes for arrays of (test points at a time) by (training points), all threads together.
_MEMORY = 256 * 2**20
_ARRAYS = 4
_ROWS = 128
# Refused points that are looked at again in exact arithmetic, and up to how many products of numbers a map of the
# training set may take for that.
_EXACT_POINTS, _EXACT_WORK = 64, 1_000_000


def check(result: ProvenResult, *, gap: float = EXACT_GAP) -> RecheckReport:
    """Check a result by itself: its claim must be about its own subject.

    Parameters
    ----------
    gap : largest relative gap between upper and lower that may be called exact, at most 1e-6

    Raises
    ------
    ValueError
        If what was given is no result, or is about other data than it claims; the sentence says which part.
    """
    if not 0 <= gap <= EXACT_GAP:
        raise ValueError(f"gap must be between 0 and {EXACT_GAP}, got {gap!r}: a wider gap is not called exact")
    result = validated(result)
    with np.errstate(all="ignore"):
        return _Checker(result).run(gap)


class _Checker:
    """One check of one result; ``problems`` keeps the first refusal of each test point."""

    def __init__(self, result: ProvenResult) -> None:
        self.result, self.problems = result, dict[int, str]()
        X, (low, high) = result.subject.X, result.claim.box
        self.room = np.stack([X - np.minimum(low, X), np.maximum(high, X) - X])
        self.goal = _goals(result, self.room)

    def run(self, gap: float) -> RecheckReport:
        """Status and perturbation of every point, then its lower bound; ``gap`` as in `check`."""
        result, n = self.result, len(self.result.lower)
        self._refuse(refused_statuses(result, gap))
        self._refuse(norms_and_box(result))
        self._refuse(_unreachable_without_box(result, self.goal))
        entries = trees = None
        if isinstance(result.proof, EntryProof):
            entries = EntryCheck(result, result.proof, self.room, self.goal)
            self._refuse(entries.impossible())
        else:
            trees = result.proof
        alive = np.array([i for i in range(n) if i not in self.problems], dtype=np.int64)
        if len(alive):
            products = Products.of(result.subject, np.median(result.subject.X[alive], axis=0))
            with ThreadPoolExecutor(os.cpu_count()) as pool:
                chunks = _chunks(result, alive)
                for refusals in pool.map(lambda chunk: self._chunk(products, chunk, entries, trees), chunks):
                    self._refuse(refusals)
        self._ask_exactly(gap)
        ok = np.array([i not in self.problems for i in range(n)], dtype=bool)
        return RecheckReport(ok, tuple(sorted(self.problems.items())))

    def _ask_exactly(self, gap: float) -> None:
        """Let exact arithmetic decide on points that rounding alone may have refused, where that costs little."""
        doubtful = sorted(self.problems)[:_EXACT_POINTS]
        G, X_train = self.result.subject.components, self.result.subject.X_train
        work = X_train.size * (1 if np.array_equal(G, np.eye(*G.shape)) else len(G))
        if not doubtful or work > _EXACT_WORK:
            return
        try:
            exact = rational.check(self.result, points=doubtful, gap=Fraction(gap))
        except DamagedProofError:
            # Something in the proof is no number at all, and the points it is about have been refused for that.
            return
        for i in doubtful:
            if exact.ok[i]:
                del self.problems[i]

    def _refuse(self, refusals: list[tuple[int, str]]) -> None:
        for i, reason in refusals:
            self.problems.setdefault(i, reason)

    def _chunk(
        self, products: Products, chosen: Integers, entries: EntryCheck | None, trees: TreeProof | None
    ) -> list[tuple[int, str]]:
        """Refusals among some test points of one label."""
        with np.errstate(all="ignore"):
            result, refusals = self.result, list[tuple[int, str]]()
            known = chosen[np.isfinite(result.upper[chosen])]
            if len(known):
                message = "the perturbation does not change the answer: at the perturbed point the label still wins"
                refusals.extend((i, message) for i in unattained(result, products, known))
            chosen = chosen[self.goal[chosen] > 0]
            if not len(chosen):
                return refusals
            if entries is not None:
                refusals.extend(self._by_entries(products, chosen, entries))
            if trees is not None:
                refusals.extend(self._by_trees(products, chosen, trees))
            return refusals

    def _by_entries(self, products: Products, chosen: Integers, entries: EntryCheck) -> list[tuple[int, str]]:
        own = self.result.subject.y_train == self.result.subject.y[chosen[0]]
        if not own.any():
            return [(i, "the label has no training point, so its radius is 0") for i in chosen.tolist()]
        points, others = entries.batch(products, chosen, own)
        refusals: list[tuple[int, str]] = []
        for i in np.unique(points).tolist():
            refusals.extend(_refusal(i, partial(entries.point, i, others[points == i])))
        return refusals

    def _by_trees(self, products: Products, chosen: Integers, proof: TreeProof) -> list[tuple[int, str]]:
        subject, k = self.result.subject, (proof.claim.n_neighbors + 1) // 2
        n, refusals, kept = len(subject.X_train), list[tuple[int, str]](), list[int]()
        for i in chosen.tolist():
            mentioned = proof.points[proof.point_ptr[i] : proof.point_ptr[i + 1]]
            known = bool(((mentioned >= 0) & (mentioned < n)).all()) and len(np.unique(mentioned)) == len(mentioned)
            if known:
                kept.append(i)
            else:
                refusals.append((i, "the proof names points that do not exist, or one twice"))
        if not kept:
            return refusals
        chosen = np.array(kept)
        own = subject.y_train == subject.y[chosen[0]]
        doubtful = unshown_by_k(products, subject.X[chosen], self.goal[chosen], own, k, _mentioned(proof, chosen, n))
        for i, rows in zip(chosen.tolist(), doubtful, strict=True):
            refusals.extend(_refusal(i, partial(self._tree, i, rows, proof, k)))
        return refusals

    def _tree(self, i: int, rows: Integers, proof: TreeProof, k: int) -> None:
        """Check the tree of test point i, and the points ``rows`` that it does not mention; raises."""
        subject, label, lower = self.result.subject, int(self.result.subject.y[i]), float(self.goal[i])
        left = still_unshown(subject, subject.X[i], rows, k, label, lower)
        if left.size:
            require(False, f"nothing shows that training point {left[0]} cannot be among the nearest before {lower!r}")
        mentioned = proof.points[proof.point_ptr[i] : proof.point_ptr[i + 1]]
        for precision in (DOUBLE, EXTENDED):
            view = View.of(subject, subject.X[i], mentioned, precision)
            finite = np.isfinite(view.P).all() and np.isfinite(view.c).all()
            require(bool(finite), "distances leave the range of numbers")
            goal = float(scaled(np.array([lower]), view.unit)[0])
            tree = TreeCheck(view, self.room[:, i] / view.unit, label, proof, i, goal)
            try:
                tree.run()
            except CheckFailedError:
                if precision is EXTENDED:
                    raise
            else:
                return


def _refusal(i: int, checked: Callable[[], None]) -> list[tuple[int, str]]:
    """Why test point i is refused by ``checked``, if it is."""
    try:
        checked()
    except CheckFailedError as failure:
        return [(i, str(failure))]
    except MemoryError:
        return [(i, "there is not enough memory to check the proof")]
    return []


def _mentioned(proof: TreeProof, chosen: Integers, n: int) -> Booleans:
    """Which training points the proofs of the chosen test points speak of (t, n)."""
    mentioned = np.zeros((len(chosen), n), dtype=bool)
    for row, i in enumerate(chosen.tolist()):
        mentioned[row, proof.points[proof.point_ptr[i] : proof.point_ptr[i + 1]]] = True
    return mentioned


def _goals(result: ProvenResult, room: Array) -> Array:
    """What has to be shown of each test point (t,): its lower bound, or where that is infinite that nothing in the box
    is long enough."""
    with np.errstate(all="ignore"):
        farthest = room.max(axis=0)
        scale = np.where(np.isfinite(farthest), farthest, 0.0).max(axis=1, initial=0.0)
        scale = np.where(scale > 0, scale, 1.0)
        diagonal = np.sqrt(np.square(farthest / scale[:, None]).sum(axis=1)) * scale * (1 + 1e-12)
    goal = np.where(np.isinf(result.lower), np.maximum(diagonal, 1e-300), result.lower)
    # With fewer than k points of other classes there is no attack, and nothing to show.
    k = (result.claim.n_neighbors + 1) // 2
    labels, counts = np.unique(result.subject.y_train, return_counts=True)
    total = dict(zip(labels.tolist(), counts.tolist(), strict=True))
    n = len(result.subject.y_train)
    few = np.array([n - total.get(label, 0) < k for label in result.subject.y.tolist()], dtype=bool)
    return np.where(few, 0.0, goal)


def _unreachable_without_box(result: ProvenResult, goal: Array) -> list[tuple[int, str]]:
    message = "the radius is not infinite: there are enough points of other classes"
    return [(i, message) for i in np.flatnonzero(np.isinf(goal)).tolist()]


def _chunks(result: ProvenResult, points: Integers) -> list[Integers]:
    """The test points, a label and a handful at a time."""
    n = len(result.subject.X_train)
    rows = max(1, min(_ROWS, _MEMORY // (8 * n * _ARRAYS * (os.cpu_count() or 1))))
    chunks: list[Integers] = []
    for label in np.unique(result.subject.y[points]):
        mine = points[result.subject.y[points] == label]
        chunks.extend(mine[start : start + rows] for start in range(0, len(mine), rows))
    return chunks
