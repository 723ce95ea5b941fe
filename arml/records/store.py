"""The store of records: folders addressed by the hash of what went into them, written whole or not at all.

Layout under the store's root::

    <stage>/<label>-<first 12 digits of the id>/     a finished record: its JSON, and the files the JSON lists
    <stage>/.tmp/<id>.<token>/                       a record being written by the owner of that token
    <stage>/.damaged/                                records that failed their check, moved aside
    .locks/<id>.held                                 names the process that makes the record, see `arml.records.locks`
    .checkpoints/                                    unfinished trainings, kept by the pipeline for the next try

The root may be shared by machines and by users. A finished record is never changed, and it appears by one rename from
beside its place, also where the stage lies on another disk. Of two processes that make one record in spite of the lock,
each writes into a folder of its own, and what the second has made is thrown away. What is left half-written is removed
when its owner is known to be gone, or was not touched for a day; what cannot be removed is in nobody's way.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import stat
import sys
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from arml.records.format import SCHEMA, DamagedRecordError, canonical_json, read_description, sha256
from arml.records.integrity import check_sections
from arml.records.locks import Lock

ID_LENGTH = 64
# Seconds after which what nobody has touched is forgotten; who is at work touches it with every heartbeat.
_FORGOTTEN = 24 * 3600.0


@dataclass(frozen=True)
class Address:
    """Where a record lives: its stage, a readable label, and the key, everything its content depends on."""

    stage: str
    label: str
    key: Mapping[str, object]

    @property
    def id(self) -> str:
        """SHA-256 (64 hex digits) of the key as canonical JSON."""
        return hashlib.sha256(canonical_json(self.key).encode()).hexdigest()

    @property
    def folder_name(self) -> str:
        """Folder of the record, relative to the store's root."""
        return f"{self.stage}/{self.label}-{self.id[:12]}"

    @property
    def record_name(self) -> str:
        """File that describes the record."""
        return "metric.json" if self.stage == "metrics" else "record.json"


@dataclass(frozen=True)
class Record:
    """A finished record: its folder, its description, and whether it was there already."""

    folder: Path
    content: Mapping[str, Any]
    found: bool


def to_stderr(message: str) -> None:
    """Report a message of the store to the user."""
    print(message, file=sys.stderr, flush=True)


