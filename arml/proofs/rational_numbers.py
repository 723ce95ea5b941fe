"""Floats as what they are: integers times a power of two. No float operation happens here, only operations on bits."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Integers = NDArray[np.int64]
#: numpy arrays of Python integers, which have no limit.
BigInts = NDArray[Any]

_FRACTION_BITS = 52
_BIAS = 1075


def mantissas(values: Array) -> tuple[Integers, Integers]:
    """Integers m and e (as int64, the shape of ``values``) with ``values = m 2**e`` for finite float64 values."""
    raw = np.ascontiguousarray(values, dtype=np.float64).view(np.int64)
    exponent = (raw >> _FRACTION_BITS) & 0x7FF
    size = (raw & ((1 << _FRACTION_BITS) - 1)) | ((exponent > 0).astype(np.int64) << _FRACTION_BITS)
    return np.where(raw < 0, -size, size), np.maximum(exponent, 1) - _BIAS


def finest(values: Array) -> int | None:
    """The largest e for which every value is an integer times ``2**e``; None where all are 0."""
    m, e = mantissas(values)
    used = m != 0
    if not used.any():
        return None
    last_bit = np.bitwise_count((m & -m) - 1).astype(np.int64)
    return int((e + last_bit)[used].min())


def integers(values: Array, unit: int) -> BigInts:
    """The values as Python integers, in units of ``2**unit``; unit is at most what `finest` gives."""
    m, e = mantissas(values)
    flat = [
        value << shift if shift >= 0 else value >> -shift
        for value, shift in zip(m.ravel().tolist(), (e - unit).ravel().tolist(), strict=True)
    ]
    whole = np.empty(len(flat), dtype=object)
    whole[:] = flat
    return whole.reshape(values.shape)


def integer(value: float, unit: int) -> int:
    """One value as `integers` has it."""
    return int(integers(np.array([value]), unit)[0])


def shifted(value: int, bits: int) -> int:
    """``value 2**bits``, rounded down where ``bits`` is negative."""
    return value << bits if bits >= 0 else value >> -bits


def times_power(numerator: int, exponent: int) -> Fraction:
    """``numerator 2**exponent``."""
    return Fraction(numerator << exponent) if exponent >= 0 else Fraction(numerator, 1 << -exponent)


def exact(value: float) -> Fraction:
    """A finite float as a fraction."""
    return Fraction(*float(value).as_integer_ratio())
