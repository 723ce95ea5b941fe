"""The nearest training points: by one matrix product, and where that leaves a doubt from differences, and exactly."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from arml.classifier.differences import sq_distances
from arml.classifier.exactly import sq_distances as exact_sq_distances
from arml.classifier.fitted import Compute, FittedKNN
from arml.classifier.rounding import magnitudes

Array = NDArray[np.float64]
Integers = NDArray[np.int64]
Booleans = NDArray[np.bool_]

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

    Where rounding leaves a doubt exact arithmetic decides, so that whoever asks whether a label is lost
    (`arml.classifier.event`) and whoever asks for the answer see the same classifier. Of points at the same distance
    the one with the smaller index is nearer.
    """
    found = near(fitted, X, compute)
    for i, some in found.doubtful.items():
        found.indices[i] = _first(fitted, X[i], np.sort(some))
    return found.indices


def by_intervals(c: Array, error: Array, K: int) -> tuple[Booleans, Booleans]:
    """Of candidates at distances c (m,), each off by at most error (m,): which are among the K nearest in any case, and
    which may share the places that are left."""
    near, far = c - error, c + error
    able = near <= np.partition(far, K - 1)[K - 1]
    if int(able.sum()) == K:
        return able, np.zeros(len(c), dtype=bool)
    # Fewer than K points can be as near as these.
    surely = far < np.partition(near, K - 1)[K - 1]
    return surely, able & ~surely


def exact_distances(fitted: FittedKNN, some: Integers, x: Array, delta: Array) -> list[int]:
    """Squared distances of the training points ``some`` (m,) to ``x + delta`` as integers, all in one unit."""
    points = fitted.X_train[some]
    # Copies of one training point need not be looked at twice.
    alike = {point.tobytes(): at for at, point in enumerate(points)}
    distances = exact_sq_distances(fitted.exact_factor, points[list(alike.values())], x, delta)
    known = dict(zip(alike, distances, strict=True))
    return [known[point.tobytes()] for point in points]


def _first(fitted: FittedKNN, x: Array, some: Integers) -> Integers:
    """The K nearest of the training points ``some`` (m,), which ascend."""
    K = fitted.n_neighbors
    surely, open_ = by_intervals(*sq_distances(fitted.train.metric, fitted.differences(x, some)), K)
    free = some[open_]
    if not len(free):
        return some[surely]
    exact = exact_distances(fitted, free, x, np.zeros(len(x)))
    order = sorted(range(len(free)), key=lambda at: (exact[at], at))
    return np.concatenate([some[surely], free[order[: K - int(surely.sum())]]])


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
