"""Bounds of distances and rows in whole numbers of 64 bits, for all training points at once.

Most comparisons of a proof are clear by a wide margin. Here points are rounded down to some 25 bits, with the error
counted, and compared in int64, where sums of products cannot overflow; what is not clear is left to `ExactView`. Points
so far out that they would cost the others their digits are *wild*: nothing is said of them here.

Units: the integers of `ExactSet`. A vector is ``v 2**power`` with every entry within ``error 2**power``.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from arml.proofs.rational_geometry import ExactSet, ExactView
from arml.proofs.rational_numbers import Array, BigInts, Integers, mantissas, shifted

_BLOCK = 4096
_SAMPLE = 255
# Whole numbers that points are first rounded to are below 2**61, so that differences of them fit.
_FIRST_BITS = 61


@dataclass(frozen=True)
class Rounded:
    """Vectors (n, d) rounded to integers of few bits, with sums of squares (n,) and of absolute values (n,)."""

    values: NDArray[np.int32]
    power: int
    error: int
    sq_norms: Integers
    sizes: Integers

    @classmethod
    def of(cls, values: NDArray[np.int32], power: int, error: int) -> Rounded:
        """With the sums computed."""
        sq_norms, sizes = np.empty(len(values), np.int64), np.empty(len(values), np.int64)
        for part in _blocks(len(values)):
            wide = values[part].astype(np.int64)
            sq_norms[part], sizes[part] = np.einsum("nd,nd->n", wide, wide), np.abs(wide).sum(axis=1)
        return cls(values, power, error, sq_norms, sizes)

    def products(self, vectors: Integers, rows: Integers | None = None) -> Integers:
        """Inner products (n, s) of all vectors, or of ``rows``, with others (s, d) of as few bits."""
        n = len(self.values) if rows is None else len(rows)
        result = np.empty((n, len(vectors)), np.int64)
        for part in _blocks(n):
            values = self.values[part] if rows is None else self.values[rows[part]]
            result[part] = values.astype(np.int64) @ vectors.T
        return result

    def sq_distances(self, vectors: Integers, rows: Integers | None = None) -> tuple[Integers, Integers]:
        """Squared distances (n, s) from rounded vectors (s, d) with the same error, and bounds of their error."""
        sq_norms = self.sq_norms if rows is None else self.sq_norms[rows]
        sizes = self.sizes if rows is None else self.sizes[rows]
        middle = sq_norms[:, None] + (vectors * vectors).sum(axis=1) - 2 * self.products(vectors, rows)
        slip = 2 * self.error
        return middle, 2 * slip * (sizes[:, None] + np.abs(vectors).sum(axis=1)) + self.values.shape[1] * slip**2


class Screen:
    """Rounded points of a training set: ``z`` stands for ``G x_i``, ``p`` for ``G'G x_i``, both relative to an origin.

    ``wild`` (n,) marks points that are not in there. ``usable`` is False where rounding leaves too little to compare.
    """

    def __init__(self, train: ExactSet) -> None:
        n, d = train.X.shape
        G = None if train.factor is None else train.factor
        r = d if G is None else len(G)
        self.bits = (62 - max(d, r).bit_length()) // 2 - 2
        self.train, self.usable = train, True
        top = max((int(mantissas(train.X[part])[1].max(initial=-1075)) for part in _blocks(n)), default=0) + 53
        self._first = top - _FIRST_BITS
        sample = self._whole(train.X[:: max(1, n // _SAMPLE)][:_SAMPLE])
        self._origin = np.partition(sample, len(sample) // 2, axis=0)[len(sample) // 2]
        sizes = np.concatenate([np.abs(self._whole(train.X[part]) - self._origin).max(axis=1) for part in _blocks(n)])
        most = int(np.partition(sizes, n - 1 - n // 100)[n - 1 - n // 100])
        # A bit is left free for test points that lie a little farther out.
        self._drop = max(0, most.bit_length() + 1 - self.bits)
        self.wild: NDArray[np.bool_] = (sizes >> self._drop) >= 1 << self.bits
        values = np.zeros((n, d), np.int32)
        for part in _blocks(n):
            values[part] = (self._whole(train.X[part]) - self._origin) >> self._drop
        values[self.wild] = 0
        points = Rounded.of(values, self._first + self._drop - train.unit, 2)
        self._drops, self._factor, self._factor_power, self._largest = (0, 0), np.empty((0, 0), np.int64), 0, (0, 0)
        self.z = self.p = points
        if G is not None:
            self._map_all(G, points)
        # Where errors are as large as the numbers nothing is decided here.
        self.usable &= max(self.z.error, self.p.error) < 1 << (self.bits - 4)

    def _whole(self, X: Array) -> Integers:
        """Points in units of ``2**_first``, rounded down."""
        m, e = mantissas(X)
        shift = e - self._first
        return np.where(shift >= 0, m << np.clip(shift, 0, 62), m >> np.clip(-shift, 0, 63))

    def _map_all(self, G: BigInts, points: Rounded) -> None:
        """Set z and p from the rounded points and the rounded factor."""
        top = max((abs(value).bit_length() for value in G.ravel().tolist()), default=0)
        self._factor_power = max(0, top - self.bits)
        self._factor = (G >> self._factor_power).astype(np.int64)
        self.z, drop_z = self._mapped(points, self._factor)
        self.p, drop_p = self._mapped(self.z, self._factor.T)
        self._drops, self._largest = (drop_z, drop_p), (_largest(points), _largest(self.z))

    def _mapped(self, vectors: Rounded, factor: Integers) -> tuple[Rounded, int]:
        """The vectors mapped by a rounded factor (r, d), and by how many bits the result is rounded down again."""
        n, r = len(vectors.values), len(factor)
        # Of each entry the vector's error meets the factor, the factor's (below 1) the vector, and both each other.
        error = _largest(vectors) + vectors.error * (int(np.abs(factor).sum(axis=1).max(initial=0)) + factor.shape[1])
        sizes = np.empty(n, np.int64)
        for part in _blocks(n):
            sizes[part] = np.abs(vectors.values[part].astype(np.int64) @ factor.T).max(axis=1, initial=0)
        drop = max(0, int(sizes.max(initial=0)).bit_length() + 1 - self.bits)
        values = np.empty((n, r), np.int32)
        for part in _blocks(n):
            values[part] = (vectors.values[part].astype(np.int64) @ factor.T) >> drop
        return Rounded.of(values, vectors.power + self._factor_power + drop, (error >> drop) + 2), drop

    def seen(self, view: ExactView, delta: BigInts | None = None, finer: int = 0) -> tuple[Integers, Integers] | None:
        """Rounded z and p (1, .) of ``x + delta``, as near as those of the training points; None if x is wild.

        delta is in units of ``2**(unit - finer)``.
        """
        point = view.x if delta is None else (view.x << finer) + delta
        unit = self.train.unit - (0 if delta is None else finer)
        first = [shifted(value, unit - self._first) for value in point.tolist()]
        kept = [(a - b) >> self._drop for a, b in zip(first, self._origin.tolist(), strict=True)]
        if not self.usable or max(map(abs, kept), default=0) >= 1 << self.bits:
            return None
        z = p = np.array([kept], dtype=np.int64)
        if self._factor.size:
            # The errors of the training points hold for vectors that are about as long, and no longer.
            z = (p @ self._factor.T) >> self._drops[0]
            short = int(np.abs(p).sum()) <= self._largest[0] and int(np.abs(z).sum()) <= self._largest[1]
            p = (z @ self._factor) >> self._drops[1]
            if not short or max(int(np.abs(z).max()), int(np.abs(p).max())) >= 1 << self.bits:
                return None
        return z, p


def _largest(vectors: Rounded) -> int:
    """Sum of absolute values that no vector which is worked with exceeds: twice that of the largest."""
    return 2 * int(vectors.sizes.max(initial=0))


def _blocks(n: int) -> list[slice]:
    return [slice(start, min(start + _BLOCK, n)) for start in range(0, n, _BLOCK)]
