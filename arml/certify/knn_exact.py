"""Exact minimal adversarial perturbations of a Mahalanobis K-NN classifier, by branch and bound with proven bounds.

How a test point is solved
--------------------------
1. A verified attack gives the incumbent U, an upper bound of the radius.
2. Row values (Theorem 1's k-th maxima, `arml.certify.knn_bound`) leave out the other-class points that no attack
   shorter than U can have among its k nearest other-class points; of the same-class points only those are kept that can
   be among their k nearest within U. A few dozen of the former and a few hundred of the latter remain.
3. For these, squared distances and rows ``M (x_i - x)`` are computed from differences of points, with error bounds.
4. `arml.certify.tree` decides point by point who is nearer than whom, always at the node with the smallest bound, until
   no node is below the incumbent or the budget is spent. The paper calls this problem intractable (section 3.2); it is
   one of combinatorial optimisation, but row values, look-ahead and a good incumbent leave few choices to make.
5. `arml.certify.leaves` proves the bound anew from the multipliers at the leaves, rounding included.

Leaving out a same-class point can only lower the bound, so it needs no proof; what an incumbent is worth is decided by
the classifier itself, in `arml.neighbors`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from arml.certify.chunks import blas_on_one_thread, class_chunks
from arml.certify.frame import Frame
from arml.certify.knn_bound import PointRows, row_bounds
from arml.certify.leaves import proven_bound
from arml.certify.norms import sq_distances
from arml.certify.rounding import UNIT_ROUNDOFF, gamma, magnitudes
from arml.certify.training_set import TrainingSet
from arml.certify.tree import FINISHED, FULL, grow
from arml.geometry import Mahalanobis

Array = NDArray[np.float64]
Integers = NDArray[np.int64]

#: Bump when the numbers this module returns change: it is part of every record's identity.
VERSION = 2

#: A node is closed when its bound is this close to the incumbent, relatively; below `one_nn.EXACT_GAP`.
CLOSE = 4e-7

# Differences of squared distances that count as zero, and that an incumbent must have, relative to the farthest point.
_TOLERANCE, _STRICT = 1e-12, 1e-11
_SLICE = 256
# Where no attack is known the search goes this many times as far as the data.
_HORIZON = 1e4
# A stored proof holds the evidence of the leaves alone.
_ANCESTORS = 4
_DOWN, _UP = 1 - 2.0**-48, 1 + 2.0**-48


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


@dataclass(frozen=True)
class KNNSearch:
    """Result of `search_radii` for t test points.

    Attributes
    ----------
    lower : (t,) proven lower bounds; at most about the incumbents' norms
    perturbation : (t, d) a shorter attack than the incumbent where ``improved`` (t,), to be verified by the classifier
    nodes : (t,) size of each tree; finished : (t,) whether the gap was closed
    trees : the trees, if they were asked for
    """

    lower: Array
    perturbation: Array
    improved: NDArray[np.bool_]
    nodes: Integers
    finished: NDArray[np.bool_]
    trees: tuple[Tree | None, ...]


def search_radii(
    metric: Mahalanobis,
    X_train: Array,
    votes: Integers,
    n_neighbors: int,
    X: Array,
    labels: Integers,
    incumbents: Array,
    *,
    plurality: bool,
    budget: Budget,
    keep_trees: bool = False,
    device: torch.device | None = None,
    memory_budget: int = 256 * 2**20,
    progress: Callable[[int], None] | None = None,
) -> KNNSearch:
    """Search for the shortest perturbations of the points X after which the label has lost its majority, or the vote.

    Parameters
    ----------
    X_train : (n, d) float64; votes : (n,) class numbers 0..C-1
    n_neighbors : K, odd
    X : (t, d) float64, points whose label has its majority (``plurality``: wins the vote); labels : (t,) class numbers
    incumbents : (t,) norms of attacks known; infinite for none, where at least 1e4 times the data's size is searched
    plurality : which event to look for
    budget : when to stop; keep_trees : whether to hand the trees out
    device : where the matrix products run; the trees are always grown on the CPU, one per thread
    memory_budget : bytes for the arrays of (test points at a time) by (training points)
    progress : called with the number of test points just finished
    """
    frame = Frame.of(metric, X_train)
    train = TrainingSet.build(frame.metric(metric), frame.points(X_train), votes, device or torch.device("cpu"))
    question = _Question(train, frame, X_train, votes, n_neighbors, plurality, budget, keep_trees)
    lower, perturbation = np.zeros(len(X)), np.zeros(X.shape)
    improved, finished = np.zeros(len(X), dtype=bool), np.zeros(len(X), dtype=bool)
    nodes = np.zeros(len(X), dtype=np.int64)
    trees: list[Tree | None] = [None] * len(X)
    chunk_rows = max(1, min(256, memory_budget // (8 * len(votes) * 5)))
    with ThreadPoolExecutor(torch.get_num_threads()) as pool:
        for label, chunk in class_chunks(labels, chunk_rows):
            with blas_on_one_thread():
                for i, answer in zip(chunk, question.answers(label, X[chunk], incumbents[chunk], pool), strict=True):
                    lower[i] = answer.lower * frame.unit * _DOWN
                    improved[i] = answer.delta is not None
                    perturbation[i] = 0.0 if answer.delta is None else answer.delta * frame.unit
                    nodes[i], finished[i], trees[i] = answer.nodes, answer.finished, answer.tree
                    if progress is not None:
                        progress(1)
    return KNNSearch(lower, perturbation, improved, nodes, finished, tuple(trees))


@dataclass(frozen=True)
class _Answer:
    """What is kept of the search at a test point; delta (d,) is None where the incumbent was not improved."""

    lower: float
    delta: Array | None
    nodes: int
    finished: bool
    tree: Tree | None


@dataclass(frozen=True)
class _Question:
    """What is asked about every test point."""

    train: TrainingSet
    frame: Frame
    X_train: Array
    votes: Integers
    n_neighbors: int
    plurality: bool
    budget: Budget
    keep_trees: bool

    def horizon(self, x: Array) -> float:
        """Norm beyond which nothing is looked for, far outside of the data: an attack may not exist at all."""
        size = np.linalg.norm(self.train.X, axis=1).max() + np.linalg.norm((x - self.frame.origin) / self.frame.unit)
        return _HORIZON * float(size)

    def answers(self, label: int, raw: Array, incumbents: Array, pool: ThreadPoolExecutor) -> Iterator[_Answer]:
        """What the searches found at the points raw (t, d), all of one class, in their order."""
        train, k = self.train, (self.n_neighbors + 1) // 2
        own = train.classes.get(label, slice(0, 0))
        points = torch.from_numpy(self.frame.points(raw)).to(train.device)
        G = torch.from_numpy(train.metric.components).to(train.device)
        U = points @ G.T
        mapped = U @ G
        C = sq_distances(U, train.Z_device, (train.Z_device * train.Z_device).sum(-1))
        sizes = torch.linalg.vector_norm(U, dim=1), magnitudes(points, G)
        errors = train.rounding.sq_dist(sizes[0].cpu().numpy(), sizes[1].cpu().numpy())
        bounds, anchors = row_bounds(train, own, C, mapped, torch.from_numpy(errors).to(train.device), k, 2)
        C_host, bounds_host, anchors_host = C.cpu().numpy(), bounds.cpu().numpy(), anchors.cpu().numpy()
        mapped_host = mapped.cpu().numpy()

        def answer(q: int) -> _Answer:
            reach = min(float(incumbents[q]) / self.frame.unit, self.horizon(raw[q]))
            rows = PointRows(train, own, C_host[q], float(errors[q]), k, 2)
            others, values = rows.below(bounds_host[q], anchors_host[q], reach * _UP)
            near = _relevant_own(train, own, C_host[q], mapped_host[q], reach, k)
            search = _PointSearch(train, self.frame, self.X_train, raw[q], others, values, near, self.votes)
            search.run(self.n_neighbors, self.plurality, reach, self.budget, 0 if self.keep_trees else _ANCESTORS)
            improved = bool(search.best[0] < reach)
            return _Answer(
                search.lower,
                search.best_delta if improved else None,
                int(search.counts[0]),
                search.finished,
                search.tree() if self.keep_trees else None,
            )

        return pool.map(answer, range(len(raw)))


def _relevant_own(train: TrainingSet, own: slice, c: Array, mapped: Array, reach: float, k: int) -> Integers:
    """Same-class rows that can be among the k nearest of their class for some ``||delta|| <= reach``, nearest first.

    ``c`` (n,) are the squared distances, ``mapped`` (d,) the test point's ``M x``. A point l stays ahead of i where
    ``c_i - c_l > 2 reach ||p_i - p_l||``; first the norm is bounded by ``||p_i|| + ||p_l||``, then it is taken exactly.
    """
    rows = np.arange(own.start, own.stop)
    if np.isfinite(reach) and len(rows) > k:
        e = np.linalg.norm(train.P[own] - mapped, axis=1)
        limit = np.partition(c[own] + 2 * reach * e, k - 1)[k - 1]
        rows = rows[c[own] - 2 * reach * e <= limit]
        nearest = rows[np.argsort(c[rows], kind="stable")[: 3 * k]]
        sq = train.sq_norm[rows][:, None] + train.sq_norm[nearest] - 2 * (train.P[rows] @ train.P[nearest].T)
        ahead = c[rows, None] - c[nearest] > 2 * reach * np.sqrt(np.maximum(sq, 0))
        rows = rows[ahead.sum(axis=1) < k]
    return rows[np.argsort(c[rows], kind="stable")]


class _PointSearch:
    """The search at one test point.

    ``others`` with their row ``values`` in ascending order, and ``near``, are rows of the training set in class order.
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
    ) -> None:
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
        deadline = time.monotonic() + budget.seconds
        while True:
            limit = min(budget.nodes, int(self.counts[0]) + _SLICE)
            outcome = grow(
                self.P, self.c, self.D, self.values, self.votes, n_neighbors, plurality, _TOLERANCE * scale,
                _STRICT * scale, budget.gap, limit, self.parent, self.point, self.side, self.kind, self.split,
                self.bounds, self.first_pair, self.pairs, self.lam, self.heap, self.counts, self.best, self.best_delta,
            )  # fmt: skip
            if outcome == FULL:
                self._allocate(2 * len(self.parent))
            elif outcome == FINISHED or self.counts[0] >= budget.nodes or time.monotonic() > deadline:
                break
        self.finished = outcome == FINISHED
        claimed = self.best[0] if self.finished else float(self.bounds[self.heap[0]])
        self.lower = proven_bound(
            self.P, self.c, self.D, self.values, k, self.p_error, self.c_error, float(self.best[0]),
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
        per_node = min(self.P.shape[1], len(self.c)) + 1
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