class Store:
    """Records under one root folder, which is made when it is first written to."""

    def __init__(self, root: str | Path, report: Callable[[str], None] = to_stderr) -> None:
        self.root = Path(root)
        self._report = report

    def obtain(self, address: Address, make: Callable[[Path], Mapping[str, object]]) -> Record:
        """The record at ``address``, made by ``make`` unless it is there.

        ``make`` gets an empty folder, writes the record's files into it and returns the rest of its description. If it
        raises, or the process dies, nothing is left under the record's name. A process that asks for a record while
        another makes it waits, and then finds it.
        """
        try:
            record = self._read(address)
        except DamagedRecordError:
            record = None  # judged again under the lock
        if record is not None:
            return record
        lock = self._lock(address.id)
        place = self.root / address.folder_name
        lock.acquire(lambda: self._report(f"waiting for another process that is making {place}"))
        try:
            return self._read_or_move_aside(address) or self._make(address, make, lock)
        finally:
            lock.release()

    def clean(self) -> None:
        """Remove what processes that are gone left half-written; what is at work, or another user's, stays."""
        for folder in sorted(self.root.glob("*/.tmp*/*")):
            record_id, _, token = folder.name.partition(".")
            if len(record_id) == ID_LENGTH and token and self._is_abandoned(folder, record_id, token):
                shutil.rmtree(folder, ignore_errors=True)
        for file in (*self.root.glob(".locks*/*.new"), *self.root.glob(".locks*/*.gone")):
            with contextlib.suppress(OSError):
                if _untouched(file) > _FORGOTTEN:
                    file.unlink()

    def working_folder(self, name: str) -> Path:
        """A folder under the root for what is not finished yet, which this process can write to."""
        return writable_folder(self.root, name)

    def _is_abandoned(self, folder: Path, record_id: str, token: str) -> bool:
        lock = self._lock(record_id)
        holder = lock.holder()
        if holder is not None and holder.token == token:
            # Its lock is left for whoever wants the record, and there is no harm in it.
            return holder.is_gone
        # Without its lock its owner is gone, or was silent for too long and is still at work.
        with contextlib.suppress(OSError):
            return _untouched(folder) > _FORGOTTEN
        return False

    def _lock(self, record_id: str) -> Lock:
        return Lock(self.working_folder(".locks"), record_id)

    def _read(self, address: Address) -> Record | None:
        folder = self.root / address.folder_name
        # Listed, because a network file system may go on saying for a while that a name is not there.
        if not folder.parent.exists() or folder not in folder.parent.iterdir():
            return None
        return Record(folder, read_record(folder / address.record_name, address.id), found=True)

    def _read_or_move_aside(self, address: Address) -> Record | None:
        try:
            return self._read(address)
        except DamagedRecordError as error:
            folder = self.root / address.folder_name
            aside = writable_folder(folder.parent, ".damaged") / f"{folder.name}-{time.time_ns()}"
            folder.replace(aside)
            self._report(f"damaged record {folder}: {error}; moved to {aside}, making it again")
            return None

    def _make(self, address: Address, make: Callable[[Path], Mapping[str, object]], lock: Lock) -> Record:
        folder = self.root / address.folder_name
        _make_shared(folder.parent)
        temporary = _new_folder(folder.parent, f"{address.id}.{lock.token}")
        lock.keep_fresh(temporary)
        try:
            description = make(temporary)
            content = {
                "schema": SCHEMA,
                "id": address.id,
                "stage": address.stage,
                "key": address.key,
                **description,
                "files": {path.name: sha256(path) for path in sorted(temporary.iterdir())},
            }
            text = json.dumps(content, indent=2, allow_nan=False, default=_plain)
            (temporary / address.record_name).write_text(text + "\n", encoding="utf-8")
            for path in (*temporary.iterdir(), temporary):
                _flush_to_disk(path)
            return self._publish(address, temporary, json.loads(text))
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
            with contextlib.suppress(OSError):  # not empty: others are at work
                temporary.parent.rmdir()

    def _publish(self, address: Address, temporary: Path, content: dict[str, Any]) -> Record:
        """Give the finished record its name, unless one is there by now: then that one is it."""
        folder = self.root / address.folder_name
        try:
            temporary.rename(folder)
        except OSError:
            there = self._read_or_move_aside(address)
            if there is not None:
                return there
            temporary.rename(folder)
        _flush_to_disk(folder.parent)
        return Record(folder, content, found=False)


def writable_folder(parent: Path, name: str) -> Path:
    """The folder ``name`` in ``parent``, made if need be; one of our own where another user keeps it for himself."""
    folder = parent / name
    _make_shared(folder)
    if os.access(folder, os.W_OK | os.X_OK, effective_ids=os.access in os.supports_effective_ids):
        return folder
    own = parent / f"{name}-{os.geteuid()}"
    _make_shared(own)
    return own


def _new_folder(stage: Path, name: str) -> Path:
    """A new folder beside the records of a stage."""
    while True:
        folder = writable_folder(stage, ".tmp") / name
        with contextlib.suppress(FileNotFoundError):  # another process found it empty, and removed it
            folder.mkdir()
            return folder


def _make_shared(folder: Path) -> None:
    """Make a folder, and those above it, as open to the group as the folder it lies in, whatever the umask."""
    if folder.exists():
        return
    if folder.parent != folder:
        _make_shared(folder.parent)
    try:
        folder.mkdir()
    except FileExistsError:
        return  # another process was faster
    above = folder.parent.stat().st_mode
    if above & stat.S_IWGRP:
        with contextlib.suppress(OSError):  # not every file system knows modes
            folder.chmod(folder.stat().st_mode | above & (stat.S_IRWXG | stat.S_ISGID))


def _untouched(path: Path) -> float:
    """For how many seconds nobody has touched a file or folder, by the clock of the disk that it lies on."""
    probe = path.with_name(f".{uuid.uuid4().hex}")
    try:
        probe.touch()
        return probe.stat().st_mtime - path.stat().st_mtime
    finally:
        probe.unlink(missing_ok=True)


def read_record(path: Path, expected_id: str) -> dict[str, Any]:
    """The description in ``path`` (record.json or metric.json), with its sections and every file it lists checked.

    Raises
    ------
    DamagedRecordError
        If it is missing or not JSON, is another record's, contradicts its key, or a file is missing or was changed.
    """
    content = read_description(path, expected_id)
    if "stage" in content["key"]:
        check_sections(content)
    return content


def _plain(value: object) -> object:
    """NumPy scalars in a learner's report become the JSON values they stand for."""
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"a record cannot hold a {type(value).__name__}")


def _flush_to_disk(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
