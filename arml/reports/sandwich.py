"""A proven bound must lie below every perturbation found: the check across the records of one table."""

from __future__ import annotations

import numpy as np

from arml.reports.records import RadiiRecord
from arml.reports.selection import Chosen, TableSpec


class SandwichError(ValueError):
    """A point was broken below the radius up to which it was proven robust; one of the two records is wrong."""


def check_sandwich(chosen: Chosen, spec: TableSpec) -> None:
    """Compare each proven kind with each attacked one on the test points they have in common.

    Raises
    ------
    SandwichError
        If a lower bound exceeds the norm of an attack, with one line for each pair of records: both folders, how many
        points, and the index and numbers of the worst.
    """
    violations = []
    for (dataset, method, kind), proven in chosen.items():
        if spec.kind(kind).is_attack:
            continue
        for other in spec.kinds:
            attacked = chosen.get((dataset, method, other.name))
            if other.is_attack and attacked is not None:
                violations += _violations(proven, attacked)
    if violations:
        raise SandwichError("\n".join(violations))


def _violations(proven: RadiiRecord, attacked: RadiiRecord) -> list[str]:
    both = proven.points[["index", "lower"]].merge(attacked.points[["index", "upper"]], on="index")
    index, lower, upper = (both[name].to_numpy() for name in ("index", "lower", "upper"))
    crossed = np.flatnonzero(lower > upper)
    if not crossed.size:
        return []
    worst = crossed[np.argmax(lower[crossed] - upper[crossed])]
    return [
        f"{proven.dataset}/{proven.method}: test point {index[worst]} is proven robust up to {float(lower[worst])!r} "
        f"by {proven.folder}, but broken at {float(upper[worst])!r} by {attacked.folder} "
        f"({len(crossed)} of {len(both)} common points contradict)"
    ]
