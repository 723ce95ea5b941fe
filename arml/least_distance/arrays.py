"""Plain loops for what numba compiles at length: assigning an array brings broadcasting and its messages along."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from arml.compiled import compiled

Array = NDArray[np.float64]


@compiled
def assign(target: Array, source: Array) -> None:
    """Copy source (n,) to the first n numbers of ``target``."""
    for i in range(source.shape[0]):
        target[i] = source[i]
