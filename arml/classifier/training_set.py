"""Training points prepared for distances: sorted by class and mapped by the metric once for all test points."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from arml.classifier.frame import Frame
from arml.classifier.rounding import balance, distance_share, is_identity, magnitudes, row_share
from arml.geometry import Mahalanobis

Array = NDArray[np.float64]
Integers = NDArray[np.int64]


@dataclass(frozen=True)
class Seen:
    """Test points as distances see them, on the device: embedded ``G x`` (t, r), their squared norms (t,), and their
    shares (t,) of the rounding of a squared distance."""

    embedded: torch.Tensor
    sq_norm: torch.Tensor
    share: torch.Tensor


@dataclass(frozen=True)
class TrainingSet:
    """Training points in class order, on the CPU and on the device, in units of the frame and seen from its origin.

    Attributes
    ----------
    frame : origin and unit; metric : scaled accordingly
    X (n, d) points; P (n, d) rows ``M x_i``; sq_norm (n,) squared norms of P's rows; p_error (n,) their errors in norm
    G, Z, z_sq_norm, P_device, sq_norm_device, share, p_error_device : on the device: the factor (r, d), points embedded
        by it (n, r), their squared norms (n,), P, sq_norm, the points' shares (n,) of the rounding of a squared
        distance, p_error; balance : see `arml.classifier.rounding.balance`
    order (n,) : indices in the caller's order; classes : class number to the slice of its rows
    """

    frame: Frame
    metric: Mahalanobis
    X: Array
    P: Array
    sq_norm: Array
    p_error: Array
    G: torch.Tensor
    Z: torch.Tensor
    z_sq_norm: torch.Tensor
    P_device: torch.Tensor
    sq_norm_device: torch.Tensor
    share: torch.Tensor
    balance: float
    p_error_device: torch.Tensor
    order: Integers
    classes: dict[int, slice]

    @classmethod
    def build(
        cls, frame: Frame, metric: Mahalanobis, X_train: Array, votes: Integers, device: torch.device
    ) -> TrainingSet:
        """Sort and map the training points X_train (n, d) of class numbers votes (n,); ``metric`` is the caller's."""
        order = np.argsort(votes, kind="stable")
        labels, starts = np.unique(votes[order], return_index=True)
        ends = np.append(starts[1:], len(votes))
        classes = {int(c): slice(int(a), int(b)) for c, a, b in zip(labels, starts, ends, strict=True)}
        scaled = frame.metric(metric)
        G = torch.from_numpy(scaled.components).to(device)
        return cls._mapped(frame, scaled, G, X_train, order, classes)

    def seen_from(self, origin: Array, X_train: Array) -> TrainingSet:
        """The same points in a frame with another origin (d,), near which no digit is lost."""
        return self._mapped(self.frame.at(origin), self.metric, self.G, X_train, self.order, self.classes)

    @classmethod
    def _mapped(
        cls,
        frame: Frame,
        metric: Mahalanobis,
        G: torch.Tensor,
        X_train: Array,
        order: Integers,
        classes: dict[int, slice],
    ) -> TrainingSet:
        X = np.ascontiguousarray(frame.points(X_train[order]))
        points = torch.from_numpy(X).to(G.device)
        plain = is_identity(G)
        Z = points if plain else points @ G.T
        P = points if plain else Z @ G
        sizes, sq_norm = magnitudes(points, G), (P * P).sum(-1)
        z_sq_norm = sq_norm if plain else (Z * Z).sum(-1)
        t, p_error = balance(z_sq_norm, sizes, G), row_share(z_sq_norm, sizes, G)
        share = distance_share(z_sq_norm, sizes, G, t)
        return cls(
            frame, metric, X, P.cpu().numpy(), sq_norm.cpu().numpy(), p_error.cpu().numpy(), G, Z, z_sq_norm, P,
            sq_norm, share, t, p_error, order, classes,
        )  # fmt: skip

    @property
    def device(self) -> torch.device:
        """Where the matrix products run."""
        return self.Z.device

    def see(self, X: Array) -> Seen:
        """The caller's test points X (t, d), mapped."""
        points = torch.from_numpy(self.frame.points(X)).to(self.device)
        embedded = points if is_identity(self.G) else points @ self.G.T
        sq_norm = (embedded * embedded).sum(-1)
        return Seen(embedded, sq_norm, distance_share(sq_norm, magnitudes(points, self.G), self.G, self.balance))

    def sq_distances(self, seen: Seen, columns: torch.Tensor | None = None) -> torch.Tensor:
        """Squared distances (t, n) of test points to all training points: one matrix product.

        ``columns`` (n,) may stand for the training points' squared norms, changed so that every distance errs to one
        side: by `pessimistic`, or by their shares.
        """
        result = seen.embedded @ self.Z.T
        return result.mul_(-2).add_(seen.sq_norm[:, None] + (self.z_sq_norm if columns is None else columns))

    def pessimistic(self, own: slice) -> torch.Tensor:
        """For `sq_distances`: points of the class ``own`` never too near, all others never too far, but for the test
        points' own shares."""
        columns = self.z_sq_norm - self.share
        columns[own] = self.z_sq_norm[own] + self.share[own]
        return columns
