"""Rules that the values of a configuration must keep, and how a field of a schema names its own.

A rule stands in a field's metadata; `arml.experiments.checks` holds every value against it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any


@dataclass(frozen=True)
class Rule:
    """Condition on a value, and the words for it in "must be ..."."""

    holds: Callable[[Any], bool]
    words: str
    choices: tuple[str, ...] = ()


def ruled(default: Any, rule: Rule) -> Any:
    """A field with this default, immutable, and this rule; null keeps every rule."""
    return field(default=default, metadata={"rule": rule})


def one_of(default: str | None, choices: tuple[str, ...]) -> Any:
    """A field whose value is one of ``choices``."""
    return ruled(default, Rule(lambda value: value in choices, f"one of {', '.join(choices)}", choices))


def at_least(minimum: int, default: int | None = None) -> Any:
    """A field whose value is a whole number of at least ``minimum``."""
    return ruled(default, Rule(lambda value: value >= minimum, f"a whole number of at least {minimum}"))


def positive() -> Any:
    """A field whose value is a finite number above 0; null by default."""
    return ruled(None, Rule(lambda value: 0 < value < math.inf, "a finite number above 0"))


def _is_grid(radii: list[float]) -> bool:
    finite = all(0 <= radius < math.inf for radius in radii)
    return bool(radii) and finite and all(a < b for a, b in pairwise(radii))


GRID = Rule(_is_grid, "a non-empty list of finite numbers, none negative, each greater than the one before")
ODD = Rule(lambda value: value >= 1 and value % 2 == 1, "an odd whole number of at least 1")
SEED = Rule(lambda value: 0 <= value < 2**32, "a whole number from 0 to 2**32 - 1")
NOT_NEGATIVE = Rule(lambda value: 0 <= value < math.inf, "a finite number, not negative")
FRACTION = Rule(lambda value: 0 <= value <= 1, "a number from 0 to 1")
BOX = Rule(
    lambda box: len(box) == 2 and -math.inf < box[0] < box[1] < math.inf,
    "two finite numbers [low, high] with low < high",
)
