"""A metric on disk: one ``.npz`` file, written whole or not at all, read without pickle.

A file written here holds ``components`` (the factor G, float64) and ``provenance`` (JSON in a string array). A user's
own file may use other names; `load_metric` lists them.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import ArrayLike, NDArray

from arml.geometry import SINGLE_TOLERANCE, InvalidMetricError, Mahalanobis

Array = NDArray[np.float64]

#: Names under which a file may hold the factor G, (r, d), and the matrix M, (d, d).
FACTOR_KEYS = ("components", "components_", "G")
MATRIX_KEYS = ("M",)

#: What NumPy, zipfile and zlib raise for a damaged, hostile or foreign file.
_UNREADABLE = (ValueError, EOFError, KeyError, RuntimeError, MemoryError, zipfile.BadZipFile, zlib.error)

#: Largest difference between G' G and an M stored beside it, relative to the largest entry; for float32 more.
AGREEMENT_TOLERANCE = 1e-6


class MetricFileError(ValueError):
    """A file cannot be read as a Mahalanobis metric; the message says why and what is expected."""


@dataclass(frozen=True)
class StoredMetric:
    """A metric read from a file, usable wherever a fitted learner is.

    Attributes
    ----------
    components_ : (r, d) float64 array, the factor G with ``M = G' G``
    provenance : JSON-able mapping, empty when the file says nothing about its origin
    path : the file it was read from, or None
    clipped, asymmetry : what of an M in the file was taken for float32's rounding (`Mahalanobis`), in units of M
    """

    components_: Array
    provenance: Mapping[str, object] = field(default_factory=dict)
    path: str | None = None
    clipped: float = 0.0
    asymmetry: float = 0.0

    def get_mahalanobis_matrix(self) -> Array:
        """``M = G' G``, (d, d)."""
        return self.components_.T @ self.components_

    @property
    def digest(self) -> str:
        """SHA-256 (hex) over the shape and the little-endian float64 values of ``components_``; not the provenance."""
        values = np.ascontiguousarray(self.components_, dtype="<f8")
        return hashlib.sha256(repr(values.shape).encode() + values.tobytes()).hexdigest()


