"""The classifier's answers over the plane of a two-dimensional dataset, for Figure 1."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from arml.experiments.config import EvaluationConfig, RunConfig, parameters
from arml.experiments.errors import UsageError
from arml.experiments.families.base import Evaluation, Inputs
from arml.experiments.rules import NOT_NEGATIVE, at_least, ruled
from arml.records.contents import Contents


@dataclass
class BoundaryGridConfig(EvaluationConfig):
    """Predictions on a regular grid over the plane of a two-dimensional dataset (Figure 1)."""

    name: str = "boundary_grid"
    kind: str = "grid"
    resolution: int = at_least(2, 300)
    margin: float = ruled(0.1, NOT_NEGATIVE)


def contents(config: RunConfig) -> Contents:
    """A grid of answers, of which nothing more is claimed."""
    return Contents("grid", "measured", {})


def settings(config: RunConfig) -> dict[str, object]:
    """K and its own; no test points are evaluated."""
    return {"k": config.k, **parameters(config.evaluation)}


def check(config: RunConfig) -> None:
    """It needs a dataset in the plane."""
    if config.dataset.name != "toy":
        raise UsageError(
            f"dataset={config.dataset.name}: evaluation=boundary_grid draws a plane and needs a dataset with two "
            "features. Valid: toy"
        )


def compute(inputs: Inputs, folder: Path) -> None:
    """Predictions on a grid around the training points of a dataset in the plane: ``grid.npz``.

    ``prediction[i, j]`` belongs to the point ``(xx[j], yy[i])``.
    """
    evaluation, data = inputs.config.evaluation, inputs.data
    assert isinstance(evaluation, BoundaryGridConfig)
    if data.n_features != 2:
        raise ValueError(f"a boundary grid needs two features, dataset {data.name} has {data.n_features}")
    low, high = data.X_train.min(axis=0), data.X_train.max(axis=0)
    # The same on all sides, whatever the shape of the point set.
    border = evaluation.margin * (high - low).max()
    xx, yy = np.linspace(low - border, high + border, evaluation.resolution).T
    plane = np.stack(np.meshgrid(xx, yy), axis=-1).reshape(-1, 2)
    prediction = inputs.classifier().predict(plane).reshape(len(yy), len(xx))
    np.savez_compressed(
        folder / "grid.npz", xx=xx, yy=yy, prediction=prediction, X_train=data.X_train, y_train=data.y_train
    )


EVALUATIONS = (Evaluation(BoundaryGridConfig, "boundary", ("evaluations.grid",), contents, settings, compute, check),)
