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

import warnings
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]
TensorOrArray = TypeVar("TensorOrArray", bound=Any)

#: Relative tolerance within which a matrix counts as symmetric, and an eigenvalue as not negative.
PSD_TOLERANCE = 1e-9
#: The same for a matrix that went through float32, for each feature: a product G'G of rank r, summed in float32, is off
#: by at most (r + 1) u |G|'|G| with the unit roundoff u = 2**-24, storing it by u |M|; 2 d u bounds what is met of it.
SINGLE_TOLERANCE = 2.0**-23
#: Significant bits of float32 values (24) and, with room to spare, of the means of two nearly equal ones.
_SINGLE_BITS = 40
#: How far a transform may be from ``components_ @ x``, relative to the largest difference between two probes.
_TRANSFORM_TOLERANCE = 1e-4


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
    clipped : size of the most negative eigenvalue that `from_matrix` set to 0, in units of M; 0 where none was negative
    asymmetry : largest entry of ``|M - M'|`` that `from_matrix` was given and averaged away
    """

    components: Array
    matrix: Array
    clipped: float = 0.0
    asymmetry: float = 0.0

    @classmethod
    def from_components(cls, components: ArrayLike) -> Mahalanobis:
        """Metric of a factor G of shape (r, d); any G gives a valid metric.

        Raises
        ------
        InvalidMetricError
            If G is not a finite two-dimensional array, or so large or small that M leaves the range of float64.
        """
        G = _finite_matrix(components, "components G")
        with np.errstate(over="ignore", invalid="ignore", under="ignore"):
            M = G.T @ G
        largest = float(np.abs(G).max())
        if not np.isfinite(M).all() or (largest > 0 and np.abs(M).max() < np.finfo(np.float64).tiny):
            raise InvalidMetricError(
                f"the largest entry of components G is {largest:.3g}, so that M = G'G leaves the range of float64; "
                "divide G by it: radii do not depend on the scale of the metric"
            )
        return cls(G, M)

    @classmethod
    def from_matrix(cls, matrix: ArrayLike) -> Mahalanobis:
        """Metric of a symmetric positive semi-definite M of shape (d, d); M may be singular.

        What rounding explains is mended: the asymmetry averaged away, the negative eigenvalues set to 0. For float64
        that is a relative 1e-9; for float32, or float64 that only holds float32 values or means of two, a relative
        ``d 2**-23``, and a warning says how much it was where it exceeds 1e-9. ``clipped`` and ``asymmetry`` keep it.

        Raises
        ------
        InvalidMetricError
            If M is not finite, square, symmetric or positive semi-definite beyond that.
        """
        M = _finite_matrix(matrix, "M")
        if M.shape[0] != M.shape[1]:
            raise InvalidMetricError(f"M must be square, got shape {M.shape}; pass a factor G as components instead")
        # Everything is computed near 1, and scaled back by a power of four, whose root is a power of two: no entry,
        # product or root can leave the range of numbers, and nothing is rounded by the scaling.
        exponent = 2 * (int(np.frexp(np.abs(M).max())[1]) // 2)
        scaled = np.ldexp(M, -exponent)
        tolerance = max(PSD_TOLERANCE, len(M) * SINGLE_TOLERANCE) if _went_through_float32(M) else PSD_TOLERANCE
        asymmetry = float(np.abs(scaled - scaled.T).max())
        if asymmetry > tolerance * np.abs(scaled).max():
            raise InvalidMetricError(
                f"M must be symmetric, but |M - M'| reaches {np.ldexp(asymmetry, exponent):.3g} (largest entry "
                f"{np.abs(M).max():.3g}); symmetrise it with (M + M.T) / 2 if that is only rounding"
            )
        scaled = (scaled + scaled.T) / 2
        eigenvalues, eigenvectors = np.linalg.eigh(scaled)
        smallest, largest = float(eigenvalues[0]), float(eigenvalues[-1])
        if smallest < -tolerance * max(abs(largest), abs(smallest)):
            raise InvalidMetricError(
                f"M must be positive semi-definite, but its smallest eigenvalue is "
                f"{np.ldexp(smallest, exponent):.3g} (largest {np.ldexp(largest, exponent):.3g}); no metric has such "
                "distances: learn it with a method that keeps M positive semi-definite, or project it yourself"
            )
        roots = np.ldexp(np.sqrt(np.maximum(eigenvalues, 0.0)), exponent // 2)
        G = np.ascontiguousarray(roots[:, None] * eigenvectors.T)
        clipped = float(np.ldexp(max(0.0, -smallest), exponent))
        lost = float(np.ldexp(asymmetry, exponent))
        if max(-smallest, asymmetry) > PSD_TOLERANCE * largest:
            _say_what_was_mended(clipped, lost, float(np.ldexp(largest, exponent)))
        # The metric is what G says; where M itself is as good, up to the rounding of the eigenvalues, M is kept.
        if max(-smallest, asymmetry) > len(M) * np.finfo(np.float64).eps * largest:
            return cls(G, G.T @ G, clipped, lost)
        return cls(G, M if asymmetry == 0 else np.ldexp(scaled, exponent), clipped, lost)

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
        Where it has a ``transform``, this must be ``components_ @ x`` up to a shift.
    n_features : dimension d of the data it is to be used with.

    Raises
    ------
    InvalidMetricError
        If ``metric`` is none of these, is not positive semi-definite, has another dimension, or transforms points
        otherwise than by its ``components_`` (whitened PCA, NMF).
    """
    if isinstance(metric, str):
        if metric != "euclidean":
            raise InvalidMetricError(f"unknown metric {metric!r}; the only metric with a name is 'euclidean'")
        resolved = Mahalanobis(np.eye(n_features), np.eye(n_features))
    elif isinstance(metric, Mahalanobis):
        resolved = metric
    elif getattr(metric, "components_", None) is not None:
        resolved = Mahalanobis.from_components(metric.components_)
        _check_transform(metric, resolved.components)
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


