"""Finished points of a record that is not whole yet, kept so that an interruption costs little.

A *shard* holds what was computed for the points from one position to before another, as plain arrays, in
``.shards/<id>/<first>-<end>.npz`` under the store's root. It is written whole, and says what it is about: one of
another record, other code or another device is not taken. All of the folder can be deleted at any time; it goes when
the record is stored.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from arml.records.format import DamagedRecordError, read_arrays
from arml.records.store import Store, writable_folder

_FOLDER = ".shards"
# Names that no array of a shard has.
_ABOUT, _SECONDS = "_about", "_seconds"

Arrays = Mapping[str, NDArray[np.generic]]


@dataclass(frozen=True)
class Shard:
    """What was computed for the points at positions ``first`` to before ``end``, and the seconds it took."""

    first: int
    end: int
    arrays: Arrays
    seconds: float


class Shards:
    """The shards of one record; ``about`` tells what they are about, see `arml.records.shards`."""

    def __init__(self, store: Store, record_id: str, about: str) -> None:
        self._store, self._id, self._about = store, record_id, about
        #: Seconds that went into what was read, by whichever process.
        self.seconds_read = 0.0

    def next(self, position: int, end: int) -> tuple[Shard | None, int]:
        """The longest shard that begins at ``position`` and ends by ``end``, and where the next one after it begins.

        The latter is ``end`` where there is none. A file that cannot be used is removed.
        """
        spans = self._spans()
        for (first, last), path in sorted(spans.items(), key=lambda item: -item[0][1]):
            if first == position < last <= end:
                shard = self._read(first, last, path)
                if shard is not None:
                    self.seconds_read += shard.seconds
                    return shard, end
        return None, min((first for first, _ in spans if position < first < end), default=end)

    def keep(self, shard: Shard) -> None:
        """Write a shard, whole or not at all."""
        folder = writable_folder(self._store.working_folder(_FOLDER), self._id)
        path = folder / f"{shard.first}-{shard.end}.npz"
        temporary = folder / f".{uuid.uuid4().hex}"
        said = {_ABOUT: np.array(self._about), _SECONDS: np.array(shard.seconds)}
        try:
            with temporary.open("wb") as file:
                np.savez(file, allow_pickle=False, **shard.arrays, **said)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)

    def remove(self) -> None:
        """Remove all shards of the record."""
        for folder in self._folders():
            shutil.rmtree(folder, ignore_errors=True)
            with contextlib.suppress(OSError):  # those of other records are there
                folder.parent.rmdir()

    def _folders(self) -> list[Path]:
        return sorted(self._store.root.glob(f"{_FOLDER}*/{self._id}*"))

    def _spans(self) -> dict[tuple[int, int], Path]:
        found = {}
        for path in (path for folder in self._folders() for path in folder.glob("*-*.npz")):
            with contextlib.suppress(ValueError):
                first, end = map(int, path.stem.split("-"))
                found[first, end] = path
        return found

    def _read(self, first: int, end: int, path: Path) -> Shard | None:
        try:
            arrays = read_arrays(path)
            about, seconds = str(arrays.pop(_ABOUT)), float(arrays.pop(_SECONDS))
        except (DamagedRecordError, KeyError, TypeError, ValueError):
            about = ""
        if about != self._about:
            with contextlib.suppress(OSError):
                path.unlink()
            return None
        return Shard(first, end, arrays, seconds)
