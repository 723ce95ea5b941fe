"""`load_dataset`: from a name to arrays that are ready to use, with a digest of where they came from."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from arml.datasets import protocol
from arml.datasets.download import data_root, locate_files
from arml.datasets.embedded import EMBEDDED
from arml.datasets.errors import DatasetError
from arml.datasets.readers import file_sha256, read_idx, read_libsvm
from arml.datasets.registry import REGISTRY, DatasetSpec, IdxFile, LibsvmFile, SourceFile

RawPart = tuple[NDArray[Any], NDArray[Any]]


@dataclass(frozen=True, eq=False)
class Dataset:
    """A preprocessed dataset.

    Attributes
    ----------
    name : the name it was loaded by
    X_train, X_test : (n, d) float64, scaled by the protocol; test features may lie outside [0, 1]
    y_train, y_test : (n,) int64, classes 0..C-1
    digest : SHA-256 (hex) of the name, the protocol's version, and shape, type and bytes of the four arrays as read,
        before scaling and encoding. What is computed from them is a function of these, and bytes hash eight times
        faster than float64. It does not depend on compression: every copy with one content has one digest.
    provenance : JSON-able; the files with their SHA-256, their published addresses, and the scaling
    """

    name: str
    X_train: NDArray[np.float64] = field(repr=False)
    y_train: NDArray[np.int64] = field(repr=False)
    X_test: NDArray[np.float64] = field(repr=False)
    y_test: NDArray[np.int64] = field(repr=False)
    digest: str
    provenance: Mapping[str, Any] = field(repr=False)

    @property
    def n_features(self) -> int:
        """Dimension d of the features."""
        return int(self.X_train.shape[1])

    @property
    def n_classes(self) -> int:
        """Number of classes C of the training part."""
        return int(self.y_train.max()) + 1

    def evaluation_indices(self, n: int | None = 1000, seed: int = 42) -> NDArray[np.int64]:
        """Rows of the test part evaluated by the papers' protocol, in its order; see `protocol.evaluation_indices`."""
        return protocol.evaluation_indices(len(self.y_test), n, seed)

    def evaluation_subset(self, n: int | None = 1000, seed: int = 42) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """The test points of `evaluation_indices`: features (n, d) and labels (n,)."""
        chosen = self.evaluation_indices(n, seed)
        return self.X_test[chosen], self.y_test[chosen]


def dataset_names() -> tuple[str, ...]:
    """Every name `load_dataset` knows."""
    return tuple(REGISTRY)


def load_dataset(name: str, root: str | Path | None = None, *, download: bool = True) -> Dataset:
    """Load, check and preprocess a dataset by the papers' protocol.

    Parameters
    ----------
    name : one of `dataset_names`
    root : data root; by default the environment variable ``ARML_DATA``, else ``data`` in the current directory.
        It may be read-only if it already has the files.
    download : whether files that are not in the data root may be fetched from their public addresses.

    Raises
    ------
    DatasetError
        If the name is unknown, a file cannot be had, or a file is not what it should be: wrong shape, labels or value
        range, or (MNIST, Fashion-MNIST) another digest than the official one. LIBSVM files have no official digest;
        theirs is recorded in the provenance instead.
    """
    if name not in REGISTRY:
        raise DatasetError(f"unknown dataset {name!r}; known are {', '.join(REGISTRY)}")
    return load_spec(REGISTRY[name], data_root(root), download=download)


def load_spec(spec: DatasetSpec, root: Path, *, download: bool) -> Dataset:
    """`load_dataset` for a dataset given by its description instead of its name."""
    files: dict[str, dict[str, Any]] = {}
    if spec.files:
        paths = locate_files(spec, root, download=download)
        train, test = _read_part(spec.train, paths), _read_part(spec.test, paths)
        files = {file.path: _file_provenance(file, path) for file, path in paths.items()}
    else:
        train, test = EMBEDDED[spec.name]()
    digest = _digest(spec.name, train, test)
    X_train, X_test = protocol.scale(train[0], test[0], spec.scaling)
    y_train, y_test = protocol.encode_labels(train[1], test[1])
    provenance = {
        "files": files,
        "scaling": str(spec.scaling),
        "protocol_version": protocol.VERSION,
        "embedded": not spec.files,
    }
    return Dataset(spec.name, X_train, y_train, X_test, y_test, digest, provenance)


def _read_part(files: tuple[SourceFile, ...], paths: Mapping[SourceFile, Path]) -> RawPart:
    match files:
        case (LibsvmFile() as file,):
            return read_libsvm(paths[file], file)
        case (IdxFile() as images, IdxFile() as labels):
            return read_idx(paths[images], images), read_idx(paths[labels], labels)
        case _:
            raise TypeError(f"a part is one LIBSVM file or two idx files, got {files}")


def _file_provenance(file: SourceFile, path: Path) -> dict[str, Any]:
    sha256 = file_sha256(path)
    record: dict[str, Any] = {"sha256": sha256, "bytes": path.stat().st_size, "published_at": list(file.urls)}
    if isinstance(file, IdxFile):
        record["content_md5"] = file.content_md5
    else:
        record["known_copy"] = sha256 == file.known_sha256
    return record


def _digest(name: str, train: RawPart, test: RawPart) -> str:
    arrays = [np.ascontiguousarray(a.astype(a.dtype.newbyteorder("<"), copy=False)) for a in (*train, *test)]
    header = {"name": name, "protocol": protocol.VERSION, "arrays": [[a.dtype.str, list(a.shape)] for a in arrays]}
    digest = hashlib.sha256(json.dumps(header, sort_keys=True).encode())
    for array in arrays:
        digest.update(array.data)
    return digest.hexdigest()
