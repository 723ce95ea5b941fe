"""What exists: every dataset, its files, where they are published, and what their content must look like.

Paths are relative to the data root and follow the names of the publishers. MNIST and Fashion-MNIST have official MD5
digests of the *decompressed* files (the gzip container varies between mirrors, its content does not). The LIBSVM
files have none, so any copy is accepted whose shape, labels and value range are right; ``known_sha256`` lists copies
whose content was checked against a second source, and `Dataset.provenance` records which copy was used.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType

_MNIST_MIRRORS = (
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
    "https://storage.googleapis.com/cvdf-datasets/mnist/",
)
_FASHION_MIRRORS = (
    "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
    "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
)
_LIBSVM_MIRRORS = (
    "https://www.csie.ntu.edu.tw/~cjlin/libsvmtools/datasets/",
    "https://ntucsu.csie.ntu.edu.tw/~cjlin/libsvmtools/datasets/",
)

#: Longest text of one ``index:value`` entry (and of a label) that a LIBSVM file may need, in bytes.
_LIBSVM_ENTRY_BYTES = 40


class Scaling(StrEnum):
    """How features are brought to [0, 1]; see `arml.datasets.protocol`."""

    DIVIDE_BY_255 = "divide_by_255"
    MIN_MAX = "min_max_of_training_part"
    NONE = "none"


@dataclass(frozen=True)
class IdxFile:
    """A gzipped idx file of bytes: images (n, height, width) or labels (n,)."""

    path: str
    urls: tuple[str, ...]
    shape: tuple[int, ...]
    content_md5: str

    @property
    def content_bytes(self) -> int:
        """Exact size of the decompressed file: a header of 4 bytes and 4 per dimension, then one byte per item."""
        return 4 + 4 * len(self.shape) + math.prod(self.shape)

    @property
    def max_content_bytes(self) -> int:
        """Most bytes that are ever decompressed."""
        return self.content_bytes


@dataclass(frozen=True)
class LibsvmFile:
    """A LIBSVM text file (bzip2 when the path ends in ``.bz2``) of ``shape`` (n, d)."""

    path: str
    urls: tuple[str, ...]
    shape: tuple[int, int]
    labels: tuple[int, ...]
    value_range: tuple[float, float]
    known_sha256: str

    @property
    def max_content_bytes(self) -> int:
        """Most bytes that are ever decompressed: far above any honest file of this shape, far below a bomb."""
        n, d = self.shape
        return n * (d + 1) * _LIBSVM_ENTRY_BYTES


SourceFile = IdxFile | LibsvmFile


@dataclass(frozen=True)
class DatasetSpec:
    """One dataset. ``train`` and ``test`` hold (images, labels) idx files, one LIBSVM file, or nothing if embedded."""

    name: str
    n_train: int
    n_test: int
    n_features: int
    n_classes: int
    scaling: Scaling
    train: tuple[SourceFile, ...] = ()
    test: tuple[SourceFile, ...] = ()

    @property
    def files(self) -> tuple[SourceFile, ...]:
        """All files, training part first."""
        return self.train + self.test


def _idx(folder: str, mirrors: tuple[str, ...], name: str, shape: tuple[int, ...], md5: str) -> IdxFile:
    return IdxFile(f"{folder}/{name}", tuple(mirror + name for mirror in mirrors), shape, md5)


def _images(name: str, folder: str, mirrors: tuple[str, ...], md5: tuple[str, str, str, str]) -> DatasetSpec:
    train = (
        _idx(folder, mirrors, "train-images-idx3-ubyte.gz", (60_000, 28, 28), md5[0]),
        _idx(folder, mirrors, "train-labels-idx1-ubyte.gz", (60_000,), md5[1]),
    )
    test = (
        _idx(folder, mirrors, "t10k-images-idx3-ubyte.gz", (10_000, 28, 28), md5[2]),
        _idx(folder, mirrors, "t10k-labels-idx1-ubyte.gz", (10_000,), md5[3]),
    )
    return DatasetSpec(name, 60_000, 10_000, 784, 10, Scaling.DIVIDE_BY_255, train, test)


def _libsvm(
    name: str,
    files: tuple[str, str],
    shape: tuple[int, int, int],
    labels: tuple[int, ...],
    ranges: tuple[tuple[float, float], tuple[float, float]],
    sha256: tuple[str, str],
) -> DatasetSpec:
    n_train, n_test, d = shape
    group = "binary/" if len(labels) == 2 else "multiclass/"
    train, test = (
        LibsvmFile(
            f"libsvm/{file}", tuple(m + group + file for m in _LIBSVM_MIRRORS), (n, d), labels, value_range, digest
        )
        for file, n, value_range, digest in zip(files, (n_train, n_test), ranges, sha256, strict=True)
    )
    return DatasetSpec(name, n_train, n_test, d, len(labels), Scaling.MIN_MAX, (train,), (test,))


_SPECS = (
    _images(
        "mnist",
        "mnist",
        _MNIST_MIRRORS,
        (
            "6bbc9ace898e44ae57da46a324031adb",
            "a25bea736e30d166cdddb491f175f624",
            "2646ac647ad5339dbf082846283269ea",
            "27ae3e4e09519cfbb04c329615203637",
        ),
    ),
    _images(
        "fashion_mnist",
        "fashion-mnist",
        _FASHION_MIRRORS,
        (
            "f4a8712d7a061bf5bd6d2ca38dc4d50a",
            "9018921c3c673c538a1fc5bad174d6f9",
            "8181f5470baa50b63fa0f6fddb340f0a",
            "15d484375f8d13e6eb1aabb0c3f46965",
        ),
    ),
    _libsvm(
        "splice",
        ("splice", "splice.t"),
        (1_000, 2_175, 60),
        (-1, 1),
        ((1, 4), (1, 4)),
        (
            "049917a9fce002627c1ed334f6ae10193d83762d165881002c2e5ef6dea97d81",
            "3ef0e387656e9c6fe025ba46f5feffbd89237a52b7fe9823286920e6f7f33d27",
        ),
    ),
    _libsvm(
        "pendigits",
        ("pendigits", "pendigits.t"),
        (7_494, 3_498, 16),
        tuple(range(10)),
        ((0, 100), (0, 100)),
        (
            "6e8a2f318a24d97d26a9c381642621dc955fed73ec44c4d417bd7afbb47ed67c",
            "5ddb2f034e1c5ca8a47b8a7e78510f8a9d68015cf40a5031534c693fba9773d3",
        ),
    ),
    _libsvm(
        "satimage",
        ("satimage.scale", "satimage.scale.t"),
        (4_435, 2_000, 36),
        tuple(range(1, 7)),
        # Scaled by the training part alone, so test values pass beyond [-1, 1] (to 1.145).
        ((-1, 1), (-1.5, 1.5)),
        (
            "f33c2f1b06b51a5cf3517b8c81ae3482b3f492514812f2359f1e5e9fa0705b53",
            "d68912d949f496a6766278bd0e05ae497e95f9fbaad9a904565c48e0ef00d368",
        ),
    ),
    _libsvm(
        "usps",
        ("usps.bz2", "usps.t.bz2"),
        (7_291, 2_007, 256),
        tuple(range(1, 11)),
        ((-1, 1), (-1, 1)),
        (
            "d690622d721c57eccefdf6af6000d6e8632defa4456c7956d74b85895d49f014",
            "837f8d64262792dcba5c80667ab1ebad731bc4359ab40f9db88dd5ec0824e62f",
        ),
    ),
    DatasetSpec("digits", 1_297, 500, 64, 10, Scaling.MIN_MAX),
    DatasetSpec("toy", 7, 7, 2, 2, Scaling.NONE),
)

#: Every dataset by name, in the order of the paper's Table 1, then the embedded ones.
REGISTRY: Mapping[str, DatasetSpec] = MappingProxyType({spec.name: spec for spec in _SPECS})
