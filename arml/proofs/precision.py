"""Number formats of the check, and how far computed distances and rows may lie from the real ones.

An inner product of length n is off by at most ``gamma_n |x|'|y|``, ``gamma_n = n u / (1 - n u)``, whatever the order of
summation and with or without fused multiply-add (Higham, *Accuracy and Stability of Numerical Algorithms*, ch. 3). All
bounds here follow from that, componentwise and for each pair of points by itself. They count against the proof.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Precision:
    """A number format: its numpy type and its unit roundoff."""

    dtype: type[np.floating[Any]]
    u: float

    def gamma(self, n: int) -> float:
        """Bound of n accumulated roundings, with room for the rounding of the bounds themselves."""
        return 1.01 * n * self.u


DOUBLE = Precision(np.float64, 2.0**-53)

# Where the platform's long double is no wider (or no IEEE format) doubtful pairs stay as doubtful as they were.
_BITS = int(np.finfo(np.longdouble).nmant)
EXTENDED = Precision(np.longdouble, 2.0 ** -(_BITS + 1)) if _BITS in (63, 112) else DOUBLE

#: Added to bounds of errors in units of the check's own scale: more than any underflow can lose.
TINY = 2.0**-960


def power_of_two(value: float) -> float:
    """The power of two next below a positive value, kept where its square is finite; 1 for 0."""
    if not np.isfinite(value) or value <= 0:
        return 1.0
    return float(2.0 ** np.clip(np.floor(np.log2(value)), -500, 500))


def middle(sizes: Array) -> float:
    """A typical one of the sizes, which one far point does not move: their median, or the largest where that is 0."""
    if not len(sizes):
        return 1.0
    return float(np.median(sizes)) or float(np.max(sizes))


def norms(rows: Array) -> Array:
    """Euclidean norms (n,) of rows (n, d), in their own format."""
    return np.asarray(np.sqrt((rows * rows).sum(axis=-1)))


@dataclass(frozen=True)
class Factor:
    """The metric's factor G (r, d), divided by a power of two so that its largest entry is of the order of 1."""

    G: Array
    precision: Precision
    is_identity: bool

    @classmethod
    def of(cls, components: Array, precision: Precision = DOUBLE) -> Factor:
        """Factor from the stored one; radii do not depend on its scale."""
        G = (components / power_of_two(float(np.abs(components).max(initial=0.0)))).astype(precision.dtype)
        square = G.shape[0] == G.shape[1]
        return cls(G, precision, square and bool(np.array_equal(G, np.eye(len(G)))))

    def embed(self, T: Array, T_error: Array) -> tuple[Array, Array]:
        """``G t`` of rows t (n, d) that are off by at most T_error (n, d), and bounds (n, r) of its error."""
        if self.is_identity:
            return T, T_error + TINY
        absolute, gamma = np.abs(self.G).T, self.precision.gamma(self.G.shape[1] + 4)
        return T @ self.G.T, (gamma * np.abs(T) + 1.01 * T_error) @ absolute + TINY

    def rows(self, Z: Array, Z_error: Array) -> tuple[Array, Array]:
        """``G' z`` of rows z (n, r), and bounds (n,) of the norm of its error."""
        if self.is_identity:
            return Z, 1.01 * norms(Z_error)
        gamma = self.precision.gamma(self.G.shape[0] + 4)
        return Z @ self.G, 1.01 * norms((gamma * np.abs(Z) + 1.01 * Z_error) @ np.abs(self.G)) + TINY

    def sq_norms(self, Z: Array, Z_error: Array) -> tuple[Array, Array]:
        """``||z||^2`` (n,) of rows z (n, r), and bounds (n,) of its error."""
        sq, error = (Z * Z).sum(axis=1), 1.01 * norms(Z_error)
        return sq, self.precision.gamma(Z.shape[1] + 4) * sq + (2.01 * np.sqrt(sq) + error) * error + TINY
