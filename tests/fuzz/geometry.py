"""What a kind of hostile data is, the list they enter, and the plain draws they start from.

A kind is a function from a random generator to a `Geometry`. Sizes are such that `tests.fuzz.truth` answers in
milliseconds: six to nine training points of one to three features.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Integers = NDArray[np.int64]
Box = tuple[float, float]

#: Test points of a geometry.
N_TEST = 3


@dataclass(frozen=True)
class Geometry:
    """Training points (n, d), factor G (r, d) and test points (t, d).

    Labels (n,), and boxes of which one is taken, only where a kind needs them.
    """

    X_train: Array
    G: Array
    X: Array
    y_train: Integers | None = None
    boxes: tuple[Box, ...] = ()


Draw = Callable[[np.random.Generator], Geometry]


@dataclass(frozen=True)
class Kind:
    """A named kind; ``may_refuse``: whether the library may answer with the limit that the data are beyond."""

    draw: Draw
    may_refuse: bool


KINDS: dict[str, Kind] = {}


def kind(*, may_refuse: bool = False) -> Callable[[Draw], Draw]:
    """Register a function as the kind of its name."""

    def register(draw: Draw) -> Draw:
        KINDS[draw.__name__] = Kind(draw, may_refuse)
        return draw

    return register


def sizes(rng: np.random.Generator, d_min: int = 1) -> tuple[int, int]:
    """Numbers of training points and of features."""
    return int(rng.integers(6, 10)), int(rng.integers(d_min, 4))


def factor(rng: np.random.Generator, d: int) -> Array:
    """The identity, or a random factor (r, d), at times singular."""
    if rng.random() < 0.4:
        return np.eye(d)
    rank = d if rng.random() < 0.7 else int(rng.integers(1, d + 1))
    return rng.normal(size=(rank, d))


def normal(rng: np.random.Generator, d_min: int = 1) -> Geometry:
    """Points and factor without malice."""
    n, d = sizes(rng, d_min)
    return Geometry(rng.normal(size=(n, d)), factor(rng, d), rng.normal(size=(N_TEST, d)))


def rotation(rng: np.random.Generator, d: int) -> Array:
    """A random orthogonal matrix (d, d)."""
    return np.asarray(np.linalg.qr(rng.normal(size=(d, d)))[0])


def rounded(X: Array) -> Array:
    """Four significant digits."""
    return np.array([[float(f"{value:.4g}") for value in row] for row in X])
