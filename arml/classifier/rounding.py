"""How far computed quantities can lie from the real ones: worst-case rounding bounds, for every point its own.

A bound is only proven if it survives the rounding of the floating-point numbers it was computed from. The bounds here
are the classical ones (Higham, *Accuracy and Stability of Numerical Algorithms*, ch. 3): an inner product of length n
is off by at most ``gamma_n |x|'|y|``, whatever the order of summation and with or without fused multiply-add, so they
hold for every BLAS and every device. The metric is taken to be exactly ``G' G`` of the given float64 factor G.

With ``h(x) = || |G| |x| ||`` the computed ``G x``, of norm l(x), is off by at most ``m(x) = gamma_d h(x)``. A squared
distance from one matrix product is then off by at most ``gamma_r (l + l_i)^2 + 2 (l + l_i)(m + m_i) + (m + m_i)^2`` for
points x and x_i, and because ``2 a b <= t a^2 + b^2 / t`` and ``(a + b)^2 <= 2 a^2 + 2 b^2`` that is at most
``e(x) + e(x_i)`` with

    e = 2 (gamma_r + t) l^2 + 2 (1 + 1 / t) m^2        for any t > 0:

each of the two points has its share, and a far point spoils its own distances and no others. With t near ``m / l``
little is given away, also for ill-conditioned metrics, where l is orders of magnitude below h.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

Array = NDArray[np.float64]

UNIT_ROUNDOFF = 2.0**-53
#: Added to every bound for underflow, which relative bounds do not cover; numbers of interest are far above it.
UNDERFLOW = 2.0**-960

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


def embedding_error(magnitude: torch.Tensor, G: torch.Tensor) -> torch.Tensor:
    """``m(x)`` (n,): error, in norm, of the computed ``G x`` of points with ``h(x)`` (n,).

    Their coordinates may each be off by one relative rounding.
    """
    return _SAFETY * gamma(2 if is_identity(G) else G.shape[1] + 2) * magnitude


def balance(sq_norm: torch.Tensor, magnitude: torch.Tensor, G: torch.Tensor) -> float:
    """A t that suits points of squared norms ``l(x)^2`` (n,) and ``h(x)`` (n,); any would be right."""
    some = sq_norm > 0  # the origin may be one of the points, and of few points the median
    if not bool(some.any()):
        return 1.0
    error = float(embedding_error(magnitude[some], G).median())
    return max(error / float(sq_norm[some].sqrt().median()), UNIT_ROUNDOFF)


def distance_share(sq_norm: torch.Tensor, magnitude: torch.Tensor, G: torch.Tensor, t: float) -> torch.Tensor:
    """``e(x)`` (n,) of points of squared norms ``l(x)^2`` (n,) and ``h(x)`` (n,), for a `balance` t.

    A computed squared distance of two points is off by at most the sum of their shares, and stays so after up to four
    more roundings of either.
    """
    error = embedding_error(magnitude, G)
    growth = gamma(G.shape[0] + 8)
    return _SAFETY * 2 * ((growth + t) * sq_norm.clamp(min=0) + (1 + 1 / t) * error**2) + UNDERFLOW


def row_share(sq_norm: torch.Tensor, magnitude: torch.Tensor, G: torch.Tensor) -> torch.Tensor:
    """Error (n,), in norm, of the computed ``M x`` of such points; that of a difference is the sum."""
    if is_identity(G):
        return 4 * UNIT_ROUNDOFF * magnitude + UNDERFLOW
    absolute = G.abs()
    # The spectral norm is at most the geometric mean of the largest column sum and the largest row sum.
    g = float((absolute.sum(dim=0).max() * absolute.sum(dim=1).max()).sqrt())
    # A few roundings of M x itself more, for the difference that is taken of two.
    length = sq_norm.clamp(min=0).sqrt()
    return _SAFETY * g * (gamma(G.shape[0] + 6) * length + embedding_error(magnitude, G)) + UNDERFLOW
