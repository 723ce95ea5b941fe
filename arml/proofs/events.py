"""What counts as an attack, in one form for all three events.

The label y has lost if the K nearest points can be chosen, ties of distance at will, such that for one of the *rivals*
``n_rival >= n_label + handicap``. A rival is a set of other-class points:

* majority: all others together, handicap 1 (with K odd that is fewer than (K + 1) / 2 points of the label);
* plurality: each other class, handicap 0;
* predict: each other class; 0 for a smaller label, which `predict` prefers among equal votes, 1 for a larger one.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from arml.proofs.claim import Integers
from arml.proofs.precision import Array

Booleans = NDArray[np.bool_]


def rivals(event: str, y: Integers, label: int) -> list[tuple[Booleans, int]]:
    """Who may beat the label: for each rival which of the points with labels y (m,) are its, and its handicap."""
    if event == "majority":
        return [(y != label, 1)]
    return [(y == other, handicap(event, other, label)) for other in np.unique(y).tolist() if other != label]


def handicap(event: str, rival: int, label: int) -> int:
    """How many votes more than the label the other class needs."""
    return int(event == "predict" and rival > label)


def has_happened(event: str, c: Array, error: Array, y: Integers, label: int, K: int) -> bool:
    """Whether the label has lost among points with squared distances c (m,), as far as errors (m,) can tell.

    The points must be the K nearest and whatever may be as near as the last of them.
    """
    if not np.isfinite(c).all():
        return False
    own = y == label
    for favoured, needed in rivals(event, y, label):
        # A tie goes to the rival, then to third classes, which take a place from the label.
        preference = np.where(favoured, 0, np.where(own, 2, 1))
        for third in (0.0, -1.0, 1.0):
            shift = np.where(favoured, -1.0, np.where(own, 1.0, third))
            nearest = np.lexsort((preference, c + shift * error))[:K]
            if int(favoured[nearest].sum()) >= int(own[nearest].sum()) + needed:
                return True
            if event == "majority":
                break
    return False
