"""Theorem 1's lower bounds of the radius, for any odd K."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from arml.experiments.config import EvaluationConfig, RunConfig
from arml.experiments.families.base import RADII, Evaluation, Inputs, point_settings
from arml.experiments.families.pieces import solved_in_pieces, write_solved
from arml.experiments.rules import one_of
from arml.radii import RadiusBounds
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
    config = inputs.config
    assert isinstance(config.evaluation, CertifiedKNNConfig)
    norm = float(config.evaluation.norm)
    knn = inputs.classifier()

    def solve(X: NDArray[np.float64], y: NDArray[np.int64], advance: Callable[[int], None]) -> RadiusBounds:
        """Bounds of some of the points."""
        return knn.certified_radius(X, y, norm=norm, progress=advance)

    solved = solved_in_pieces(inputs, config.n_eval, "certified radii", solve, large=True)
    write_solved(inputs, folder, solved, knn.predict(solved.X))


EVALUATIONS = (Evaluation(CertifiedKNNConfig, RADII, ("certify.knn_bound",), contents, point_settings, compute),)
