"""What a check of radii asks for and what it answers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from arml.geometry import Mahalanobis

Array = NDArray[np.float64]
Integers = NDArray[np.int64]


class FittedNeighbors(Protocol):
    """What `recheck` needs to know of a classifier."""

    X_train_: Array
    y_train_: Integers
    metric_: Mahalanobis


@dataclass(frozen=True)
class RecheckReport:
    """Outcome of `recheck`: ``ok`` (n,) per point, and a sentence for every point that failed."""

    ok: NDArray[np.bool_]
    problems: tuple[tuple[int, str], ...]

    def __bool__(self) -> bool:
        return bool(self.ok.all())


class CheckFailedError(Exception):
    """A check failed; the message says which."""


def require(condition: bool | np.bool_, message: str) -> None:
    """Raise `CheckFailedError` with ``message`` unless the condition holds."""
    if not condition:
        raise CheckFailedError(message)
