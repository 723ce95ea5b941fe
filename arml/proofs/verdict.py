"""How a check says no: `require` and the exception it raises, which never leaves `arml.proofs`."""

from __future__ import annotations

import numpy as np


class CheckFailedError(Exception):
    """A check failed; the message says which."""


def require(condition: bool | np.bool_, message: str) -> None:
    """Raise `CheckFailedError` with ``message`` unless the condition holds."""
    if not condition:
        raise CheckFailedError(message)
