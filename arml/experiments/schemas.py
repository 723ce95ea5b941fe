"""The schemas made known to Hydra: those of `arml.experiments.config`, and each family's own."""

from __future__ import annotations

from hydra.core.config_store import ConfigStore

from arml.experiments.config import METHOD_SCHEMAS, RunConfig
from arml.experiments.families import EVALUATIONS


def register() -> None:
    """Make the schemas known to Hydra, as ``run_schema`` and the groups ``schema/method`` and ``schema/evaluation``."""
    store = ConfigStore.instance()
    store.store(name="run_schema", node=RunConfig)
    for name, method in METHOD_SCHEMAS.items():
        store.store(group="schema/method", name=name, node=method)
    for name, evaluation in EVALUATIONS.items():
        store.store(group="schema/evaluation", name=name, node=evaluation.schema)
