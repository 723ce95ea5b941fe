"""A white-box attack on a Mahalanobis K-NN classifier: descent over the assignments of who is nearer than whom.

`local_search` prepares the training points and gives every test point its own `arml.attacks.descent.Descent`, in which
the method is written down.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from arml.attacks.descent import Descent
from arml.attacks.goals import Vote
from arml.attacks.neighborhood import Neighborhood, mattering
from arml.attacks.result import AttackResult
from arml.classifier.differences import Differences
from arml.classifier.fitted import Compute, FittedKNN
from arml.geometry import sq_dist_matrix
from arml.inputs import room_within
from arml.least_distance.smallest import smallest
from arml.threads import blas_on_one_thread, workers
from arml.versions import VERSIONS

Array = NDArray[np.float64]
Integers = NDArray[np.int64]

#: Bump when the numbers this module returns change: it is part of every record's identity.
VERSION = VERSIONS["attacks.local_search"]

# Most other-class points looked at, those that are passed soonest. On MNIST a thousand find what four thousand find.
_MOST = 1000
# A test point's share of the rounding that its K-th nearest distance stands, relatively.
_BLURRED = 1e-7


def local_search(
    fitted: FittedKNN,
    X: Array,
    labels: Integers,
    *,
    promising: Integers | None = None,
    box: tuple[float, float] | None = None,
    compute: Compute | None = None,
) -> AttackResult:
    """Short perturbations of the points X after which the K-NN classifier answers another class.

    Parameters
    ----------
    X : (t, d) float64, correctly classified points; labels : (t,) their class numbers
    promising : (t, s) rows of other-class points to start from as well, -1 for none
    box : optional range every coordinate of the perturbed point must stay in; a coordinate outside keeps its own value
        as limit
    compute : the distances are computed on the classifier's device, the rest on the CPU

    Returns
    -------
    AttackResult with ``majority``; to be verified by the classifier, whose rounding may differ. Where fewer than
    (K + 1) / 2 training points have other labels nothing can be found.
    """
    compute, train = compute or Compute(), _Training.of(fitted)
    unit, n_neighbors, n_classes = fitted.frame.unit, fitted.n_neighbors, len(fitted.classes)
    promising = np.full((len(X), 0), -1) if promising is None else promising
    radius, majority, perturbation = np.full(len(X), np.inf), np.zeros(X.shape), np.zeros(X.shape)

    def search(i: int, seen: _Distances) -> None:
        """Attack point i, of which the distances are known; the results are filled in."""
        label = int(labels[i])
        around = _Surroundings.of(fitted, train, X[i], seen, label)
        room = np.stack(room_within(box, X[i])) / unit
        found = Descent(around, Vote(n_neighbors, n_classes, label), room).run(promising[i][promising[i] >= 0])
        if found.majority is not None:
            majority[i] = found.majority * unit
        if found.vote is not None:
            perturbation[i] = found.vote * unit
            radius[i] = np.linalg.norm(found.vote) * unit

    rows = compute.rows(len(fitted.X_train), 4)
    with workers() as side_by_side:
        for start in range(0, len(X), rows):
            seen = train.distances(fitted, X[start : start + rows])
            with blas_on_one_thread():
                for _ in side_by_side(search, range(start, start + len(seen)), seen):
                    compute.advance(1)
    return AttackResult(perturbation, radius, np.zeros(len(X), dtype=np.int64), majority=majority)


@dataclass(frozen=True)
class _Distances:
    """Of one test point: ``d_M(x, x_i)`` and ``||M (x_i - x)||`` for all training points (n,) each, and whether
    rounding blurs the nearest of them."""

    c: Array
    e: Array
    blurred: bool


@dataclass(frozen=True)
class _Training:
    """Training points in the frame, in the caller's order: Z = X G' (n, r), P = X M (n, d), on the CPU and the device.

    sq_norm (n,) are the squared norms of P's rows, votes (n,) the class numbers.
    """

    Z: Array
    P: Array
    sq_norm: Array
    votes: Integers
    on_device: tuple[torch.Tensor, torch.Tensor, torch.Tensor]

    @classmethod
    def of(cls, fitted: FittedKNN) -> _Training:
        train, device = fitted.train, fitted.device
        place = torch.from_numpy(np.argsort(train.order)).to(device)
        Z = train.Z[place]
        P = Z if train.P_device is train.Z else train.P_device[place]
        sq_norm = train.sq_norm_device[place].cpu().numpy()
        return cls(Z.cpu().numpy(), P.cpu().numpy(), sq_norm, fitted.votes, (train.G, Z, P))

    def distances(self, fitted: FittedKNN, X: Array) -> list[_Distances]:
        """What is seen from the caller's test points X (t, d)."""
        G, Z, P = self.on_device
        seen = fitted.train.see(X)
        C = sq_dist_matrix(seen.embedded, Z).clamp_(min=0)
        E = C.sqrt() if P is Z else sq_dist_matrix(seen.embedded @ G, P).clamp_(min=0).sqrt_()
        nearest = C.topk(min(fitted.n_neighbors, C.shape[1]), dim=1, largest=False).values[:, -1]
        blurred = (seen.share > _BLURRED * nearest).cpu().numpy()
        parts = (C.cpu().numpy(), E.cpu().numpy(), blurred)
        return [_Distances(c, e, bool(blur)) for c, e, blur in zip(*parts, strict=True)]


