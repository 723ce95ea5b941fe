"""The papers' protocol: label encoding, scaling fitted on the training part, and the evaluated points.

* Images are divided by 255 and flattened.
* Other features are scaled one by one to [0, 1] by the minimum and maximum of the *training* part; test points may
  fall outside and are not clipped. A feature that is constant on the training part becomes 0 in both parts.
* Labels are encoded 0..C-1 in the sorted order of the training labels.
* The test part is shuffled as ``sklearn.utils.shuffle(X, y, random_state=42)``; its first 1,000 points are evaluated.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from arml import subset
from arml.datasets.errors import DatasetError
from arml.datasets.registry import Scaling
from arml.versions import VERSIONS

#: Part of every dataset's digest; to be raised whenever the numbers made here change.
VERSION = VERSIONS["datasets.protocol"]

Real = NDArray[np.float64] | NDArray[np.uint8]


def scale(X_train: Real, X_test: Real, scaling: Scaling) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Both parts flattened to (n, d) float64 and scaled; see the module's conventions."""
    train, test = X_train.reshape(len(X_train), -1), X_test.reshape(len(X_test), -1)
    if scaling is Scaling.DIVIDE_BY_255:
        return np.divide(train, 255.0, dtype=np.float64), np.divide(test, 255.0, dtype=np.float64)
    if scaling is Scaling.NONE:
        return train.astype(np.float64), test.astype(np.float64)
    train, test = train.astype(np.float64), test.astype(np.float64)
    low, high = train.min(axis=0), train.max(axis=0)
    constant = high == low
    span = np.where(constant, 1.0, high - low)
    scaled_train, scaled_test = (train - low) / span, (test - low) / span
    # Only the test part can differ from the constant; a feature that never varied in training carries no scale.
    scaled_test[:, constant] = 0.0
    return scaled_train, scaled_test


def encode_labels(
    y_train: NDArray[np.integer], y_test: NDArray[np.integer]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Labels as 0..C-1 in the sorted order of the training labels.

    Raises
    ------
    DatasetError
        If the test part has a label that the training part has not.
    """
    classes, encoded_train = np.unique(y_train, return_inverse=True)
    unknown = np.setdiff1d(y_test, classes)
    if unknown.size:
        raise DatasetError(
            f"test labels {unknown.tolist()} do not occur in the training part, whose labels are {classes.tolist()}; "
            "check that both parts belong to one dataset"
        )
    return encoded_train.astype(np.int64), np.searchsorted(classes, y_test).astype(np.int64)


def evaluation_indices(n_test: int, n: int | None = 1000, seed: int = 42) -> NDArray[np.int64]:
    """Rows of the test part that the papers evaluate, in their order.

    The same permutation as shuffling the arrays themselves with ``sklearn.utils.shuffle(X, y, random_state=seed)``.
    ``n=None``, or an ``n`` beyond the test part, means all of it, shuffled.

    Raises
    ------
    DatasetError
        If n is smaller than 1.
    """
    if n is not None and n < 1:
        raise DatasetError(f"n must be at least 1, or None for the whole test part; got {n}")
    return subset.evaluation_indices(n_test, n, seed)
