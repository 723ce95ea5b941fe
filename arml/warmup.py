"""Everything that is compiled, compiled ahead of time: by tiny problems that go through all of it."""

from __future__ import annotations

import time

import numpy as np

from arml.compiled import completed, needs_compiling
from arml.neighbors import MahalanobisKNN


def warm_up() -> float:
    """Compile what is not compiled yet for this version of the code; returns how many seconds it took.

    Where an earlier process has done that already nothing happens, and 0 is returned.
    """
    if not needs_compiling():
        return 0.0
    started = time.monotonic()
    rng = np.random.default_rng(0)
    X, labels = rng.normal(size=(60, 4)), np.arange(60) % 4
    points = rng.normal(size=(6, 4))
    for n_neighbors in (1, 3):
        knn = MahalanobisKNN(n_neighbors=n_neighbors, device="cpu").fit(X, labels)
        y = knn.predict(points)
        knn.exact_radius(points, y)
        knn.exact_radius(points, y, box=(-5.0, 5.0))
    for event in ("majority", "plurality"):
        knn.exact_radius(points, y, event=event, proofs=True)
    knn.attacked_radius(points, y)
    completed()
    return time.monotonic() - started
