"""Locks that need no ``flock``: one owner at a time, taken over from owners that are gone or silent, from no others."""

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from arml.records import locks
from arml.records.locks import Lock, Owner

NAME = "a" * 64


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_one_owner_at_a_time_and_nothing_left(tmp_path: Path) -> None:
    first, second = Lock(tmp_path, NAME), Lock(tmp_path, NAME)
    assert first.acquire()
    assert not second.acquire()
    assert second.holder() == first.owner
    first.release()
    assert second.acquire()
    second.release()
    assert files(tmp_path) == []


def test_without_hard_links_it_is_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object) -> None:
        raise PermissionError("no links here")

    monkeypatch.setattr(os, "link", refuse)
    test_one_owner_at_a_time_and_nothing_left(tmp_path)


def test_a_link_whose_reply_was_lost_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    link = os.link

    def link_and_lose_the_reply(*paths: Path) -> None:
        link(*paths)
        raise FileExistsError

    monkeypatch.setattr(os, "link", link_and_lose_the_reply)
    lock = Lock(tmp_path, NAME)
    assert lock.acquire()
    monkeypatch.setattr(os, "link", link)
    assert not Lock(tmp_path, NAME).acquire()
    lock.release()


DIE_WITH_A_LOCK = """
import os, sys
from pathlib import Path
from arml.records.locks import Lock
assert Lock(Path(sys.argv[1]), sys.argv[2]).acquire()
os._exit(0)
"""


def leave_a_lock(folder: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2])}
    subprocess.run([sys.executable, "-c", DIE_WITH_A_LOCK, str(folder), NAME], env=environment, check=True)


def test_the_lock_of_a_process_that_is_gone_is_taken_over_at_once(tmp_path: Path) -> None:
    leave_a_lock(tmp_path)
    lock = Lock(tmp_path, NAME)
    holder = lock.holder()
    assert holder is not None
    assert holder.is_gone
    assert lock.acquire()
    lock.release()


def test_another_process_of_the_same_number_is_not_the_owner(tmp_path: Path) -> None:
    me = Owner.here()
    assert not me.is_gone
    earlier = Owner(me.host, me.boot, me.pid, "1", "b" * 16)
    (tmp_path / f"{NAME}.held").write_text(earlier.text(3))
    lock = Lock(tmp_path, NAME)
    assert lock.acquire()
    lock.release()


def test_a_process_of_this_machine_that_is_there_is_never_silent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(locks, "SILENCE", 0.0)
    lock = Lock(tmp_path, NAME)
    assert lock.acquire()
    patience = locks._Patience()
    path = tmp_path / f"{NAME}.held"
    for _ in range(3):
        assert not patience.exhausted(path, path.read_bytes())
    lock.release()


def test_the_lock_of_another_node_is_taken_over_only_when_silent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = locks.hostname
    monkeypatch.setattr(locks, "BEAT", 0.01)
    monkeypatch.setattr(locks, "hostname", lambda: "another node")
    other = Lock(tmp_path, NAME)
    assert other.acquire()
    monkeypatch.setattr(locks, "hostname", here)
    path = tmp_path / f"{NAME}.held"
    first = path.read_bytes()
    while path.read_bytes() == first:
        time.sleep(0.01)
    # While the heartbeat moves nobody's patience is exhausted, however short.
    monkeypatch.setattr(locks, "SILENCE", 0.0)
    patience = locks._Patience()
    last = b""
    for _ in range(5):
        while path.read_bytes() == last:
            time.sleep(0.001)
        last = path.read_bytes()
        assert not patience.exhausted(path, last)
    # The node falls silent.
    other._stop.set()
    monkeypatch.setattr(locks, "_LOOK", 0.01)
    waited: list[bool] = []
    mine = Lock(tmp_path, NAME)
    assert mine.acquire(lambda: waited.append(True))
    assert waited == [True]
    # And comes back: what it does now harms nobody.
    os.pwrite(other._descriptor, other.owner.text(99).encode(), 0)
    other.release()
    assert mine.holder() == mine.owner
    mine.release()
    assert files(tmp_path) == []


def test_a_lock_that_changed_while_it_was_judged_is_put_back(tmp_path: Path) -> None:
    lock, other = Lock(tmp_path, NAME), Lock(tmp_path, NAME)
    assert other.acquire()
    assert not lock._take_away(tmp_path / f"{NAME}.held", b"what was there before")
    assert lock.holder() == other.owner
    other.release()
    assert files(tmp_path) == []


def test_a_silent_lock_that_is_no_lock_is_taken_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locks, "SILENCE", 0.0)
    monkeypatch.setattr(locks, "_LOOK", 0.01)
    (tmp_path / f"{NAME}.held").write_text("")
    lock = Lock(tmp_path, NAME)
    assert lock.acquire(lambda: None)
    lock.release()


def test_a_stale_lock_that_cannot_be_removed_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    leave_a_lock(tmp_path)
    rename = Path.rename

    def refuse(path: Path, target: Path) -> Path:
        if path.name == f"{NAME}.held":
            raise PermissionError("another user's")
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", refuse)
    lock, later = Lock(tmp_path, NAME), Lock(tmp_path, NAME)
    assert lock.acquire()
    assert not later.acquire()
    lock.release()
    assert files(tmp_path) == [f"{NAME}.held"]


def test_of_many_that_want_a_stale_lock_one_has_it_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locks, "_LOOK", 0.001)
    leave_a_lock(tmp_path)
    inside, most, turns = [0], [0], [0]

    def work() -> None:
        for _ in range(5):
            lock = Lock(tmp_path, NAME)
            assert lock.acquire(lambda: None)
            inside[0] += 1
            most[0] = max(most[0], inside[0])
            time.sleep(0.001)
            turns[0] += 1
            inside[0] -= 1
            lock.release()

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (most, turns) == ([1], [30])
    assert files(tmp_path) == []
