"""The store: whole records or none, found instead of made again, damage detected, one writer at a time."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from filelock import FileLock

from arml.records.format import DamagedRecordError, canonical_json
from arml.records.store import Address, Record, Store, read_record

ADDRESS = Address("radii", "toy-euclidean-exact_1nn", {"seed": 42, "k": 1})


class Maker:
    """Writes a small record and counts how often it is asked to."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, folder: Path) -> dict[str, object]:
        self.calls += 1
        (folder / "points.csv").write_text("index\n1\n")
        return {"method": {"name": "euclidean"}, "value": np.float64(0.1), "provenance": {"created": "now"}}


@pytest.fixture
def messages() -> list[str]:
    return []


@pytest.fixture
def store(tmp_path: Path, messages: list[str]) -> Store:
    return Store(tmp_path / "runs", report=messages.append)


def visible(store: Store) -> list[str]:
    """Finished records, as a reader of the root sees them."""
    return sorted(str(path.relative_to(store.root)) for path in store.root.glob("[!.]*/*"))


def test_a_record_is_made_once_and_then_found(store: Store) -> None:
    make = Maker()
    first, second = store.obtain(ADDRESS, make), store.obtain(ADDRESS, make)
    assert (first.found, second.found, make.calls) == (False, True, 1)
    assert first.folder == second.folder == store.root / f"radii/toy-euclidean-exact_1nn-{ADDRESS.id[:12]}"
    assert dict(first.content) == dict(second.content)
    assert second.content["id"] == ADDRESS.id
    assert second.content["key"] == {"seed": 42, "k": 1}
    assert second.content["value"] == 0.1
    assert list(second.content["files"]) == ["points.csv"]


def test_the_id_is_the_hash_of_the_canonical_key() -> None:
    assert canonical_json({"b": [1.0, None], "a": "é"}) == '{"a":"\\u00e9","b":[1.0,null]}'
    assert ADDRESS.id == Address("radii", "another label", {"k": 1, "seed": 42}).id
    assert ADDRESS.id != Address("radii", ADDRESS.label, {"k": 1, "seed": 43}).id
    with pytest.raises(ValueError, match="Out of range"):
        canonical_json({"radius": float("nan")})


@pytest.mark.parametrize("failure", [ValueError("no"), KeyboardInterrupt()])
def test_a_failure_leaves_nothing(store: Store, failure: BaseException) -> None:
    def fail(folder: Path) -> dict[str, object]:
        (folder / "points.csv").write_text("half")
        raise failure

    with pytest.raises(type(failure)):
        store.obtain(ADDRESS, fail)
    assert visible(store) == []
    assert list((store.root / ".tmp").iterdir()) == []
    assert not store.obtain(ADDRESS, Maker()).found


def test_a_record_is_on_the_disk_before_it_is_in_its_place(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    flushed: list[tuple[str, bool]] = []
    target = store.root / ADDRESS.folder_name
    monkeypatch.setattr("arml.records.store._flush_to_disk", lambda path: flushed.append((path.name, target.exists())))
    store.obtain(ADDRESS, Maker())
    assert sorted(flushed[:2]) == [("points.csv", False), ("record.json", False)]
    assert flushed[2:] == [(ADDRESS.id, False), ("radii", True)]


def test_a_value_that_json_cannot_hold_leaves_nothing(store: Store) -> None:
    with pytest.raises(ValueError, match="JSON compliant"):
        store.obtain(ADDRESS, lambda folder: {"provenance": {}, "loss": float("nan")})
    assert visible(store) == []


def truncate_record(record: Record) -> None:
    path = record.folder / "record.json"
    path.write_text(path.read_text()[:-20])


def change_key(record: Record) -> None:
    path = record.folder / "record.json"
    path.write_text(json.dumps({**record.content, "key": {"seed": 42, "k": 3}}))


def drop_provenance(record: Record) -> None:
    path = record.folder / "record.json"
    path.write_text(json.dumps({name: value for name, value in record.content.items() if name != "provenance"}))


DAMAGE: dict[str, tuple[Callable[[Record], object], str]] = {
    "no record": (lambda record: (record.folder / "record.json").unlink(), "record.json is missing"),
    "no points": (lambda record: (record.folder / "points.csv").unlink(), "points.csv is missing"),
    "other points": (lambda record: (record.folder / "points.csv").write_text("index\n2\n"), "points.csv was changed"),
    "truncated": (truncate_record, "record.json is not JSON"),
    "other key": (change_key, "not the same"),
    "incomplete": (drop_provenance, "lacks parts"),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_record_is_reported_moved_aside_and_made_again(
    store: Store, messages: list[str], damage: str
) -> None:
    harm, reason = DAMAGE[damage]
    make = Maker()
    record = store.obtain(ADDRESS, make)
    harm(record)
    with pytest.raises(DamagedRecordError, match=reason):
        read_record(record.folder / "record.json", ADDRESS.id)
    again = store.obtain(ADDRESS, make)
    assert not again.found
    assert make.calls == 2
    assert len(messages) == 1
    assert reason in messages[0]
    assert len(list((store.root / ".damaged").iterdir())) == 1
    assert store.obtain(ADDRESS, make).found
    harm(again)
    assert not store.obtain(ADDRESS, make).found
    assert len(list((store.root / ".damaged").iterdir())) == 2


def test_what_a_dead_process_left_is_removed_and_what_a_live_one_writes_is_not(store: Store) -> None:
    dead, live = store.root / ".tmp" / ("a" * 64), store.root / ".tmp" / ("b" * 64)
    other = store.root / ".tmp" / "notes"
    for folder in (dead, live, other):
        folder.mkdir(parents=True)
        (folder / "points.csv").write_text("half")
    locks = store.root / ".locks"
    locks.mkdir()
    with FileLock(locks / f"{'b' * 64}.lock"):
        store.clean()
    assert not dead.exists()
    assert live.exists()
    assert other.exists()


def test_a_half_written_folder_of_the_same_record_is_replaced(store: Store) -> None:
    stale = store.root / ".tmp" / ADDRESS.id
    stale.mkdir(parents=True)
    (stale / "leftover").write_text("half")
    record = store.obtain(ADDRESS, Maker())
    assert sorted(path.name for path in record.folder.iterdir()) == ["points.csv", "record.json"]


CHILD = """
import sys, time
from pathlib import Path
from arml.records.store import Address, Store

root, started, go = map(Path, sys.argv[1:4])

def make(folder):
    started.write_text("")
    while not go.exists():
        time.sleep(0.01)
    (folder / "points.csv").write_text("child")
    return {"provenance": {}}

Store(root).obtain(Address("radii", "toy", {"k": 1}), make)
"""


def test_a_second_process_waits_and_then_finds_the_record(tmp_path: Path, messages: list[str]) -> None:
    root, started, go = tmp_path / "runs", tmp_path / "started", tmp_path / "go"
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2])}
    arguments = [sys.executable, "-c", CHILD, str(root), str(started), str(go)]
    with subprocess.Popen(arguments, env=environment) as child:
        while not started.exists():
            assert child.poll() is None, "the other process ended before it had the lock"
            time.sleep(0.01)

        def report(message: str) -> None:
            messages.append(message)
            go.write_text("")  # only now may the other process finish

        make = Maker()
        record = Store(root, report).obtain(Address("radii", "toy", {"k": 1}), make)
    assert child.returncode == 0
    assert (record.found, make.calls) == (True, 0)
    assert (record.folder / "points.csv").read_text() == "child"
    assert len(messages) == 1
    assert "waiting for another process" in messages[0]
