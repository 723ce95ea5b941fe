"""A K-nearest-neighbour classifier as a torch model that answers long sequences of small moves quickly and exactly.

A decision-based attack asks for the label of a batch of points, tens of thousands of times, each point having moved a
little since the last time. `KNNModel` keeps, per position of the batch, an *anchor* ``a``, a list of training points
and the radius ``rho`` of a ball around ``a`` inside which the list provably holds the K nearest. A query in the ball
costs one product with the list; a query outside it moves the anchor there, at the cost of all n distances. The position
is only a hint: whoever asks with other points, in another order or number, gets the same answers, more slowly.

Why the list suffices
---------------------
Let ``c_i = d_M(a, x_i)``. For a step s away from the anchor, and any vector w, up to a term that is the same for all i,

    d_M(a + s, x_i) = c_i - 2 s' (M x_i - w).

Let N be the K nearest of ``a``, ``C`` their largest c, ``e_i = |M x_i - w|`` and ``E`` the largest e of N. For
``|s| <= rho`` no point of N can rise above ``C + 2 rho E``, and no other point i can fall below ``c_i - 2 rho e_i``.
So i stays out of the K nearest as long as ``rho < score_i = (c_i - C) / (2 (e_i + E))``. The list is N and those with
the smallest scores; ``rho`` is the smallest score left out. Listed by increasing score, every beginning of the list
is such a list too, with a smaller ball; that is how a short step is answered from a short list. The choice of w is
free; the mean of ``M x_l`` over N makes the e small.

Rounding
--------
``c`` and the scores are computed in float64 from points centred on the training mean, and ``rho`` is lowered by more
than their rounding error. Inside a ball float32 suffices, because ``s`` is small; where the K-th and the (K+1)-th
come closer than its error, the list is evaluated again in float64. There distances closer than `TIE` count as tied, and
of tied points the first in the training set is nearer: so duplicates and grids are answered alike from every anchor.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from arml.geometry import Mahalanobis

#: Training points kept per position of the batch, and how many more than K the beginnings hold that short steps use.
LIST_SIZE = 256
SHORT_LISTS = (9, 21, 53)
#: The whole batch is answered from the shortest list that this fraction of it can be answered from.
COVERED = 0.7
#: An anchor is moved before a query leaves its ball when the lists beyond the shortest that were read since it was
#: placed add up to this fraction of the training set: when they have cost as much as a move.
PATIENCE = 0.5
#: Relative margin of ``rho`` for the float32 rounding of the length of a step.
RADIUS_MARGIN = 1e-5
#: Error of a float32 distance inside a ball, relative to (length of the step) x (largest e of the list).
FLOAT32_ERROR = 4e-6
#: Distances are compared in float64 up to this, relative to the largest squared distances there are.
TIE = 2.0**-40


class _Balls(NamedTuple):
    """What is kept per position of the batch (N): anchors, lists of m training points, and radii."""

    anchor: torch.Tensor  # (N, d), dtype of the queries
    listed: torch.Tensor  # (N, m) int64, indices of training points
    distance: torch.Tensor  # (N, m) float32, c - C
    slope: torch.Tensor  # (N, m, d) float32, M x - w
    steepest: torch.Tensor  # (N,) float32, largest |M x - w| of the list
    radii: torch.Tensor  # (N, L) float32, ball of each beginning of the list; the last is that of the whole
    read: torch.Tensor  # (N,) int64, training points read so far because steps left the first of the balls


class KNNModel(torch.nn.Module):
    """Votes (N, C) of the K nearest training points of a batch (N, d), as `foolbox.PyTorchModel` queries it.

    ``argmax`` of the votes is the position of the label in ``classes``; among equal votes it is the smallest label, as
    for `arml.neighbors.MahalanobisKNN`. The model has no gradients.

    Parameters
    ----------
    metric : the metric d_M
    X_train : (n, d) float64 training points; y_train : (n,) their integer labels
    n_neighbors : K, at most n
    device : torch device of all computations and of the queries
    memory_budget : bytes for arrays of (points at a time) by (training points) while anchors move
    list_size : training points kept per position of the batch; changes speed and memory, never an answer

    Attributes
    ----------
    classes : (C,) the labels that the columns of the votes stand for
    calls : batches answered so far, that is queries per position of the batch
    moves : anchors placed so far, over all positions
    """

    def __init__(
        self,
        metric: Mahalanobis,
        X_train: NDArray[np.float64],
        y_train: NDArray[np.int64],
        n_neighbors: int,
        *,
        device: torch.device | str = "cpu",
        memory_budget: int = 256 * 2**20,
        list_size: int = LIST_SIZE,
    ) -> None:
        super().__init__()
        if not 1 <= n_neighbors <= len(X_train):
            raise ValueError(f"n_neighbors={n_neighbors} must lie between 1 and the {len(X_train)} training points")
        self.classes, votes = np.unique(y_train, return_inverse=True)
        centre = X_train.mean(axis=0)
        embedded = metric.embed(X_train - centre)
        device = torch.device(device)
        self._centre = torch.from_numpy(centre).to(device)
        self._labels = torch.from_numpy(votes.astype(np.int64)).to(device)
        self._slopes = torch.from_numpy(embedded @ metric.components).to(device)  # M x
        self._offsets = torch.from_numpy((embedded * embedded).sum(axis=1)).to(device)  # x' M x
        self._sq_slopes = (self._slopes * self._slopes).sum(1)
        self._largest = (float(self._offsets.max()), float(self._sq_slopes.max()))
        spread = float(np.linalg.norm(X_train - centre, axis=1).max())
        self._tie = TIE * (self._largest[0] + 2 * spread * math.sqrt(self._largest[1]))
        self._K = n_neighbors
        self._size = min(len(X_train), max(list_size, n_neighbors + 1))
        self._sizes = sorted({min(self._size, n_neighbors + extra) for extra in SHORT_LISTS} | {self._size})
        self._extra = torch.tensor([size - self._sizes[0] for size in self._sizes], device=device)
        self._patience = PATIENCE * len(X_train)
        # Larger chunks only cost page faults, as long as the training points are read for many points at a time.
        chunk = min(memory_budget, max(64 * 2**20, self._slopes.nbytes))
        self._rows = max(1, chunk // (8 * (6 * len(X_train) + 2 * self._size * X_train.shape[1])))
        self._balls: _Balls | None = None
        self.calls = 0
        self.moves = 0
        self.eval()

    @property
    def device(self) -> torch.device:
        """Where the model computes and queries have to be."""
        return self._slopes.device

    @staticmethod
    def bytes_per_point(n_features: int, list_size: int = LIST_SIZE) -> int:
        """Memory that one position of the batch takes, about."""
        return 4 * list_size * (n_features + 3)

    def forget(self) -> None:
        """Drop all anchors: the next batch is answered from anchors at its own points."""
        self._balls = None

    @torch.no_grad()
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Votes (N, C) float32 of the points x (N, d) in float32 or float64."""
        self.calls += 1
        balls = self._balls
        if balls is None or balls.anchor.shape != x.shape or balls.anchor.dtype != x.dtype:
            self._balls = balls = self._empty(x)
        step = (x - balls.anchor).float()
        length = step.norm(dim=1)
        level = (~(length[:, None] <= balls.radii)).sum(1)  # also of a NaN: none of the balls
        left = ((level == len(self._sizes)) | (balls.read >= self._patience)).nonzero()[:, 0]
        if len(left):
            self._move(left, x)
            step[left], length[left], level[left] = 0.0, 0.0, 0
        balls.read.add_(self._extra[level])
        counts = level.bincount(minlength=len(self._sizes)).cumsum(0).tolist()
        common = next(i for i, count in enumerate(counts) if count >= COVERED * len(x))
        votes = self._answer(x, step, length, None, self._sizes[common])
        for longer in range(common + 1, len(self._sizes)):
            if counts[longer] > counts[longer - 1]:
                rows = (level == longer).nonzero()[:, 0]
                votes[rows] = self._answer(x[rows], step[rows], length[rows], rows, self._sizes[longer])
        return votes

    def _empty(self, x: torch.Tensor) -> _Balls:
        """Balls for a batch of the shape of x that no query lies in."""
        (N, d), m, device = x.shape, self._size, x.device
        return _Balls(
            anchor=torch.zeros_like(x),
            listed=torch.zeros((N, m), dtype=torch.int64, device=device),
            distance=torch.zeros((N, m), device=device),
            slope=torch.zeros((N, m, d), device=device),
            steepest=torch.zeros(N, device=device),
            radii=torch.full((N, len(self._sizes)), -math.inf, device=device),
            read=torch.zeros(N, dtype=torch.int64, device=device),
        )

    def _move(self, positions: torch.Tensor, x: torch.Tensor) -> None:
        """Put the anchors of these positions of the batch where their points x now are."""
        balls, K = self._balls, self._K
        assert balls is not None
        self.moves += len(positions)
        for rows in positions.split(self._rows):
            points = x[rows].double() - self._centre
            distance = self._offsets - 2 * (points @ self._slopes.T)  # c - a' M a
            C, nearest = distance.topk(K, dim=1, largest=False)
            w = self._slopes[nearest].mean(1)
            scores = self._scores(points, distance, C.amax(1, keepdim=True), nearest, w)
            scores, order = scores.topk(min(self._size - K + 1, scores.shape[1]), dim=1, largest=False)
            listed = torch.cat([nearest, order], dim=1)[:, : self._size]
            slope = self._slopes.index_select(0, listed.flatten()).view(*listed.shape, -1).sub_(w[:, None]).float()
            kept = _Balls(
                anchor=x[rows],
                listed=listed,
                distance=(distance.gather(1, listed) - C.amax(1, keepdim=True)).float(),
                slope=slope,
                steepest=torch.linalg.vector_norm(slope, dim=2).amax(1),
                radii=torch.stack([self._radius(scores, size) for size in self._sizes], dim=1),
                read=torch.zeros_like(rows),
            )
            for old, new in zip(balls, kept, strict=True):
                old.index_copy_(0, rows, new)

    def _scores(
        self,
        points: torch.Tensor,
        distance: torch.Tensor,
        C: torch.Tensor,
        nearest: torch.Tensor,
        w: torch.Tensor,
    ) -> torch.Tensor:
        """Length of a step (k, n) below which each training point stays out of the K nearest; inf for these."""
        eps = 16 * math.sqrt(points.shape[1]) * torch.finfo(torch.float64).eps
        sq_w = (w * w).sum(1, keepdim=True)
        sq_e = sq_w + self._sq_slopes - 2 * (w @ self._slopes.T)
        e = (sq_e + eps * (sq_w + self._largest[1])).clamp_(min=torch.finfo(torch.float64).tiny).sqrt_()
        E = e.gather(1, nearest).amax(1, keepdim=True)
        margin = eps * (self._largest[0] + points.norm(dim=1, keepdim=True) * math.sqrt(self._largest[1]))
        scores = (distance - C - margin) / (2 * (e + E))
        return scores.scatter_(1, nearest, math.inf)

    def _radius(self, scores: torch.Tensor, size: int) -> torch.Tensor:
        """Radius (k,) of the ball in which ``size`` listed points suffice, from scores in increasing order.

        It ends where the first point that is not among these may matter.
        """
        first_out = size - self._K
        if first_out >= scores.shape[1]:
            return torch.full((len(scores),), math.inf, device=scores.device)
        return (scores[:, first_out].clamp(min=0.0) * (1 - RADIUS_MARGIN)).float()

    def _answer(
        self, x: torch.Tensor, step: torch.Tensor, length: torch.Tensor, positions: torch.Tensor | None, size: int
    ) -> torch.Tensor:
        """Votes (k, C) of points in their balls; ``positions`` (k,) in the batch, all of it where None."""
        balls, K = self._balls, self._K
        assert balls is not None
        slope, base, listed = balls.slope[:, :size], balls.distance[:, :size], balls.listed[:, :size]
        steepest = balls.steepest
        if positions is not None:
            # Much faster than indexing with positions.
            slope, base, listed, steepest = (
                kept.index_select(0, positions) for kept in (slope, base, listed, steepest)
            )
        # A row times a matrix: several times faster on a CPU than a matrix times a column.
        distance = base - 2 * torch.bmm(step[:, None], slope.transpose(1, 2))[:, 0]
        values, order = distance.topk(min(K + 1, distance.shape[1]), dim=1, largest=False)
        order = order[:, :K]
        if values.shape[1] > K:
            unsure = values[:, K] - values[:, K - 1] <= FLOAT32_ERROR * length * steepest + 2 * self._tie
            doubtful = unsure.nonzero()[:, 0]
            if len(doubtful):
                order[doubtful] = self._nearest_in_float64(x[doubtful], listed[doubtful])
        labels = self._labels[listed.gather(1, order)]
        votes = torch.zeros((len(x), len(self.classes)), device=x.device)
        return votes.scatter_add_(1, labels, torch.ones_like(labels, dtype=votes.dtype))

    def _nearest_in_float64(self, x: torch.Tensor, listed: torch.Tensor) -> torch.Tensor:
        """Places (k, K) in the lists (k, m) of the nearest training points of x (k, d); of tied ones the first."""
        listed, place = listed.sort(dim=1)
        products = torch.bmm((x.double() - self._centre)[:, None], self._slopes[listed].transpose(1, 2))[:, 0]
        distance = self._offsets[listed] - 2 * products
        if self._tie > 0:
            distance = (distance / self._tie).round_()
        return place.gather(1, distance.sort(dim=1, stable=True).indices[:, : self._K])
