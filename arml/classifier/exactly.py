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
        whole = np.ldexp(mantissa, 53).astype(np.int64)
        values = np.empty(array.shape, dtype=object)
        for place in np.ndindex(array.shape):
            values[place] = int(whole[place]) << max(int(power[place]) - 53 - least, 0)
        return cls(values, least)

    def minus(self, other: Dyadic) -> Dyadic:
        """The difference, of shapes that broadcast."""
        return self.plus(Dyadic(-other.values, other.exponent))

    def plus(self, other: Dyadic) -> Dyadic:
        """The sum, of shapes that broadcast."""
        least = min(self.exponent, other.exponent)
        left, right = self.values * (1 << (self.exponent - least)), other.values * (1 << (other.exponent - least))
        return Dyadic(left + right, least)


def sq_distances(G: Dyadic, X: Array, x: Array, delta: Array) -> list[int]:
    """``||G (x_i - x - delta)||^2`` of the points X (m, d): integers, all in one unit."""
    T = Dyadic.of(X).minus(Dyadic.of(x)).minus(Dyadic.of(delta))
    return [sum(int(z) * int(z) for z in row) for row in T.values @ G.values.T]


def nearest_floats(values: Objects, exponent: int) -> Array:
    """The integers times ``2**exponent`` as floats, each off by at most two roundings."""
    result = np.empty(values.shape)
    for place in np.ndindex(values.shape):
        whole = int(values[place])
        spare = max(whole.bit_length() - 64, 0)
        result[place] = math.ldexp(whole >> spare, exponent + spare)
    return result
