"""Threads for work on test points: our own, one test point each, and BLAS kept from competing with them."""

from __future__ import annotations

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


@contextmanager
def workers() -> Iterator[Map]:
    """A `map` on as many threads as torch has; on one it works in the caller's own, which saves handing over."""
    if torch.get_num_threads() == 1:
        yield _here
        return
    with ThreadPoolExecutor(torch.get_num_threads()) as pool:
        yield pool.map


def _here(function: Callable[..., Result], /, *items: Iterable[Any]) -> Iterator[Result]:
    return map(function, *items)


def blas_on_one_thread() -> AbstractContextManager[object]:
    """Context in which BLAS uses one thread: small products gain nothing from more, the test points run in parallel."""
    return _libraries().limit(limits=1, user_api="blas")


@cache
def _libraries() -> ThreadpoolController:
    """The BLAS libraries of this process; looking for them takes milliseconds, so it is done once."""
    return ThreadpoolController()
