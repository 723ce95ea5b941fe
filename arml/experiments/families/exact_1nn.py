"""Exact radii of the 1-NN classifier, each with its proof."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from arml.experiments.config import EvaluationConfig, RunConfig
from arml.experiments.errors import UsageError
from arml.experiments.families.base import (
    RADII,
    Evaluation,
    Inputs,
    as_box,
    point_settings,
    write_bounds,
    write_witness,
)
from arml.experiments.progress import progress_bar
from arml.experiments.rules import BOX
from arml.proofs import Proof
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
    config, data = inputs.config, inputs.data
    assert isinstance(config.evaluation, Exact1NNConfig)
    index, X, y = inputs.points(config.n_eval)
    knn = inputs.classifier()
    with progress_bar(f"{data.name} {config.method.name}: exact radii", len(y)) as advance:
        bounds = knn.exact_radius(X, y, box=as_box(config.evaluation.box), progress=advance)
    write_bounds(inputs, folder, index, y, knn.predict(X), bounds)
    assert bounds.perturbation is not None
    assert isinstance(bounds.certificate, Proof)
    write_witness(folder / PROOF_FILE, index, bounds.perturbation, bounds.certificate)


EVALUATIONS = (Evaluation(Exact1NNConfig, RADII, ("certify.one_nn",), contents, point_settings, compute, check),)
