"""How far the computed quantities of a certificate can lie from the real ones: worst-case rounding bounds.

A bound is only proven if it survives the rounding of the floating-point numbers it was computed from. The bounds here
are the classical ones (Higham, *Accuracy and Stability of Numerical Algorithms*, ch. 3): an inner product of length n
is off by at most ``gamma_n |x|'|y|``, whatever the order of summation and with or without fused multiply-add, so they
hold for every BLAS and every device. The metric is taken to be exactly ``G' G`` of the given float64 factor G.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from arml.geometry import Mahalanobis

Array = NDArray[np.float64]

UNIT_ROUNDOFF = 2.0**-53


def gamma(n: int) -> float:
    """Relative error bound ``n u / (1 - n u)`` of n accumulated rounding errors in float64."""
    return n * UNIT_ROUNDOFF / (1.0 - n * UNIT_ROUNDOFF)


@dataclass(frozen=True)
class RoundingBounds:
    """Error bounds for one metric and one training set.

    With ``g >= || |G| ||_2``, embedding a point of norm ``s`` by G is off by ``gamma_d g s``; everything below follows
    from that and from the triangle inequality, with constants rounded up.

    Attributes
    ----------
    relative : ``gamma_(d + r + 8)``, the error of one pass through G and one inner product
    g : bound of the spectral norm of \\|G\\|
    radius : largest norm of a training point
    """

    relative: float
    g: float
    radius: float

    @classmethod
    def of(cls, metric: Mahalanobis, X_train: Array) -> RoundingBounds:
        """Bounds for a metric and its training points (n, d)."""
        G = np.abs(metric.components)
        # The spectral norm is at most the geometric mean of the largest column sum and the largest row sum.
        g = float(np.sqrt(G.sum(axis=0).max() * G.sum(axis=1).max()))
        radius = float(np.sqrt(np.einsum("nd,nd->n", X_train, X_train).max()))
        return cls(gamma(sum(metric.components.shape) + 8), g, radius)

    def sq_dist(self, x_norm: Array) -> Array:
        """Error of a computed squared distance from test points of the given norms (n,) to any training point (n,)."""
        return np.asarray(3.0 * self.relative * (self.g * (np.asarray(x_norm) + self.radius)) ** 2)

    @property
    def row(self) -> float:
        """Error, in norm, of a computed constraint row ``M (x_i - x_j)``."""
        return 4.0 * self.relative * self.g**2 * self.radius

    @property
    def sq_row(self) -> float:
        """Error of the squared norm of such a row when expanded as ``|p_i|^2 + |p_j|^2 - 2 p_i'p_j``."""
        return 5.0 * self.relative * (self.g**2 * self.radius) ** 2
