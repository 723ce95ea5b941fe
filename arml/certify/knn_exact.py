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
the classifier itself, in `arml.exact`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from arml.certify.chunks import class_chunks
from arml.certify.frame import Frame
from arml.certify.knn_bound import PointRows, row_bounds
from arml.certify.norms import sq_distances
from arml.certify.point_search import Budget, PointSearch, Tree
from arml.certify.rounding import magnitudes
from arml.certify.training_set import TrainingSet
from arml.geometry import Mahalanobis
from arml.inputs import room_within
from arml.threads import blas_on_one_thread

Array = NDArray[np.float64]
Integers = NDArray[np.int64]

#: Bump when the numbers this module returns change: it is part of every record's identity.
VERSION = 4

# Where no attack is known the search goes this many times as far as the data.
_HORIZON = 1e4
# Within a box no attack is longer than its diagonal; this much more of it leaves room for rounding.
_BEYOND_BOX = 1 + 1e-6
# A stored proof holds the evidence of the leaves alone.
_ANCESTORS = 4
_DOWN, _UP = 1 - 2.0**-48, 1 + 2.0**-48


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
    box: tuple[float, float] | None = None,
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
    incumbents : (t,) norms of attacks known; infinite for none, where all of the box is searched, or at least 1e4 times
        the data's size
    plurality : which event to look for
    box : optional range every coordinate of the perturbed point must stay in; a coordinate outside keeps its own value
        as limit
    budget : when to stop; keep_trees : whether to hand the trees out
    device : where the matrix products run; the trees are always grown on the CPU, one per thread
    memory_budget : bytes for the arrays of (test points at a time) by (training points)
    progress : called with the number of test points just finished
    """
    frame = Frame.of(metric, X_train)
    train = TrainingSet.build(frame.metric(metric), frame.points(X_train), votes, device or torch.device("cpu"))
    size = float(np.linalg.norm(train.X, axis=1).max())
    question = _Question(train, frame, X_train, votes, n_neighbors, plurality, budget, box, keep_trees, size)
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
    """What is asked about every test point; ``size`` is the largest norm of a training point."""

    train: TrainingSet
    frame: Frame
    X_train: Array
    votes: Integers
    n_neighbors: int
    plurality: bool
    budget: Budget
    box: tuple[float, float] | None
    keep_trees: bool
    size: float

    def room(self, x: Array) -> Array:
        """How far each feature of x (d,) may go down and up, in units of the frame: (2, d)."""
        return np.stack(room_within(self.box, x)) / self.frame.unit

    def horizon(self, x: Array) -> float:
        """Norm beyond which nothing is looked for: just outside of the box, or far outside of the data.

        An attack may not exist at all.
        """
        if self.box is not None:
            return float(np.linalg.norm(self.room(x).max(axis=0))) * _BEYOND_BOX
        return _HORIZON * (self.size + float(np.linalg.norm((x - self.frame.origin) / self.frame.unit)))

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
            """The search at the q-th of the points."""
            reach = min(float(incumbents[q]) / self.frame.unit, self.horizon(raw[q]))
            rows = PointRows(train, own, C_host[q], float(errors[q]), k, 2)
            others, values = rows.below(bounds_host[q], anchors_host[q], reach * _UP)
            near = _relevant_own(train, own, C_host[q], mapped_host[q], reach, k)
            search = PointSearch(
                train, self.frame, self.X_train, raw[q], others, values, near, self.votes, self.room(raw[q])
            )
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
