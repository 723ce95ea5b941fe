"""The evaluations a run can ask for, by name. A new one is a schema in `config` and an entry in `EVALUATIONS` here."""

from __future__ import annotations

import csv
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from arml.certify import one_nn
from arml.datasets import Dataset
from arml.experiments.config import BoundaryGridConfig, Exact1NNConfig, RunConfig, parameters
from arml.experiments.progress import progress_bar
from arml.learners import StoredMetric
from arml.neighbors import MahalanobisKNN
from arml.radii import RadiusBounds

POINT_COLUMNS = ("index", "label", "prediction", "lower", "upper", "status")

#: Bump when the numbers of the boundary grid change.
GRID_VERSION = 1


@dataclass(frozen=True)
class Inputs:
    """What an evaluation works on: the run's configuration, its dataset and metric, and the device to use."""

    config: RunConfig
    data: Dataset
    metric: StoredMetric
    device: str


@dataclass(frozen=True)
class Evaluation:
    """An evaluation.

    Attributes
    ----------
    stage : folder of its records under the runs root, and their "stage"
    versions : versions of the code that computes its numbers, by module; hashed into the record's id
    settings : what of the configuration it depends on besides dataset and metric; hashed into the record's id
    compute : writes the record's files into a folder
    """

    stage: str
    versions: Mapping[str, int]
    settings: Callable[[RunConfig], dict[str, object]]
    compute: Callable[[Inputs, Path], None]


def exact_1nn(inputs: Inputs, folder: Path) -> None:
    """Exact radii of the evaluation subset: ``points.csv``, and ``witness.npz`` with perturbations and proof."""
    config, data = inputs.config, inputs.data
    assert isinstance(config.evaluation, Exact1NNConfig)
    X, y = data.evaluation_subset(config.n_eval, config.seed)
    index = data.evaluation_indices(config.n_eval, config.seed)
    knn = _classifier(inputs)
    box = config.evaluation.box
    with progress_bar(f"{data.name} {config.method.name}: exact radii", len(y)) as advance:
        bounds = knn.exact_radius(X, y, box=None if box is None else (box[0], box[1]), progress=advance)
    _write_points(folder / "points.csv", index, y, knn.predict(X), bounds)
    arrays = {"index": index, "perturbation": bounds.perturbation}
    if bounds.certificate is not None:
        arrays |= bounds.certificate.arrays()
    present = {name: array for name, array in arrays.items() if array is not None}
    np.savez_compressed(folder / "witness.npz", allow_pickle=False, **present)


def boundary_grid(inputs: Inputs, folder: Path) -> None:
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
    prediction = _classifier(inputs).predict(plane).reshape(len(yy), len(xx))
    np.savez_compressed(
        folder / "grid.npz", xx=xx, yy=yy, prediction=prediction, X_train=data.X_train, y_train=data.y_train
    )


def _classifier(inputs: Inputs) -> MahalanobisKNN:
    knn = MahalanobisKNN(n_neighbors=inputs.config.k, metric=inputs.metric, device=inputs.device)
    return knn.fit(inputs.data.X_train, inputs.data.y_train)


def _write_points(
    path: Path,
    index: NDArray[np.int64],
    label: NDArray[np.int64],
    prediction: NDArray[np.int64],
    bounds: RadiusBounds,
) -> None:
    columns = (index.tolist(), label.tolist(), prediction.tolist())
    with path.open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(POINT_COLUMNS)
        # csv writes a float by its repr, which reads back to the same float.
        rows.writerows((*ids, *values) for *ids, values in zip(*columns, bounds, strict=True))


def _point_settings(config: RunConfig) -> dict[str, object]:
    """The grid of radii is left out on purpose: each point has its one radius, whatever thresholds are reported."""
    return {"k": config.k, "n_eval": config.n_eval, "seed": config.seed, **parameters(config.evaluation)}


def _grid_settings(config: RunConfig) -> dict[str, object]:
    return {"k": config.k, **parameters(config.evaluation)}


EVALUATIONS: Mapping[str, Evaluation] = {
    "exact_1nn": Evaluation("radii", {"certify.one_nn": one_nn.VERSION}, _point_settings, exact_1nn),
    "boundary_grid": Evaluation("boundary", {"evaluations.grid": GRID_VERSION}, _grid_settings, boundary_grid),
}
