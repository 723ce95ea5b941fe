"""Learners by name: the one place that knows which exist."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from arml.learners.arml import ARML
from arml.learners.base import MetricLearner
from arml.learners.baselines import ALGORITHMS, EuclideanMetric, MetricLearnBaseline

LEARNERS = ("euclidean", *ALGORITHMS, "arml")


def make_learner(name: str, params: Mapping[str, Any], *, random_state: int, device: str) -> MetricLearner:
    """The unfitted learner ``name`` with ``params`` (plain values) that differ from its defaults.

    ``device`` is where ARML trains; the baselines run on the CPU whatever it says.

    Raises
    ------
    ValueError
        If the name, or a parameter of that learner, does not exist; the message lists the valid ones.
    """
    if name == "arml":
        valid = sorted(set(ARML().get_params()) - {"random_state", "device"})
        _refuse_unknown(name, params, valid)
        return ARML(**params, random_state=random_state, device=device)
    if name == "euclidean":
        _refuse_unknown(name, params, [])
        return EuclideanMetric()
    if name in ALGORITHMS:
        return MetricLearnBaseline(name, params, random_state=random_state)
    raise ValueError(f"unknown learner {name!r}; valid ones: {', '.join(LEARNERS)}")


def _refuse_unknown(name: str, params: Mapping[str, Any], valid: list[str]) -> None:
    unknown = sorted(set(params) - set(valid))
    if unknown:
        raise ValueError(
            f"{name} has no parameter {', '.join(map(repr, unknown))}; "
            + (f"valid ones: {', '.join(valid)}" if valid else "it takes none")
        )
