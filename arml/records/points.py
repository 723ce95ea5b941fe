"""Reading ``points.csv``: a row per evaluated test point, of which none may be impossible."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from arml.radii import Status
from arml.records.files import parse_csv
from arml.records.format import DamagedRecordError, file_bytes, read_arrays
from arml.subset import evaluation_indices

POINT_COLUMNS = ("index", "label", "prediction", "lower", "upper", "status")
#: What an attack may add: the norm at which the own class lost its majority of the neighbours, and the queries spent.
ATTACK_COLUMNS = ("majority", "queries")
#: What a search adds: the size of its tree.
SEARCH_COLUMNS = ("nodes",)

# By how much a norm that was computed in another order may differ, relatively.
_ROUNDING = 1e-9
# No test part is larger; a number from a damaged key must not fill the memory.
_LARGEST = 10**8

_STATUSES = frozenset(status.value for status in Status)
_POINT_TYPES: dict[str, type] = dict.fromkeys(("index", "label", "prediction", "queries", "nodes"), int)
_POINT_TYPES |= dict.fromkeys(("lower", "upper", "majority"), float)


def read_points(path: Path) -> pd.DataFrame:
    """The points of a record, columns `POINT_COLUMNS` and what an attack or a search adds.

    Raises
    ------
    DamagedRecordError
        If the file cannot be read, has other columns or no points, or one of them is impossible.
    """
    try:
        points = parse_csv(file_bytes(path).decode("utf-8"), _POINT_TYPES)
    except (ValueError, OverflowError) as error:
        raise DamagedRecordError(f"points.csv cannot be read ({error})") from error
    if tuple(points.columns) not in [POINT_COLUMNS + more for more in ((), ATTACK_COLUMNS, SEARCH_COLUMNS)]:
        raise DamagedRecordError(
            f"points.csv has columns {', '.join(points.columns)}, not {', '.join(POINT_COLUMNS)}, "
            f"with or without {', '.join(ATTACK_COLUMNS)} or {', '.join(SEARCH_COLUMNS)}"
        )
    if points.empty:
        raise DamagedRecordError("points.csv holds no points")
    if points["index"].min() < 0 or points["index"].duplicated().any():
        raise DamagedRecordError("points.csv names a test point twice, or one before the first")
    unknown = sorted(set(points["status"]) - _STATUSES)
    if unknown:
        raise DamagedRecordError(f"points.csv has the unknown status {unknown[0]!r}")
    _check_bounds(points)
    return points


def _check_bounds(points: pd.DataFrame) -> None:
    attacked = "majority" in points
    for low, high in (("lower", "upper"), *((("lower", "majority"), ("majority", "upper")) if attacked else ())):
        small, large = points[low].to_numpy(), points[high].to_numpy()
        # NaN fails both comparisons.
        crossed = np.flatnonzero(~((small >= 0) & (small <= large)))
        if crossed.size:
            row = int(crossed[0])
            raise DamagedRecordError(
                f"points.csv: {low} {small[row]} and {high} {large[row]} in row {row + 2} are impossible"
            )
    wrong = points[(points["status"] == Status.MISCLASSIFIED.value) | (points["prediction"] != points["label"])]
    if (wrong["lower"] > 0).any() or (attacked and (wrong["upper"] > 0).any()):
        raise DamagedRecordError("points.csv gives a misclassified point a radius above 0")
    if attacked and (points["queries"] < 0).any():
        raise DamagedRecordError("points.csv counts fewer than 0 queries")


def check_attained(points: pd.DataFrame, path: Path) -> None:
    """Each ``upper`` is the norm of the perturbation that ``path``, the file of the proof, holds for it.

    This is no check of the proof; but it needs no data and takes milliseconds.

    Raises
    ------
    DamagedRecordError
        If the file cannot be read, is about other points, or a norm is another.
    """
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
