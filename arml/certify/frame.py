"""The frame in which the radii are computed: centred on the training points and of moderate scale.

Distances depend on differences only, so the origin is free; expanding ``|a - b|^2`` far from it would lose every digit.
Radii do not change with the scale of M and are linear in that of the points, so both are scaled by powers of two, which
is exact, and neither very small nor very large data can underflow or overflow.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from arml.geometry import Mahalanobis

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Frame:
    """Origin (d,), unit (a power of two, the caller's length of 1 here) and the power of two that divides G."""

    origin: Array
    unit: float
    divisor: float

    @classmethod
    def of(cls, metric: Mahalanobis, X_train: Array) -> Frame:
        """Frame centred on the training points X_train (n, d), in which they and G are of the order of 1."""
        origin = X_train.mean(axis=0)
        if not np.isfinite(origin).all():
            raise OverflowError("the training points are too large to be averaged; scale the features down")
        return cls(
            origin, _power_of_two(np.abs(X_train - origin).max()), _power_of_two(np.abs(metric.components).max())
        )

    def points(self, X: Array) -> Array:
        """Points (n, d) of the caller in this frame; each coordinate is off by at most one rounding."""
        return (X - self.origin) / self.unit

    def metric(self, metric: Mahalanobis) -> Mahalanobis:
        """The metric, scaled."""
        return Mahalanobis.from_components(metric.components / self.divisor)

    @property
    def weight(self) -> float:
        """Factor from multipliers of scaled constraint rows to those of the caller's."""
        return 1.0 / self.divisor / self.divisor / self.unit


def _power_of_two(value: float) -> float:
    """The power of two next below a positive value; 1 for 0. Kept in a range whose squares are finite."""
    if value == 0:
        return 1.0
    return float(2.0 ** np.clip(np.floor(np.log2(value)), -500, 500))
