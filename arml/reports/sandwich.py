"""A proven bound must lie below every perturbation found: the check across the records of one table."""

from __future__ import annotations

import numpy as np

from arml.radii import SandwichError
from arml.records.reader import RadiiRecord
from arml.reports.selection import Chosen, TableSpec

#: Relative rounding that a norm may have below a bound, as where an attack's own record is made.
_ROUNDING = 1e-9


def check_sandwich(chosen: Chosen, spec: TableSpec) -> None:
    """Compare each proven kind with each attacked one on the test points they have in common.

    What Theorem 1 proves is that the own class keeps its majority of the neighbours. So the norm to compare with is the
    one at which that is lost, which is never above the one at which the answer changes; a record without it gives the
    latter. A record of exact radii under the event "plurality" proves the answer itself. Its perturbations are held
    against Theorem 1 as an attack's are.

    Raises
    ------
    SandwichError
        If a lower bound exceeds the norm of an attack by more than rounding, with one line for each pair of records:
        both folders, how many points, and the index and numbers of the worst.
    """
    violations = []
    for (dataset, method, kind), proven in chosen.items():
        if spec.kind(kind).is_attack:
            continue
        for other in spec.kinds:
            attacked = chosen.get((dataset, method, other.name))
            found = other.is_attack or (other.event is not None and other.name != kind)
            if found and attacked is not None:
                violations += _violations(proven, attacked)
    if violations:
        raise SandwichError("\n".join(violations))


def _violations(proven: RadiiRecord, attacked: RadiiRecord) -> list[str]:
    column, event = "upper", "broken"
    if "majority" in attacked.holds.columns and proven.event != "plurality":
        column, event = "majority", "without its majority"
    both = proven.points[["index", "lower"]].merge(attacked.points[["index", column]], on="index")
    index, lower, found = (both[name].to_numpy() for name in ("index", "lower", column))
    crossed = np.flatnonzero(lower > found * (1 + _ROUNDING))
    if not crossed.size:
        return []
    worst = crossed[np.argmax(lower[crossed] - found[crossed])]
    return [
        f"{proven.dataset}/{proven.method}: test point {index[worst]} is proven robust up to {float(lower[worst])!r} "
        f"by {proven.folder}, but {event} at {float(found[worst])!r} by {attacked.folder} "
        f"({len(crossed)} of {len(both)} common points contradict)"
    ]