def save_metric(path: str | Path, components: ArrayLike, provenance: Mapping[str, object]) -> None:
    """Write G (r, d) and its JSON-able provenance to ``path`` (.npz); an existing file is replaced in one step.

    Raises
    ------
    InvalidMetricError
        If ``components`` is not a finite two-dimensional array.
    ValueError
        If ``path`` does not end in ``.npz`` or the provenance cannot be written as JSON.
    """
    target = Path(path)
    if target.suffix != ".npz":
        raise ValueError(f"a metric is stored as .npz, got the path {str(target)!r}")
    G = Mahalanobis.from_components(components).components
    try:
        text = json.dumps(provenance, sort_keys=True, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise ValueError(f"the provenance of {target.name} is not JSON-able: {error}") from error
    descriptor, temporary = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.", suffix=".tmp")
    try:
        with os.fdopen(descriptor, "wb") as stream:
            np.savez(stream, components=G, provenance=np.array(text))
            stream.flush()
            os.fsync(stream.fileno())
        # mkstemp makes the file private; a stored metric is readable like any other file.
        Path(temporary).chmod(0o644)
        Path(temporary).replace(target)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def load_metric(path: str | Path) -> StoredMetric:
    """Read a metric: an ``.npz`` with ``components`` (or ``components_``, ``G``) or ``M``, or an ``.npy`` holding M.

    Where a file holds several of these they must agree, and the first factor is used. M is factored by
    `Mahalanobis.from_matrix`, so it must be symmetric positive semi-definite.

    Raises
    ------
    MetricFileError
        If the file is missing, is no NumPy file, holds Python objects (they are never unpickled), holds none of the
        keys or contradictory ones, or its matrix is not finite, not real or not positive semi-definite.
    """
    source = Path(path)
    try:
        with source.open("rb") as stream:
            arrays = _read_arrays(source, stream)
    except FileNotFoundError as error:
        raise MetricFileError(f"no metric file at {source}; check the path (method.path)") from error
    except OSError as error:
        raise MetricFileError(f"cannot read the metric file {source}: {error.strerror or error}") from error
    provenance = _provenance(source, arrays)
    metric = _metric(source, arrays)
    return StoredMetric(metric.components, provenance, str(source), metric.clipped, metric.asymmetry)


def _read_arrays(source: Path, stream: BinaryIO) -> dict[str, NDArray[np.generic]]:
    """The arrays of an .npz that concern us; an .npy counts as one named M."""
    try:
        content = np.load(stream, allow_pickle=False)
        if isinstance(content, np.ndarray):
            return {"M": content}
        wanted = (*FACTOR_KEYS, *MATRIX_KEYS, "provenance")
        found = {name: content[name] for name in wanted if name in content.files}
    except _UNREADABLE as error:
        if "allow_pickle" in str(error) or "pickled" in str(error):
            raise MetricFileError(
                f"{source} is a pickle or holds Python objects, which are never loaded because that could run code, or "
                "it is no NumPy file at all; save the matrix as a plain array: np.savez('my_metric.npz', M=M)"
            ) from error
        raise MetricFileError(f"{source} is not a readable .npz or .npy file: {error}") from error
    if not any(name in found for name in (*FACTOR_KEYS, *MATRIX_KEYS)):
        raise MetricFileError(
            f"{source} holds {sorted(content.files)}, none of them a metric; "
            f"expected one of {', '.join(FACTOR_KEYS)} (G, r x d) or {', '.join(MATRIX_KEYS)} (d x d)"
        )
    return found


def _metric(source: Path, arrays: Mapping[str, NDArray[np.generic]]) -> Mahalanobis:
    """The metric in ``arrays``, after checking that all its descriptions agree."""
    metrics: dict[str, Mahalanobis] = {}
    for name in (*FACTOR_KEYS, *MATRIX_KEYS):
        if name not in arrays:
            continue
        if arrays[name].dtype.kind not in "fiu":
            raise MetricFileError(f"{source}: {name} has dtype {arrays[name].dtype}; expected real numbers")
        build = Mahalanobis.from_matrix if name in MATRIX_KEYS else Mahalanobis.from_components
        try:
            metrics[name] = build(arrays[name])
        except InvalidMetricError as error:
            raise MetricFileError(f"{source}: {name} is not a metric: {error}") from error
    (first, metric), *others = metrics.items()
    for name, other in others:
        scale = float(np.abs(metric.matrix).max())
        narrow = any(arrays[key].dtype.kind == "f" and arrays[key].dtype.itemsize < 8 for key in (first, name))
        tolerance = max(AGREEMENT_TOLERANCE, metric.n_features * SINGLE_TOLERANCE if narrow else 0.0)
        if other.matrix.shape != metric.matrix.shape or not np.allclose(
            other.matrix, metric.matrix, rtol=0.0, atol=tolerance * scale
        ):
            raise MetricFileError(f"{source}: {first} and {name} describe different metrics; keep one of them")
    return metric


def _provenance(source: Path, arrays: Mapping[str, NDArray[np.generic]]) -> dict[str, object]:
    if "provenance" not in arrays:
        return {}
    stored = arrays["provenance"]
    if stored.dtype.kind != "U" or stored.ndim != 0:
        raise MetricFileError(
            f"{source}: provenance must be one string holding JSON, got {stored.dtype} {stored.shape}"
        )
    try:
        provenance = json.loads(str(stored))
    except json.JSONDecodeError as error:
        raise MetricFileError(f"{source}: provenance is not JSON: {error}") from error
    if not isinstance(provenance, dict):
        raise MetricFileError(f"{source}: provenance must be a JSON object, got {type(provenance).__name__}")
    return provenance
