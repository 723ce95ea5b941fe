"""What every metric learner has in common: the `MetricLearner` interface and the check of its training set."""

from __future__ import annotations

from typing import Protocol, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from arml.inputs import checked_points

Array = NDArray[np.float64]


class MetricLearner(Protocol):
    """An estimator that learns a Mahalanobis metric ``M = G' G`` from labelled points.

    The vocabulary is metric-learn's, so its estimators satisfy this protocol as they are.
    A fitted learner may also carry ``fit_report_``, a JSON-able dict that says how the fit went.
    """

    @property
    def components_(self) -> Array:
        """The factor G, (r, d); exists after `fit`."""

    def fit(self, X: Array, y: NDArray[np.int64]) -> Self:
        """Learn from X (n, d) and labels y (n,)."""

    def get_mahalanobis_matrix(self) -> Array:
        """``M = G' G``, (d, d)."""


def check_training_set(X: ArrayLike, y: ArrayLike) -> tuple[Array, NDArray[np.int64]]:
    """X as (n, d) float64 and y as (n,) int64 labels 0..C-1 in the order of the sorted classes.

    Raises
    ------
    ValueError
        If X is not a finite two-dimensional array, y does not hold one label per point, or there is only one class.
    """
    points = checked_points(X, "X")
    if not len(points):
        raise ValueError(f"X must be a non-empty (n, d) array, got shape {points.shape}; pass the training points")
    if isinstance(y, np.ma.MaskedArray) and np.ma.getmaskarray(y).any():
        raise ValueError("y has masked entries; drop the points without a label")
    labels = np.asarray(y)
    if labels.ndim != 1 or len(labels) != len(points):
        raise ValueError(f"y must hold one label per point: X has {len(points)} points, y has the shape {labels.shape}")
    if labels.dtype.kind == "f" and not np.isfinite(labels).all():
        raise ValueError(f"y holds {labels[~np.isfinite(labels)][0]}; every label must be finite")
    classes, codes = np.unique(labels, return_inverse=True)
    if len(classes) < 2:
        raise ValueError(f"a metric is learned from at least two classes, y holds only {classes[0]!r}")
    return points, codes.astype(np.int64)