def _finite_matrix(value: Any, name: str) -> Array:
    if hasattr(value, "toarray") and hasattr(value, "nnz"):
        value = value.toarray()
    if isinstance(value, np.ma.MaskedArray) and np.ma.getmaskarray(value).any():
        raise InvalidMetricError(f"{name} has masked entries; fill them, a metric is defined by all of its numbers")
    try:
        array = np.asarray(value)
    except (TypeError, ValueError, RuntimeError) as error:
        raise InvalidMetricError(f"{name} cannot be read as an array of numbers: {error}") from error
    if np.iscomplexobj(array):
        raise InvalidMetricError(
            f"{name} is complex, as eigen-solvers return for singular problems; refit without constant features"
        )
    if array.dtype.kind not in "biufO":
        raise InvalidMetricError(f"{name} must hold numbers, got the type {array.dtype}; convert it to float64")
    try:
        # What is beyond float64 becomes infinite and is refused as such.
        with np.errstate(over="ignore"):
            array = np.ascontiguousarray(array, dtype=np.float64)
    except (TypeError, ValueError, OverflowError) as error:
        raise InvalidMetricError(f"{name} cannot be read as numbers: {error}; convert it to float64") from error
    if array.ndim != 2 or array.size == 0:
        raise InvalidMetricError(f"{name} must be a non-empty two-dimensional array, got shape {array.shape}")
    if not np.isfinite(array).all():
        row, column = np.argwhere(~np.isfinite(array))[0]
        raise InvalidMetricError(f"{name} holds {array[row, column]} at row {row}, column {column}; it must be finite")
    return array


def _went_through_float32(M: Array) -> bool:
    """Whether every entry has no more bits than float32 values and the means of two such have."""
    digits = np.ldexp(np.frexp(M)[0], _SINGLE_BITS)
    return bool((digits == np.rint(digits)).all())


def _say_what_was_mended(clipped: float, asymmetry: float, largest: float) -> None:
    warnings.warn(
        f"M holds float32 numbers and is a metric up to their rounding: eigenvalues down to {-clipped:.3g} were set to "
        f"0 and an asymmetry of {asymmetry:.3g} averaged away (largest eigenvalue {largest:.3g})",
        RuntimeWarning,
        stacklevel=3,
    )


def _check_transform(metric: Any, G: Array) -> None:
    """Refuse an object whose ``transform`` is not ``x -> G x`` up to a shift: its neighbours are others than G's."""
    transform = getattr(metric, "transform", None)
    if not callable(transform):
        return
    r, d = G.shape
    # Not negative, as NMF asks for, and of the size of the shift, which would drown smaller probes in its rounding.
    mean = np.asarray(getattr(metric, "mean_", 0.0), dtype=np.float64)
    probes = np.random.default_rng(0).uniform(size=(8, d)) * max(1.0, float(np.abs(mean).max(initial=0.0)))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that the probes have no column names, or are few
            mapped = np.asarray(transform(probes), dtype=np.float64)
    except Exception as error:  # whatever a foreign transform raises, it was not seen to be linear
        raise InvalidMetricError(
            f"cannot see whether the transform of {type(metric).__name__} is x -> components_ @ x, because it fails on "
            f"points (8, {d}): {error}; if it is, pass Mahalanobis.from_components(metric.components_)"
        ) from error
    expected = (probes - probes[0]) @ G.T
    tolerance = _TRANSFORM_TOLERANCE * np.abs(expected).max()
    if mapped.shape == (8, r) and np.abs(mapped - mapped[0] - expected).max() <= tolerance:
        return
    remedy = "pass Mahalanobis.from_components(A) if it maps x to A @ x, else fit on transformed points, 'euclidean'"
    if getattr(metric, "whiten", False) and hasattr(metric, "explained_variance_"):
        whitened = "components_ / numpy.sqrt(explained_variance_)[:, None]"
        remedy = f"pass the matrix of the linear map: Mahalanobis.from_components({whitened})"
    raise InvalidMetricError(f"the transform of {type(metric).__name__} is not x -> components_ @ x; {remedy}")


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
