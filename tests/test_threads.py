"""Work on test points: in order on however many threads, and ended by an exception."""

import threading
import time

import pytest
import torch

from arml.threads import stop_if_unwanted, workers


@pytest.fixture
def threads():
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


@pytest.mark.parametrize("count", [1, 3])
def test_results_come_in_order(threads, count):
    threads(count)
    with workers() as side_by_side:
        assert list(side_by_side(lambda a, b: a * b, range(5), range(5))) == [0, 1, 4, 9, 16]


@pytest.mark.parametrize(("count", "here"), [(1, True), (2, False)])
def test_one_thread_is_the_callers_own(threads, count, here):
    threads(count)
    with workers() as side_by_side:
        names = set(side_by_side(lambda _: threading.current_thread().name, range(20)))
    assert (names == {threading.current_thread().name}) == here
    assert len(names) <= count


@pytest.mark.parametrize("count", [1, 2])
def test_errors_reach_the_caller(threads, count):
    threads(count)
    with workers() as side_by_side, pytest.raises(ZeroDivisionError):
        list(side_by_side(lambda a: 1 / a, [1, 0]))


def test_an_exception_ends_what_the_threads_were_doing(threads):
    threads(2)
    begun, both = [], threading.Barrier(3)

    def work(item):
        """The first two go on until they are stopped."""
        begun.append(item)
        both.wait()
        while True:
            stop_if_unwanted()
            time.sleep(0.001)

    def interrupted():
        with workers() as side_by_side:
            side_by_side(work, range(50))
            both.wait()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert sorted(begun) == [0, 1]


def test_without_an_exception_all_is_done(threads):
    threads(2)
    done = []
    with workers() as side_by_side:
        side_by_side(done.append, range(50))
    assert sorted(done) == list(range(50))
    stop_if_unwanted()
