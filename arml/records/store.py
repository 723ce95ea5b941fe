"""The store of records: folders addressed by the hash of what went into them, written whole or not at all.

Layout under the store's root::

    <stage>/<label>-<first 12 digits of the id>/     a finished record: its JSON, and the files the JSON lists
    .tmp/<id>/                                       a record being written
    .locks/<id>.lock                                 held by the process that writes or replaces it
    .damaged/                                        records that failed their check, moved aside
    .checkpoints/                                    unfinished trainings, kept by the pipeline for the next try

Whoever holds the lock of an id is the only one to write it, so a temporary folder whose lock is free belongs to a
process that is gone and can be removed. A finished record is never changed.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock, Timeout

from arml.records.format import SCHEMA, DamagedRecordError, canonical_json, read_description, sha256
from arml.records.integrity import check_sections

ID_LENGTH = 64


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
        try:
            lock.acquire(timeout=0)
        except Timeout:
            self._report(f"waiting for another process that is making {self.root / address.folder_name}")
            lock.acquire()
        try:
            return self._read_or_move_aside(address) or self._make(address, make)
        finally:
            lock.release()

    def clean(self) -> None:
        """Remove what processes that are gone left half-written."""
        for folder in sorted((self.root / ".tmp").glob("[0-9a-f]" * ID_LENGTH)):
            lock = self._lock(folder.name)
            try:
                lock.acquire(timeout=0)
            except Timeout:
                continue
            try:
                shutil.rmtree(folder, ignore_errors=True)
            finally:
                lock.release()

    def _lock(self, record_id: str) -> FileLock:
        path = self.root / ".locks" / f"{record_id}.lock"
        path.parent.mkdir(parents=True, exist_ok=True)
        return FileLock(path)

    def _read(self, address: Address) -> Record | None:
        folder = self.root / address.folder_name
        if not folder.exists():
            return None
        return Record(folder, read_record(folder / address.record_name, address.id), found=True)

    def _read_or_move_aside(self, address: Address) -> Record | None:
        try:
            return self._read(address)
        except DamagedRecordError as error:
            folder = self.root / address.folder_name
            aside = self.root / ".damaged" / f"{address.stage}-{folder.name}-{time.time_ns()}"
            aside.parent.mkdir(parents=True, exist_ok=True)
            folder.replace(aside)
            self._report(f"damaged record {folder}: {error}; moved to {aside}, making it again")
            return None

    def _make(self, address: Address, make: Callable[[Path], Mapping[str, object]]) -> Record:
        temporary = self.root / ".tmp" / address.id
        if temporary.exists():
            shutil.rmtree(temporary)
        temporary.mkdir(parents=True)
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
            folder = self.root / address.folder_name
            folder.parent.mkdir(parents=True, exist_ok=True)
            for path in (*temporary.iterdir(), temporary):
                _flush_to_disk(path)
            temporary.replace(folder)
            _flush_to_disk(folder.parent)
        except BaseException:
            shutil.rmtree(temporary, ignore_errors=True)
            raise
        return Record(folder, json.loads(text), found=False)


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
