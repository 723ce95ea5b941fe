"""The frame in which everything is computed: centred where most training points are, and of moderate scale.

Distances depend on differences only, so the origin is free; expanding ``|a - b|^2`` far from it would lose every digit.
The origin is the median of each feature, which a few far points cannot move. Radii do not change with the scale of M
and are linear in that of the points, so both are scaled by powers of two, which is exact, and neither very small nor
very large data can underflow or overflow. What cannot be scaled so is refused.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from arml.geometry import InvalidMetricError, Mahalanobis
from arml.inputs import InvalidInputError

Array = NDArray[np.float64]

#: How much farther than usual a point may lie: the squares of such distances, and their products, are still finite.
REACH = 2.0**400
#: The largest coordinate there may be, and the smallest unit: beyond them results would leave the range of floats.
LARGEST, SMALLEST = 1e300, 2.0**-960

# Training points that the origin and the unit are taken from, spread evenly over all.
_SAMPLE = 1001


@dataclass(frozen=True)
class Frame:
    """Origin (d,), unit (a power of two, the caller's length of 1 here) and the power of two that divides G."""

    origin: Array
    unit: float
    divisor: float

    @classmethod
    def of(cls, metric: Mahalanobis, X_train: Array) -> Frame:
        """Frame centred on the training points X_train (n, d), in which most of them and G are of the order of 1.

        Raises
        ------
        InvalidInputError, InvalidMetricError
            If the points or the metric leave the range in which anything can be proven.
        """
        _require_range(X_train, "X_train", LARGEST)
        sample = X_train[:: -(-len(X_train) // _SAMPLE)]
        middle = (len(sample) - 1) // 2
        origin = np.partition(sample, middle, axis=0)[middle].copy()
        sizes = np.abs(sample - origin).max(axis=1)
        sizes = sizes[sizes > 0]
        typical = float(np.median(sizes)) if len(sizes) else float(np.abs(X_train - origin).max())
        frame = cls(origin, power_of_two(typical), power_of_two(float(np.abs(metric.components).max())))
        if typical > 0 and frame.unit < SMALLEST:
            raise InvalidInputError(
                f"the training points differ by {typical:.3g} only, and below {SMALLEST:.3g} nothing can be proven; "
                "scale the features up"
            )
        frame.require_reach(X_train, "X_train")
        return frame

    def at(self, origin: Array) -> Frame:
        """The same frame with another origin (d,)."""
        return replace(self, origin=origin.copy())

    def points(self, X: Array) -> Array:
        """Points (n, d) of the caller in this frame; each coordinate is off by at most one rounding."""
        return np.asarray((X - self.origin) / self.unit)

    def metric(self, metric: Mahalanobis) -> Mahalanobis:
        """The metric, scaled, which must be exact.

        Raises
        ------
        InvalidMetricError
            If its entries are of so different sizes that some would leave the range of floats.
        """
        scaled = metric.components / self.divisor
        if not np.array_equal(scaled * self.divisor, metric.components):
            smallest = float(np.abs(metric.components[metric.components != 0]).min())
            raise InvalidMetricError(
                f"the metric's factor has entries from {smallest:.3g} to {np.abs(metric.components).max():.3g}; "
                "sizes so different cannot be brought to one scale, so set the smallest to 0"
            )
        return Mahalanobis.from_components(scaled)

    def require_reach(self, X: Array, name: str) -> None:
        """Raise InvalidInputError if a point of X (n, d) lies too far from the training points for its square."""
        _require_range(X, name, LARGEST)
        distance = np.abs(X - self.origin)
        if float(distance.max(initial=0.0)) > REACH * self.unit:
            row, column = np.unravel_index(int(distance.argmax()), distance.shape)
            value = float(X[row, column])
            raise InvalidInputError(
                f"{name} holds {value!r} at row {row}, column {column}, more than {REACH:.2g} times as far "
                f"away as training points usually are ({self.unit:.3g}); nothing can be proven of such points, remove "
                "them"
            )


def _require_range(X: Array, name: str, largest: float) -> None:
    if float(np.abs(X).max(initial=0.0)) > largest:
        row, column = np.unravel_index(int(np.abs(X).argmax()), X.shape)
        value = float(X[row, column])
        raise InvalidInputError(
            f"{name} holds {value!r} at row {row}, column {column}; beyond {largest:g} distances leave the "
            "range of numbers, so scale the features down"
        )


def power_of_two(value: float) -> float:
    """The power of two next below a positive value; 1 for 0."""
    if value == 0:
        return 1.0
    return float(np.ldexp(1.0, int(np.frexp(value)[1]) - 1))
