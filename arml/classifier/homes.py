"""Distances of test points in frames in which they keep their digits.

In the frame of the training set a test point far from its origin, such as one of a second group of points, sees its
neighbours blurred. Such test points are looked at from a frame whose origin is one of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from arml.classifier.fitted import FittedKNN
from arml.classifier.training_set import TrainingSet

Array = NDArray[np.float64]
Integers = NDArray[np.int64]

# A test point's share of the rounding that its K-th nearest distance stands, relatively.
_BLURRED = 1e-7


@dataclass(frozen=True)
class Sight:
    """Some test points in one frame: positions (s,) in the chunk, embedded (s, r), pessimistic distances C (s, n) to
    all training points, and their own shares (s,) of the rounding."""

    train: TrainingSet
    positions: Integers
    embedded: torch.Tensor
    C: torch.Tensor
    share: torch.Tensor


def sights(fitted: FittedKNN, X: Array, own: slice) -> Iterator[Sight]:
    """The test points X (t, d), all of the class with rows ``own``, each in one frame."""
    train, pending = fitted.train, np.arange(len(X))
    count = min(fitted.n_neighbors, len(fitted.X_train))
    while pending.size:
        seen = train.see(X[pending])
        C = train.sq_distances(seen, train.pessimistic(own))
        near = C.topk(count, dim=1, largest=False).values[:, -1]
        clear = seen.share <= _BLURRED * near
        if train is not fitted.train:
            clear[0] = True
        places = torch.nonzero(clear)[:, 0]
        if len(places):
            whole = len(places) == len(pending)
            yield Sight(
                train, pending[places.cpu().numpy()], seen.embedded if whole else seen.embedded[places],
                C if whole else C[places], seen.share[places],
            )  # fmt: skip
        pending = pending[~clear.cpu().numpy()]
        if pending.size:
            train = fitted.train.seen_from(X[pending[0]], fitted.X_train)
