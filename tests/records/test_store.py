"""The store: whole records or none, found instead of made again, damage detected, one writer at a time."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from arml.records import locks
from arml.records.format import DamagedRecordError, canonical_json
from arml.records.locks import Lock
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
    return sorted(str(path.relative_to(store.root)) for path in store.root.glob("[!.]*/[!.]*"))


def half_written(store: Store) -> list[str]:
    return sorted(path.name for path in store.root.glob("*/.tmp*/*"))


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
    assert half_written(store) == []
    assert not store.obtain(ADDRESS, Maker()).found


def test_a_record_is_on_the_disk_before_it_is_in_its_place(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    flushed: list[tuple[str, bool]] = []
    target = store.root / ADDRESS.folder_name
    monkeypatch.setattr("arml.records.store._flush_to_disk", lambda path: flushed.append((path.name, target.exists())))
    store.obtain(ADDRESS, Maker())
    assert sorted(flushed[:2]) == [("points.csv", False), ("record.json", False)]
    (folder, was_there), place = flushed[2:]
    assert folder.startswith(ADDRESS.id)
    assert not was_there
    assert place == ("radii", True)


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
    assert len(list((store.root / "radii" / ".damaged").iterdir())) == 1
    assert store.obtain(ADDRESS, make).found
    harm(again)
    assert not store.obtain(ADDRESS, make).found
    assert len(list((store.root / "radii" / ".damaged").iterdir())) == 2


KILLED = """
import os, signal, sys
from pathlib import Path
from arml.records.store import Address, Store

def make(folder):
    (folder / "points.csv").write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)

Store(Path(sys.argv[1])).obtain(Address("radii", "toy-euclidean-exact_1nn", {"seed": 42, "k": 1}), make)
"""


def kill_a_maker(root: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2])}
    done = subprocess.run([sys.executable, "-c", KILLED, str(root)], env=environment, check=False)
    assert done.returncode == -signal.SIGKILL


def test_what_a_killed_process_left_is_removed_and_its_lock_taken_over(store: Store, messages: list[str]) -> None:
    kill_a_maker(store.root)
    assert len(half_written(store)) == 1
    store.clean()
    assert half_written(store) == []
    record = store.obtain(ADDRESS, Maker())
    assert sorted(path.name for path in record.folder.iterdir()) == ["points.csv", "record.json"]
    assert messages == []
    assert list((store.root / ".locks").iterdir()) == []


def test_one_nodes_clean_up_leaves_what_another_writes(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def make(folder: Path) -> dict[str, object]:
        with monkeypatch.context() as patch:
            patch.setattr(locks, "hostname", lambda: "another node")
            Store(store.root).clean()
        return Maker()(folder)

    # Also where its lock was taken over or cannot be seen: it may be slow, and not gone.
    def make_without_lock(folder: Path) -> dict[str, object]:
        next((store.root / ".locks").glob("*.held")).unlink()
        return make(folder)

    assert not store.obtain(ADDRESS, make).found
    assert not store.obtain(Address("radii", "another", {"k": 3}), make_without_lock).found


def test_what_nobody_is_known_to_own_is_removed_after_a_day(store: Store) -> None:
    kill_a_maker(store.root)
    (folder,) = (store.root / "radii" / ".tmp").iterdir()
    next((store.root / ".locks").glob("*.held")).unlink()
    store.clean()
    assert folder.exists()
    day_before = time.time() - 24 * 3600 - 1
    os.utime(folder, (day_before, day_before))
    store.clean()
    assert half_written(store) == []


def test_of_two_that_make_one_record_the_first_to_finish_is_kept(store: Store) -> None:
    """As when a node is silent for so long that its lock is taken over, and comes back."""
    late = Maker()

    def slow(folder: Path) -> dict[str, object]:
        next((store.root / ".locks").glob("*.held")).unlink()
        assert not Store(store.root).obtain(ADDRESS, Maker()).found
        (folder / "extra.csv").write_text("late")
        return late(folder)

    record = store.obtain(ADDRESS, slow)
    assert (record.found, late.calls) == (True, 1)
    assert sorted(path.name for path in record.folder.iterdir()) == ["points.csv", "record.json"]
    assert half_written(store) == []


def test_a_stage_on_another_disk_works(store: Store, messages: list[str], tmp_path: Path) -> None:
    elsewhere = Path("/dev/shm") if Path("/dev/shm").is_dir() else tmp_path
    with tempfile.TemporaryDirectory(dir=elsewhere) as disk:
        store.root.mkdir()
        (store.root / "radii").symlink_to(disk)
        record = store.obtain(ADDRESS, Maker())
        truncate_record(record)
        assert not store.obtain(ADDRESS, Maker()).found
        assert store.obtain(ADDRESS, Maker()).found
    assert len(messages) == 1


OTHER_USER = """
import os, sys
from pathlib import Path
os.umask(0o022)
os.setgid(12345); os.setuid(int(sys.argv[2]))
from arml.records.store import Address, Store

def make(folder):
    (folder / "points.csv").write_text("theirs")
    if sys.argv[3] == "die":
        os._exit(0)
    return {"provenance": {}}

store = Store(Path(sys.argv[1]))
store.clean()
store.obtain(Address("radii", "toy", {"k": 1}), make)
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="becoming another user needs root")
@pytest.mark.parametrize("mode", [0o2770, 0o3770])  # the second with the sticky bit: nobody removes another's files
def test_what_one_user_left_does_not_stop_another(mode: int) -> None:
    with tempfile.TemporaryDirectory() as place:
        Path(place).chmod(0o755)
        root = Path(place) / "runs"
        root.mkdir()
        os.chown(root, 0, 12345)
        root.chmod(mode)
        environment = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2])}
        for user, fate in ((12346, "die"), (12347, "finish")):
            arguments = [sys.executable, "-c", OTHER_USER, str(root), str(user), fate]
            done = subprocess.run(arguments, env=environment, capture_output=True, text=True, check=False)
            assert (done.returncode, done.stderr) == (0, "")
        assert Store(root).obtain(Address("radii", "toy", {"k": 1}), Maker()).found


def test_a_finished_store_is_read_where_nothing_can_be_written(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    store.obtain(ADDRESS, Maker())
    monkeypatch.setattr(Path, "mkdir", None)
    monkeypatch.setattr(Lock, "acquire", None)
    store.clean()
    assert store.obtain(ADDRESS, Maker()).found


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
