"""Checks of what a caller hands in: points, labels and boxes. Each error says what is wrong, where, and what to do."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]
Integers = NDArray[np.int64]


class InvalidInputError(ValueError):
    """Points or labels cannot be used: the message says which, where and why."""


def checked_points(X: ArrayLike, name: str) -> Array:
    """X as a finite, C-contiguous float64 array (n, d)."""
    try:
        array = np.ascontiguousarray(np.asarray(X), dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise InvalidInputError(f"{name} cannot be read as numbers: {error}") from error
    if array.ndim != 2 or array.shape[1] == 0:
        raise InvalidInputError(
            f"{name} must be two-dimensional (points, features), got shape {array.shape}; reshape one point to (1, -1)"
        )
    if not np.isfinite(array).all():
        row, column = np.argwhere(~np.isfinite(array))[0]
        raise InvalidInputError(f"{name} holds {array[row, column]} at row {row}, column {column}; it must be finite")
    return array


def checked_labels(y: ArrayLike, length: int, name: str) -> Integers:
    """The integer labels y (length,) as int64."""
    array = np.asarray(y)
    if array.shape != (length,):
        raise InvalidInputError(f"{name} has shape {array.shape}, expected one label for each of the {length} points")
    if array.dtype.kind in "iub":
        return array.astype(np.int64)
    if array.dtype.kind == "f" and bool((array == np.round(array)).all()):
        return array.astype(np.int64)
    raise InvalidInputError(f"{name} must hold integer class labels, got type {array.dtype}; encode them as 0..C-1")


def checked_box(box: tuple[float, float] | None) -> tuple[float, float] | None:
    """The range (low, high) as floats, or None."""
    if box is None:
        return None
    low, high = float(box[0]), float(box[1])
    if not low <= high:
        raise InvalidInputError(f"the box ({low}, {high}) is empty; pass (low, high) with low <= high")
    return low, high


def room_within(box: tuple[float, float] | None, X: Array) -> tuple[Array, Array]:
    """How far the coordinates of X may go down, and up, to stay in the box: two arrays of its shape.

    A coordinate outside keeps its own value as limit; without a box both are infinite.
    """
    low, high = (-np.inf, np.inf) if box is None else box
    return X - np.minimum(low, X), np.maximum(high, X) - X
