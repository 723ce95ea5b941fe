"""Strict readers of the two published formats: idx (gzip) and LIBSVM text (plain or bzip2).

A reader knows what it is about to read (`arml.datasets.registry`), so nothing in the file decides how much memory is
used: it decompresses at most one byte more than the registry allows. Everything that is not exactly as expected raises
`DatasetError` with the file, the place and the reason.
"""

from __future__ import annotations

import bz2
import gzip
import hashlib
import re
import struct
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from arml.datasets.errors import DamagedFileError, DatasetError
from arml.datasets.registry import REGISTRY, IdxFile, LibsvmFile, SourceFile

_IDX_UNSIGNED_BYTE = 0x08

# Possessive quantifiers: a hostile line is refused in linear time.
_NUMBER = rb"[+-]?+(?:\d++(?:\.\d*+)?+|\.\d++)(?:[eE][+-]?+\d++)?+"
_LIBSVM_LINE = re.compile(rb"[ \t]*+" + _NUMBER + rb"(?:[ \t]++\d{1,9}+:" + _NUMBER + rb")*+[ \t]*+")


def read_idx(path: Path, file: IdxFile) -> NDArray[np.uint8]:
    """Bytes of a gzipped idx file, in the shape the registry gives it (a read-only array).

    Raises
    ------
    DatasetError
        If the file is not gzip, is truncated or too long, has another type or shape, or another MD5 of its content
        (it then says which known file it is, when it is one).
    """
    content = _read_at_most(path, file)
    _check_idx_header(path, content, file.shape)
    if len(content) < file.content_bytes:
        raise DamagedFileError(path, f"truncated: {len(content):,} bytes of content instead of {file.content_bytes:,}")
    if len(content) > file.content_bytes:
        raise DamagedFileError(path, f"goes on after the {file.content_bytes:,} bytes that its header announces")
    _check_md5(path, content, file)
    return np.frombuffer(content, dtype=np.uint8, offset=_header_bytes(file.shape)).reshape(file.shape)


def read_libsvm(path: Path, file: LibsvmFile) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Features (n, d) float64 and labels (n,) int64, as they stand in a LIBSVM text file; missing entries are 0.

    The dimension comes from the registry, so a part whose last columns are empty still fits the other part.

    Raises
    ------
    DatasetError
        If a line is not ``label index:value ...`` with increasing indices in 1..d, if the number of lines, the set of
        labels or the range of values is not the dataset's, or if the file ends within a line.
    """
    content = _read_at_most(path, file)
    n, d = file.shape
    if len(content) > file.max_content_bytes:
        raise DamagedFileError(path, f"far too long for {n:,} rows of {d} features")
    X, y, line_numbers = np.zeros((n, d)), np.empty(n, dtype=np.int64), np.zeros(n, dtype=np.int64)
    row = 0
    for number, line in enumerate(content.splitlines(), start=1):
        if not line.strip():
            continue
        label, columns, values = _parse_libsvm_line(path, number, line, d)
        if label not in file.labels:
            raise DamagedFileError(
                path, f"line {number}: label {label:g} is none of {_listed(file.labels)}; another dataset's file?"
            )
        if row == n:
            raise DamagedFileError(path, f"line {number}: more than the expected {n:,} rows; another dataset's file?")
        X[row, columns], y[row], line_numbers[row] = values, int(label), number
        row += 1
    if row < n:
        raise DamagedFileError(path, f"{row:,} rows instead of {n:,}; truncated, or another dataset's file")
    if not content.endswith(b"\n"):
        raise DamagedFileError(path, "its last line does not end, so the file is truncated")
    _check_libsvm_content(path, file, X, y, line_numbers)
    return X, y


def verify_file(path: Path, file: SourceFile) -> None:
    """Read ``path`` as the registry's ``file`` and discard it; raises `DatasetError` if it is not what it should be."""
    if isinstance(file, IdxFile):
        read_idx(path, file)
    else:
        read_libsvm(path, file)


