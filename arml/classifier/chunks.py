"""Cutting test points into chunks of one class."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

Integers = NDArray[np.int64]


def class_chunks(y: Integers, rows: int) -> Iterator[tuple[int, Integers]]:
    """Label and indices of the test points with labels y (t,), grouped by label and cut to at most ``rows``."""
    for label in np.unique(y):
        members = np.flatnonzero(y == label)
        for start in range(0, len(members), rows):
            yield int(label), members[start : start + rows]
