"""The search at one test point: its points prepared, its tree grown within a budget, its bound proven."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from arml.cells.active_pairs import Workspace, most_pairs
from arml.certify.frame import Frame
from arml.certify.leaves import proven_bound
from arml.certify.rounding import UNIT_ROUNDOFF, gamma
from arml.certify.training_set import TrainingSet
from arml.certify.tree import FINISHED, FULL, grow

Array = NDArray[np.float64]
Integers = NDArray[np.int64]

#: A node is closed when its bound is this close to the incumbent, relatively; below `one_nn.EXACT_GAP`.
CLOSE = 4e-7

# Differences of squared distances that count as zero, and that an incumbent must have, relative to the farthest point.
_TOLERANCE, _STRICT = 1e-12, 1e-11
_SLICE = 256
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
    """The finished search at one test point: points, nodes, and their multipliers; see `arml.certify.tree`.

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


class PointSearch:
    """The search at one test point.

    ``others`` with their row ``values`` in ascending order, and ``near``, are rows of the training set in class order;
    ``room`` (2, d) is how far each feature may go down and up, in units of the frame.
    """

    def __init__(
        self,
        train: TrainingSet,
        frame: Frame,
        X_train: Array,
        x: Array,
        others: Integers,
        values: Array,
        near: Integers,
        votes: Integers,
        room: Array,
    ) -> None:
        self.room = room
        self.index = train.order[np.concatenate([others, near])]
        self.n_other, self.values = len(others), np.ascontiguousarray(values)
        # Numbered anew, so that what counts votes need not be as long as the number of classes.
        self.votes = np.unique(votes[self.index[: self.n_other]], return_inverse=True)[1].astype(np.int64)
        self.P, self.c, self.p_error, self.c_error = _from_differences(
            train.metric.components, (X_train[self.index] - x) / frame.unit
        )
        self.D = self._distances()
        self.best, self.best_delta = np.array([np.inf]), np.zeros(len(x))
        self.counts = np.array([1, 1])
        self.lower, self.finished = 0.0, False

    def run(self, n_neighbors: int, plurality: bool, reach: float, budget: Budget, ancestors: int) -> None:
        """Grow the tree within the budget and prove its bound."""
        k = (n_neighbors + 1) // 2
        self._allocate(64)
        if self.n_other < k:
            # No attack below the incumbent has its k other-class points: each of the others costs at least that much.
            self.lower, self.finished = reach, True
            return
        self.best[0] = reach
        self.split[0], self.bounds[0] = k - 1, self.values[k - 1]
        scale = float(self.c.max(initial=0.0))
        work = Workspace.make(len(self.c), self.room, _MEMORY)
        deadline = time.monotonic() + budget.seconds
        while True:
            limit = min(budget.nodes, int(self.counts[0]) + _SLICE)
            outcome = grow(
                self.P, self.c, self.D, self.values, self.votes, n_neighbors, plurality, _TOLERANCE * scale,
                _STRICT * scale, budget.gap, limit, self.parent, self.point, self.side, self.kind, self.split,
                self.bounds, self.first_pair, self.pairs, self.lam, self.heap, self.counts, self.best, self.best_delta,
                work,
            )  # fmt: skip
            if outcome == FULL:
                self._allocate(2 * len(self.parent))
            elif outcome == FINISHED or self.counts[0] >= budget.nodes or time.monotonic() > deadline:
                break
        self.finished = outcome == FINISHED
        claimed = self.best[0] if self.finished else float(self.bounds[self.heap[0]])
        self.lower = proven_bound(
            self.P, self.c, self.D, self.room, self.values, k, self.p_error, self.c_error, float(self.best[0]),
            float(claimed) * (1 - budget.gap), ancestors, self.parent, self.point, self.side, self.kind,
            self.first_pair, self.pairs, self.lam, int(self.counts[0]),
        )  # fmt: skip

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
        return np.ascontiguousarray(np.sqrt(np.maximum(sq, 0)) * _UP + 2 * self.p_error + 1e-300)

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


def _from_differences(G: Array, T: Array) -> tuple[Array, Array, float, float]:
    """Rows ``M t`` (m, d) and squared distances (m,) of differences T (m, d), and bounds of their errors.

    Each difference is off by at most one relative rounding; the division by a power of two is exact.
    """
    r, d = G.shape
    absolute = np.abs(G)
    Z = T @ G.T
    Z_error = gamma(d + 4) * (np.abs(T) @ absolute.T)
    P = np.ascontiguousarray(Z @ G)
    P_error = Z_error @ absolute + gamma(r + 2) * (np.abs(Z) @ absolute)
    c = np.einsum("mr,mr->m", Z, Z)
    z, z_error = np.linalg.norm(Z, axis=1), np.linalg.norm(Z_error, axis=1)
    c_error = gamma(r + 4) * c + (2 * z + z_error) * z_error
    safety = 1 + 1e-6
    return (
        P,
        np.ascontiguousarray(c),
        safety * float(np.linalg.norm(P_error, axis=1).max(initial=0.0)) + UNIT_ROUNDOFF,
        safety * float(c_error.max(initial=0.0)) + UNIT_ROUNDOFF * UNIT_ROUNDOFF,
    )
