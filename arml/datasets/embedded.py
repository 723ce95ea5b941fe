"""Datasets that need no file: scikit-learn's ``digits``, and the ``toy`` points of Figure 1."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

RawPart = tuple[NDArray[np.float64], NDArray[np.int64]]

_DIGITS_TEST_SIZE = 500
_DIGITS_SPLIT_SEED = 42

# Four points against three. The classes differ in the second coordinate by a little, and both spread along the first
# by a lot: the Euclidean 1-NN boundary zigzags between the points, a metric that has learnt the difference runs level.
_TOY_X = ((0.05, 0.38), (0.35, 0.44), (0.65, 0.36), (0.95, 0.42), (0.20, 0.58), (0.50, 0.64), (0.80, 0.56))
_TOY_Y = (0, 0, 0, 0, 1, 1, 1)


def digits() -> tuple[RawPart, RawPart]:
    """scikit-learn's 1,797 digits (8x8 pixels, values 0..16), split 1,297 / 500, stratified, always alike."""
    X, y = load_digits(return_X_y=True)
    X_train, X_test, y_train, y_test = train_test_split(
        X, y.astype(np.int64), test_size=_DIGITS_TEST_SIZE, stratify=y, random_state=_DIGITS_SPLIT_SEED
    )
    return (X_train, y_train), (X_test, y_test)


def toy() -> tuple[RawPart, RawPart]:
    """Seven points in [0, 1]^2, four of class 0 and three of class 1; the test part repeats the training part."""
    X, y = np.array(_TOY_X), np.array(_TOY_Y, dtype=np.int64)
    return (X, y), (X.copy(), y.copy())


#: The maker of each embedded dataset's raw parts, (training, test).
EMBEDDED: Mapping[str, Callable[[], tuple[RawPart, RawPart]]] = MappingProxyType({"digits": digits, "toy": toy})
