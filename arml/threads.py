"""Keeping BLAS from competing with our own threads, which each work on a test point of their own."""

from __future__ import annotations

from contextlib import AbstractContextManager
from functools import cache

from threadpoolctl import ThreadpoolController


def blas_on_one_thread() -> AbstractContextManager[object]:
    """Context in which BLAS uses one thread: small products gain nothing from more, the test points run in parallel."""
    return _libraries().limit(limits=1, user_api="blas")


@cache
def _libraries() -> ThreadpoolController:
    """The BLAS libraries of this process; looking for them takes milliseconds, so it is done once."""
    return ThreadpoolController()
