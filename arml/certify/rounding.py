"""How far the computed quantities of a certificate can lie from the real ones: worst-case rounding bounds.

A bound is only proven if it survives the rounding of the floating-point numbers it was computed from. The bounds here
are the classical ones (Higham, *Accuracy and Stability of Numerical Algorithms*, ch. 3): an inner product of length n
is off by at most ``gamma_n |x|'|y|``, whatever the order of summation and with or without fused multiply-add, so they
hold for every BLAS and every device. The metric is taken to be exactly ``G' G`` of the given float64 factor G.

With ``h(x) = || |G| |x| ||`` the computed ``G x`` is off by at most ``gamma_d h(x)``; everything else follows from that
and from the triangle inequality. Norms are those of the data at hand: for an ill-conditioned metric the product of
norms ``||G|| ||x||`` would exceed ``||G x||`` by orders of magnitude, and nothing would be left to prove.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

Array = NDArray[np.float64]

UNIT_ROUNDOFF = 2.0**-53

# Room for the rounding of the bounds themselves.
_SAFETY = 1.0 + 1e-6
_ROWS = 8192


def gamma(n: int) -> float:
    """Relative error bound ``n u / (1 - n u)`` of n accumulated rounding errors in float64."""
    return n * UNIT_ROUNDOFF / (1.0 - n * UNIT_ROUNDOFF)


def is_identity(G: torch.Tensor) -> bool:
    """Whether G is the identity matrix, so that products with it can be left out."""
    r, d = G.shape
    return r == d and bool(torch.equal(G, torch.eye(d, dtype=G.dtype, device=G.device)))


def magnitudes(X: torch.Tensor, G: torch.Tensor) -> torch.Tensor:
    """``h(x) = || |G| |x| ||`` of the rows of X (n, d): a tensor (n,)."""
    if is_identity(G):
        return torch.linalg.vector_norm(X, dim=1)
    absolute = G.abs().T
    return torch.cat([torch.linalg.vector_norm(part.abs() @ absolute, dim=1) for part in X.split(_ROWS)])


@dataclass(frozen=True)
class RoundingBounds:
    """Error bounds for one metric and one training set, whose points may each be off by one relative rounding.

    Attributes
    ----------
    r, d : shape of G
    g : bound of the spectral norm of \\|G\\|
    embedded : largest norm of an embedded training point ``G x``
    magnitude : largest ``h(x)`` of a training point
    mapped : largest norm of a row ``M x``
    """

    r: int
    d: int
    g: float
    embedded: float
    magnitude: float
    mapped: float

    @classmethod
    def of(cls, G: torch.Tensor, X: torch.Tensor, Z: torch.Tensor, P: torch.Tensor) -> RoundingBounds:
        """Bounds for G (r, d), training points X (n, d), and the computed Z = X G' and P = Z G."""
        absolute = G.abs()
        # The spectral norm is at most the geometric mean of the largest column sum and the largest row sum.
        g = float((absolute.sum(dim=0).max() * absolute.sum(dim=1).max()).sqrt())
        return cls(
            G.shape[0],
            G.shape[1],
            _SAFETY * g,
            _SAFETY * float(torch.linalg.vector_norm(Z, dim=1).max()),
            _SAFETY * float(magnitudes(X, G).max()),
            _SAFETY * float(torch.linalg.vector_norm(P, dim=1).max()),
        )

    def sq_dist(self, embedded: Array, magnitude: Array) -> Array:
        """Error (t,) of a computed squared distance to any training point.

        ``embedded`` and ``magnitude`` (t,) are ``||G x||`` and ``h(x)`` of the test points.
        """
        total = _SAFETY * (np.asarray(embedded) + self.embedded)
        moved = _SAFETY * gamma(self.d + 2) * (np.asarray(magnitude) + self.magnitude)
        return np.asarray(gamma(self.r + 4) * total**2 + (2 * total + moved) * moved)

    @property
    def row(self) -> float:
        """Error, in norm, of a computed constraint row ``M (x_i - x_j)``."""
        point = self.g * (gamma(self.r) * self.embedded + gamma(self.d + 2) * self.magnitude)
        return 2.0 * _SAFETY * (point + UNIT_ROUNDOFF * self.mapped)

    @property
    def sq_row(self) -> float:
        """Error of the squared norm of such a row when expanded as ``|p_i|^2 + |p_j|^2 - 2 p_i'p_j``."""
        return gamma(self.d + 4) * (2.0 * self.mapped) ** 2
