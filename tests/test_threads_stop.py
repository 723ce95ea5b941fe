"""Leaving threads behind: an exception drops what was not begun and ends what was."""

import threading
import time

import pytest
import torch

from arml.threads import stop_if_unwanted, workers


def test_an_exception_ends_what_the_threads_were_doing() -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    begun: list[int] = []
    both = threading.Barrier(3)

    def work(item: int) -> None:
        """The first two go on until they are stopped."""
        begun.append(item)
        both.wait()
        while True:
            stop_if_unwanted()
            time.sleep(0.001)

    def interrupted() -> None:
        with workers() as side_by_side:
            side_by_side(work, range(50))
            both.wait()
            raise KeyboardInterrupt

    try:
        with pytest.raises(KeyboardInterrupt):
            interrupted()
    finally:
        torch.set_num_threads(before)
    assert sorted(begun) == [0, 1]


def test_without_an_exception_all_is_done() -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    done: list[int] = []
    try:
        with workers() as side_by_side:
            side_by_side(done.append, range(50))
    finally:
        torch.set_num_threads(before)
    assert sorted(done) == list(range(50))
    stop_if_unwanted()
