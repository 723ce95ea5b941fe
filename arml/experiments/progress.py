"""Progress on the terminal, with an estimate of the time left; silent when standard error is not one."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tqdm import tqdm


@contextmanager
def progress_bar(title: str, total: int) -> Iterator[Callable[[int], None]]:
    """A bar over ``total`` steps; yields the function that moves it on by a number of steps."""
    # disable=None: shown only when standard error is a terminal.
    with tqdm(total=total, desc=title, disable=None, leave=False, dynamic_ncols=True) as bar:

        def advance(steps: int) -> None:
            bar.update(steps)

        yield advance


def say(message: str) -> None:
    """Tell whoever watches the terminal what is going on; silent when standard error is not one."""
    if sys.stderr.isatty():
        print(message, file=sys.stderr, flush=True)
