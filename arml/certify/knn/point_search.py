"""The search at one test point: its points prepared, its tree grown within a budget, its bound proven."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from arml.certify.knn.leaves import proven_bound
from arml.certify.knn.tree import FINISHED, FULL, grow
from arml.classifier.differences import Differences
from arml.classifier.event import handicaps
from arml.classifier.fitted import FittedKNN
from arml.classifier.rounding import gamma
from arml.least_distance.active_set import Workspace, most_pairs
from arml.threads import stop_if_unwanted

Array = NDArray[np.float64]
Integers = NDArray[np.int64]

#: A node is closed when its bound is this close to the incumbent, relatively; below `one_nn.EXACT_GAP`.
CLOSE = 4e-7

# Differences of squared distances that count as zero, and that an incumbent must have, relative to `TreeSearch._scale`.
_TOLERANCE, _STRICT = 1e-12, 1e-11
# How many spacings of floats at the test point an incumbent keeps from the boundary.
_SPACINGS = 8.0
# Nodes between two looks at the clock, and at whether this is still wanted.
_SLICE = 64
# Bytes for inner products of the points at one test point.
_MEMORY = 128 * 2**20
_UP = 1 + 2.0**-48


@dataclass(frozen=True)
class Budget:
    """When to stop at a test point: relative gap, seconds, and number of nodes (which, unlike time, is repeatable)."""

    gap: float = CLOSE
    seconds: float = np.inf
    nodes: int = 1_000_000


@dataclass(frozen=True)
class Tree:
    """The finished search at one test point: points, nodes, and their multipliers; see `arml.certify.knn.tree`.

    ``index`` (m,) are the caller's training indices, those of the ``n_other`` other-class points first.
    """

    index: Integers
    n_other: int
    parent: Integers
    point: Integers
    side: NDArray[np.int8]
    kind: NDArray[np.int8]
    first_pair: Integers
    pairs: Integers
    lam: Array


@dataclass(frozen=True)
class Question:
    """What is asked at every test point: after which ``event`` (see `arml.classifier.event`) its label has lost."""

    fitted: FittedKNN
    event: str
    budget: Budget


class TreeSearch:
    """The search at one test point x (d,) of class number ``label``.

    ``others`` with their row ``values`` in ascending order, and ``near``, are rows of the training set in class order;
    ``room`` (2, d) is how far each feature may go down and up, in units of the frame.
    """

    def __init__(
        self, question: Question, x: Array, label: int, others: Integers, values: Array, near: Integers, room: Array
    ) -> None:
        self.question, self.x, self.room = question, x, room
        fitted = question.fitted
        self.index = fitted.train.order[np.concatenate([others, near])]
        self.n_other, self.values = len(others), np.ascontiguousarray(values)
        # Numbered anew, so that what counts votes need not be as long as the number of classes.
        rivals, votes = np.unique(fitted.votes[self.index[: self.n_other]], return_inverse=True)
        self.votes = votes.astype(np.int64)
        self.handicaps = handicaps(len(fitted.classes), label, question.event)[rivals]
        self.seen = Differences.of(fitted.train.metric, fitted.differences(x, self.index))
        self.P, self.c = np.ascontiguousarray(self.seen.P), np.ascontiguousarray(self.seen.c)
        self.D = self._distances()
        self.best, self.best_delta = np.array([np.inf]), np.zeros(len(x))
        self.counts = np.array([1, 1])
        self.lower, self.finished = 0.0, False

    def run(self, reach: float, ancestors: int) -> None:
        """Grow the tree within the budget and prove its bound; ``ancestors`` : see `arml.certify.knn.leaves`."""
        budget, K, k = self.question.budget, self.question.fitted.n_neighbors, self.question.fitted.k
        self._allocate(64)
        if self.n_other < k:
            # No attack below the incumbent has its k other-class points: each of the others costs at least that much.
            self.lower, self.finished = reach, True
            return
        self.best[0] = reach
        self.split[0], self.bounds[0] = k - 1, self.values[k - 1]
        scale = self._scale()
        strict = self._strict(scale)
        work = Workspace.make(len(self.c), self.room, _MEMORY)
        deadline = time.monotonic() + budget.seconds
        while True:
            stop_if_unwanted()
            limit = min(budget.nodes, int(self.counts[0]) + _SLICE)
            outcome = grow(
                self.P, self.c, self.D, self.values, self.votes, self.handicaps, K, self.question.event != "majority",
                _TOLERANCE * scale, strict, budget.gap, limit, self.parent, self.point, self.side, self.kind,
                self.split, self.bounds, self.first_pair, self.pairs, self.lam, self.heap, self.counts, self.best,
                self.best_delta, work,
            )  # fmt: skip
            if outcome == FULL:
                self._allocate(2 * len(self.parent))
            elif outcome == FINISHED or self.counts[0] >= budget.nodes or time.monotonic() > deadline:
                break
        self.finished = outcome == FINISHED
        claimed = self.best[0] if self.finished else float(self.bounds[self.heap[0]])
        self.lower = self._proven(float(claimed) * (1 - budget.gap), ancestors)

    def _proven(self, claimed: float, ancestors: int) -> float:
        """What the leaves prove, a slice of them at a time: compiled code hears no signal."""
        k, reach = self.question.fitted.k, float(self.best[0])
        lower = reach
        for first in range(0, int(self.counts[0]), _SLICE):
            stop_if_unwanted()
            end = min(first + _SLICE, int(self.counts[0]))
            some = proven_bound(
                self.P, self.c, self.D, self.room, self.values, k, self.seen.p_error, self.seen.c_error, reach,
                claimed, ancestors, self.parent, self.point, self.side, self.kind, self.first_pair, self.pairs,
                self.lam, first, end,
            )  # fmt: skip
            lower = min(lower, some)
        return lower

    def _scale(self) -> float:
        """Size of the squared distances that decide: of the points that are among the nearest now, not of far ones."""
        K = self.question.fitted.n_neighbors
        sides = (self.c[: self.n_other], self.c[self.n_other :])
        return max(
            float(np.partition(side, min(K, len(side)) - 1)[min(K, len(side)) - 1]) for side in sides if len(side)
        )

    def _strict(self, scale: float) -> float:
        """By how much an incumbent's squared distances must differ: enough for it to be rounded to a sum of floats."""
        K, x = self.question.fitted.n_neighbors, self.x
        spacing = float(np.linalg.norm(np.spacing(np.abs(x)))) / self.question.fitted.frame.unit
        return max(_STRICT * scale, _SPACINGS * spacing * float(self.D[:K, :K].max(initial=0.0)))

    def tree(self) -> Tree:
        """The tree, cut to its size."""
        n, end = int(self.counts[0]), int(self.first_pair[self.counts[0]])
        return Tree(
            self.index, self.n_other, self.parent[:n].copy(), self.point[:n].copy(), self.side[:n].copy(),
            self.kind[:n].copy(), self.first_pair[: n + 1].copy(), self.pairs[:end].copy(), self.lam[:end].copy(),
        )  # fmt: skip

    def _distances(self) -> Array:
        """``||p_j - p_i||`` between other- and same-class points, rounded up, never 0."""
        A, B = self.P[: self.n_other], self.P[self.n_other :]
        sq_A, sq_B = np.einsum("ad,ad->a", A, A)[:, None], np.einsum("bd,bd->b", B, B)
        sq = sq_A + sq_B - 2 * (A @ B.T) + gamma(self.P.shape[1] + 6) * 2 * (sq_A + sq_B)
        errors = self.seen.p_error
        return np.ascontiguousarray(
            np.sqrt(np.maximum(sq, 0)) * _UP + errors[: self.n_other][:, None] + errors[self.n_other :]
        )

    def _allocate(self, nodes: int) -> None:
        """Make room for that many nodes, keeping those that are there."""
        per_node = most_pairs(len(self.c), self.room)
        pairs = max(nodes * min(per_node, 24), 4 * per_node)
        old = self.__dict__
        for name, shape, kind in (
            ("parent", (nodes,), np.int64), ("point", (nodes,), np.int64), ("side", (nodes,), np.int8),
            ("kind", (nodes,), np.int8), ("split", (nodes,), np.int64), ("bounds", (nodes,), np.float64),
            ("first_pair", (nodes + 1,), np.int64), ("heap", (nodes,), np.int64), ("pairs", (pairs, 2), np.int64),
            ("lam", (pairs,), np.float64),
        ):  # fmt: skip
            grown = np.zeros(shape, dtype=kind)
            if name in old:
                grown[: len(old[name])] = old[name]
            setattr(self, name, grown)

    parent: Integers
    point: Integers
    side: NDArray[np.int8]
    kind: NDArray[np.int8]
    split: Integers
    bounds: Array
    first_pair: Integers
    heap: Integers
    pairs: Integers
    lam: Array
