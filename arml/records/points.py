"""``points.csv``: a row per evaluated test point, in the columns that the record says it has, none of it impossible."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from arml.radii import Status
from arml.records.contents import TYPES, Contents
from arml.records.files import parse_csv
from arml.records.format import DamagedRecordError, file_bytes, read_arrays
from arml.subset import evaluation_indices

# By how much a norm that was computed in another order may differ, relatively.
_ROUNDING = 1e-9
# No test part is larger; a number from a damaged key must not fill the memory.
_LARGEST = 10**8

_STATUSES = frozenset(status.value for status in Status)
# What is ordered, wherever both columns are there.
_ORDERED = (("lower", "upper"), ("lower", "majority"), ("majority", "upper"))
_COUNTED = ("queries", "nodes")
# Kinds of NumPy's types that are written for each type of column.
_KINDS = {"int": "iu", "float": "f", "text": "U"}


def write_points(path: Path, holds: Contents, columns: Mapping[str, Sequence[object] | NDArray[np.generic]]) -> None:
    """Write the (n,) ``columns`` of a record that holds ``holds``, in its order, every float to the last digit.

    Raises
    ------
    ValueError
        If they are not exactly those of ``holds``, are not equally long, or one is of another type.
    """
    if columns.keys() != holds.columns.keys():
        raise ValueError(f"the record holds the columns {', '.join(holds.columns)}, not {', '.join(columns)}")
    values = []
    for name, kind in holds.columns.items():
        array = np.asarray(columns[name])
        if array.ndim != 1 or array.dtype.kind not in _KINDS[kind]:
            raise ValueError(f"column {name} holds one {kind} a row, not {array.dtype} of shape {array.shape}")
        values.append(array.tolist())
    with path.open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(holds.columns)
        # csv writes a float by its repr, which reads back to the same float.
        rows.writerows(zip(*values, strict=True))


def read_points(path: Path, holds: Contents) -> pd.DataFrame:
    """The points of a record that holds ``holds``, a row each, with exactly its columns.

    Raises
    ------
    DamagedRecordError
        If the file cannot be read, has other columns or no points, or one of them is impossible.
    """
    try:
        types = {name: TYPES[kind] for name, kind in holds.columns.items()}
        points = parse_csv(file_bytes(path).decode("utf-8"), types)
    except (ValueError, OverflowError) as error:
        raise DamagedRecordError(f"points.csv cannot be read ({error})") from error
    if list(points.columns) != list(holds.columns):
        raise DamagedRecordError(
            f"points.csv has columns {', '.join(points.columns)}, the record says {', '.join(holds.columns)}"
        )
    if points.empty:
        raise DamagedRecordError("points.csv holds no points")
    if points["index"].min() < 0 or points["index"].duplicated().any():
        raise DamagedRecordError("points.csv names a test point twice, or one before the first")
    unknown = sorted(set(points["status"].unique()) - _STATUSES)
    if unknown:
        raise DamagedRecordError(f"points.csv has the unknown status {unknown[0]!r}")
    _check_values(points, holds)
    return points


def _check_values(points: pd.DataFrame, holds: Contents) -> None:
    for low, high in _ORDERED:
        if low in points and high in points:
            small, large = points[low].to_numpy(), points[high].to_numpy()
            # NaN fails both comparisons.
            crossed = np.flatnonzero(~((small >= 0) & (small <= large)))
            if crossed.size:
                row = int(crossed[0])
                raise DamagedRecordError(
                    f"points.csv: {low} {small[row]} and {high} {large[row]} in row {row + 2} are impossible"
                )
    radii = points[holds.counted].to_numpy()
    below = np.flatnonzero(~(radii >= 0))
    if below.size:
        row = int(below[0])
        raise DamagedRecordError(f"points.csv: {holds.counted} {radii[row]} in row {row + 2} is impossible")
    wrong = points["prediction"].to_numpy() != points["label"].to_numpy()
    wrong |= points["status"].to_numpy() == Status.MISCLASSIFIED.value
    if any((points[name].to_numpy()[wrong] > 0).any() for name in {"lower", holds.counted} & {*points.columns}):
        raise DamagedRecordError("points.csv gives a misclassified point a radius above 0")
    for name in _COUNTED:
        if name in points and (points[name] < 0).any():
            raise DamagedRecordError(f"points.csv counts fewer than 0 {name}")


def check_attained(points: pd.DataFrame, path: Path) -> None:
    """Each ``upper`` is the norm of the perturbation that ``path``, the file of the proof, holds for it.

    Points without that column need none. This is no check of the proof; but it needs no data and takes milliseconds.

    Raises
    ------
    DamagedRecordError
        If the file cannot be read, is about other points, or a norm is another.
    """
    if "upper" not in points:
        return
    arrays = read_arrays(path, ("index", "perturbation"))
    if "index" not in arrays or not np.array_equal(arrays["index"], points["index"].to_numpy()):
        raise DamagedRecordError(f"points.csv and {path.name} are about different points")
    perturbation = arrays.get("perturbation")
    if perturbation is None or perturbation.dtype.kind != "f" or perturbation.ndim != 2:
        raise DamagedRecordError(f"{path.name} holds no perturbations, or not as a matrix of floats")
    if len(perturbation) != len(points):
        raise DamagedRecordError(f"{path.name} holds {len(perturbation)} perturbations for {len(points)} points")
    upper, norms = points["upper"].to_numpy(), np.linalg.norm(perturbation, axis=1)
    # Where nothing was found the perturbation is 0. Written so that a NaN refuses.
    claimed = np.where(np.isfinite(upper), upper, 0.0)
    wrong = np.flatnonzero(~(np.abs(norms - claimed) <= _ROUNDING * claimed))
    if wrong.size:
        row = int(wrong[0])
        raise DamagedRecordError(
            f"points.csv gives test point {points['index'].iloc[row]} the upper bound {upper[row]}, but its "
            f"perturbation in {path.name} has the norm {norms[row]}"
        )


def check_subset(points: pd.DataFrame, n_test: int, n_eval: int | None, seed: int) -> None:
    """The points are those of the evaluation subset of a test part of ``n_test`` rows, in its order.

    Raises
    ------
    DamagedRecordError
        Saying how many are missing and how many do not belong there, with the first of each.
    """
    if n_test > _LARGEST:
        raise DamagedRecordError(f"a test part of {n_test} rows is none that there is")
    wanted, found = evaluation_indices(n_test, n_eval, seed), points["index"].to_numpy()
    if np.array_equal(wanted, found):
        return
    named = f"the evaluation subset that the key names (n_eval={n_eval}, seed={seed}, {n_test} test points)"
    missing, strange = np.setdiff1d(wanted, found), np.setdiff1d(found, wanted)
    if not missing.size and not strange.size:
        raise DamagedRecordError(f"points.csv has the points of {named} in another order")
    parts = [
        f"{what} {len(rows)} (the first is row {rows[0]} of the test part)"
        for what, rows in (("lacks", missing), ("has besides", strange))
        if rows.size
    ]
    raise DamagedRecordError(f"points.csv does not hold {named}: it {' and '.join(parts)}")
