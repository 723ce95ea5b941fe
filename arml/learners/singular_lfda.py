"""Local Fisher Discriminant Analysis where the within-class scatter is singular.

LFDA (Sugiyama, JMLR 2007) solves the generalised eigenproblem ``Sb v = lambda Sw v`` of the local between-class and
within-class scatter, with ``v' Sw v = 1``. A feature that never varies (an image's border pixel) makes Sw singular.
metric-learn then falls back on a general eigen-solver: on the common null space of Sb and Sw its eigenvalues are 0/0,
the others drift into the complex plane, and the eigenvectors are scaled otherwise. Its components are NaN and complex.

Here the same problem is solved on the range of Sw, where Fisher's quotient is finite; all other directions get the
weight 0. For a regular Sw this is metric-learn's result. With the weighted embedding it is ``M = Sw+ Sb Sw+``.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import pairwise_distances

Array = NDArray[np.float64]


def singular_lfda(X: Array, y: NDArray[np.int64], *, k: int | None, embedding_type: str) -> Array:
    """All r = rank(Sw) components (r, d) of LFDA on the range of the within-class scatter, strongest direction first.

    Parameters
    ----------
    X : (n, d) points
    y : (n,) labels 0..C-1
    k : neighbour that sets the local scale; None means min(7, d - 1)
    embedding_type : "weighted", "orthonormalized" or "plain", as in metric-learn

    Raises
    ------
    ValueError
        If the within-class scatter is zero: no two points of a class are told apart by the local affinity.
    """
    d = X.shape[1]
    between, within = scatter_matrices(X, y, min(7 if k is None else int(k), d - 1))
    values, basis = np.linalg.eigh(within)
    in_range = values > d * np.finfo(np.float64).eps * max(values[-1], 0.0)
    # The scatter is a difference of large sums: where nothing varies, its eigenvalues are rounding and not 0.
    in_range[: d - within_class_rank(X, y)] = False
    if not in_range.any():
        raise ValueError(
            "LFDA: the local within-class scatter is zero, so no direction can be weighed; every class needs at "
            "least two different points"
        )
    whitening = basis[:, in_range] / np.sqrt(values[in_range])
    quotients, rotation = np.linalg.eigh(whitening.T @ between @ whitening)
    order = np.argsort(-quotients)
    directions = whitening @ rotation[:, order]
    if embedding_type == "weighted":
        # Sb - Sw is positive semi-definite, so a negative quotient is rounding.
        directions = directions * np.sqrt(np.maximum(quotients[order], 0.0))
    elif embedding_type == "orthonormalized":
        directions, _ = np.linalg.qr(directions)
    return np.ascontiguousarray(directions.T)


def within_class_rank(X: Array, y: NDArray[np.int64]) -> int:
    """In how many directions the points X (n, d) differ within the classes y (n,), beyond the rounding of their means.

    Deviations from the class means carry errors of a few ulps of the largest coordinate, whatever the spread; a column
    is measured against its own largest coordinate, so that the units of the features do not matter.
    """
    size = np.abs(X).max(axis=0)
    scaled = X / np.where(size > 0, size, 1.0)
    deviations = np.empty_like(scaled)
    for label in np.unique(y):
        members = y == label
        deviations[members] = scaled[members] - scaled[members].mean(axis=0)
    noise = 4 * np.finfo(np.float64).eps * np.sqrt(deviations.size)
    return int((np.linalg.svd(deviations, compute_uv=False) > noise).sum())


def scatter_matrices(X: Array, y: NDArray[np.int64], k: int) -> tuple[Array, Array]:
    """Local between-class and within-class scatter (d, d), as metric-learn 0.7.0 computes them.

    ``k`` shrinks to the size of the smallest class met so far (less one) and stays there for the classes after it.
    """
    n, d = X.shape
    between, within = np.zeros((d, d)), np.zeros((d, d))
    for label in range(int(y.max()) + 1):
        members = X[y == label]
        size = len(members)
        affinity = pairwise_distances(members, metric="l2", squared=True)
        k = min(k, size - 1)
        sigma = np.sqrt(np.partition(affinity, k, axis=0)[:, k])
        local_scale = np.outer(sigma, sigma)
        isolated = local_scale == 0
        local_scale[isolated] = 1.0
        affinity /= -local_scale
        np.exp(affinity, out=affinity)
        affinity[isolated] = 0.0
        local = members.T @ (affinity.sum(axis=0)[:, None] * members) - members.T @ affinity @ members
        total = members.sum(axis=0)
        between += local / n + (1 - size / n) * (members.T @ members) + np.outer(total, total) / n
        within += local / size
    total = X.sum(axis=0)
    between += within - np.outer(total, total) / n
    return (between + between.T) / 2, (within + within.T) / 2
