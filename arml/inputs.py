"""Checks of what a caller hands in: points, labels and boxes. Each error says what is wrong, where, and what to do.

What is taken as it is: arrays, nested lists, DataFrames and tensors of integers, booleans and floats of any size that
float64 holds without loss, object arrays of such numbers, and masked arrays without a masked entry. What would have to
be guessed is refused: complex numbers, masked or missing entries, sparse matrices, text (also text that reads as a
number: which decimal sign it was written with is not ours to know), dates, and numbers that float64 would round.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]
Integers = NDArray[np.int64]
Names = tuple[Hashable, ...]

#: Python's and NumPy's real numbers; Decimal and Fraction are not among them, as float64 rounds most of them.
_NUMBERS = (bool, int, float, np.bool_, np.integer, np.floating)
_LARGEST = 2**63 - 1  # of int64


class InvalidInputError(ValueError):
    """Points or labels cannot be used: the message says which, where and why."""


def checked_points(X: ArrayLike, name: str) -> Array:
    """X as a finite, C-contiguous float64 array (n, d).

    Raises
    ------
    InvalidInputError
        If X is not a two-dimensional array of real numbers, each finite and held by float64 without loss.
    """
    columns = column_names(X)
    given = _as_array(X, name)
    if given.ndim != 2 or given.shape[1] == 0:
        raise InvalidInputError(
            f"{name} must be two-dimensional (points, features), got shape {given.shape}; reshape one point to (1, -1)"
        )
    if given.dtype.kind == "O":
        _check_entries(given, name, columns)
    elif given.dtype.kind not in "biuf":
        raise InvalidInputError(_not_numbers(given.dtype, name))
    try:
        with np.errstate(over="ignore"):
            array = np.ascontiguousarray(given, dtype=np.float64)
    except OverflowError as error:
        raise InvalidInputError(f"{name} holds an integer beyond the range of float64; rescale the feature") from error
    if not np.isfinite(array).all():
        row, column = np.argwhere(~np.isfinite(array))[0]
        raise InvalidInputError(
            f"{name} holds {given[row, column]!s} at row {row}, column {_column(column, columns)}; it must be finite, "
            "so drop the row or fill the value in"
        )
    _check_lossless(given, array, name, columns)
    return array


def checked_labels(y: ArrayLike, length: int, name: str) -> Integers:
    """The integer labels y (length,) as int64.

    Raises
    ------
    InvalidInputError
        If y does not hold one label per point, or a label is no integer that int64 (as a float: the float type) holds
        without loss.
    """
    array = _as_array(y, name)
    if array.shape != (length,):
        remedy = f"; pass {name}.ravel()" if array.shape == (length, 1) else ""
        raise InvalidInputError(
            f"{name} has shape {array.shape}, expected one label for each of the {length} points{remedy}"
        )
    if array.dtype.kind == "O":
        return np.array([_integer(value, row, name) for row, value in enumerate(array)], dtype=np.int64)
    if array.dtype.kind == "f":
        # Beyond the digits of its type a float stands for several integers: it is no name of a class.
        limit = 2.0 ** min(53, np.finfo(array.dtype).nmant + 1)
        with np.errstate(invalid="ignore"):
            fits = (array == np.round(array)) & (np.abs(array) <= limit)
        if not fits.all():
            row = int(np.argmin(fits))
            raise InvalidInputError(_no_label(array[row], row, name))
    elif array.dtype.kind not in "biu":
        raise InvalidInputError(
            f"{name} must hold integer class labels, got type {array.dtype}; encode them as 0..C-1 "
            f"(np.unique({name}, return_inverse=True)[1])"
        )
    elif array.dtype.kind == "u" and (array > _LARGEST).any():
        row = int(np.argmax(array > _LARGEST))
        raise InvalidInputError(_no_label(array[row], row, name))
    return array.astype(np.int64)


def checked_box(box: object) -> tuple[float, float] | None:
    """The range (low, high) of every coordinate as floats, or None; an infinite end leaves that side open.

    Raises
    ------
    InvalidInputError
        If ``box`` is not two numbers with low <= high, or leaves no finite number between them.
    """
    if box is None:
        return None
    if not isinstance(box, Sequence | np.ndarray) or isinstance(box, str | bytes) or len(box) != 2:
        raise InvalidInputError(f"box must be one range (low, high) for all coordinates, or None, got {box!r}")
    ends = [float(end) for end in box if isinstance(end, _NUMBERS) and not isinstance(end, bool | np.bool_)]
    if len(ends) != 2:
        raise InvalidInputError(f"box must hold two numbers (low, high), got {box!r}")
    low, high = ends
    if not low <= high:
        raise InvalidInputError(f"the box ({low}, {high}) is empty; pass (low, high) with low <= high")
    if low == np.inf or high == -np.inf:
        raise InvalidInputError(f"the box ({low}, {high}) holds no finite number; pass (low, high) with low <= high")
    return low, high


def room_within(box: tuple[float, float] | None, X: Array) -> tuple[Array, Array]:
    """How far the coordinates of X may go down, and up, to stay in the box: two arrays of its shape.

    A coordinate outside keeps its own value as limit; without a box both are infinite. Rounded down, so that no step
    within the room leaves the box.
    """
    low, high = (-np.inf, np.inf) if box is None else box
    return _rounded_down(X, np.minimum(low, X)), _rounded_down(np.maximum(high, X), X)


def _rounded_down(a: Array, b: Array) -> Array:
    """``a - b`` for a >= b, never more than it is exactly (by Knuth's error of a sum)."""
    difference = a - b
    with np.errstate(invalid="ignore"):
        back = difference - a
        error = (a - (difference - back)) + (-b - back)
    return np.asarray(np.where(error < 0, np.nextafter(difference, 0.0), difference))


def check_within_box(X: Array, box: tuple[float, float], name: str, attack: str, remedy: str) -> None:
    """Raise `InvalidInputError` if a coordinate of the points X (t, d) is outside the box of an attack."""
    outside = (box[0] > X) | (box[1] < X)
    if outside.any():
        row, column = np.argwhere(outside)[0]
        raise InvalidInputError(
            f"{name} holds {X[row, column]} at row {row}, column {column}, outside box=({box[0]:g}, {box[1]:g}), which "
            f"attack={attack!r} searches unless told otherwise; {remedy}"
        )


def column_names(X: object) -> Names | None:
    """The names of the columns of a DataFrame (pandas, polars), None for anything without."""
    columns = getattr(X, "columns", None)
    if columns is None or not hasattr(X, "dtypes"):
        return None
    return tuple(columns.tolist() if hasattr(columns, "tolist") else columns)


def check_columns(fitted: Names | None, given: Names | None, name: str) -> None:
    """Raise `InvalidInputError` if the columns ``given`` are not the ``fitted`` ones, in their order.

    Arrays have no names (None), and numbered columns are no names beside lettered ones; both are taken by position.
    """
    if fitted is None or given is None or fitted == given or _numbered(fitted) != _numbered(given):
        return
    missing = [column for column in fitted if column not in given]
    unknown = [column for column in given if column not in fitted]
    if not missing and not unknown and len(fitted) == len(given):
        first = next(i for i, (a, b) in enumerate(zip(fitted, given, strict=True)) if a != b)
        raise InvalidInputError(
            f"the columns of {name} are those of X_train in another order: column {first} is {given[first]!r}, not "
            f"{fitted[first]!r}; pass {name}[{_listed(fitted)}]"
        )
    wrong = [f"lacks {_listed(missing)}"] * bool(missing) + [f"has the unknown {_listed(unknown)}"] * bool(unknown)
    raise InvalidInputError(
        f"the columns of {name} are not those of X_train: it {' and '.join(wrong or ['repeats a column'])}; "
        f"pass the columns {_listed(fitted)}, in this order"
    )


def _as_array(value: Any, name: str) -> NDArray[Any]:
    """``value`` as an array of whatever type, once nothing in it can get lost on the way."""
    if hasattr(value, "toarray") and hasattr(value, "nnz"):
        raise InvalidInputError(f"{name} is a sparse matrix, which is not supported; pass {name}.toarray()")
    if isinstance(value, list | tuple) and any(isinstance(row, np.ma.MaskedArray) for row in value):
        value = np.ma.array(value)
    if isinstance(value, np.ma.MaskedArray) and np.ma.getmaskarray(value).any():
        where = ", ".join(str(index) for index in np.argwhere(np.ma.getmaskarray(value))[0])
        raise InvalidInputError(
            f"{name} has {int(np.ma.getmaskarray(value).sum())} masked entries, the first at ({where}); fill them "
            f"({name}.filled(value)) or drop their rows"
        )
    try:
        array = np.asarray(value)
    except (TypeError, ValueError, RuntimeError) as error:
        raise InvalidInputError(
            f"{name} cannot be read as an array of numbers: {error}; pass one rectangular array"
        ) from error
    if array.dtype.kind == "c":
        raise InvalidInputError(
            f"{name} is complex; pass its real part ({name}.real) if the imaginary one means nothing"
        )
    return array


def _check_entries(given: NDArray[Any], name: str, columns: Names | None) -> None:
    """Raise for the first entry of an object array (n, d) that is no real number, naming all columns that hold such."""
    wrong = np.frompyfunc(lambda value: not isinstance(value, _NUMBERS), 1, 1)(given).astype(bool)
    if not wrong.any():
        return
    row, column = np.argwhere(wrong)[0]
    value = given[row, column]
    faulty = np.flatnonzero(wrong.any(axis=0))
    others = (
        f" ({len(faulty)} columns do: {_listed([_label(int(c), columns) for c in faulty])})" if len(faulty) > 1 else ""
    )
    where = f"at row {row}, column {_column(column, columns)}{others}"
    if _missing(value):
        raise InvalidInputError(f"{name} lacks a value ({value}) {where}; drop the row or fill the value in")
    raise InvalidInputError(
        f"{name} holds the {type(value).__name__} {value!r} {where}, which is no real number; drop the column, encode "
        "it, or convert it with astype(float)"
    )


def _check_lossless(given: NDArray[Any], array: Array, name: str, columns: Names | None) -> None:
    """Raise for the first entry that float64 rounds: a wide float, or an integer beyond 2**53."""
    if given.dtype.kind == "b" or (given.dtype.kind == "f" and given.dtype.itemsize <= 8):
        return
    if given.dtype.kind in "iu" and given.dtype.itemsize <= 4:
        return
    # Integers beyond 2**53 are compared as Python's, since NumPy would round both sides.
    doubtful = np.argwhere((np.abs(array) >= 2.0**53) if given.dtype.kind in "iu" else np.ones(array.shape, dtype=bool))
    for row, column in doubtful if given.dtype.kind in "iuO" else np.argwhere(given != array):
        if given.dtype.kind == "f" or _rounded(given[row, column], array[row, column]):
            raise InvalidInputError(
                f"{name} holds {given[row, column]!s} at row {row}, column {_column(column, columns)}, which float64 "
                "would round; pass astype(float) if that does no harm"
            )


def _rounded(value: Any, held: np.float64) -> bool:
    if isinstance(value, int | np.integer):
        return int(value) != int(held)
    return bool(value != held)


def _not_numbers(dtype: np.dtype[Any], name: str) -> str:
    if dtype.kind in "US":
        return f"{name} is text ({dtype}) and cannot be read as numbers; convert it with {name}.astype(float) first"
    return f"{name} cannot be read as numbers: its type is {dtype}; pass integers or floats"


def _integer(value: Any, row: int, name: str) -> int:
    """A label out of an object array."""
    if isinstance(value, bool | int | np.bool_ | np.integer):
        label = int(value)
        if -_LARGEST <= label <= _LARGEST:
            return label
    if isinstance(value, float | np.floating) and abs(float(value)) <= 2**53 and value == np.rint(value):
        return int(value)
    raise InvalidInputError(_no_label(value, row, name))


def _no_label(value: Any, row: int, name: str) -> str:
    if _missing(value) or (isinstance(value, float | np.floating) and np.isnan(value)):
        return f"{name} lacks a label ({value}) at row {row}; drop the row"
    shown = repr(value) if isinstance(value, str | bytes) else str(value)
    return (
        f"{name} must hold integer class labels that int64, or their float type, holds exactly, but holds {shown} at "
        f"row {row}; encode them as 0..C-1 (np.unique({name}, return_inverse=True)[1])"
    )


def _missing(value: Any) -> bool:
    """Whether ``value`` is None, or pandas' NA or NaT, which are known by their name so that pandas is not needed."""
    return value is None or type(value).__name__ in ("NAType", "NaTType")


def _numbered(names: Names) -> bool:
    return all(isinstance(column, int) for column in names)


def _label(column: int, columns: Names | None) -> Hashable:
    return column if columns is None else columns[column]


def _column(column: int, columns: Names | None) -> str:
    return str(column) if columns is None else f"{column} ({columns[column]!r})"


def _listed(names: Sequence[Hashable]) -> str:
    """Names as a list, cut where there are many."""
    shown = ", ".join(repr(item) for item in names[:10])
    return f"[{shown}]" if len(names) <= 10 else f"[{shown}, ... {len(names)} in all]"
