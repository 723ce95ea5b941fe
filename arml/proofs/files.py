"""Proven results as files: one ``.npz`` with the proof, its claim, and the data they are about (docs/proofs.md).

`save` and `load` write and read a whole result. `pack` and `unpack` are the part without the data, for those who keep
these elsewhere. A file is looked at before anything of it is believed: names, types, shapes and announced sizes are
read from the headers of its members, and compared with what is there, before memory is asked for.
"""

from __future__ import annotations

import io
import os
import tempfile
import warnings
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from arml.proofs.claim import Claim, Subject, digest
from arml.proofs.formats import DamagedProofError, EntryProof, TreeProof
from arml.proofs.result import ProvenResult
from arml.proofs.validity import check_claim

#: First and last word on the format: files say which one they have, and another is refused.
FORMAT = "arml-proof 1"
#: A file may not announce more than this many bytes, all members together.
LIMIT = 2**33
# Deflate makes at most this many bytes of one.
_MOST_PER_BYTE = 1032

_RESULT = ("lower", "upper", "status", "perturbation")
_KINDS: Mapping[str, type[EntryProof] | type[TreeProof]] = {"entries": EntryProof, "tree": TreeProof}
_WORDS = ("format", "kind", "claim")
# Letters of the types that may be in a file; text is limited, for it comes with a length of its own.
_LETTERS = "fibU"
_LONGEST_TEXT = 4096


def save(result: ProvenResult, path: str | os.PathLike[str]) -> None:
    """Write a result to ``path``, whole or not at all.

    Raises
    ------
    DamagedProofError
        If the result's arrays do not fit together.
    """
    result = sound(result)
    subject = {f"subject_{field.name}": getattr(result.subject, field.name) for field in fields(Subject)}
    target = Path(path)
    handle, temporary = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.", suffix=".part")
    part = Path(temporary)
    try:
        with os.fdopen(handle, "wb") as file:
            np.savez_compressed(file, **pack(result), **subject)  # type: ignore[arg-type]  # stub lacks allow_pickle
            file.flush()
            os.fsync(file.fileno())
        part.chmod(0o666 & ~_umask())
        part.replace(target)
    except BaseException:
        part.unlink()
        raise


def load(path: str | os.PathLike[str]) -> ProvenResult:
    """Read a result that `save` wrote.

    Raises
    ------
    DamagedProofError
        If the file is anything else; the sentence says what is wrong.
    OSError
        If the file cannot be read.
    """
    with Path(path).open("rb") as file:
        arrays = _read(file)
    names = {f"subject_{field.name}": field.name for field in fields(Subject)}
    subject = {name: arrays.pop(stored) for stored, name in names.items() if stored in arrays}
    if len(subject) < len(names):
        raise DamagedProofError(f"damaged proof: the data it is about are not all there, only {sorted(subject)}")
    return sound(unpack(arrays, Subject(**subject)))  # type: ignore[arg-type]  # `sound` checks the types


def pack(result: ProvenResult) -> dict[str, NDArray[np.generic]]:
    """A result without its subject as named arrays; `unpack` is the inverse."""
    kind = next(name for name, kind in _KINDS.items() if isinstance(result.proof, kind))
    words = {"format": FORMAT, "kind": kind, "claim": result.claim.text()}
    arrays: dict[str, NDArray[np.generic]] = {name: np.array(text) for name, text in words.items()}
    arrays |= {name: np.asarray(getattr(result, name)) for name in _RESULT}
    # A text without letters has length 0, which no header can say.
    arrays["status"] = np.asarray(result.status, dtype=np.str_) if len(result.status) else np.empty(0, dtype="<U1")
    return arrays | result.proof.arrays()


