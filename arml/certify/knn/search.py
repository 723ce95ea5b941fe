"""Exact minimal adversarial perturbations of a Mahalanobis K-NN classifier, by branch and bound with proven bounds.

How a test point is solved
--------------------------
1. A verified attack gives the incumbent U, an upper bound of the radius.
2. Row values (Theorem 1's k-th maxima, `arml.certify.knn.theorem1`) leave out the other-class points that no attack
   shorter than U can have among its k nearest other-class points; of the same-class points only those are kept that can
   be among their k nearest within U. A few dozen of the former and a few hundred of the latter remain.
3. For these, squared distances and rows ``M (x_i - x)`` are computed from differences of points, with error bounds.
4. `arml.certify.knn.tree` decides point by point who is nearer than whom, always at the node with the smallest bound,
   until no node is below the incumbent or the budget is spent. The paper calls this problem intractable (section 3.2);
   it is one of combinatorial optimisation, but row values, look-ahead and a good incumbent leave few choices to make.
5. `arml.certify.knn.leaves` proves the bound anew from the multipliers at the leaves, rounding included.

Leaving out a same-class point can only lower the bound, so it needs no proof; what an incumbent is worth is decided by
the classifier itself, in `arml.exact`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from arml.certify.knn.point_search import Question, Tree, TreeSearch
from arml.certify.knn.theorem1 import PointRows, row_bounds
from arml.classifier.chunks import class_chunks
from arml.classifier.fitted import Compute
from arml.classifier.homes import Sight, sights
from arml.classifier.training_set import TrainingSet
from arml.inputs import room_within
from arml.threads import Map, blas_on_one_thread, workers
from arml.versions import VERSIONS

Array = NDArray[np.float64]
Integers = NDArray[np.int64]

#: Bump when the numbers this module returns change: it is part of every record's identity.
VERSION = VERSIONS["certify.knn_exact"]

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
    question: Question,
    X: Array,
    labels: Integers,
    incumbents: Array,
    *,
    box: tuple[float, float] | None = None,
    keep_trees: bool = False,
    compute: Compute | None = None,
) -> KNNSearch:
    """Search for the shortest perturbations of the points X (t, d) after which the label has lost.

    Parameters
    ----------
    X : (t, d) float64, points whose label has not lost; labels : (t,) class numbers
    incumbents : (t,) norms of attacks known; infinite for none, where all of the box is searched, or at least 1e4 times
        the data's size
    box : optional range every coordinate of the perturbed point must stay in; a coordinate outside keeps its own value
        as limit
    keep_trees : whether to hand the trees out
    compute : the matrix products run on the classifier's device; the trees are always grown on the CPU, one per thread
    """
    compute, fitted = compute or Compute(), question.fitted
    lower, perturbation = np.zeros(len(X)), np.zeros(X.shape)
    improved, finished = np.zeros(len(X), dtype=bool), np.zeros(len(X), dtype=bool)
    nodes = np.zeros(len(X), dtype=np.int64)
    trees: list[Tree | None] = [None] * len(X)
    unit = fitted.frame.unit
    with workers() as side_by_side, blas_on_one_thread():
        for label, chunk in class_chunks(labels, compute.rows(len(fitted.X_train), 5)):
            own = fitted.train.classes.get(label, slice(0, 0))
            for sight in sights(fitted, X[chunk], own):
                some = chunk[sight.positions]
                points = _Points(question, sight, label, own, X[some], incumbents[some], box, keep_trees)
                for i, answer in zip(some, points.answers(side_by_side), strict=True):
                    lower[i] = answer.lower * unit * _DOWN
                    improved[i] = answer.delta is not None
                    perturbation[i] = 0.0 if answer.delta is None else answer.delta * unit
                    nodes[i], finished[i], trees[i] = answer.nodes, answer.finished, answer.tree
                    compute.advance(1)
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
class _Points:
    """Test points raw (t, d) of one class in one frame, and what is asked about them."""

    question: Question
    sight: Sight
    label: int
    own: slice
    raw: Array
    incumbents: Array
    box: tuple[float, float] | None
    keep_trees: bool

    def answers(self, side_by_side: Map) -> Iterator[_Answer]:
        """What the searches found, in the order of the points."""
        fitted, sight, own = self.question.fitted, self.sight, self.own
        train, k, unit = sight.train, fitted.k, fitted.frame.unit
        bounds, anchors = row_bounds(sight, own, k, 2)
        mapped = sight.embedded if train.P_device is train.Z else sight.embedded @ train.G
        C, shares = sight.C.cpu().numpy(), sight.share.cpu().numpy()
        host = bounds.cpu().numpy(), anchors.cpu().numpy(), mapped.cpu().numpy()
        rooms = np.stack(room_within(self.box, self.raw), axis=1) / unit

        def answer(q: int) -> _Answer:
            """The search at the q-th of the points."""
            reach = float(self.incumbents[q]) / unit
            if np.isinf(reach) or self.box is not None:
                reach = min(reach, self._horizon(self.raw[q], rooms[q]))
            rows = PointRows(train, own, C[q], float(shares[q]), k, 2)
            others, values = rows.below(host[0][q], host[1][q], reach * _UP)
            near = _relevant_own(train, own, C[q], host[2][q], reach, k)
            search = TreeSearch(self.question, self.raw[q], self.label, others, values, near, rooms[q])
            search.run(reach, 0 if self.keep_trees else _ANCESTORS)
            improved = bool(search.best[0] < reach)
            return _Answer(
                search.lower,
                search.best_delta if improved else None,
                int(search.counts[0]),
                search.finished,
                search.tree() if self.keep_trees else None,
            )

        return side_by_side(answer, range(len(self.raw)))

    def _horizon(self, x: Array, room: Array) -> float:
        """Norm beyond which nothing is looked for: just outside of the box, or far outside of the data.

        An attack may not exist at all.
        """
        if self.box is not None:
            return float(np.linalg.norm(room.max(axis=0))) * _BEYOND_BOX
        train = self.sight.train
        size = float(np.sqrt(np.einsum("nd,nd->n", train.X, train.X).max()))
        return _HORIZON * (size + float(np.linalg.norm((x - train.frame.origin) / train.frame.unit)))


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
