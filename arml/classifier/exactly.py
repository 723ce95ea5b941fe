"""Squared distances in exact arithmetic, for the few comparisons that floating point leaves in doubt.

Floats are integers times powers of two, so with one common power of two everything is a matter of Python's integers.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Objects = NDArray[np.object_]


@dataclass(frozen=True)
class Dyadic:
    """Numbers ``values * 2**exponent`` with Python integers as values."""

    values: Objects
    exponent: int

    @classmethod
    def of(cls, array: Array) -> Dyadic:
        """Floats as they are."""
        mantissa, power = np.frexp(array)
        least = int(power[array != 0].min(initial=0)) - 53
        # The mantissas of a float64 have 53 bits, so 2**53 times them are whole numbers.
        whole = np.ldexp(mantissa, 53).astype(np.int64).astype(object)
        return cls(whole << np.maximum(power.astype(np.int64) - 53 - least, 0).astype(object), least)

    def minus(self, other: Dyadic) -> Dyadic:
        """The difference, of shapes that broadcast."""
        return self.plus(Dyadic(-other.values, other.exponent))

    def plus(self, other: Dyadic) -> Dyadic:
        """The sum, of shapes that broadcast."""
        least = min(self.exponent, other.exponent)
        left, right = self.values << (self.exponent - least), other.values << (other.exponent - least)
        return Dyadic(left + right, least)

    def times(self, matrix: Dyadic) -> Dyadic:
        """The matrix product."""
        return Dyadic(self.values @ matrix.values, self.exponent + matrix.exponent)


@dataclass(frozen=True)
class Factor:
    """The factor G (r, d) of a metric; None where it is the identity, so that products with it can be left out."""

    G: Dyadic | None

    @classmethod
    def of(cls, G: Array) -> Factor:
        """A factor of floats."""
        r, d = G.shape
        return cls(None if r == d and np.array_equal(G, np.eye(d)) else Dyadic.of(G))

    def embed(self, T: Dyadic) -> Dyadic:
        """``G t`` of the rows of T (m, d): (m, r)."""
        return T if self.G is None else T.times(Dyadic(self.G.values.T, self.G.exponent))

    def back(self, Z: Dyadic) -> Dyadic:
        """``G' z`` of the rows of Z (m, r): (m, d)."""
        return Z if self.G is None else Z.times(self.G)


def sq_distances(factor: Factor, X: Array, x: Array, delta: Array) -> list[int]:
    """``||G (x_i - x - delta)||^2`` of the points X (m, d): integers, all in one unit."""
    Z = factor.embed(Dyadic.of(X).minus(Dyadic.of(x).plus(Dyadic.of(delta)))).values
    return list((Z * Z).sum(axis=1))


def nearest_floats(values: Objects, exponent: int) -> Array:
    """The integers times ``2**exponent`` as floats, each off by at most two roundings."""
    result = np.empty(values.shape)
    for place in np.ndindex(values.shape):
        whole = int(values[place])
        spare = max(whole.bit_length() - 64, 0)
        result[place] = math.ldexp(whole >> spare, exponent + spare)
    return result