def unpack(arrays: Mapping[str, NDArray[np.generic]], subject: Subject) -> ProvenResult:
    """Result about ``subject`` from what `pack` gave.

    Raises
    ------
    DamagedProofError
        If an array is missing, is one too many, or has the wrong type or shape.
    """
    words = {name: _text(name, arrays) for name in _WORDS}
    if words["format"] != FORMAT:
        raise DamagedProofError(f"damaged proof: its format is {words['format']!r}, this reads {FORMAT!r}")
    if words["kind"] not in _KINDS:
        raise DamagedProofError(f"damaged proof: unknown kind {words['kind']!r}; there are: {', '.join(_KINDS)}")
    kind = _KINDS[words["kind"]]
    try:
        claim = Claim.from_text(words["claim"])
    except (ValueError, RecursionError, OverflowError) as error:
        raise DamagedProofError(f"damaged proof: its claim cannot be read: {error}") from error
    known = {*_WORDS, *_RESULT, *(field.name for field in fields(kind) if field.name != "claim")}
    unknown, missing = sorted(set(arrays) - known), sorted(known - set(arrays))
    if unknown or missing:
        raise DamagedProofError(f"damaged proof: arrays missing: {missing}, unknown: {unknown}")
    values: dict[str, Any] = {name: arrays[name] for name in _RESULT}
    return ProvenResult(subject, proof=kind.from_arrays(claim, arrays), **values)


def sound(result: ProvenResult) -> ProvenResult:
    """The result, with arrays that fit together and are those its claim is about.

    Raises
    ------
    DamagedProofError
        If they are not; the sentence says which.
    """
    subject, claim, proof = result.subject, result.proof.claim, result.proof
    if not isinstance(proof, EntryProof | TreeProof):
        raise DamagedProofError("damaged proof: there is none; ask for one with exact_radius(..., proofs=True)")
    _check_claim(claim, isinstance(proof, EntryProof))
    shapes = {"components": 2, "X_train": 2, "y_train": 1, "X": 2, "y": 1}
    arrays: dict[str, Any] = {}
    for name, ndim in shapes.items():
        arrays[name] = _typed(name, getattr(subject, name), "i" if name.startswith("y") else "f", ndim)
        if arrays[name].dtype.kind == "f" and not np.isfinite(arrays[name]).all():
            raise DamagedProofError(f"damaged proof: {name} of the data holds a value that is not finite")
        if digest(arrays[name]) != getattr(claim, name):
            raise DamagedProofError(f"the claim is about other data: the digest of {name} is another")
    n, d = arrays["X"].shape
    fits = arrays["components"].shape[1] == arrays["X_train"].shape[1] == d > 0
    if not fits or len(arrays["y_train"]) != len(arrays["X_train"]) or len(arrays["y"]) != n:
        raise DamagedProofError("damaged proof: the arrays of the data do not belong together")
    if len(arrays["X_train"]) < claim.n_neighbors:
        raise DamagedProofError(f"damaged proof: K = {claim.n_neighbors} neighbours of fewer training points")
    bounds: dict[str, Any] = {name: _typed(name, getattr(result, name), "f", 1) for name in ("lower", "upper")}
    bounds["status"] = _typed("status", result.status, "U", 1)
    bounds["perturbation"] = _typed("perturbation", result.perturbation, "f", 2)
    if any(len(value) != n for value in bounds.values()) or bounds["perturbation"].shape[1] != d:
        raise DamagedProofError(f"damaged proof: the results are not those of {n} points with {d} features")
    if np.isnan(bounds["lower"]).any() or np.isnan(bounds["upper"]).any():
        raise DamagedProofError("damaged proof: a bound is NaN")
    if not np.isfinite(bounds["perturbation"]).all():
        raise DamagedProofError("damaged proof: a perturbation holds a value that is not finite")
    checked = type(proof).from_arrays(claim, proof.arrays())
    if len(checked) != n:
        raise DamagedProofError(f"damaged proof: it is about {len(checked)} points, the result about {n}")
    if not np.isfinite(checked.weight).all():
        raise DamagedProofError("damaged proof: a weight is not finite")
    return ProvenResult(Subject(**arrays), proof=checked, **bounds)


def _check_claim(claim: Claim, entries: bool) -> None:
    """What is claimed is something that can be checked."""
    try:
        check_claim(claim)
    except ValueError as error:
        raise DamagedProofError(f"damaged proof: {error}") from error
    if entries and claim.n_neighbors != 1:
        raise DamagedProofError(f"damaged proof: this kind is one for K = 1, not for K = {claim.n_neighbors}")


