"""Cutting test points into chunks of one class, and keeping BLAS from competing with the threads that work on them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from functools import cache

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import ThreadpoolController

Integers = NDArray[np.int64]


def class_chunks(y: Integers, rows: int) -> Iterator[tuple[int, Integers]]:
    """Label and indices of the test points with labels y (t,), grouped by label and cut to at most ``rows``."""
    for label in np.unique(y):
        members = np.flatnonzero(y == label)
        for start in range(0, len(members), rows):
            yield int(label), members[start : start + rows]


def blas_on_one_thread() -> AbstractContextManager[object]:
    """Context in which BLAS uses one thread: small products gain nothing from more, the test points run in parallel."""
    return _libraries().limit(limits=1, user_api="blas")


@cache
def _libraries() -> ThreadpoolController:
    """The BLAS libraries of this process; looking for them takes milliseconds, so it is done once."""
    return ThreadpoolController()
