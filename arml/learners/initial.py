"""Where G starts, and how the features that training leaves out come back into it.

Differences from the paper
--------------------------
* The paper trains a square G, started at the identity. A low-rank G (r < d rows) starts at the first r principal
  directions of the training points.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def initial_components(centred: Array, n_rows: int) -> Array:
    """Where G starts, (n_rows, d): the identity if square, else the first principal directions of the points (n, d).

    A part of the identity would not do: its first rows are the first features, which may be the least informative.
    """
    n_features = centred.shape[1]
    if n_rows == n_features:
        return np.eye(n_features)
    directions = np.linalg.eigh(centred.T @ centred)[1].T[::-1][:n_rows]
    # An eigenvector's sign is arbitrary; fix it so that every linear algebra library gives the same start.
    largest = np.take_along_axis(directions, np.abs(directions).argmax(axis=1)[:, None], axis=1)
    return np.asarray(directions * np.sign(largest))


def with_constant_features(G: Array, varying: NDArray[np.bool_], n_rows: int) -> Array:
    """G of the features that vary, extended to all features: (n_rows, d).

    Training never moves the entries of a constant feature, so they are those of the start: of the identity if
    ``n_rows`` is the number of features; else zeros, as in principal directions, and rows that the varying features
    do not fill are unit vectors of constant ones.
    """
    n_features = len(varying)
    if n_rows == n_features:
        full = np.eye(n_features)
        full[np.ix_(varying, varying)] = G
        return full
    full = np.zeros((n_rows, n_features))
    full[: len(G), varying] = G
    spare = np.arange(len(G), n_rows)
    full[spare, np.flatnonzero(~varying)[: len(spare)]] = 1.0
    return full
