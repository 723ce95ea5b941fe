"""The nearest training points: by one matrix product, and from differences of points where that leaves a doubt."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from arml.classifier.differences import sq_distances
from arml.classifier.fitted import Compute, FittedKNN
from arml.classifier.rounding import magnitudes

Array = NDArray[np.float64]
Integers = NDArray[np.int64]

# Training points whose differences are looked at together.
_BLOCK = 4096


@dataclass(frozen=True)
class Near:
    """The K nearest training points of t test points: ``indices`` (t, K), in no particular order.

    Where rounding leaves a doubt, or points tie for the K-th place, ``doubtful`` has all training points that can be
    among them, by the test point's position.
    """

    indices: Integers
    doubtful: Mapping[int, Integers]


def near(fitted: FittedKNN, X: Array, compute: Compute, blur: Array | None = None) -> Near:
    """Which training points are the K nearest of each of the points X (t, d), as far as rounding can tell.

    ``blur`` (t, d) is by how much each coordinate of X may be off.
    """
    train, K = fitted.train, fitted.n_neighbors
    indices, doubtful = np.empty((len(X), K), dtype=np.int64), dict[int, Integers]()
    columns = train.z_sq_norm - train.share
    rows = compute.rows(len(fitted.X_train), 3)
    for start in range(0, len(X), rows):
        seen = train.see(X[start : start + rows])
        C = train.sq_distances(seen, columns)
        first = C.topk(min(K + 1, C.shape[1]), dim=1, largest=False)
        chosen = first.indices[:, :K]
        # No point is farther than this plus its own two shares of the rounding; so the K nearest lie within the limit.
        limit = (first.values[:, :K] + 2 * train.share[chosen]).amax(dim=1) + 2 * seen.share
        if blur is not None:
            off = torch.from_numpy(blur[start : start + rows] / fitted.frame.unit).to(train.device)
            limit = (limit.clamp(min=0).sqrt() * (1 + 1e-15) + (2 + 1e-6) * magnitudes(off, train.G)) ** 2
        indices[start : start + rows] = train.order[chosen.cpu().numpy()]
        doubts = first.values[:, -1] <= limit if first.values.shape[1] > K else torch.zeros_like(limit) > 0
        for q in np.flatnonzero(doubts.cpu().numpy()).tolist():
            i = start + q
            some = train.order[torch.nonzero(C[q] <= limit[q])[:, 0].cpu().numpy()]
            some = _without_doubt(fitted, X[i], some, None if blur is None else blur[i])
            indices[i] = some[:K]
            if len(some) > K:
                doubtful[i] = some
    return Near(indices, doubtful)


def nearest(fitted: FittedKNN, X: Array, compute: Compute) -> Integers:
    """Training indices (t, K) of the nearest points of X (t, d), in no particular order.

    Distances are those computed from differences of points wherever the matrix product leaves a doubt; of points at
    the same distance the one with the smaller index is nearer.
    """
    found = near(fitted, X, compute)
    for i, some in found.doubtful.items():
        some = np.sort(some)
        c = sq_distances(fitted.train.metric, fitted.differences(X[i], some))[0]
        found.indices[i] = some[np.argsort(c, kind="stable")[: fitted.n_neighbors]]
    return found.indices


def _without_doubt(fitted: FittedKNN, x: Array, some: Integers, blur: Array | None) -> Integers:
    """Those of the training points ``some`` that differences of points do not rule out."""
    scaled = None if blur is None else blur / fitted.frame.unit
    parts = [
        sq_distances(fitted.train.metric, fitted.differences(x, some[start : start + _BLOCK]), scaled)
        for start in range(0, len(some), _BLOCK)
    ]
    c, error = (np.concatenate(values) for values in zip(*parts, strict=True))
    limit = np.partition(c + error, fitted.n_neighbors - 1)[fitted.n_neighbors - 1]
    return some[c - error <= limit]
