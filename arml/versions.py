"""Versions of the code that computes numbers: what is hashed into a record's id, and what makes a record an older one.

Whoever changes the numbers of a stage, or what it leaves in a record, raises its number here. Plain numbers without any
import of a stage, so that reading records needs no torch.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType

#: Version of each stage, by the name under which records keep it.
VERSIONS: Mapping[str, int] = MappingProxyType(
    {
        # Part of every dataset's digest, too.
        "datasets.protocol": 1,
        "learners.arml": 1,
        "learners.baselines": 1,
        # Version 4: also where a copy of an own point shields the nearest other-class point, an attack is found.
        "certify.one_nn": 4,
        # These: where rounding leaves a doubt, what the classifier answers is decided in exact arithmetic, too.
        "certify.knn_bound": 3,
        "certify.knn_exact": 6,
        "attacks.local_search": 5,
        "attacks.decision_based": 2,
        "evaluations.grid": 2,
    }
)


def metric_versions(method: str) -> dict[str, int]:
    """Versions of what a metric learned by ``method`` comes from; a metric of the user's own needs no learner."""
    names = ["datasets.protocol"]
    if method == "arml":
        names.append("learners.arml")
    elif method != "from_file":
        names.append("learners.baselines")
    return {name: VERSIONS[name] for name in names}


def record_versions(method: str, stages: Iterable[str]) -> dict[str, int]:
    """Versions of everything that an evaluation under a metric comes from, whose own numbers ``stages`` make.

    KeyError for an unknown stage.
    """
    return metric_versions(method) | {name: VERSIONS[name] for name in stages}
