"""Training points prepared for certification: sorted by class and mapped by the metric once for all test points."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from arml.certify.rounding import RoundingBounds, is_identity
from arml.geometry import Mahalanobis

Array = NDArray[np.float64]
Integers = NDArray[np.int64]


@dataclass(frozen=True)
class TrainingSet:
    """Training points in class order, on the CPU and on the device.

    Attributes
    ----------
    X (n, d) points; P (n, d) rows ``M x_i``; sq_norm (n,) their squared norms; Z_device (n, r) points embedded by G;
    P_device (n, d), sq_norm_device (n,): P and sq_norm on the device; order (n,) indices in the caller's order;
    classes : label to the slice of its rows
    """

    X: Array
    P: Array
    sq_norm: Array
    Z_device: torch.Tensor
    P_device: torch.Tensor
    sq_norm_device: torch.Tensor
    order: Integers
    classes: dict[int, slice]
    metric: Mahalanobis
    rounding: RoundingBounds

    @classmethod
    def build(cls, metric: Mahalanobis, X: Array, y: Integers, device: torch.device) -> TrainingSet:
        """Sort and map the training points X (n, d) with labels y (n,)."""
        order = np.argsort(y, kind="stable")
        labels, starts = np.unique(y[order], return_index=True)
        ends = np.append(starts[1:], len(y))
        classes = {int(c): slice(int(a), int(b)) for c, a, b in zip(labels, starts, ends, strict=True)}
        X = np.ascontiguousarray(X[order])
        G = torch.from_numpy(metric.components).to(device)
        points = torch.from_numpy(X).to(device)
        Z = points if is_identity(G) else points @ G.T
        P = points if is_identity(G) else Z @ G
        sq_norm = (P * P).sum(-1)
        return cls(
            X, P.cpu().numpy(), sq_norm.cpu().numpy(), Z, P, sq_norm, order, classes, metric,
            RoundingBounds.of(G, points, Z, P),
        )  # fmt: skip

    @property
    def device(self) -> torch.device:
        """Where the matrix products run."""
        return self.Z_device.device
