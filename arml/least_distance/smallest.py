"""The few smallest of many numbers."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from arml.compiled import compiled

Array = NDArray[np.float64]
Integers = NDArray[np.int64]


@compiled
def smallest(f: Array, count: int) -> Integers:
    """Positions of the ``count`` smallest of f (m,), all if there are fewer, in ascending order.

    ``count`` is small, so the points are gone through once, and hardly any of them is kept even for a while.
    """
    count = min(count, f.shape[0])
    chosen = np.empty(count, np.int64)
    n = 0
    for i in range(f.shape[0] if count > 0 else 0):
        if n < count:
            n += 1
        elif f[i] >= f[chosen[count - 1]]:
            continue
        q = n - 1
        while q > 0 and f[chosen[q - 1]] > f[i]:
            chosen[q] = chosen[q - 1]
            q -= 1
        chosen[q] = i
    return chosen
