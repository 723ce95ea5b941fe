"""Geometry of a Mahalanobis metric: squared distances and the triplet margin and radius.

This is the one place where the closed forms of *Provably Robust Metric Learning* (Wang et al., NeurIPS 2020)
are written down:

=============  =====================================================================================
eq. (1)        ``d_M(x, x') = (x - x')' M (x - x')``, a *squared* distance           `Mahalanobis.sq_dist`
eq. (9)        the signed margin of a triplet (x, x+, x-)                            `triplet_margin`
eq. (8)        its positive part: the smallest l2 perturbation of x that brings x-   `triplet_radius`
               at least as near as x+
=============  =====================================================================================

Conventions: ``M`` is (d, d), symmetric positive semi-definite; ``G`` is (r, d) with ``M = G' G``; ``X`` is (n, d).

Differences from the paper
--------------------------
* The numerator of eq. (9) is evaluated as ``(x+ - x-)' M (2x - x+ - x-)``. It is the same number as
  ``d_M(x, x-) - d_M(x, x+)``, needs one matrix product instead of two, and does not subtract two large
  numbers when x+ and x- are close.
* Where ``M (x+ - x-) = 0`` the two points are indistinguishable under M and eq. (9) is 0/0. Its numerator is 0
  for every x, so the pair is always tied; the margin is defined to be 0.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]
TensorOrArray = TypeVar("TensorOrArray", bound=Any)

#: Relative tolerance within which a matrix counts as symmetric, and an eigenvalue as not negative.
PSD_TOLERANCE = 1e-9


class InvalidMetricError(ValueError):
    """The given object does not define a Mahalanobis metric (a positive semi-definite matrix)."""


@dataclass(frozen=True)
class Mahalanobis:
    """A Mahalanobis metric ``d_M(x, x') = ||G (x - x')||^2`` with ``M = G' G``.

    Build it with `from_components`, `from_matrix` or `as_mahalanobis`; these validate their input.

    Attributes
    ----------
    components : (r, d) float64 array, the factor G
    matrix : (d, d) float64 array, M
    """

    components: Array
    matrix: Array

    @classmethod
    def from_components(cls, components: ArrayLike) -> Mahalanobis:
        """Metric of a factor G of shape (r, d); any G gives a valid metric.

        Raises
        ------
        InvalidMetricError
            If G is not a finite two-dimensional array.
        """
        G = _finite_matrix(components, "components G")
        return cls(G, G.T @ G)

    @classmethod
    def from_matrix(cls, matrix: ArrayLike) -> Mahalanobis:
        """Metric of a symmetric positive semi-definite M of shape (d, d); M may be singular.

        Raises
        ------
        InvalidMetricError
            If M is not finite, square, symmetric or positive semi-definite (relative tolerance 1e-9).
        """
        M = _finite_matrix(matrix, "M")
        if M.shape[0] != M.shape[1]:
            raise InvalidMetricError(f"M must be square, got shape {M.shape}; pass a factor G as components instead")
        scale = float(np.abs(M).max(initial=0.0))
        asymmetry = float(np.abs(M - M.T).max(initial=0.0))
        if asymmetry > PSD_TOLERANCE * scale:
            raise InvalidMetricError(
                f"M must be symmetric, but |M - M'| reaches {asymmetry:.3g} (largest entry {scale:.3g}); "
                "symmetrise it with (M + M.T) / 2 if that is only rounding"
            )
        M = (M + M.T) / 2
        eigenvalues, eigenvectors = np.linalg.eigh(M)
        if eigenvalues[0] < -PSD_TOLERANCE * max(abs(eigenvalues[-1]), abs(eigenvalues[0])):
            raise InvalidMetricError(
                f"M must be positive semi-definite, but its smallest eigenvalue is {eigenvalues[0]:.3g} "
                f"(largest {eigenvalues[-1]:.3g})"
            )
        G = np.sqrt(np.maximum(eigenvalues, 0.0))[:, None] * eigenvectors.T
        return cls(np.ascontiguousarray(G), M)

    @property
    def n_features(self) -> int:
        """Dimension d of the points the metric applies to."""
        return int(self.matrix.shape[0])

    def embed(self, X: Array) -> Array:
        """Points (n, d) mapped by G to (n, r), where d_M is the squared Euclidean distance."""
        return X @ self.components.T

    def sq_dist(self, X: Array, Y: Array) -> Array:
        """Squared distances d_M between paired rows (eq. 1): broadcasts (..., d) with (..., d) to (...)."""
        Z = (np.asarray(X) - np.asarray(Y)) @ self.components.T
        return np.asarray(np.einsum("...r,...r->...", Z, Z))


def as_mahalanobis(metric: Any, n_features: int) -> Mahalanobis:
    """The `Mahalanobis` metric meant by ``metric``.

    Parameters
    ----------
    metric : "euclidean", a (d, d) positive semi-definite array, a `Mahalanobis`, an object with a
        ``components_`` (r, d) array, or one with ``get_mahalanobis_matrix()`` (any fitted metric-learn estimator).
    n_features : dimension d of the data it is to be used with.

    Raises
    ------
    InvalidMetricError
        If ``metric`` is none of these, is not positive semi-definite, or has another dimension.
    """
    if isinstance(metric, str):
        if metric != "euclidean":
            raise InvalidMetricError(f"unknown metric {metric!r}; the only metric with a name is 'euclidean'")
        resolved = Mahalanobis(np.eye(n_features), np.eye(n_features))
    elif isinstance(metric, Mahalanobis):
        resolved = metric
    elif getattr(metric, "components_", None) is not None:
        resolved = Mahalanobis.from_components(metric.components_)
    elif hasattr(metric, "get_mahalanobis_matrix"):
        resolved = Mahalanobis.from_matrix(metric.get_mahalanobis_matrix())
    elif isinstance(metric, np.ndarray | list | tuple) or hasattr(metric, "__array__"):
        resolved = Mahalanobis.from_matrix(metric)
    else:
        raise InvalidMetricError(
            f"cannot use a {type(metric).__name__} as a metric; pass 'euclidean', a (d, d) positive semi-definite "
            "array, or a fitted learner (fit it first) with components_ or get_mahalanobis_matrix()"
        )
    if resolved.n_features != n_features:
        raise InvalidMetricError(f"the metric is for {resolved.n_features} features, the data have {n_features}")
    return resolved


def triplet_margin(x_pos: TensorOrArray, x_neg: TensorOrArray, x: TensorOrArray, M: TensorOrArray) -> TensorOrArray:
    """Signed margin of the triplets (x, x+, x-), eq. (9): (..., d) inputs and (d, d) M give (...).

    Positive when x is nearer to x+ than to x- under M. Takes NumPy arrays or torch tensors (all of one kind) and is
    differentiable in M wherever ``M (x+ - x-) != 0``; where it is 0 the margin is 0, with gradient 0.
    """
    p = (x_pos - x_neg) @ M
    numerator = (p * (2 * x - x_pos - x_neg)).sum(-1)
    sq_norm = (p * p).sum(-1)
    tied = sq_norm == 0
    # 1 under the root, not after it: the gradient of the root at 0 is infinite and would poison the batch.
    return numerator / (2 * (sq_norm + tied) ** 0.5)


def triplet_radius(x_pos: TensorOrArray, x_neg: TensorOrArray, x: TensorOrArray, M: TensorOrArray) -> TensorOrArray:
    """Smallest l2 norm of a perturbation of x after which x- is at least as near as x+, eq. (8)."""
    margin = triplet_margin(x_pos, x_neg, x, M)
    return margin * (margin > 0)


def _finite_matrix(value: ArrayLike, name: str) -> Array:
    array = np.asarray(value)
    if np.iscomplexobj(array):
        raise InvalidMetricError(
            f"{name} is complex, as eigen-solvers return for singular problems; refit without constant features"
        )
    array = array.astype(np.float64)
    if array.ndim != 2 or array.size == 0:
        raise InvalidMetricError(f"{name} must be a non-empty two-dimensional array, got shape {array.shape}")
    if not np.isfinite(array).all():
        row, column = np.argwhere(~np.isfinite(array))[0]
        raise InvalidMetricError(f"{name} holds {array[row, column]} at row {row}, column {column}; it must be finite")
    return array


def sq_dist_matrix(A: TensorOrArray, B: TensorOrArray) -> TensorOrArray:
    """Squared Euclidean distances (n, m) of all pairs of rows of A (n, r) and B (m, r): one matrix product.

    NumPy arrays or torch tensors. On points embedded by G these are the distances d_M. Entries are off by rounding of
    the order of ``eps (|a| + |b|)^2`` and may come out slightly negative for coinciding points.
    """
    return (A * A).sum(-1)[:, None] + (B * B).sum(-1) - 2 * (A @ B.T)


def useful_origin(X: Array) -> Array:
    """Where to measure the points X (n, d) from: distances are expanded around it, and lose digits far from it.

    Their mean where they lie far from 0 compared with their spread, else 0, which costs no rounding at all.
    """
    mean = X.mean(axis=0)
    far = np.abs(mean).max() > 4 * np.abs(X - mean).max()
    return np.asarray(mean if far else np.zeros_like(mean))
