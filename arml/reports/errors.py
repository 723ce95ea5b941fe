"""Robust errors and their sampling intervals, computed from the radii of a record.

The robust error at threshold epsilon is ``error(epsilon) = mean(radius <= epsilon)`` (see `arml.radii` for the
conventions). It is a proportion of n test points, so its interval is Wilson's score interval: unlike the normal
approximation it stays inside [0, 1] and has a positive width at errors of 0 and 1, which are frequent here.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]

#: Two-sided 95 % quantile of the standard normal distribution.
Z_95 = 1.959963984540054


def robust_error(radii: ArrayLike, epsilon: ArrayLike) -> Array:
    """Fraction of the (n,) radii that are at most ``epsilon``, for epsilon of any shape; float64 of that shape.

    Raises
    ------
    ValueError
        If there are no radii, or one of them is NaN.
    """
    ordered = _sorted_radii(radii)
    return np.asarray(np.searchsorted(ordered, np.asarray(epsilon, dtype=np.float64), side="right") / len(ordered))


def wilson_interval(error: ArrayLike, n: int) -> tuple[Array, Array]:
    """95 % Wilson score interval (low, high) of proportions ``error``, each measured on ``n`` points.

    Raises
    ------
    ValueError
        If n is not positive or a proportion lies outside [0, 1].
    """
    p = np.asarray(error, dtype=np.float64)
    if n <= 0:
        raise ValueError(f"a proportion needs at least one point, got n={n}")
    if not ((p >= 0) & (p <= 1)).all():
        raise ValueError("an error is a proportion and must lie in [0, 1]")
    z2 = Z_95**2
    centre = (p + z2 / (2 * n)) / (1 + z2 / n)
    half = Z_95 / (1 + z2 / n) * np.sqrt(p * (1 - p) / n + z2 / (4 * n * n))
    # At 0 and 1 the bound equals the proportion exactly; the subtraction would leave rounding behind.
    return np.where(p == 0, 0.0, centre - half), np.where(p == 1, 1.0, centre + half)


def error_curve(radii: ArrayLike, max_radius: float) -> tuple[Array, Array]:
    """The whole step function error(epsilon) on [0, max_radius], without a grid.

    Returns
    -------
    epsilon : (m,) increasing, starts at 0 and ends at ``max_radius``; the error jumps only at these
    error : (m,) error on [epsilon[i], epsilon[i + 1]), to be drawn with steps "post"
    """
    ordered = _sorted_radii(radii)
    inside = ordered[(ordered > 0) & (ordered < max_radius)]
    epsilon = np.unique(np.concatenate([[0.0], inside, [max_radius]]))
    return epsilon, robust_error(ordered, epsilon)


def _sorted_radii(radii: ArrayLike) -> Array:
    ordered = np.sort(np.asarray(radii, dtype=np.float64).ravel())
    if ordered.size == 0:
        raise ValueError("a robust error needs at least one radius, got none")
    if np.isnan(ordered[-1]):  # NaN sorts last
        raise ValueError("a radius is NaN; it must be a number or inf")
    return ordered
