"""Threads for work on test points: our own, one test point each, and BLAS kept from competing with them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from functools import cache
from typing import Any, Protocol, TypeVar

import torch
from threadpoolctl import ThreadpoolController

Result = TypeVar("Result")


class Map(Protocol):
    """What `map` does, on however many threads."""

    def __call__(self, function: Callable[..., Result], /, *items: Iterable[Any]) -> Iterator[Result]:
        """``function`` of each of the items, in their order."""


class StoppedError(RuntimeError):
    """A thread's work is not wanted any more; whoever wanted it has an exception of his own by now."""


_own = threading.local()


@contextmanager
def workers() -> Iterator[Map]:
    """A `map` on as many threads as torch has; on one it works in the caller's own, which saves handing over.

    Where an exception leaves the context (an interruption, say) what was not begun is dropped, and what was ends at its
    next `stop_if_unwanted`: nobody waits for the rest.
    """
    if torch.get_num_threads() == 1:
        yield _here
        return
    unwanted = threading.Event()
    pool = ThreadPoolExecutor(torch.get_num_threads(), initializer=_begin, initargs=(unwanted,))
    try:
        yield pool.map
    except BaseException:
        unwanted.set()
        raise
    finally:
        pool.shutdown(wait=True, cancel_futures=unwanted.is_set())


def _begin(unwanted: threading.Event) -> None:
    _own.unwanted = unwanted


def stop_if_unwanted() -> None:
    """For work of many seconds to call every now and then; on the caller's own thread signals are heard meanwhile.

    Raises
    ------
    StoppedError
        If this thread is one of `workers` that were left by an exception.
    """
    unwanted = getattr(_own, "unwanted", None)
    if unwanted is not None and unwanted.is_set():
        raise StoppedError


def _here(function: Callable[..., Result], /, *items: Iterable[Any]) -> Iterator[Result]:
    return map(function, *items)


def blas_on_one_thread() -> AbstractContextManager[object]:
    """Context in which BLAS uses one thread: small products gain nothing from more, the test points run in parallel."""
    return _libraries().limit(limits=1, user_api="blas")


@cache
def _libraries() -> ThreadpoolController:
    """The BLAS libraries of this process; looking for them takes milliseconds, so it is done once."""
    return ThreadpoolController()
