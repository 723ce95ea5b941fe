"""The warm-up goes through everything that is compiled."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from numba.core import event

from arml.neighbors import MahalanobisKNN
from arml.warmup import warm_up


class Compilations(event.Listener):
    """Names of the functions that are compiled while this listens."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def on_start(self, event: event.Event) -> None:
        self.names.append(event.data["dispatcher"].py_func.__qualname__)

    def on_end(self, event: event.Event) -> None:
        pass


@pytest.fixture
def compilations() -> Iterator[Compilations]:
    warm_up()
    listener = Compilations()
    with event.install_listener("numba:compile", listener):
        yield listener


@pytest.mark.parametrize("n_neighbors", [1, 3, 7])
@pytest.mark.parametrize("box", [None, (-3.0, 3.0)])
@pytest.mark.parametrize("scalar", [np.float64, np.float32])
def test_after_it_nothing_is_compiled(
    compilations: Compilations, n_neighbors: int, box: tuple[float, float] | None, scalar: type
) -> None:
    rng = np.random.default_rng(1)
    X = np.asfortranarray(rng.normal(size=(70, 5)).astype(scalar))
    y = rng.integers(4, size=70)
    knn = MahalanobisKNN(n_neighbors=n_neighbors, metric=np.diag([1.0, 2.0, 0.5, 1.0, 0.0])).fit(X, y)
    points = X[::9][:, ::-1]
    points.flags.writeable = False
    labels = knn.predict(points)
    for event_name in ("plurality", "majority") if n_neighbors > 1 else ("plurality",):
        knn.exact_radius(points, labels, box=box, event=event_name, proofs=True)
    knn.attacked_radius(points, labels, box=box)
    assert compilations.names == []


def test_the_second_time_it_does_nothing() -> None:
    warm_up()
    assert warm_up() == 0.0
