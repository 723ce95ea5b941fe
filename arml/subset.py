"""Which test points are evaluated: needed by whoever evaluates them and by whoever reads what came of it."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray


@lru_cache(maxsize=64)
def evaluation_indices(n_test: int, n: int | None, seed: int) -> NDArray[np.int64]:
    """The first n rows of a test part of ``n_test`` rows, shuffled as the papers do; all of them for ``n=None``.

    The same permutation as ``sklearn.utils.shuffle(X, y, random_state=seed)``, which is NumPy's legacy generator, whose
    numbers are frozen, applied to the indices.
    """
    order = np.arange(n_test, dtype=np.int64)
    np.random.RandomState(seed).shuffle(order)  # the papers' permutation; the new generators have another
    chosen = order[:n].copy()
    chosen.flags.writeable = False  # one array for all who ask
    return chosen
