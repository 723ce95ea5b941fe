"""How a record is written: its description as JSON, whose id is the hash of its key, and the files it lists.

Every file has its SHA-256 in the description, and whatever the record is about stands in the key.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import zipfile
import zlib
from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

SCHEMA = 2

PROOF_FILE = "witness.npz"
#: Files that a record can do without in the ledger, and the file there that says which it does without.
LARGE = (PROOF_FILE, "perturbation.npz", "attack.npz")
LEFT_OUT = "left_out.json"

# Schema 2 says what a record of an evaluation holds; a metric's has not changed, and may have taken hours to learn.
_READ = {"metric.json": (1, SCHEMA)}
# Digits of a record's id in the name of its folder.
_DIGITS = 12
# No file of text is larger when uncompressed.
_LARGEST = 2**28


class DamagedRecordError(ValueError):
    """A record does not hold what its id promises; the message says what is wrong with it."""


def canonical_json(value: object) -> str:
    """The one JSON text of a value: keys sorted, no spaces, ASCII, floats by repr; NaN and infinity are refused."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)


def sha256(path: Path) -> str:
    """SHA-256 (hex) of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_description(path: Path, expected_id: str) -> dict[str, Any]:
    """The description in ``path`` (record.json or metric.json) with its id and every file it lists checked.

    ``expected_id`` is the id, or its first 12 digits.

    Raises
    ------
    DamagedRecordError
        If it is missing or not JSON, is another record's, or lists a file that is not of its folder, is missing or was
        changed.
    """
    content = _parse(path)
    if content["schema"] not in _READ.get(path.name, (SCHEMA,)):
        raise DamagedRecordError(f"{path.name} has schema {content['schema']!r}, this version reads {SCHEMA}")
    try:
        key_id = hashlib.sha256(canonical_json(content["key"]).encode()).hexdigest()
    except ValueError as error:
        raise DamagedRecordError(f"the key in {path.name} holds a number that is not finite") from error
    if content["id"] != key_id or len(expected_id) < _DIGITS or not key_id.startswith(expected_id):
        raise DamagedRecordError(f"the id in {path.name}, the hash of its key, and the folder's id are not the same")
    for name, digest in content["files"].items():
        if Path(name).name != name:
            raise DamagedRecordError(f"{path.name} lists {name!r}, which is not a file of its folder")
        if name in left_out(path.parent):
            continue
        if hashlib.sha256(file_bytes(path.parent / name)).hexdigest() != digest:
            raise DamagedRecordError(f"{name} was changed: its SHA-256 is not the one in {path.name}")
    return content


def file_bytes(path: Path) -> bytes:
    """Content of a record's file, which may lie there compressed, under its name and ``.gz``.

    Raises
    ------
    DamagedRecordError
        If it is not there, or cannot be uncompressed.
    """
    compressed = path.with_name(path.name + ".gz")
    if path.is_file():
        return path.read_bytes()
    if not compressed.is_file():
        raise DamagedRecordError(f"{path.name} is missing")
    try:
        with gzip.open(compressed) as file:
            content = file.read(_LARGEST + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise DamagedRecordError(f"{compressed.name} cannot be uncompressed ({error})") from error
    if len(content) > _LARGEST:
        raise DamagedRecordError(f"{compressed.name} is larger than {_LARGEST // 2**20} MiB when uncompressed")
    return content


def left_out(folder: Path) -> frozenset[str]:
    """Names of the files that a record of the ledger does without; empty for a record as it was made.

    Raises
    ------
    DamagedRecordError
        If the list is none, or names the points.
    """
    path = folder / LEFT_OUT
    if not path.is_file():
        return frozenset()
    try:
        names = json.loads(path.read_text(encoding="utf-8"))
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise DamagedRecordError(f"{LEFT_OUT} is not JSON ({error})") from error
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names) or not set(names) <= set(LARGE):
        raise DamagedRecordError(f"{LEFT_OUT} names other files than {', '.join(LARGE)}, which alone may be left out")
    return frozenset(names)


def _parse(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise DamagedRecordError(f"{path.name} is missing") from None
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise DamagedRecordError(f"{path.name} is not JSON ({error})") from error
    if not isinstance(content, dict) or not {"schema", "id", "key", "files", "provenance"} <= content.keys():
        raise DamagedRecordError(f"{path.name} lacks parts of a record")
    if not all(isinstance(content[name], dict) for name in ("key", "files", "provenance")):
        raise DamagedRecordError(f"{path.name}: key, files and provenance must be objects")
    return content


def read_arrays(path: Path, names: Collection[str] | None = None) -> dict[str, NDArray[np.generic]]:
    """The arrays of an ``.npz``, or those of ``names`` that it has; nothing is ever unpickled.

    Raises
    ------
    DamagedRecordError
        If it is no whole ``.npz``, or holds Python objects.
    """
    try:
        with np.load(path, allow_pickle=False) as stored:
            return {name: stored[name] for name in stored.files if names is None or name in names}
    except (ValueError, OSError, EOFError, KeyError, MemoryError, zipfile.BadZipFile, zlib.error) as error:
        raise DamagedRecordError(f"{path.name} is no whole .npz of plain arrays ({error})") from error
