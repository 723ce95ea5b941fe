"""What is said when a run was asked for wrongly: the error, and the nearest word to a misspelt one."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class UsageError(ValueError):
    """The request itself is wrong; found before any work. The message names the key, the value and the valid ones."""


def unknown(key: str, value: str, kind: str, valid: Iterable[str]) -> UsageError:
    """The error for a ``value`` of ``key`` that is not among the ``valid`` ones, with the nearest of them suggested."""
    return UsageError(f"{key}={value}: unknown {kind} {value!r}{suggestion(value, valid)}")


def suggestion(value: str, valid: Iterable[str], prefix: str = "") -> str:
    """Tail of a message: "; did you mean 'x'? Valid: x, y" with the nearest valid word, if one is near.

    ``prefix`` is what all words are shown with, such as the section they belong to.
    """
    words = sorted(valid)
    near = difflib.get_close_matches(value, words, n=1)
    hint = f"; did you mean {prefix + near[0]!r}?" if near else "."
    return f"{hint} Valid: {', '.join(prefix + word for word in words)}"
