"""Exact radii of the 1-NN classifier, each with its proof."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from arml.experiments.config import EvaluationConfig, RunConfig
from arml.experiments.errors import UsageError
from arml.experiments.families.base import RADII, Evaluation, Inputs, as_box, point_settings, write_witness
from arml.experiments.families.pieces import solved_in_pieces, write_solved
from arml.experiments.rules import BOX
from arml.radii import RadiusBounds
from arml.records.contents import BOUNDS, Contents
from arml.records.format import PROOF_FILE


@dataclass
class Exact1NNConfig(EvaluationConfig):
    """Exact radii of the 1-NN classifier (Algorithm 2); ``box`` keeps perturbed points inside [low, high]."""

    name: str = "exact_1nn"
    kind: str = "exact"
    box: list[float] | None = field(default=None, metadata={"rule": BOX})


def contents(config: RunConfig) -> Contents:
    """Bounds that are proven, with the proof."""
    return Contents("point", "proven", BOUNDS, counts="lower", proof=PROOF_FILE)


def check(config: RunConfig) -> None:
    """It is for one neighbour."""
    if config.k != 1:
        raise UsageError(
            f"k={config.k}: evaluation=exact_1nn is exact for one neighbour only; use evaluation=exact_knn, or k=1"
        )


def compute(inputs: Inputs, folder: Path) -> None:
    """Exact radii of the evaluation subset: ``points.csv``, and ``witness.npz`` with perturbations and proof."""
    config = inputs.config
    assert isinstance(config.evaluation, Exact1NNConfig)
    box = as_box(config.evaluation.box)
    knn = inputs.classifier()

    def solve(X: NDArray[np.float64], y: NDArray[np.int64], advance: Callable[[int], None]) -> RadiusBounds:
        """Exact radii of some of the points."""
        return knn.exact_radius(X, y, box=box, progress=advance)

    solved = solved_in_pieces(inputs, config.n_eval, "exact radii", solve, large=True)
    write_solved(inputs, folder, solved, knn.predict(solved.X))
    assert solved.proof is not None
    write_witness(folder / PROOF_FILE, solved.index, solved.perturbation, solved.proof)


EVALUATIONS = (Evaluation(Exact1NNConfig, RADII, ("certify.one_nn",), contents, point_settings, compute, check),)
