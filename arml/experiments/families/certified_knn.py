"""Theorem 1's lower bounds of the radius, for any odd K."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from arml.experiments.config import EvaluationConfig, RunConfig
from arml.experiments.families.base import RADII, Evaluation, Inputs, point_settings, write_bounds
from arml.experiments.progress import progress_bar
from arml.experiments.rules import one_of
from arml.records.contents import BOUNDS, Contents


@dataclass
class CertifiedKNNConfig(EvaluationConfig):
    """Proven lower bounds for any odd K (Theorem 1); ``norm`` is that of the perturbation."""

    name: str = "certified_knn"
    kind: str = "certified"
    norm: str = one_of("2", ("2", "1", "inf"))


def contents(config: RunConfig) -> Contents:
    """Bounds that are proven; anybody can compute them again, so there is no proof to keep."""
    return Contents("point", "proven", BOUNDS, counts="lower")


def compute(inputs: Inputs, folder: Path) -> None:
    """Theorem 1's bounds of the evaluation subset: ``points.csv``."""
    config, data = inputs.config, inputs.data
    assert isinstance(config.evaluation, CertifiedKNNConfig)
    index, X, y = inputs.points(config.n_eval)
    knn = inputs.classifier()
    with progress_bar(f"{data.name} {config.method.name}: certified radii", len(y)) as advance:
        bounds = knn.certified_radius(X, y, norm=float(config.evaluation.norm), progress=advance)
    write_bounds(inputs, folder, index, y, knn.predict(X), bounds)


EVALUATIONS = (Evaluation(CertifiedKNNConfig, RADII, ("certify.knn_bound",), contents, point_settings, compute),)
