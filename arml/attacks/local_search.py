"""A white-box attack on a Mahalanobis K-NN classifier: descent over the assignments of who is nearer than whom.

`local_search` prepares the training points and gives every test point its own `arml.attacks.descent.Descent`, in which
the method is written down.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from arml.attacks.descent import Descent
from arml.attacks.goals import Vote
from arml.attacks.neighborhood import Neighborhood, mattering
from arml.attacks.result import AttackResult
from arml.cells.smallest import smallest
from arml.geometry import Mahalanobis, sq_dist_matrix
from arml.inputs import room_within
from arml.threads import blas_on_one_thread

Array = NDArray[np.float64]
Integers = NDArray[np.int64]

#: Bump when the numbers this module returns change: it is part of every record's identity.
VERSION = 3

# Most other-class points looked at, those that are passed soonest. On MNIST a thousand find what four thousand find.
_MOST = 1000


def local_search(
    metric: Mahalanobis,
    X_train: Array,
    votes: Integers,
    n_neighbors: int,
    X: Array,
    labels: Integers,
    *,
    promising: Integers | None = None,
    box: tuple[float, float] | None = None,
    device: torch.device | None = None,
    memory_budget: int = 256 * 2**20,
    progress: Callable[[int], None] | None = None,
) -> AttackResult:
    """Short perturbations of the points X after which the K-NN classifier answers another class.

    Parameters
    ----------
    X_train : (n, d) float64; votes : (n,) class numbers 0..C-1 in the order of the labels
    n_neighbors : K, odd
    X : (t, d) float64, correctly classified points; labels : (t,) their class numbers
    promising : (t, s) rows of other-class points to start from as well, -1 for none
    box : optional range every coordinate of the perturbed point must stay in; a coordinate outside keeps its own value
        as limit
    device : where the distances are computed
    memory_budget : bytes for the arrays of (test points at a time) by (training points)
    progress : called with the number of points just finished

    Returns
    -------
    AttackResult with ``majority``; to be verified by the classifier, whose rounding may differ. Where fewer than
    (K + 1) / 2 training points have other labels nothing can be found.
    """
    train = _Training.build(metric, X_train, votes, device or torch.device("cpu"))
    n_classes = int(votes.max()) + 1
    promising = np.full((len(X), 0), -1) if promising is None else promising
    radius, majority, perturbation = np.full(len(X), np.inf), np.zeros(X.shape), np.zeros(X.shape)

    def search(i: int, c: Array, e: Array) -> None:
        """Attack point i, at distances c and e (n,) from the training points; the results are filled in."""
        label = int(labels[i])
        around = _Surroundings(train, X[i] - train.origin, c, e, label, n_neighbors)
        descent = Descent(around, Vote(n_neighbors, n_classes, label), np.stack(room_within(box, X[i])))
        found = descent.run(promising[i][promising[i] >= 0])
        if found.majority is not None:
            majority[i] = found.majority
        if found.vote is not None:
            perturbation[i], radius[i] = found.vote, np.linalg.norm(found.vote)

    rows = max(1, min(256, memory_budget // (8 * 4 * len(X_train))))
    with ThreadPoolExecutor(torch.get_num_threads()) as pool:
        for start in range(0, len(X), rows):
            C, E = train.distances(X[start : start + rows])
            with blas_on_one_thread():
                for _ in pool.map(search, range(start, start + len(C)), C, E):
                    if progress is not None:
                        progress(1)
    return AttackResult(perturbation, radius, np.zeros(len(X), dtype=np.int64), majority=majority)


@dataclass(frozen=True)
class _Training:
    """Training points centred on ``origin``: X (n, d), Z = X G' (n, r), P = X M (n, d).

    sq_norm (n,) are the squared norms of P's rows, votes (n,) the class numbers.
    """

    origin: Array
    X: Array
    Z: Array
    P: Array
    sq_norm: Array
    votes: Integers
    G: Array
    M: Array
    on_device: tuple[torch.Tensor, torch.Tensor]

    @classmethod
    def build(cls, metric: Mahalanobis, X_train: Array, votes: Integers, device: torch.device) -> _Training:
        origin = X_train.mean(axis=0)
        X, G = X_train - origin, metric.components
        Z = torch.from_numpy(X).to(device) @ torch.from_numpy(G).to(device).T
        P = Z @ torch.from_numpy(G).to(device)
        sq_norm = (P * P).sum(-1).cpu().numpy()
        return cls(origin, X, Z.cpu().numpy(), P.cpu().numpy(), sq_norm, votes, G, metric.matrix, (Z, P))

    def distances(self, X: Array) -> tuple[Array, Array]:
        """``d_M(x, x_i)`` and ``||M (x_i - x)||`` for the test points X (t, d) and all training points: (t, n) each."""
        Z, P = self.on_device
        G = torch.from_numpy(self.G).to(Z.device)
        U = torch.from_numpy(X - self.origin).to(Z.device) @ G.T
        C = sq_dist_matrix(U, Z).clamp_(min=0)
        E = sq_dist_matrix(U @ G, P).clamp_(min=0).sqrt_()
        return C.cpu().numpy(), E.cpu().numpy()


class _Surroundings:
    """The training set seen from the centred test point x (d,); c, e (n,) are its distances (`_Training.distances`)."""

    def __init__(self, train: _Training, x: Array, c: Array, e: Array, label: int, n_neighbors: int) -> None:
        self.train, self.x, self.c, self.e, self.n_neighbors = train, x, c, e, n_neighbors
        self.own = train.votes == label

    def nearest(self, count: int) -> Neighborhood:
        """The ``count`` nearest points of either side."""
        sides = (np.flatnonzero(~self.own), np.flatnonzero(self.own))
        return self._view(*(side[smallest(self.c[side], count)] for side in sides))

    def within(self, reach: float) -> Neighborhood:
        """All points that can matter for perturbations up to ``reach``."""
        train = self.train
        return self._view(*mattering(self.c, self.e, train.P, train.sq_norm, self.own, reach, self.n_neighbors, _MOST))

    def toward(self, goals: Integers) -> Array:
        """Steps (g, d) from the test point to training points."""
        return np.asarray(self.train.X[goals] - self.x)

    def _view(self, other: Integers, same: Integers) -> Neighborhood:
        train, index = self.train, np.concatenate([other, same])
        difference = train.Z[index] - train.G @ self.x
        c = np.einsum("mr,mr->m", difference, difference)
        P = train.P[index] - train.M @ self.x
        return Neighborhood(index, len(other), P, c, train.votes[index])