@dataclass(frozen=True)
class _Surroundings:
    """The training set seen from the caller's test point x (d,).

    c, e (n,) are the distances of `_Distances`; P (n, d) are rows ``M x_i`` with squared norms sq_norm (n,), ``shift``
    (d,) is the test point's own row, and Z (n, r), u (r,) the embedded points, or None where c is as good as it gets.
    """

    fitted: FittedKNN
    x: Array
    own: NDArray[np.bool_]
    c: Array
    e: Array
    P: Array
    sq_norm: Array
    shift: Array
    embedded: tuple[Array, Array] | None

    @classmethod
    def of(cls, fitted: FittedKNN, train: _Training, x: Array, seen: _Distances, label: int) -> _Surroundings:
        """From the distances of a matrix product, or from differences of points where these are blurred."""
        own = fitted.votes == label
        if not seen.blurred:
            # Embedded by itself, because the rounding of a matrix product depends on the company.
            u = fitted.train.metric.components @ fitted.frame.points(x)
            shift = u @ fitted.train.metric.components
            return cls(fitted, x, own, seen.c, seen.e, train.P, train.sq_norm, shift, (train.Z, u))
        near = Differences.of(fitted.train.metric, fitted.differences(x, slice(None)))
        sq_norm = np.einsum("nd,nd->n", near.P, near.P)
        return cls(fitted, x, own, near.c, np.sqrt(sq_norm), near.P, sq_norm, np.zeros(len(x)), None)

    def nearest(self, count: int) -> Neighborhood:
        """The ``count`` nearest points of either side."""
        sides = (np.flatnonzero(~self.own), np.flatnonzero(self.own))
        return self._view(*(side[smallest(self.c[side], count)] for side in sides))

    def within(self, reach: float) -> Neighborhood:
        """All points that can matter for perturbations up to ``reach``."""
        K = self.fitted.n_neighbors
        return self._view(*mattering(self.c, self.e, self.P, self.sq_norm, self.own, reach, K, _MOST))

    def toward(self, goals: Integers) -> Array:
        """Steps (g, d) from the test point to training points."""
        return self.fitted.differences(self.x, goals)

    def _view(self, other: Integers, same: Integers) -> Neighborhood:
        index = np.concatenate([other, same])
        c = self.c[index]
        if self.embedded is not None:
            difference = self.embedded[0][index] - self.embedded[1]
            c = np.einsum("mr,mr->m", difference, difference)
        return Neighborhood(index, len(other), self.P[index] - self.shift, c, self.fitted.votes[index])
