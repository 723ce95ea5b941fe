"""A case of the fuzz: a geometry with labels, K and a box, drawn from (kind, seed, index) and nothing else."""

from __future__ import annotations

import zlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tests.fuzz.geometries import KINDS
from tests.fuzz.truth import Box, View, neighbourhoods

Array = NDArray[np.float64]
Integers = NDArray[np.int64]

NEIGHBORS = (1, 3, 5, 7)


@dataclass(frozen=True)
class Case:
    """A classifier (X_train, y_train, G, K), points X with labels y, and a box; see `draw` for the first three."""

    kind: str
    seed: int
    index: int
    X_train: Array
    y_train: Integers
    G: Array
    K: int
    X: Array
    y: Integers
    box: Box | None


def draw(kind: str, seed: int, index: int) -> Case:
    """Case number ``index`` of a kind."""
    rng = np.random.default_rng([seed, zlib.crc32(kind.encode()), index])
    geometry = KINDS[kind].draw(rng)
    X_train, X = geometry.X_train, geometry.X
    n = len(X_train)
    K = int(rng.choice([K for K in NEIGHBORS if n > K], p=None if n > 7 else [0.4, 0.35, 0.25]))
    y_train = geometry.y_train
    if y_train is None:
        n_classes = int(rng.integers(2, 5))
        y_train = rng.integers(n_classes, size=n)
        y_train[:2] = rng.permutation(n_classes)[:2]
    box = _box(rng, X_train, X) if not geometry.boxes else geometry.boxes[int(rng.integers(len(geometry.boxes)))]
    y = np.array([_label(rng, View.of(X_train, geometry.G, x, None), y_train, K) for x in X])
    return Case(kind, seed, index, X_train, y_train, geometry.G, K, X, y, box)


def _label(rng: np.random.Generator, view: View, y_train: Integers, K: int) -> int:
    """Mostly a label with the most votes, so that there is something to attack."""
    if rng.random() < 0.1:
        return int(rng.choice(y_train))
    votes = y_train[list(next(neighbourhoods(view.C, K)))]
    labels, counts = np.unique(votes, return_counts=True)
    return int(rng.choice(labels[counts == counts.max()]))


def _box(rng: np.random.Generator, X_train: Array, X: Array) -> Box | None:
    """No box mostly; else one around the data, wide or tight, or one that cuts them."""
    if rng.random() < 0.6:
        return None
    values = np.sort(np.concatenate([X_train, X]).ravel())
    if rng.random() < 0.3:
        return float(values[len(values) // 5]), float(values[-1 - len(values) // 5])
    wider = rng.choice([0, 0, 0.1, 2]) * (values[-1] - values[0])
    return float(values[0] - wider), float(values[-1] + wider)
