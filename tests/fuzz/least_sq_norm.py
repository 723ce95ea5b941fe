"""The shortest vector that satisfies linear inequalities, in integers: ``min |w|^2 subject to a'w <= b for each row``.

The method adds one violated row at a time and keeps a *basis*: at most d linearly independent rows with the same
optimum. Adding a violated row raises the value, so no basis comes twice and the method ends. The optimum of a basis and
one row is found by trying every subset that contains the new row: by Caratheodory's theorem the optimum is the
projection onto the intersection of some independent active rows with multipliers >= 0, and the new row is among them
(else the optimum would be that of the old basis, which violates it). If no subset fits there is no solution.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from itertools import combinations

#: A row (a, b) asks for ``a'w <= b``.
Row = tuple[tuple[int, ...], int]
#: The point W / q with q > 0.
Point = tuple[list[int], int]


def least_sq_norm(rows: Sequence[Row], limit: Fraction | None = None) -> Fraction | None:
    """Smallest ``|w|^2``; None where nothing satisfies the rows, or nothing shorter than ``limit``."""
    if not rows:
        return Fraction(0) if limit is None or limit > 0 else None
    weighed = [(row, dot(row[0], row[0])) for row in dict.fromkeys(rows)]
    basis: tuple[Row, ...] = ()
    W, q = [0] * len(rows[0][0]), 1
    while True:
        if limit is not None and dot(W, W) * limit.denominator >= limit.numerator * q * q:
            return None
        worst, worst_excess, worst_sq = None, 0, 1
        for row, sq_norm in weighed:
            excess = dot(row[0], W) - row[1] * q
            if excess <= 0:
                continue
            if sq_norm == 0:
                return None
            if worst is None or excess * excess * worst_sq > worst_excess * worst_excess * sq_norm:
                worst, worst_excess, worst_sq = row, excess, sq_norm
        if worst is None:
            return Fraction(dot(W, W), q * q)
        extended = _extended(basis, worst)
        if extended is None:
            return None
        basis, (W, q) = extended


def _extended(basis: tuple[Row, ...], row: Row) -> tuple[tuple[Row, ...], Point] | None:
    """Basis and optimum of the rows of a basis and one that its optimum violates; None where they contradict."""
    for size in range(min(len(basis), len(row[0]) - 1), -1, -1):
        for kept in combinations(basis, size):
            chosen = (*kept, row)
            point = projection(chosen)
            if point is None:
                continue
            W, q = point
            if all(dot(a, W) <= b * q for a, b in basis):
                return chosen, point
    return None


def projection(rows: Sequence[Row]) -> Point | None:
    """The point nearest to 0 with equality in all rows; None if they are dependent or a multiplier is negative."""
    # The point is -sum(l_i a_i) with N l = -b for the Gram matrix N. Elimination without fractions (Bareiss): in the
    # end every diagonal entry is the determinant of N. N is positive semi-definite: a pivot is 0 only if N is singular.
    table = [[dot(a, other) for other, _ in rows] + [-b] for a, b in rows]
    size, previous = len(rows), 1
    for k in range(size):
        pivot = table[k]
        if pivot[k] == 0:
            return None
        for i in range(size):
            if i != k:
                factor = table[i][k]
                table[i] = [(pivot[k] * v - factor * p) // previous for v, p in zip(table[i], pivot, strict=True)]
        previous = pivot[k]
    multipliers = [line[size] for line in table]
    if min(multipliers) < 0:
        return None
    d = len(rows[0][0])
    return [-sum(m * a[j] for m, (a, _) in zip(multipliers, rows, strict=True)) for j in range(d)], previous


def dot(a: Sequence[int], b: Sequence[int]) -> int:
    """Inner product."""
    return sum(map(int.__mul__, a, b))
