"""Stratified subsets, for learners whose memory grows with the square of the number of points."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import train_test_split

from arml.learners.base import Array


def stratified_subset(
    X: Array, y: NDArray[np.int64], size: int | None, random_state: int
) -> tuple[Array, NDArray[np.int64]]:
    """``size`` of the n points, in the classes' proportions; all of them when ``size`` is None or at least n.

    The order is the one in which scikit-learn's `train_test_split` returns its training side.

    Raises
    ------
    ValueError
        If the classes are too small for a split of that size.
    """
    if size is None or len(X) <= size:
        return X, y
    try:
        X_fit, _, y_fit, _ = train_test_split(X, y, train_size=size, stratify=y, random_state=random_state)
    except ValueError as error:
        raise ValueError(f"cannot draw a stratified subset of {size} from {len(X)} points: {error}") from error
    return X_fit, y_fit