def _typed(name: str, value: object, letter: str, ndim: int) -> NDArray[Any]:
    array = np.asarray(value)
    wide = letter != "U" and array.dtype.itemsize > 8
    if array.ndim != ndim or array.dtype.kind != letter or wide:
        raise DamagedProofError(f"damaged proof: {name} has shape {array.shape} and type {array.dtype}")
    return array.astype({"f": np.float64, "i": np.int64}.get(letter, array.dtype), copy=False)


def _text(name: str, arrays: Mapping[str, NDArray[np.generic]]) -> str:
    if name not in arrays or arrays[name].ndim != 0 or arrays[name].dtype.kind != "U":
        raise DamagedProofError(f"damaged proof: the text {name!r} is missing")
    return str(arrays[name])


@dataclass(frozen=True)
class _Header:
    """What a member says of itself: shape, order and type of its array, and where the values begin."""

    shape: tuple[int, ...]
    fortran: bool
    dtype: np.dtype[Any]
    start: int


def _read(file: io.BufferedReader) -> dict[str, NDArray[np.generic]]:
    """All arrays of an ``.npz``; what a member announces is compared with its size before it is read."""
    arrays: dict[str, NDArray[np.generic]] = {}
    try:
        with warnings.catch_warnings(), zipfile.ZipFile(file) as archive:
            # numpy warns of headers in old styles; those are read or refused like any other.
            warnings.simplefilter("ignore")
            members = archive.infolist()
            _check_sizes(members, os.fstat(file.fileno()).st_size)
            for member in members:
                name = member.filename.removesuffix(".npy")
                if name == member.filename or name in arrays:
                    raise DamagedProofError(f"damaged proof: {member.filename!r} is no array, or there twice")
                arrays[name] = _member(archive, member, name)
    except DamagedProofError:
        raise
    except Exception as error:  # what hostile bytes make zipfile, zlib and numpy raise has no common name
        reason = str(error) or type(error).__name__
        raise DamagedProofError(f"damaged proof: the file cannot be read as .npz ({reason})") from error
    return arrays


def _check_sizes(members: list[zipfile.ZipInfo], size: int) -> None:
    """Members that a file of ``size`` bytes can hold, and that fit into memory."""
    packed, unpacked = sum(member.compress_size for member in members), sum(member.file_size for member in members)
    if packed > size or unpacked > min(LIMIT, size * _MOST_PER_BYTE):
        raise DamagedProofError(f"damaged proof: {size} bytes announce arrays of {unpacked} bytes")


def _member(archive: zipfile.ZipFile, member: zipfile.ZipInfo, name: str) -> NDArray[np.generic]:
    with archive.open(member) as stream:
        header = _header(stream, name)
        items = 1
        for length in header.shape:
            items *= length
        announced = header.start + items * header.dtype.itemsize
        if announced != member.file_size:
            raise DamagedProofError(
                f"damaged proof: {name!r} announces {announced} bytes and the file holds {member.file_size} of it"
            )
        values = stream.read()
    if len(values) != items * header.dtype.itemsize:
        raise DamagedProofError(f"damaged proof: {name!r} is cut off")
    array = np.frombuffer(values, dtype=header.dtype, count=items) if items else np.empty(0, header.dtype)
    array = array.reshape(header.shape, order="F" if header.fortran else "C")
    return np.ascontiguousarray(array).reshape(header.shape)


def _header(stream: Any, name: str) -> _Header:
    """The header of a ``.npy``, without room for its values."""
    version = np.lib.format.read_magic(stream)
    readers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    if version not in readers:
        raise DamagedProofError(f"damaged proof: {name!r} has the unknown version {version}")
    shape, fortran, dtype = readers[version](stream)
    if dtype.kind not in _LETTERS or dtype.hasobject or (dtype.kind == "U" and dtype.itemsize > 4 * _LONGEST_TEXT):
        raise DamagedProofError(f"damaged proof: {name!r} has the type {dtype}, which no proof holds")
    if any(type(length) is not int or length < 0 for length in shape):
        raise DamagedProofError(f"damaged proof: {name!r} has the impossible shape {shape}")
    return _Header(shape, fortran, dtype, stream.tell())


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
