"""Errors whose radii are not all closed: the least and the most that the robust error can be.

An exact radius is *open* where the search stopped with a gap left (`Status.BOUNDED`, `Status.TIME_LIMIT`). Counted by
its lower bound such a point is lost as early as it can be, by its upper bound as late: the error is at most the one and
at least the other. A closed radius counts by its lower bound both times, so that the 10⁻⁶ within which its bounds agree
opens no interval.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from arml.radii import Status
from arml.records.reader import RadiiRecord

#: Statuses of a radius that a search for the exact one left open.
OPEN = (Status.BOUNDED.value, Status.TIME_LIMIT.value)

DASH = "–"


def open_points(record: RadiiRecord) -> NDArray[np.bool_]:
    """(n,) whether the exact radius of a point is only bounded; nowhere in a record that claims no exact radii."""
    if record.kind != "exact":
        return np.zeros(len(record.points), dtype=bool)
    return np.asarray(record.points["status"].isin(OPEN), dtype=bool)


def counted_least(record: RadiiRecord) -> NDArray[np.float64]:
    """(n,) radii that give the least error, as `RadiiRecord.counted` gives the most: the upper bounds of open ones."""
    upper = record.points["upper"].to_numpy(dtype=np.float64)
    return np.where(open_points(record), upper, record.counted)


def interval_text(least: float, most: float, dash: str = DASH) -> str:
    """ "0.180–0.240", or one number where both round to the same three digits."""
    low, high = f"{least:.3f}", f"{most:.3f}"
    return high if low == high else low + dash + high