def file_sha256(path: Path) -> str:
    """SHA-256 (hex) of the file as it lies on disk."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _open(path: Path, file: SourceFile) -> BinaryIO | gzip.GzipFile | bz2.BZ2File:
    # By the published name, not the path's: a download is verified before it gets that name.
    if file.path.endswith(".gz"):
        return gzip.GzipFile(path)
    return bz2.BZ2File(path) if file.path.endswith(".bz2") else path.open("rb")


def _read_at_most(path: Path, file: SourceFile) -> bytes:
    """Decompressed content, at most one byte more than the registry allows: that one tells that there was more."""
    try:
        with _open(path, file) as stream:
            return stream.read(file.max_content_bytes + 1)
    except EOFError as error:
        raise DamagedFileError(path, "truncated, its compressed stream ends early") from error
    except (FileNotFoundError, PermissionError, IsADirectoryError) as error:
        raise DatasetError(f"{path}: cannot be read ({error.strerror}); check the data root") from error
    except (OSError, zlib.error) as error:
        raise DamagedFileError(path, f"damaged, or not of the format its name says ({error})") from error


def _header_bytes(shape: tuple[int, ...]) -> int:
    return 4 + 4 * len(shape)


def _check_idx_header(path: Path, content: bytes, shape: tuple[int, ...]) -> None:
    magic = struct.pack(">HBB", 0, _IDX_UNSIGNED_BYTE, len(shape))
    if len(content) < _header_bytes(shape):
        raise DamagedFileError(path, f"truncated: {len(content)} bytes of content are less than an idx header")
    if content[:4] != magic:
        raise DamagedFileError(
            path,
            f"not an idx file of bytes in {len(shape)} dimension(s): it starts with {content[:4].hex()}, "
            f"expected {magic.hex()}; are images and labels swapped?",
        )
    found = struct.unpack(f">{len(shape)}I", content[4 : _header_bytes(shape)])
    if found != shape:
        raise DamagedFileError(
            path, f"its header says shape {found}, expected {shape}; are training and test files swapped?"
        )


def _check_md5(path: Path, content: bytes, file: IdxFile) -> None:
    found = hashlib.md5(content, usedforsecurity=False).hexdigest()
    if found == file.content_md5:
        return
    published = (other for spec in REGISTRY.values() for other in spec.files if isinstance(other, IdxFile))
    namesake = next((other.path for other in published if other.content_md5 == found), None)
    what = f"its content is that of {namesake}" if namesake else "damaged, or not the published file"
    raise DamagedFileError(path, f"{what} (MD5 of the content is {found}, expected {file.content_md5})")


def _parse_libsvm_line(
    path: Path, number: int, line: bytes, d: int
) -> tuple[float, NDArray[np.int64], NDArray[np.float64]]:
    if not _LIBSVM_LINE.fullmatch(line):
        shown = line[:60].decode("ascii", "replace")
        raise DamagedFileError(path, f"line {number}: not 'label index:value ...' with finite numbers: {shown!r}")
    numbers = np.array([float(token) for token in line.replace(b":", b" ").split()])
    indices, values = numbers[1::2].astype(np.int64), numbers[2::2]
    if indices.size and (indices[0] < 1 or indices[-1] > d or (np.diff(indices) <= 0).any()):
        raise DamagedFileError(
            path, f"line {number}: feature indices must increase within 1..{d}; damaged, or another dataset's file"
        )
    return float(numbers[0]), indices - 1, values


def _check_libsvm_content(
    path: Path, file: LibsvmFile, X: NDArray[np.float64], y: NDArray[np.int64], line_numbers: NDArray[np.int64]
) -> None:
    low, high = file.value_range
    outside = ~np.logical_and(np.greater_equal(X, low), np.less_equal(X, high))
    if outside.any():
        row, column = np.argwhere(outside)[0]
        raise DamagedFileError(
            path,
            f"line {line_numbers[row]}: feature {column + 1} is {X[row, column]:g}, outside the dataset's range "
            f"[{low:g}, {high:g}] (a feature that is not written counts as 0)",
        )
    missing = sorted(set(file.labels) - set(y.tolist()))
    if missing:
        raise DamagedFileError(path, f"no row has label {_listed(missing)}; damaged, or another dataset's file")


def _listed(labels: Iterable[int]) -> str:
    return ", ".join(str(label) for label in labels)
